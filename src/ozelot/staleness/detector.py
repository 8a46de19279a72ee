"""Whether tasks are stale: what was recorded of their runs, compared with what these are made of today."""

from __future__ import annotations

from collections import deque
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import sqlalchemy as sa

from ozelot import client
from ozelot.errors import ConfigError
from ozelot.pipeline.declarations import is_orm_task, keys_of, task_classes
from ozelot.pipeline.graph import Graph
from ozelot.staleness.fingerprint import Needs, changes, code, fingerprint_of, needs_of, of_others, read
from ozelot.state import inputs
from ozelot.state import inputs as fingerprint
from ozelot.state import markers as marker
from ozelot.state import runs as run
from ozelot.state.inputs import Fingerprint, Page, Seen
from ozelot.state.runs import DONE, chunks, few, run_edge, runs
from ozelot.state.version import has_runs


class Reason(NamedTuple):
    """A part of what a task was made of that is another one today.

    Attributes:
        kind: ``code``, ``input``, ``page``, ``schema``, ``package`` or ``upstream``.
        what: which, in words.
        column: ``table.column``, or ``table (a, b)`` for a key of several, where it is about the schema.
    """

    kind: str
    what: str
    column: str = ""

    def __str__(self) -> str:
        return f"{self.kind}: {self.what}"


@dataclass
class Verdict:
    """What is known of one task that is complete.

    Attributes:
        reasons: why it is stale; none: it is not.
        unknown: what is not known, in words.
        stands_on: the label of something stale that it was built on, directly or through others; empty: nothing.
    """

    reasons: list[Reason] = field(default_factory=list)
    unknown: list[str] = field(default_factory=list)
    stands_on: str = ""


class Made(NamedTuple):
    """The last run of a task that ended well: its id, and the digest of what the task was made of."""

    run_id: int
    fingerprint: str | None


