"""The marker: the row that says that a task is complete.

The table is that of ozelot 0.2 with one more column, ``key``: a hash of name and parameters, made here because
PostgreSQL cannot index 10,000 characters and MariaDB folds case, and unique, so that the database decides which of
several runners completed a task. A table that 0.2 made is read as it is; the first write adds the column.
"""

from __future__ import annotations

import datetime
import hashlib
import logging
from collections.abc import Collection, Iterable
from typing import Any, NamedTuple, cast
from weakref import WeakSet

import sqlalchemy as sa
from sqlalchemy import event
from sqlalchemy.orm import Mapped, mapped_column

from ozelot.db import transaction
from ozelot.errors import TransactionError
from ozelot.model.base import Base
from ozelot.state import version
from ozelot.state.compiled_statement import Prepared
from ozelot.state.inputs import fingerprints, run_file, run_page
from ozelot.state.runs import CLEARING, DONE, LONG_TEXT, chunks, run_edge, runs, utc_now

log = logging.getLogger(__name__)

_INDEX = "ix_ormtargetmarker_key"
_WIDEN = {
    "postgresql": "ALTER COLUMN {} TYPE VARCHAR",
    "mysql": "MODIFY {} MEDIUMTEXT",
    "mariadb": "MODIFY {} MEDIUMTEXT",
}
_FEW = 500  # keys to ask for by name; for more, reading all keys is quicker


class ORMTargetMarker(Base):
    """One row a completed task."""

    name: Mapped[str | None] = mapped_column(LONG_TEXT)
    params: Mapped[str | None] = mapped_column(LONG_TEXT)
    created: Mapped[datetime.datetime | None] = mapped_column(default=utc_now)
    #: None only where ozelot 0.2 wrote the row.
    key: Mapped[str | None] = mapped_column(sa.String(64))

    __table_args__ = (sa.Index(_INDEX, "key", unique=True), {"mysql_charset": "utf8mb4"})

    def __str__(self) -> str:
        return f"{self.name} {self.params} {self.created}"


markers = cast(sa.Table, ORMTargetMarker.__table__)


class Identity(NamedTuple):
    """A task as markers and runs know it: its name and parameter string, the key of both, and that of ozelot 0.2."""

    name: str
    params: str
    key: str
    legacy_key: str


def marker_key(name: str, params: str) -> str:
    """The key of a task: SHA-256 in hexadecimal."""
    return _hash(f"{len(name)}:{name}{params}")


def legacy_key(name: str | None, params: str | None) -> str:
    """The key of a marker that ozelot 0.2 wrote: its spelling of one task may be today's of another."""
    return _hash(f"0.2:{len(name or '')}:{name or ''}{params or ''}")


def _hash(text: str) -> str:
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()


def is_ready(connection: sa.Connection) -> bool:
    """Whether the tables of markers and runs are there, and as they should be; changes nothing."""
    return connection.engine in _current or _is_current(connection)


def existing(connection: sa.Connection, keys: Collection[str]) -> set[str]:
    """Those of ``keys`` that have a marker, by one query; changes nothing, works on tables of 0.2 and on none."""
    if not keys:
        return set()
    if not is_ready(connection):
        return {row.key for row in every(connection)}.intersection(keys)
    query = sa.select(ORMTargetMarker.key)
    if len(keys) <= _FEW:
        query = query.where(ORMTargetMarker.key.in_(keys))
    return {key for (key,) in connection.execute(query) if key is not None and key in keys}


def insert(connection: sa.Connection, name: str, params: str, key: str | None = None) -> None:
    """Write a marker; the table must be ready (:func:`prepare`).

    Args:
        connection: to the database.
        name: the name of the task.
        params: its parameter string.
        key: the key of both, where it is at hand.

    Raises:
        sqlalchemy.exc.IntegrityError: it is there already.
    """
    key = key or marker_key(name, params)
    _INSERT.execute(connection, {"the_name": name, "the_params": params, "the_key": key, "now": utc_now()})


_INSERT = Prepared(
    sa.insert(markers).values(
        name=sa.bindparam("the_name"),
        params=sa.bindparam("the_params"),
        key=sa.bindparam("the_key"),
        created=sa.bindparam("now"),
    )
)


def delete(connection: sa.Connection, keys: Iterable[str]) -> int:
    """Delete the markers with these keys, and say how many there were; the table must be ready."""
    wanted = list(keys)
    deleted = 0
    for start in range(0, len(wanted), _FEW):
        some = wanted[start : start + _FEW]
        deleted += connection.execute(sa.delete(markers).where(markers.c.key.in_(some))).rowcount
    return deleted


