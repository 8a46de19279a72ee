"""The run in an open transaction: what is recorded of it, and how many rows it writes to each table."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Hashable, Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple


@dataclass
class UnderWay:
    """A run under way; where a task runs others within its own ``run()``, the innermost one.

    Attributes:
        owner: the task whose ``run()`` it is; None: no task runs.
        run_id: the id of that run.
        reserved: keys of the markers that are written when that ``run()`` ends, those of outer ones included.
        inside: the ids of the runs of other tasks that took place within it.
        notes: what loads left out, in words, and how often.
        checks: what came of checks: the name of each, whether it holds, what was expected, and found.
        inherited: names of the tables of derived models that the task creates, and of their base tables.
        pages: the web pages that it read: by key, the key of the address, the address, the hash (or status).
    """

    owner: object = None
    run_id: int | None = None
    reserved: frozenset[str] = frozenset()
    inside: list[int] = field(default_factory=list)
    notes: dict[str, int] = field(default_factory=dict)
    checks: list[dict[str, Any]] = field(default_factory=list)
    inherited: frozenset[str] = frozenset()
    pages: dict[bytes, tuple[bytes, str, str]] = field(default_factory=dict)

    def note(self, notes: Mapping[str, int]) -> None:
        """Add to what loads left out."""
        for what, number in notes.items():
            self.notes[what] = self.notes.get(what, 0) + number


@dataclass
class RunWrites:
    """What one run wrote.

    Attributes:
        rows: inserted minus deleted rows by table, with the schema in front if there is one; None: unknown.
        whole: how many of them the ORM or a load wrote: always along with the row's part in every other table.
        keys: primary keys of other rows that were inserted into tables of derived and base models.
        deleted: tables from which rows were, or may have been, deleted.
        unknown: whether rows may have been written to any table without being counted.
        changed: where the database says in which tables, since then, rows were inserted or deleted at all: these.
    """

    rows: dict[str, int | None] = field(default_factory=dict)
    whole: Counter[str] = field(default_factory=Counter)
    keys: dict[str, set[Any]] = field(default_factory=dict)
    deleted: set[str] = field(default_factory=set)
    unknown: bool = False
    changed: set[str] | None = None

    def number(self, table: str) -> int | None:
        """The count for one table; None: unknown."""
        is_known = not self.unknown or (self.changed is not None and table not in self.changed)
        return self.rows.get(table, 0) if is_known else None


class _Entry(NamedTuple):
    run: UnderWay
    kind: str
    name: Hashable
    value: Any


class WriteCounts:
    """The counts of all runs of one transaction, as a list of entries that a rollback to a savepoint cuts short."""

    def __init__(self) -> None:
        self._entries: list[_Entry] = []
        self._mark = 0  # entries before it belong to an earlier savepoint

    def mark(self) -> int:
        """A place to which :meth:`roll_back_to` can return, where a savepoint is set."""
        self._mark = len(self._entries)
        return self._mark

    def roll_back_to(self, mark: int) -> None:
        """Take back what was counted since then."""
        del self._entries[mark:]
        self._mark = min(self._mark, mark)

    def compact(self) -> None:
        """Add up entries, once no savepoint is left to return to."""
        entries, self._entries, self._mark = self._entries, [], 0
        merged: dict[tuple[int, str, Hashable], _Entry] = {}
        for entry in entries:
            key = id(entry.run), entry.kind, entry.name
            merged[key] = _added(merged[key], entry.value) if key in merged else entry
        self._entries = list(merged.values())

    def add_rows(self, run: UnderWay, table: str, rows: int | None) -> None:
        """Count rows of a table: inserted ones, or a negative number of deleted ones; None: unknown."""
        if rows != 0:
            self._add(run, "rows", table, rows)
        if rows is None or rows < 0:
            self._add(run, "deleted", table, None)

    def add_whole(self, run: UnderWay, table: str, rows: int) -> None:
        """Say of rows that were counted that the rest of each, in the other tables of its model, was written, too."""
        self._add(run, "whole", table, rows)

    def add_keys(self, run: UnderWay, table: str, keys: Collection[Any]) -> None:
        """Remember primary keys of inserted rows."""
        self._add(run, "keys", table, set(keys))

    def add_unknown(self, run: UnderWay) -> bool:
        """Say that rows are about to be written that cannot be counted; the database may be asked to which tables.

        Returns:
            Whether :meth:`take_back_unknown` can take this back, for as long as nothing else is added.
        """
        before = len(self._entries)
        self._add(run, "unknown", None, None)
        return len(self._entries) > before

    def take_back_unknown(self) -> None:
        """Take back what was added last."""
        self._entries.pop()

    def add_called(self, run: UnderWay) -> None:
        """Say that a routine in the database may have written rows to any table."""
        self._add(run, "called", None, None)

    def add_changed(self, run: UnderWay, tables: Collection[str]) -> None:
        """Say which tables the database saw rows inserted into or deleted from, from where it was asked."""
        self._add(run, "changed", None, set(tables))

    def _add(self, run: UnderWay, kind: str, name: Hashable, value: Any) -> None:
        if len(self._entries) > self._mark:
            last = self._entries[-1]
            if last.run is run and last.kind == kind and last.name == name:
                self._entries[-1] = _added(last, value)
                return
        self._entries.append(_Entry(run, kind, name, value))

    def of(self, run: UnderWay) -> RunWrites:
        """What one run wrote."""
        found, called = RunWrites(), False
        for entry in self._entries:
            if entry.run is not run:
                continue
            name: Any = entry.name
            if entry.kind == "rows":
                before = found.rows.get(name, 0)
                found.rows[name] = None if entry.value is None or before is None else before + entry.value
            elif entry.kind == "whole":
                found.whole[name] += entry.value
            elif entry.kind == "keys":
                found.keys.setdefault(name, set()).update(entry.value)
            elif entry.kind == "deleted":
                found.deleted.add(name)
            elif entry.kind == "changed":
                found.changed = entry.value | (found.changed or set())
            else:
                found.unknown = True
                called = called or entry.kind == "called"
        if called:
            found.changed = None
        return found


def _added(entry: _Entry, value: Any) -> _Entry:
    if entry.value is None or value is None:
        return entry._replace(value=None)
    return entry._replace(value=entry.value | value if isinstance(value, set) else entry.value + value)
