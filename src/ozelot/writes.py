"""Watching what a run writes, so that nothing is written that clearing would not know of.

Statements that SQLAlchemy builds (ORM flushes, Core) are checked before they are executed. What it cannot see (SQL as
text, COPY, the driver's own connection, rules that a ``DELETE`` sets off) is left to the database to tell: SQLite says
what a statement writes when it is prepared, PostgreSQL how many rows of each table were written in a transaction. They
are asked only where something of the kind happens, because asking costs. MariaDB does not tell.
"""

from __future__ import annotations

import logging
import sqlite3
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from typing import Any

import sqlalchemy as sa
from sqlalchemy.exc import DBAPIError

from ozelot import transaction
from ozelot.errors import UndeclaredWrite

log = logging.getLogger(__name__)

#: What the package itself writes, in a run and while it clears.
_OWN = {"ormtargetmarker", "ozelot_run", "ozelot_run_edge"}

_VERBS = {"insert": "inserts into", "update": "updates", "delete": "deletes from"}
_KINDS = {sqlite3.SQLITE_INSERT: "insert", sqlite3.SQLITE_UPDATE: "update", sqlite3.SQLITE_DELETE: "delete"}

_COUNTS = sa.text(
    "SELECT CASE WHEN pg_table_is_visible(relid) THEN relname ELSE schemaname || '.' || relname END, "
    "n_tup_ins, n_tup_upd, n_tup_del FROM pg_stat_xact_user_tables "
    "WHERE n_tup_ins + n_tup_upd + n_tup_del > 0 AND schemaname NOT LIKE 'pg_temp%'"
)

#: Classes that were warned of.
_warned: set[str] = set()


@dataclass(frozen=True)
class Writable:
    """Where somebody says that they write.

    Attributes:
        owner: who.
        tables: tables whose rows they create.
        columns: names of the columns that they fill in rows of others, by table.
        strict: other writes are an error, not a warning.
        advice: what to add to the code, for what was written to each table.
    """

    owner: str
    tables: Collection[sa.Table]
    columns: Mapping[sa.Table, Collection[str]]
    strict: bool
    advice: Callable[[Mapping[str, Undeclared]], str] = field(default=lambda _: "", compare=False)


@dataclass
class Undeclared:
    """What was written to a table though nobody said so."""

    kinds: set[str] = field(default_factory=set)
    columns: set[str] = field(default_factory=set)