def has_unrecorded(connection: sa.Connection, names: Collection[str]) -> bool:
    """Whether a task with one of these names ran, but how many rows it wrote was not recorded, as ozelot 0.2 did not.

    It has a marker, and no run that is done; or such a run of which no rows are known.
    """
    if not sa.inspect(connection).has_table(markers.name):
        return False
    query = sa.select(markers.c.id).where(markers.c.name.in_(names)).limit(1)
    if version.has_runs(connection):
        has_run = sa.exists().where(runs.c.key == markers.c.key, runs.c.state.in_((DONE, CLEARING)))
        lost = sa.select(runs.c.id).where(runs.c.name.in_(names), runs.c.state == DONE, runs.c.rows.is_(None)).limit(1)
        if connection.execute(lost).first() is not None:
            return True
        query = query.where(~has_run) if _has_keys(connection) else query
    return connection.execute(query).first() is not None


def _has_keys(connection: sa.Connection) -> bool:
    return any(column["name"] == "key" for column in sa.inspect(connection).get_columns(markers.name))


def without_run(connection: sa.Connection) -> list[MarkerRow]:
    """The markers of tasks of which no run is recorded, as ozelot 0.2 wrote them."""
    if not is_ready(connection):
        return every(connection)
    has_run = sa.exists().where(runs.c.key == markers.c.key, runs.c.state == DONE)
    query = sa.select(markers.c.name, markers.c.params, markers.c.key, markers.c.created).where(~has_run)
    return [MarkerRow(*row) for row in connection.execute(query.order_by(markers.c.id))]


def record_lost_runs(connection: sa.Connection, tasks: Iterable[Identity]) -> None:
    """Record, before their markers are removed, that tasks ran of which no run is recorded, as by ozelot 0.2.

    So it stays known that they may have rows. How many is unknown.

    Args:
        connection: the caller commits.
        tasks: the tasks.
    """
    by_key = {key: task for task in tasks for key in (task.key, task.legacy_key)}
    now = utc_now()
    has_run = sa.exists().where(runs.c.key == markers.c.key, runs.c.state == DONE)
    for some in chunks(list(by_key)):
        query = sa.select(markers.c.key, markers.c.created).where(markers.c.key.in_(some), ~has_run)
        found = {by_key[key]: created for key, created in connection.execute(query)}
        rows = [
            {"key": task.key, "name": task.name, "params": task.params, "state": DONE, "host": "", "process": 0}
            | {"started": created or now, "finished": created or now}
            for task, created in found.items()
        ]
        if rows:
            connection.execute(sa.insert(runs), rows)


def names_complete(connection: sa.Connection, names: Iterable[str], *, limit: int) -> list[str]:
    """Labels of complete tasks with these names, at most ``limit``."""
    if not sa.inspect(connection).has_table(markers.name):
        return []
    query = sa.select(markers.c.name, markers.c.params).where(markers.c.name.in_(list(names))).limit(limit)
    return [f"{name} {params}" for name, params in connection.execute(query)]


def first_other(connection: sa.Connection, names: Iterable[str], keys: Collection[str]) -> str | None:
    """The label of a complete task with one of these names, but none of these keys; the table must be ready."""
    query = sa.select(markers.c.key, markers.c.name, markers.c.params).where(markers.c.name.in_(list(names)))
    for key, name, params in connection.execute(query.limit(len(keys) + 1)):
        if key not in keys:
            return f"{name} {params}"
    return None


#: Engines whose marker table was seen to be as it should.
_current: WeakSet[sa.Engine] = WeakSet()


#: What comes along with the markers, in order of creation.
_OTHERS = (runs, run_edge, run_page, run_file, fingerprints)

#: The tables that are ozelot's own.
OWN_TABLES = (markers, *_OTHERS, version.versions)


def _dropped(_table: sa.Table, connection: sa.Connection, **_kwargs: Any) -> None:
    _current.discard(connection.engine)


for _table in (markers, *_OTHERS):
    event.listen(_table, "after_drop", _dropped)


def _is_current(connection: sa.Connection) -> bool:
    if not version.has_runs(connection):
        return False
    inspector = sa.inspect(connection)
    if not {table.name for table in (markers, *_OTHERS)}.issubset(inspector.get_table_names()):
        return False
    # The index comes last when a table of 0.2 is brought up to date.
    if not _has_index(inspector):
        return False
    # A colleague's 0.2 may go on writing rows without a key.
    if connection.execute(sa.select(markers.c.id).where(markers.c.key.is_(None)).limit(1)).first() is not None:
        return False
    if transaction.current(connection.engine) is None:
        _current.add(connection.engine)  # else it may yet be rolled back
    return True


def _has_index(inspector: sa.Inspector) -> bool:
    return any(index["unique"] and index["column_names"] == ["key"] for index in inspector.get_indexes(markers.name))