class Recorded:
    """What the database recorded of the runs that made what is there.

    Args:
        connection: to it.
        keys: of the tasks.

    Attributes:
        made: the run of each task, by key.
        edges: the keys and runs that each run was built on.
    """

    def __init__(self, connection: sa.Connection, keys: Collection[str]) -> None:
        self.made = last_made(connection, keys)
        ids = [one.run_id for one in self.made.values()]
        self.edges: dict[int, list[tuple[str, int]]] = {}
        self._names: dict[str, str] = {}
        for run_id, key, built_on, name, params in _edges(connection, ids):
            self.edges.setdefault(run_id, []).append((key, built_on))
            self._names[key] = f"{name} {params}"
        latest = run.latest(connection, self._names.keys() - self.made.keys())
        self.latest = {**latest, **{key: one.run_id for key, one in self.made.items()}}
        self.texts = fingerprint.kept(connection, {one.fingerprint for one in self.made.values() if one.fingerprint})
        self.files = inputs.files_of_runs(connection, ids)
        self.pages = inputs.pages_of_runs(connection, ids)
        self._kept = _Kept({page.key for read in self.pages.values() for page in read})
        self._changes: dict[tuple[str, str, frozenset[str]], list[Reason]] = {}

    def built_on(self, keys: Mapping[str, str]) -> dict[str, set[str]]:
        """The labels of what each task was built on, as far as they are among these."""
        return {
            keys[key]: {keys[other] for other, _ in self.edges.get(one.run_id, ()) if other in keys}
            for key, one in self.made.items()
        }

    def verdict(self, graph: Graph, label: str, key: str) -> Verdict:
        """What is known of one task."""
        task, made, found = graph.tasks[label], self.made[key], Verdict()
        requirements = [graph.tasks[other] for other in graph.requires[label]]
        needs = needs_of(requirements)
        self._compare(task, made, needs, found)
        self._compare_files(self.files.get(made.run_id, []), needs, found)
        self._compare_pages(made.run_id, found)
        self._compare_runs(made.run_id, requirements, found)
        return found

    def _compare(self, task: Any, made: Made, needs: Needs, found: Verdict) -> None:
        if made.fingerprint is None or made.fingerprint not in self.texts:
            found.unknown.append("by which code it was made, and into which columns")
            return
        now = fingerprint_of(task, needs.columns)
        if now.digest == made.fingerprint:
            return
        was = read(self.texts[made.fingerprint])
        if was.schema is None:
            found.unknown.append("by which code it was made, and into which columns: its record cannot be read")
            return
        apart = of_others(task, needs)
        pair = made.fingerprint, now.digest, apart
        if pair not in self._changes:
            self._changes[pair] = [Reason(*each) for each in changes(was, read(now.parts), apart)]
        found.reasons += self._changes[pair]
        if was.code is None:
            found.unknown.append("by which code it was made")
        elif not code(type(task)).is_certain:
            found.unknown.append("what its code is: a file was changed since it was imported")

    def _compare_files(self, seen: list[Seen], needs: Needs, found: Verdict) -> None:
        now: dict[str, list[inputs.Input]] = {}
        for wanted in needs.inputs:
            now.setdefault(wanted.task, []).append(wanted)
        for one in seen:
            left = now.get(one.input.task)
            wanted = left.pop(0) if left else one.input
            changed = inputs.has_changed(one, wanted)
            if changed:
                found.reasons.append(Reason("input", wanted.name))
            elif changed is None:
                found.unknown.append(f"what {wanted.name} holds: it is not there")
        if seen:
            found.reasons += [Reason("input", f"{w.name} is needed now") for left in now.values() for w in left]
        else:
            found.unknown += [f"what {w.name} held" for left in now.values() for w in left]
        found.unknown += [f"what {label} gave: it is no file on this machine" for label in needs.elsewhere]

    def _compare_pages(self, run_id: int, found: Verdict) -> None:
        read = self.pages.get(run_id, ())
        found.reasons += [Reason("page", page.url) for page in read if self._kept.has_changed(page)]
        if read and self._kept.error:
            found.unknown.append(f"what its pages hold: {self._kept.error}")
        elif missing := sum(page.key not in self._kept.contents and not page.is_failure for page in read):
            found.unknown.append(f"what {missing:,} of its {len(read):,} pages hold: they are not kept")

    def _compare_runs(self, run_id: int, requirements: list[Any], found: Verdict) -> None:
        recorded = dict(self.edges.get(run_id, ()))
        for other, built_on in recorded.items():
            if self.latest.get(other, built_on) > built_on:
                found.reasons.append(Reason("upstream", f"{self._label(other, requirements)} ran again since"))
        for requirement in requirements:
            if type(requirement) in task_classes and (key := keys_of(requirement)[0]) not in recorded:
                label = self._label(key, requirements)
                if key not in self.latest:
                    found.unknown.append(f"by which run {label} was made")
                elif self.latest[key] > run_id:
                    found.reasons.append(Reason("upstream", f"{label} ran again since"))
                else:
                    found.reasons.append(Reason("upstream", f"{label} was not required then"))

    def _label(self, key: str, requirements: Iterable[Any]) -> str:
        for task in requirements:
            if type(task) in task_classes and keys_of(task)[0] == key:
                return f"{task.get_name()} {task.get_param_string()}"
        return self._names.get(key, "a task that is no more")


class _Kept:
    """Pages as the request cache holds them now."""

    def __init__(self, keys: Collection[str]) -> None:
        self.contents: dict[str, str] = {}
        self.error = ""
        if not keys:
            return
        from ozelot.cache import RequestCache  # it takes a while to import, and most tasks read no pages

        try:
            with RequestCache() as cache:
                found = cache.store.contents([bytes.fromhex(key) for key in keys])
        except ConfigError as exc:
            self.error = str(exc)
        else:
            self.contents = {key.hex(): content for key, content in found.items()}

    def has_changed(self, page: Page) -> bool:
        """Whether another page is kept now than was read, or a page where there was none."""
        return self.contents.get(page.key, page.content) != page.content


