"""Watching what a run writes, so that nothing is written that clearing would not know of.

Statements that SQLAlchemy builds (ORM flushes, Core) are checked before they are executed. What it cannot see (SQL as
text, COPY, the driver's own connection, rules that a ``DELETE`` sets off) is left to the database to tell: SQLite says
what a statement writes when it is prepared, PostgreSQL how many rows of each table were written in a transaction. They
are asked only where something of the kind happens, because asking costs. MariaDB does not tell.
"""

from __future__ import annotations

import functools
import logging
import sqlite3
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from typing import Any, cast

import sqlalchemy as sa
from sqlalchemy.exc import DBAPIError

from ozelot.db import sql_analysis, transaction
from ozelot.db.sql_analysis import Target, unescaped
from ozelot.errors import UndeclaredWrite

log = logging.getLogger(__name__)

#: What the package itself writes, in a run and while it clears.
OWN = {"ormtargetmarker", "ozelot_run", "ozelot_run_edge", "ozelot_run_page", "ozelot_run_file", "ozelot_fingerprint"}

_VERBS = {"insert": "inserts into", "update": "updates", "delete": "deletes from"}
_KINDS = {sqlite3.SQLITE_INSERT: "insert", sqlite3.SQLITE_UPDATE: "update", sqlite3.SQLITE_DELETE: "delete"}

#: Rows of a partition are told as those of the table that it is a part of.
_COUNTS = sa.text(
    "SELECT CASE WHEN pg_table_is_visible(c.oid) THEN c.relname ELSE n.nspname || '.' || c.relname END, "
    "n.nspname || '.' || c.relname, SUM(n_tup_ins)::bigint, SUM(n_tup_upd)::bigint, SUM(n_tup_del)::bigint "
    "FROM pg_stat_xact_user_tables JOIN pg_class c ON c.oid = COALESCE(pg_partition_root(relid), relid) "
    "JOIN pg_namespace n ON n.oid = c.relnamespace "
    "WHERE n_tup_ins + n_tup_upd + n_tup_del > 0 AND schemaname NOT LIKE 'pg_temp%' GROUP BY c.oid, n.nspname"
)

#: Classes that were warned of.
_warned: set[str] = set()


@dataclass(frozen=True)
class Writable:
    """Where somebody says that they write.

    Attributes:
        owner: who.
        tables: names of the tables whose rows they create, with the schema in front.
        columns: names of the columns that they fill in rows of others, by table.
        kinds: the models that they create, by the name of the table, where others share it with them.
        strict: whether other writes are an error, not a warning; asked where there are some.
        advice: what to add to the code, for what was written to each table.
    """

    owner: str
    tables: Collection[str]
    columns: Mapping[str, Collection[str]]
    kinds: Mapping[str, Collection[type]]
    strict: Callable[[], bool]
    advice: Callable[[Mapping[str, Undeclared]], str] = field(default=lambda _: "", compare=False)


@dataclass
class Undeclared:
    """What was written to a table though nobody said so."""

    kinds: set[str] = field(default_factory=set)
    columns: set[str] = field(default_factory=set)
    models: set[type] = field(default_factory=set)