class MarkerRow(NamedTuple):
    """A marker as it is in the database; its key is made up where ozelot 0.2 wrote the row."""

    name: str
    params: str
    key: str
    created: datetime.datetime | None


def every(connection: sa.Connection) -> list[MarkerRow]:
    """All markers, also of a table of 0.2, and of none; changes nothing."""
    inspector = sa.inspect(connection)
    if not inspector.has_table(markers.name):
        return []
    keyed = _has_keys(connection)
    columns = [markers.c.name, markers.c.params, markers.c.key if keyed else sa.null(), markers.c.created]
    rows = connection.execute(sa.select(*columns).order_by(markers.c.id))
    return [
        MarkerRow(name or "", params or "", key or legacy_key(name, params), created)
        for name, params, key, created in rows
    ]


def recorded_as(connection: sa.Connection, name: str) -> list[MarkerRow]:
    """The markers with this name, and then the runs, the latest first, as if they were markers; changes nothing."""
    found = [row for row in every(connection) if row.name == name]
    if version.has_runs(connection):
        query = sa.select(runs.c.name, runs.c.params, runs.c.key, sa.null()).where(runs.c.name == name)
        found += [MarkerRow(*row) for row in connection.execute(query.order_by(runs.c.id.desc()))]
    return list({row.key: row for row in reversed(found)}.values())[::-1]


def prepare(engine: sa.Engine) -> None:
    """Create the tables of markers and runs where they are missing, and bring one of ozelot 0.2 up to date.

    Raises:
        TransactionError: inside an open transaction on MariaDB, which would commit that transaction half-way.
    """
    if engine in _current:
        return
    opened = transaction.current(engine)
    if opened is not None:
        if not _is_current(opened.connection):
            if engine.dialect.name in ("mysql", "mariadb"):
                raise TransactionError(
                    "The table ormtargetmarker must be created or brought up to date before this transaction begins: "
                    "call Base.create_all(client), or run a task, first"
                )
            transaction.begin(opened.connection)
            _bring_up_to_date(opened.connection)
        return
    with engine.connect() as connection:
        if _is_current(connection):
            return
    with transaction.open_transaction(engine, claim="ormtargetmarker", changes_schema=True) as opened:
        transaction.begin(opened.connection)
        if not _is_current(opened.connection):  # another process may have been faster
            _bring_up_to_date(opened.connection)


def _bring_up_to_date(connection: sa.Connection) -> None:
    quote = connection.dialect.identifier_preparer.quote
    for table in _OTHERS:
        table.create(connection, checkfirst=True)
    inspector = sa.inspect(connection)
    if all(column["name"] != "fingerprint" for column in inspector.get_columns(runs.name)):
        connection.execute(sa.text(f"ALTER TABLE {quote(runs.name)} ADD COLUMN fingerprint VARCHAR(64)"))
    if not inspector.has_table(markers.name):
        markers.create(connection)
    else:
        _bring_markers_up_to_date(connection, inspector)
    version.stamp(connection)


def _bring_markers_up_to_date(connection: sa.Connection, inspector: sa.Inspector) -> None:
    quote = connection.dialect.identifier_preparer.quote
    alter = f"ALTER TABLE {quote(markers.name)}"
    columns = {column["name"]: column["type"] for column in inspector.get_columns(markers.name)}
    if "key" not in columns:
        connection.execute(sa.text(f"{alter} ADD COLUMN {quote('key')} VARCHAR(64)"))
    for name in ("name", "params"):
        if getattr(columns[name], "length", None) and connection.dialect.name in _WIDEN:  # parameters may be longer
            connection.execute(sa.text(f"{alter} {_WIDEN[connection.dialect.name].format(quote(name))}"))
    seen: set[str] = set()
    folded: list[int] = []
    keyed: list[dict[str, Any]] = []
    rows = sa.select(markers.c.id, markers.c.name, markers.c.params, markers.c.key).order_by(markers.c.id)
    for row_id, name, params, key in connection.execute(rows).all():
        new = key or legacy_key(name, params)
        if new in seen:
            folded.append(row_id)
        elif key is None:
            keyed.append({"row_id": row_id, "new": new})
        seen.add(new)
    for start in range(0, len(folded), _FEW):
        connection.execute(sa.delete(markers).where(markers.c.id.in_(folded[start : start + _FEW])))
    if keyed:
        update = sa.update(markers).where(markers.c.id == sa.bindparam("row_id")).values(key=sa.bindparam("new"))
        connection.execute(update, keyed)
    if not _has_index(inspector):
        index = next(index for index in markers.indexes if index.name == _INDEX)
        if any(other["name"] == _INDEX for other in inspector.get_indexes(markers.name)):
            index.drop(connection)  # of that name, but not what it has to be
        index.create(connection)
    log.info("Brought the table of markers up to date: %d markers, %d duplicates folded", len(seen), len(folded))
