"""What a pipeline and its database must look like after each operation: plain Python, no database.

References are names of rows, runs are numbers in the order of their start. An operation that is refused raises
:class:`Refused`; what it leaves then is what is to be left.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import replace

from ozelot.errors import ClearRefused, LeftoverRows, OzelotError
from tests.etl.machine.pipelines import Insert, Pipeline, Write
from tests.etl.machine.rows import ABORTED, CLEARED, DONE, FAILED, RUNNING, Recorded, Row
from tests.etl.machine.script import Script


class Refused(Exception):
    """The operation is refused with that error; None: it fails by itself."""

    def __init__(self, error: type[OzelotError] | None) -> None:
        self.error = error


class Oracle:
    """The state of the database, and what each operation makes of it."""

    def __init__(self, pipeline: Pipeline) -> None:
        self.pipeline, self.shape = pipeline, pipeline.shape
        self.rows: dict[str, Row] = {}
        self.links: set[tuple[str, str, str]] = set()
        self.runs: dict[int, Recorded] = {}
        self.markers: set[str] = set()
        self.outside: dict[str, tuple[str, str]] = {}  # rows of another application, each with the row it refers to
        self.number = 0  # of rows and runs

    @contextmanager
    def _all_or_nothing(self) -> Iterator[None]:
        before = dict(self.rows), set(self.links), dict(self.runs), set(self.markers)
        try:
            yield
        except Refused:
            self.rows, self.links, self.runs, self.markers = before
            raise

    def next_number(self) -> int:
        """One that was not there before."""
        self.number += 1
        return self.number

    # What is asked.

    def done_run(self, label: str) -> int | None:
        """The run that ended well and was not cleared since."""
        return max((n for n, run in self.runs.items() if (run.label, run.state) == (label, DONE)), default=None)

    def lost(self) -> set[str]:
        """The complete tasks of whose rows a table holds none any more."""
        filled = {table for row in self.rows.values() for table in self.shape.chain(row.model)}
        found = set()
        for label in self.markers & self.pipeline.nodes.keys():
            number = self.done_run(label)
            counts = (self.runs[number].counts or {}) if number is not None else {}
            if any(n and name.partition(".")[0] not in filled for name, n in counts.items()):
                found.add(label)
        return found

    def complete(self) -> set[str]:
        """The tasks with a marker whose rows are there."""
        return self.markers - self.lost()

    def complete_for_luigi(self, label: str) -> bool:
        """A wrapper asks its requirements, too, but looks at their own markers only, where they are no wrappers."""
        node = self.pipeline.nodes[label]
        return label in self.complete() and (not node.bundles or all(map(self.complete_for_luigi, node.requires)))

    def to_run(self, label: str) -> list[str]:
        """What Luigi runs for a task: it does not look at what complete tasks require."""
        found: dict[str, None] = {}

        def visit(label: str) -> None:
            if label not in found and not self.complete_for_luigi(label):
                for requirement in self.pipeline.nodes[label].requires:
                    visit(requirement)
                found[label] = None

        visit(label)
        return list(found)

    def pending(self) -> set[str]:
        """Tasks that are incomplete, or require, or were built on, such tasks."""
        found = self.pipeline.nodes.keys() - self.complete()
        grew = True
        while grew:
            below = {label: {*node.requires} for label, node in self.pipeline.nodes.items()}
            for run in self.runs.values():
                if run.state == DONE:
                    below[run.label] |= {self.runs[other].label for other in run.built_on if other in self.runs}
            more = {label for label, others in below.items() if not others.isdisjoint(found)} - found
            found |= more
            grew = bool(more)
        return found

    def downstream(self, labels: Iterable[str], graph: set[str]) -> set[str]:
        """Those tasks, what requires them in that graph, and what was built on them anywhere."""
        found = set(labels)
        grew = True
        while grew:
            more = {
                label
                for label in graph | self.without_runs()
                if not found.isdisjoint(self.pipeline.nodes[label].requires)
            }
            for run in self.runs.values():
                if run.state == DONE and any(self.runs[n].label in found for n in run.built_on if n in self.runs):
                    more.add(run.label)
            grew = not more <= found
            found |= more
        return found

    def without_runs(self) -> set[str]:
        """Complete tasks of which no run is recorded, and everything upstream."""
        legacy = [label for label in self.markers & self.pipeline.nodes.keys() if self.done_run(label) is None]
        return self.pipeline.upstream(*legacy)

    def made(self, labels: Iterable[str], serials: Iterable[int] | None = None) -> set[str]:
        """The names of the rows that tasks made, as far as can be told: of owned models those of (these) runs."""
        labels, serials = set(labels), None if serials is None else set(serials)
        models = {model for label in labels for model in self.pipeline.nodes[label].creates}
        if serials is None:
            serials = {number for number, run in self.runs.items() if run.label in labels}
        return {
            row.name
            for row in self.rows.values()
            if row.model in models and (row.run in serials or not self.shape.is_owned(row.model))
        }

    def columns(self, labels: Iterable[str]) -> set[tuple[str, str]]:
        """The columns that tasks fill."""
        return {column for label in labels for column in self.pipeline.nodes[label].updates}

    def values_in(self, column: tuple[str, str]) -> int:
        """How many values there are."""
        return sum(self.value(row, column[1]) is not None for row in self.rows_in(column[0]))

    def rows_in(self, table: str) -> list[Row]:
        """The rows that have a part in a table."""
        return [row for row in self.rows.values() if self.shape.is_a(row.model, table)]

    @staticmethod
    def value(row: Row, column: str) -> int | str | None:
        """A value or reference."""
        return row.values[column] if column in row.values else row.refs[column]

    def counted(self, names: Iterable[str]) -> Counter[str]:
        """How many rows of each table those are."""
        return Counter(table for name in names for table in self.shape.chain(self.rows[name].model))

    def deletes(self, labels: Iterable[str]) -> dict[str, int]:
        """How many rows of each table clearing those tasks deletes."""
        names = self.made(labels)
        along = Counter(table for table, *ends in self.links if not names.isdisjoint(ends))
        return dict(self.counted(names) + along)

    # What is done.

    def begin(self, label: str) -> int:
        """A run starts."""
        for number, run in self.runs.items():
            if (run.label, run.state) == (label, RUNNING):
                self.runs[number] = replace(run, state=ABORTED)
        number = self.next_number()
        self.runs[number] = Recorded(label)
        return number

    def run(self, label: str, *, fails: bool = False) -> list[Write]:
        """A task runs; returns what it writes."""
        serial = self.begin(label)
        script: list[Write] = []
        try:
            with self._all_or_nothing():
                if label in (lost := self.lost()):
                    self.markers -= lost
                self._clear_leftovers(label)
                script += Script(self, label, serial).writes()
                if fails:
                    raise Refused(None)
                node = self.pipeline.nodes[label]
                own = Counter(t for row in self.rows.values() if row.run == serial for t in self.shape.chain(row.model))
                counts = {model: own[model] for model in node.creates}
                counts |= {table: number for table, number in own.items() if number}
                counts |= {".".join(column): self.values_in(column) for column in node.updates}
                built_on = {self.done_run(other) for other in (*node.requires, *node.asks)} - {None}
                self.runs[serial] = Recorded(label, DONE, counts, frozenset(n for n in built_on if n is not None))
                self.markers.add(label)
        except Refused as exc:
            self.runs[serial] = Recorded(label, FAILED)
            if exc.error is not None:
                raise
        return script

    def would_write(self, label: str) -> list[Write]:
        """What a task would write now."""
        before = dict(self.rows), set(self.links), dict(self.runs), set(self.markers)
        script = self.run(label)
        self.rows, self.links, self.runs, self.markers = before
        return script

    def by_hand(self, serial: int, number: int) -> Insert | None:
        """A row that somebody inserts by hand, as the task of that run would have."""
        label = self.runs[serial].label
        creates = self.pipeline.nodes[label].creates
        if not creates or self._is_apart(model := creates[number % len(creates)], serial):
            return None
        return Script(self, label, serial, by_hand=True).insert(model, number)

    def _is_apart(self, model: str, serial: int) -> bool:
        """Whether base rows of a model count for another task, as no run says who inserts them, and the classes do."""
        table, *bases = self.shape.chain(model)
        if (owner := self._owner(model)) is None:
            if any((run.counts or {}).get(table) for run in self.runs.values() if run.state == DONE):
                return False
        else:  # its run says of which base tables it inserted rows
            counts = self.runs[serial].counts or {}
            bases = [base for base in self.shape.chain(owner)[1:] if not counts.get(base)]
        return any(set(self.pipeline.creators(base)) - set(self.pipeline.creators(table)) for base in bases)

    def leftovers_refuse(self, label: str) -> bool:
        """Whether a run would be refused because of what an earlier one left."""
        before = dict(self.rows), set(self.links), dict(self.runs), set(self.markers)
        try:
            self._clear_leftovers(label)
        except Refused:
            return True
        finally:
            self.rows, self.links, self.runs, self.markers = before
        return False

    def _clear_leftovers(self, label: str) -> None:
        node = self.pipeline.nodes[label]
        mine = {c for c in node.updates if not self._others_complete([label], self.pipeline.updaters(c))}
        ran_before = self.done_run(label) is not None
        if ran_before:
            serials = self._singled_out([label])
            names = {n for n in self.made([label], serials) if self.shape.is_owned(self.rows[n].model)}
            self._take(names, mine)
        elif any(map(self.values_in, mine)):
            raise Refused(LeftoverRows)
        unowned = [model for model in node.creates if not self.shape.is_owned(model)]
        if any(row.model in unowned for row in self.rows.values()):
            names_complete = {name for model in unowned for name in self.pipeline.creators(model)}
            if ran_before or not self._others_complete([], names_complete):
                raise Refused(LeftoverRows)
        if ran_before:
            self._mark_cleared(serials)

    def _singled_out(self, labels: Iterable[str]) -> set[int]:
        labels = set(labels)
        models = {m for label in labels for m in self.pipeline.nodes[label].creates if self.shape.is_owned(m)}
        owners = {self._owner(model) for model in models}
        having = {row.run for row in self.rows.values() if self._owner(row.model) in owners}
        return {
            number
            for number, run in self.runs.items()
            if run.label in labels and (run.state == DONE or number in having)
        }

    def _owner(self, model: str) -> str | None:
        return next((table for table in self.shape.chain(model) if self.shape.models[table].owned), None)

    def _mark_cleared(self, serials: Iterable[int]) -> None:
        for number in serials:
            self.runs[number] = replace(self.runs[number], state=CLEARED)

    def _others_complete(self, labels: Iterable[str], names: set[str]) -> bool:
        return any(marker.partition(" ")[0] in names for marker in self.markers - set(labels))

    def _take(self, names: set[str], columns: set[tuple[str, str]]) -> None:
        """Delete rows, and reset columns, unless rows that stay refer to them."""
        for row in self.rows.values():
            for table in self.shape.chain(row.model) if row.name not in names else ():
                for key in self.shape.models[table].keys:
                    if row.refs[key.column] in names and (table, key.column) not in columns:
                        raise Refused(ClearRefused)
        if any(name in names for _, name in self.outside.values()):
            raise Refused(ClearRefused)
        self.rows = {name: row for name, row in self.rows.items() if name not in names}
        self.links = {link for link in self.links if names.isdisjoint(link[1:])}
        for table, column in columns:
            for row in self.rows_in(table):
                self.set(row.name, column, None)

    def drop(self, models: set[str]) -> None:
        """The tables of models are dropped, and created again."""
        self.rows = {name: row for name, row in self.rows.items() if row.model not in models}
        self.links = {link for link in self.links if all(name in self.rows for name in link[1:])}

    def set(self, name: str, column: str, value: int | str | None) -> None:
        """Change a value or reference."""
        row = self.rows[name]
        if column in row.values:
            assert not isinstance(value, str)
            self.rows[name] = replace(row, values={**row.values, column: value})
        else:
            assert not isinstance(value, int)
            self.rows[name] = replace(row, refs={**row.refs, column: value})

    def _check_shared(self, labels: Iterable[str]) -> None:
        labels = set(labels)
        for label in labels:
            node = self.pipeline.nodes[label]
            names = {n for m in node.creates if not self.shape.is_owned(m) for n in self.pipeline.creators(m)}
            names |= {name for column in node.updates for name in self.pipeline.updaters(column)}
            if self._others_complete(labels, names):
                raise Refused(ClearRefused)

    def unrecorded(self, labels: Iterable[str]) -> bool:
        """Whether clearing tasks would delete more rows, or reset more values, than runs recorded."""
        labels = set(labels)
        names = self.made(labels)
        unowned = {m for label in labels for m in self.pipeline.nodes[label].creates if not self.shape.is_owned(m)}
        owned = {m for label in labels for m in self.pipeline.nodes[label].creates} - unowned
        tables = {table for model in unowned for table in self.shape.chain(model)}
        tables -= {table for model in owned for table in self.shape.chain(model)}
        found = {table: self.counted(names)[table] for table in tables}
        found |= {".".join(column): self.values_in(column) for column in self.columns(labels)}
        return any(number > self._recorded(name, labels) for name, number in found.items())

    def _recorded(self, name: str, labels: Collection[str]) -> float:
        """How many rows or values runs recorded, without those of other complete tasks."""
        filling = {
            node.name
            for node in self.pipeline.nodes.values()
            if name in {".".join(column) for column in node.updates}
            or name in {table for model in node.creates for table in self.shape.chain(model)}
        }
        for label in self.markers & self.pipeline.nodes.keys():
            if label.partition(" ")[0] in filling and self.done_run(label) is None:
                return float("inf")
        total = 0
        for run in self.runs.values():
            if run.state == DONE and run.counts is None and run.label.partition(" ")[0] in filling:
                return float("inf")
            if run.state == DONE and (run.label in labels or run.label not in self.markers):
                total += (run.counts or {}).get(name, 0)
        return total

    def remove_marker(self, label: str) -> None:
        """Remove a marker; where no run is recorded, it is recorded that there was one."""
        if label in self.markers and self.done_run(label) is None:
            self.runs[self.next_number()] = Recorded(label, DONE, None, was_lost=True)
        self.markers.discard(label)

    def clear(self, labels: Iterable[str], *, include_unrecorded: bool = False) -> None:
        """Clear tasks together."""
        labels = set(labels)
        with self._all_or_nothing():
            self._check_shared(labels)
            if not include_unrecorded and self.unrecorded(labels):
                raise Refused(ClearRefused)
            for label in sorted(labels):
                self.remove_marker(label)
            serials = self._singled_out(labels)
            self._take(self.made(labels, serials), self.columns(labels))
            self._mark_cleared(serials)

    def clear_alone(self, label: str) -> None:
        """Clear one task; where others refer to its rows, only its marker goes."""
        self._check_shared([label])
        if self.unrecorded([label]):
            raise Refused(ClearRefused)
        self.remove_marker(label)
        try:
            self.clear([label], include_unrecorded=True)
        except Refused:
            return

    def prune(self, keep: int) -> int:
        """Forget runs; returns how many."""
        needed = {other for run in self.runs.values() if run.state == DONE for other in run.built_on}
        held = {row.run for row in self.rows.values() if self.shape.is_owned(row.model)}
        later: Counter[str] = Counter()
        gone = []
        for number, run in reversed(self.runs.items()):
            over = run.state in (FAILED, ABORTED, CLEARED)
            if later[run.label] >= keep and over and number not in needed | held:
                gone.append(number)
            later[run.label] += 1
        self.runs = {number: run for number, run in self.runs.items() if number not in gone}
        return len(gone)

    def forget(self, serial: int) -> None:
        """A run came to nothing."""
        del self.runs[serial]