def last_made(connection: sa.Connection, keys: Collection[str]) -> dict[str, Made]:
    """The last run of each task that ended well and was not cleared, by key."""
    query = sa.select(runs.c.key, runs.c.id, runs.c.fingerprint).where(runs.c.state == DONE).order_by(runs.c.id)
    if few(keys):
        query = query.where(runs.c.key.in_(keys))
    return {key: Made(run_id, made_of) for key, run_id, made_of in connection.execute(query).all() if key in keys}


def _edges(connection: sa.Connection, run_ids: list[int]) -> Iterator[Any]:
    """Run, key, run, name and parameters of what these runs were built on."""
    base = runs.alias("base")
    joined = run_edge.join(base, base.c.id == run_edge.c.built_on_id)
    query = sa.select(run_edge.c.run_id, base.c.key, base.c.id, base.c.name, base.c.params).select_from(joined)
    if few(run_ids):
        query = query.where(run_edge.c.run_id.in_(run_ids))
    wanted = set(run_ids)
    return (row for row in connection.execute(query).all() if row[0] in wanted)


def judge(graph: Graph, labels: Collection[str]) -> dict[str, Verdict]:
    """What is known of tasks of a graph that are complete, by label; the number of queries does not depend on theirs.

    Args:
        graph: the graph.
        labels: of the tasks; those without a marker are left out.
    """
    tasks = {label: graph.tasks[label] for label in graph.tasks if label in labels}
    keys = {keys_of(task)[0]: label for label, task in tasks.items() if is_orm_task(task)}
    if not keys:
        return {}
    with client.get_client().engine.connect() as connection:
        known = Recorded(connection, keys) if has_runs(connection) else None
    found = {label: Verdict(unknown=["by which run it was made"]) for label in keys.values()}
    for key, label in keys.items():
        if known is not None and key in known.made:
            found[label] = known.verdict(graph, label, key)
    _follow(graph, found, {} if known is None else known.built_on(keys))
    return found


def accept(tasks: Iterable[Any]) -> dict[str, list[Reason]]:
    """Say that today's code and tables count as those that made what these tasks loaded; changes their records only.

    Returns:
        What changed since, by the label of each task of which a run is recorded.

    Raises:
        ConfigError: the code of one of them is not known, as its file was changed since it was imported.
    """
    database = client.get_client()
    marker.prepare(database.engine)
    found: dict[str, list[Reason]] = {}
    today: dict[Fingerprint, list[int]] = {}
    with database.engine.begin() as connection:
        wanted = {keys_of(task)[0]: task for task in tasks}
        made = last_made(connection, wanted)
        texts = inputs.kept(connection, {one.fingerprint for one in made.values() if one.fingerprint})
        for key, one in made.items():
            task = wanted[key]
            if not code(type(task)).is_certain:
                raise ConfigError(f"The code of {type(task).__name__} was changed since it was imported: start anew")
            needs = needs_of(task.deps())
            now = fingerprint_of(task, needs.columns)
            was = read(texts.get(one.fingerprint or "", ""))
            found[f"{task.get_name()} {task.get_param_string()}"] = [
                Reason(*each) for each in changes(was, read(now.parts), of_others(task, needs))
            ]
            today.setdefault(now, []).append(one.run_id)
        inputs.keep(connection, today)
        for now, run_ids in today.items():
            for some in chunks(run_ids):
                connection.execute(sa.update(runs).where(runs.c.id.in_(some)).values(fingerprint=now.digest))
    return found


def _follow(graph: Graph, found: Mapping[str, Verdict], built_on: Mapping[str, set[str]]) -> None:
    """Say of what stands on something stale that it does."""
    above: dict[str, list[str]] = {}
    for label in found:
        for other in dict.fromkeys([*graph.requires[label], *sorted(built_on.get(label, ()))]):
            above.setdefault(other, []).append(label)
    waiting = deque((label, label) for label, verdict in found.items() if verdict.reasons)
    while waiting:
        label, stale = waiting.popleft()
        for other in above.get(label, ()):
            if not found[other].stands_on:
                found[other].stands_on = stale
                waiting.append((other, stale))