class Watch:
    """What is written in an open transaction, held against what somebody says, who is asked once there is something."""

    def __init__(self, opened: transaction.OpenTransaction, declare: Callable[[], Writable]) -> None:
        self._opened = opened
        self._declare = declare
        self._found: dict[str, Undeclared] = {}
        self._is_sqlite = opened.engine.dialect.name == "sqlite"
        self._is_postgresql = opened.engine.dialect.name == "postgresql"
        self._deleting: tuple[str, int] | None = None  # from which table, and how much was changed before
        self._driver: sqlite3.Connection | None = None
        self._before: dict[str, list[int]] | None = None
        self._changed: set[str] = set()  # tables in which the database saw rows inserted or deleted, since it was asked

    @functools.cached_property
    def _writable(self) -> Writable:
        return self._declare()

    def statement(self, statement: str, context: Any, *, reads: bool) -> None:
        """Look at a statement that is about to be executed.

        Raises:
            UndeclaredWrite: it writes to a table that is not declared.
        """
        if reads:
            # A function may write, and text may hold more than one statement.
            if self._is_postgresql and not sql_analysis.is_built(context):
                self.ask_database()
            return
        found = sql_analysis.targets(context)
        if found is None:
            self.ask_database()
            found = (Target(table, "delete") for table in sql_analysis.emptied(statement) if self._is_there(table))
        for target in found:
            self._see(target)
            if target.kind == "delete" and self._is_postgresql:
                self.ask_database()  # of rules that it sets off
            elif target.kind == "delete" and self._is_sqlite:
                self._deleting = target.table, self._sqlite.total_changes
        self._tell_if_strict()

    def announced(self, targets: Iterable[Target]) -> None:
        """Look at what somebody says that they are about to write past SQLAlchemy.

        Raises:
            UndeclaredWrite: it is not declared.
        """
        for target in targets:
            self._see(target)
        self._tell_if_strict()

    def executed(self, cursor: Any) -> None:
        """Look at what a statement did that was looked at before."""
        if self._deleting is None:
            return
        (table, before), self._deleting = self._deleting, None
        if self._sqlite.total_changes - before > max(cursor.rowcount, 0):
            for other in self._changed_by_rules(table):
                self._see(Target(other, "delete"))
            self._tell_if_strict()

    def _changed_by_rules(self, table: str) -> list[str]:
        """The tables in which a rule of a foreign key changes rows when rows of a table are deleted (SQLite)."""
        found = sa.inspect(self._opened.connection).get_multi_foreign_keys()
        return [
            holder
            for (_, holder), keys in found.items()
            if any(key["referred_table"] == table and key["options"].get("ondelete") for key in keys)
        ]

    def instance(self, model: type) -> None:
        """Look at an instance that is about to be inserted.

        Raises:
            UndeclaredWrite: its class shares a table with others that are declared, but is not.
        """
        for table in self._writable.kinds:
            if self._shares(table, model):
                self._see(Target(table, "insert", model=model))
                if self._writable.strict():
                    self._tell()

    def ask_database(self) -> None:
        """Let the database tell from now on what is written."""
        if self._driver is not None or self._before is not None:
            return
        if self._is_sqlite:
            self._driver = self._sqlite
            self._listen()
        elif self._is_postgresql:
            self._before = self._counts()

    @property
    def _sqlite(self) -> sqlite3.Connection:
        return cast(sqlite3.Connection, self._opened.connection.connection.driver_connection)

    def _listen(self) -> None:
        if self._driver is not None:
            # Python's driver prepares what it has cached anew once this is set.
            self._driver.set_authorizer(self._authorize)

    def _authorize(self, action: int, table: str | None, column: str | None, database: str | None, _by: object) -> int:
        if (kind := _KINDS.get(action)) and table and database != "temp" and not table.startswith("sqlite_"):
            name = table if database in (None, "main") else f"{database}.{table}"
            if kind != "update":
                self._changed.add(name)
            self._see(Target(name, kind, frozenset({column} if kind == "update" and column else ())))
        return sqlite3.SQLITE_OK

    def _counts(self) -> dict[str, list[int]]:
        rows = self._opened.connection.execute(_COUNTS)
        known = {*self._writable.tables, *self._writable.columns, *OWN}
        return {full if full in known else name: n for name, full, *n in rows}

    def _see(self, target: Target) -> None:
        table, kind, model = target.table, target.kind, target.model
        if table in OWN:
            return
        may = self._writable
        other = model is not None and kind == "insert" and model not in may.kinds.get(table, {model})
        if table in may.tables and not other:
            return
        declared = frozenset(may.columns.get(table, ()))
        if kind == "update" and table in may.columns and target.columns <= declared:
            return
        if table not in may.tables and self._is_temporary(table):
            return
        found = self._found.setdefault(table, Undeclared())
        found.kinds.add(kind)
        found.columns |= target.columns - declared
        if other and model is not None:
            found.models.add(model)

    def _shares(self, table: str, model: type) -> bool:
        """Whether a model is not declared, but its table is, because another one is that shares it."""
        return model not in self._writable.kinds.get(table, {model}) and sa.inspect(model).local_table.fullname == table

    def _is_temporary(self, table: str) -> bool:
        connection = self._opened.connection
        quoted = connection.dialect.identifier_preparer.quote(table)
        if self._is_sqlite:
            query = sa.text("SELECT 1 FROM sqlite_temp_master WHERE name = :name")
            return self._sqlite.execute(str(query), {"name": table}).fetchone() is not None
        if self._is_postgresql:
            query = sa.text("SELECT 1 FROM pg_class WHERE oid = to_regclass(:name) AND relpersistence = 't'")
            name = unescaped(quoted, connection.dialect)
            return connection.execute(query, {"name": name}).first() is not None
        return (
            self._is_there(table)
            and "TEMPORARY" in str(connection.exec_driver_sql(f"SHOW CREATE TABLE {quoted}").one()[1]).partition("(")[0]
        )

    def _is_there(self, table: str) -> bool:
        schema, _, name = table.rpartition(".")
        return sa.inspect(self._opened.connection).has_table(name, schema=schema or None)

    def finish(self) -> None:
        """Ask the database a last time, and say what was not declared.

        Raises:
            UndeclaredWrite: something was, and that is not to be a warning.
        """
        self.pause()
        if self._driver is not None or self._before is not None:
            self._opened.writes.add_changed(self._opened.run, self._changed)
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
                        if kind != "update":
                            self._changed.add(name)
                        self._see(Target(name, kind))
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

    def _tell_if_strict(self) -> None:
        if self._found and self._writable.strict():
            self._tell()

    def _tell(self) -> None:
        owner = self._writable.owner
        told = ", ".join(
            f"{_VERBS[kind]} {_named(table, kind, found)}"
            for table, found in sorted(self._found.items())
            for kind in _VERBS
            if kind in found.kinds
        )
        message = f"{owner} {told}, which it does not declare: {self._writable.advice(self._found)}"
        if self._writable.strict():
            raise UndeclaredWrite(f"{message}. With 'strict_writes = False' this is a warning")
        if owner not in _warned:
            _warned.add(owner)
            log.warning("%s", message)


def _named(table: str, kind: str, found: Undeclared) -> str:
    if kind == "insert" and found.models:
        return f"{table} (as {', '.join(sorted(model.__name__ for model in found.models))})"
    columns = sorted(found.columns) if kind == "update" else []
    return ", ".join(f"{table}.{column}" for column in columns) or table


@contextmanager
def watched(opened: transaction.OpenTransaction, declare: Callable[[], Writable]) -> Iterator[None]:
    """Watch what is written in an open transaction until the block ends.

    Args:
        opened: the transaction.
        declare: says what may be written; called where something is.

    Raises:
        UndeclaredWrite: something that was not declared.
    """
    with unwatched(opened):
        opened.watch = Watch(opened, declare)
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