class Watch:
    """What is written in an open transaction, held against what somebody says."""

    def __init__(self, opened: transaction.OpenTransaction, writable: Writable) -> None:
        self._opened = opened
        self._writable = writable
        self._tables = _OWN | {table.fullname for table in writable.tables}
        self._columns = {table.fullname: set(names) for table, names in writable.columns.items()}
        self._found: dict[str, Undeclared] = {}
        self._driver: sqlite3.Connection | None = None
        self._before: dict[str, list[int]] | None = None

    def statement(self, context: Any) -> None:
        """Look at a statement that is about to write.

        Raises:
            UndeclaredWrite: to a table that is not declared.
        """
        compiled = context.compiled
        kind = next((kind for kind in _VERBS if getattr(compiled, f"is{kind}", False)), None)
        if kind is None:
            if not context.isddl:
                self.ask_database()
            return
        if kind == "delete":
            self.ask_database()  # of rules that it sets off
        table = compiled.statement.table
        if not isinstance(table, sa.Table) or table.fullname in self._tables or "TEMPORARY" in table._prefixes:
            return
        self._see(table.fullname, kind, _set_by(compiled, table) if kind == "update" else set())
        if self._found and self._writable.strict:
            self._tell()

    def ask_database(self) -> None:
        """Let the database tell from now on what is written."""
        if self._driver is not None or self._before is not None:
            return
        connection = self._opened.connection
        if connection.dialect.name == "sqlite":
            self._driver = connection.connection.driver_connection
            self._listen()
        elif connection.dialect.name == "postgresql":
            self._before = self._counts()

    def _listen(self) -> None:
        if self._driver is not None:
            # Python's driver prepares what it has cached anew once this is set.
            self._driver.set_authorizer(self._authorize)

    def _authorize(self, action: int, table: str | None, column: str | None, database: str | None, _by: object) -> int:
        if (kind := _KINDS.get(action)) and table and database != "temp" and not table.startswith("sqlite_"):
            name = table if database in (None, "main") else f"{database}.{table}"
            self._see(name, kind, {column} if kind == "update" and column else set())
        return sqlite3.SQLITE_OK

    def _counts(self) -> dict[str, list[int]]:
        return {name: numbers for name, *numbers in self._opened.connection.execute(_COUNTS)}

    def _see(self, table: str, kind: str, columns: set[str]) -> None:
        if table in self._tables:
            return
        declared = self._columns.get(table, set())
        if kind == "update" and table in self._columns and columns <= declared:
            return
        found = self._found.setdefault(table, Undeclared())
        found.kinds.add(kind)
        found.columns |= columns - declared

    def finish(self) -> None:
        """Ask the database a last time, and say what was not declared.

        Raises:
            UndeclaredWrite: something was, and that is not to be a warning.
        """
        self.pause()
        if self._found:
            self._tell()

    def pause(self) -> None:
        """Do not look until :meth:`resume`: what comes is somebody else's."""
        self.stop()
        if self._before is not None:
            now = self._counts()
            for name, numbers in now.items():
                before = self._before.get(name, [0, 0, 0])
                for kind, after, earlier in zip(_VERBS, numbers, before, strict=True):
                    if after > earlier:
                        self._see(name, kind, set())
            self._before = now

    def stop(self) -> None:
        """Look no more, whatever happened."""
        if self._driver is not None:
            self._driver.set_authorizer(None)

    def resume(self) -> None:
        """Look again."""
        self._listen()
        if self._before is not None:
            self._before = self._counts()

    def _tell(self) -> None:
        owner = self._writable.owner
        told = ", ".join(
            f"{_VERBS[kind]} {_named(table, found.columns if kind == 'update' else set())}"
            for table, found in sorted(self._found.items())
            for kind in _VERBS
            if kind in found.kinds
        )
        message = f"{owner} {told}, which it does not declare: {self._writable.advice(self._found)}"
        if self._writable.strict:
            raise UndeclaredWrite(f"{message}. With 'strict_writes = False' this is a warning")
        if owner not in _warned:
            _warned.add(owner)
            log.warning("%s", message)


def _set_by(compiled: Any, table: sa.Table) -> set[str]:
    """The names of the columns that an ``UPDATE`` sets."""
    values = compiled.compile_state._dict_parameters or {}
    given = {*(compiled.column_keys or ()), *(getattr(column, "key", column) for column in values)}
    return {column.name for column in table.columns if column.key in given}


def _named(table: str, columns: set[str]) -> str:
    return ", ".join(f"{table}.{column}" for column in sorted(columns)) or table


@contextmanager
def watched(opened: transaction.OpenTransaction, writable: Writable) -> Iterator[None]:
    """Watch what is written in an open transaction until the block ends.

    Raises:
        UndeclaredWrite: something that was not declared.
    """
    with unwatched(opened):
        opened.watch = Watch(opened, writable)
        yield
        opened.watch.finish()


@contextmanager
def unwatched(opened: transaction.OpenTransaction) -> Iterator[None]:
    """Do not watch what is written in the block: whoever does it answers for it."""
    outer, opened.watch = opened.watch, None
    if outer is not None:
        outer.pause()
    try:
        yield
    finally:
        if opened.watch is not None:
            opened.watch.stop()
        opened.watch = outer
        if outer is not None and opened.active:
            with suppress(DBAPIError):  # the transaction is broken, and will be rolled back
                outer.resume()
