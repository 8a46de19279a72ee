"""Deleting rows in an order that foreign keys accept, and making sure that nothing else changed.

First it is asked what stands in the way: rows that stay, but refer to rows that go. Then rows are deleted and columns
reset, and each statement must hit exactly the rows that were counted before it. At the end the database itself is asked
what changed, by whatever trigger or rule: SQLite counts all changes of a connection, PostgreSQL those of each table in
the transaction. MariaDB does not say: there, rows that a rule (``ON DELETE``) could reach are looked for, and locked.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from graphlib import CycleError, TopologicalSorter
from itertools import pairwise
from typing import Any

import sqlalchemy as sa

from ozelot.errors import ClearRefused, RowsChanged
from ozelot.model.base import Base, names_there
from ozelot.rows.selection import Condition, Rows, count, exists, key_of, refers, restrict, values
from ozelot.state.runs import runs

_CHUNK = 500
_REFERS = "refers"  # of a column: it is part of the foreign key at hand
_FEW = 5  # tasks that are named
_HARMLESS = (None, "", "RESTRICT", "NO ACTION")

#: What PostgreSQL knows of the changes of a transaction, tables of its own and temporary ones left out, partitions
#: as the table that they are part of.
_CHANGES = sa.text(
    "SELECT c.relname, CAST(sum(n_tup_ins + n_tup_upd + n_tup_del) AS bigint) FROM pg_stat_xact_user_tables "
    "JOIN pg_class c ON c.oid = COALESCE(pg_partition_root(relid), relid) "
    "WHERE n_tup_ins + n_tup_upd + n_tup_del > 0 AND schemaname NOT LIKE 'pg_temp%' GROUP BY c.relname"
)


@dataclass(frozen=True)
class Blocked:
    """Rows that stay but refer to rows that are to be deleted.

    Attributes:
        table: where they are.
        columns: by which columns they refer.
        refers_to: the table that they refer to.
        count: how many they are.
        made_by: labels of tasks that made them, where the rows know.
        keys: the primary keys of the first of them, as text.
        is_nullable: whether they may refer to nothing.
    """

    table: sa.Table
    columns: tuple[str, ...]
    refers_to: sa.Table
    count: int
    made_by: list[str]
    keys: list[str]
    is_nullable: bool


def blocked_by(rows: Rows, connection: sa.Connection, *, lock: bool = True) -> list[Blocked]:
    """Rows that would be left without the row that they refer to, one entry for each foreign key.

    Args:
        rows: what is to be deleted.
        connection: the database.
        lock: lock rows that may be deleted where the database has rules that would change others with them, so that
            none comes to refer to them from now on.
    """
    found: list[Blocked] = []
    if not rows.tables:
        return found
    existing = names_there(connection)
    strangers = list(_stranger_keys(rows, connection))
    if lock:
        _lock(rows, connection, {target for _, _, target, rule in strangers if rule not in _HARMLESS})
    for table in sorted(Base.metadata.tables.values(), key=lambda table: table.name):
        stays = rows.stays(table) if table.name in existing else None
        for key in table.foreign_key_constraints if stays is not None else []:
            if key.referred_table not in rows.tables:
                continue
            if not rows.columns or set(key.columns).isdisjoint(rows.columns):
                where = sa.and_(stays, refers(key, rows.tables[key.referred_table]))  # type: ignore[arg-type]
                if exists(connection, table, where):
                    makers = _makers(connection, table, where)
                    found.append(_blocked(connection, table, list(key.columns), key.referred_table, where, makers))
    for stranger, refers_to_it, target, _ in strangers:
        if exists(connection, stranger, refers_to_it):
            columns = [column for column in stranger.columns if column.info.get(_REFERS)]
            found.append(_blocked(connection, stranger, columns, target, refers_to_it, []))
    return found


def _blocked(
    connection: sa.Connection,
    table: sa.Table,
    columns: list[sa.Column[Any]],
    refers_to: sa.Table,
    where: Condition,
    makers: list[str],
) -> Blocked:
    number, names = count(connection, table, where), tuple(column.name for column in columns)
    keys: list[str] = []
    if own := list(table.primary_key.columns):
        query = sa.select(*own).where(where).order_by(*own).limit(_FEW)
        keys = [", ".join(map(str, key)) for key in connection.execute(query)]
        if len(own) > 1:
            keys = [f"({key})" for key in keys]
    return Blocked(table, names, refers_to, number, makers, keys, any(column.nullable for column in columns))


def _stranger_keys(rows: Rows, connection: sa.Connection) -> Iterator[tuple[sa.Table, Condition, sa.Table, str | None]]:
    """Foreign keys of tables that are there but no models: the table, which rows refer, to what, the rule."""
    names = {table.name: table for table in rows.tables}
    for (_, holder), keys in sa.inspect(connection).get_multi_foreign_keys().items() if names else []:
        for key in keys if holder not in Base.metadata.tables else []:
            target = names.get(key["referred_table"])
            if target is not None:
                stranger = _stranger(connection, holder, key["constrained_columns"])
                own = [stranger.c[name] for name in key["constrained_columns"]]
                by_name = {column.name.lower(): column for column in target.columns}  # which table.c knows by their key
                other = sa.select(*(by_name[name.lower()] for name in key["referred_columns"]))
                wanted = restrict(other, rows.tables[target])
                refers_to_it = own[0].in_(wanted) if len(own) == 1 else sa.tuple_(*own).in_(wanted)
                yield stranger, refers_to_it, target, key["options"].get("ondelete")


def _stranger(connection: sa.Connection, name: str, referring: Sequence[str]) -> sa.Table:
    """A table without a model, with its primary key and some of its columns."""
    inspector = sa.inspect(connection)
    primary = inspector.get_pk_constraint(name)["constrained_columns"]
    nullable = {column["name"]: column["nullable"] for column in inspector.get_columns(name)}
    columns: list[sa.Column[Any]] = [
        sa.Column(each, primary_key=each in primary, nullable=nullable[each], info={_REFERS: each in referring})
        for each in dict.fromkeys([*primary, *referring])
    ]
    return sa.Table(name, sa.MetaData(), *columns)


def _lock(rows: Rows, connection: sa.Connection, targets: set[sa.Table]) -> None:
    if connection.dialect.name == "sqlite":
        return  # one writer at a time
    for table in rows.tables:
        ruled = (key for other in Base.metadata.tables.values() for key in other.foreign_key_constraints)
        if table in targets or any(key.referred_table is table and key.ondelete not in _HARMLESS for key in ruled):
            query = restrict(sa.select(*table.primary_key.columns), rows.tables[table])
            connection.execute(query.with_for_update(of=table)).close()


def _makers(connection: sa.Connection, table: sa.Table, where: Condition) -> list[str]:
    if "run_id" not in table.c or not any(key.references(runs) for key in table.c.run_id.foreign_keys):
        return []
    made = sa.select(table.c.run_id).where(where)
    query = sa.select(runs.c.name, runs.c.params).where(runs.c.id.in_(made)).distinct().limit(_FEW)
    return [f"{name} {params}" for name, params in connection.execute(query)]


def remove(rows: Rows, connection: sa.Connection) -> None:
    """Reset the columns and delete the rows, those that refer before those that they refer to.

    Args:
        rows: what is to go; nothing may refer to them (:func:`blocked_by`).
        connection: in an open transaction, which must be rolled back on any exception.

    Raises:
        RowsChanged: a statement hit other rows than were counted, or something else changed along with them.
    """
    witness = _witness(connection)
    changed: dict[str, int] = {}
    for column in rows.columns:
        reset = sa.update(column.table).where(column.is_not(None)).values({column: sa.null()})
        _hit(column.table, connection, reset, values(connection, column), changed, "reset")
    told = {
        base: connection.execute(restrict(sa.select(*base.primary_key.columns), rows.tables[base])).all()
        for base in rows.told_by_derived
    }
    order, circular = _order(rows, connection)
    for key in circular:
        _free(key, rows.tables[key.table], connection, changed)
    for table in order:
        if table in told:
            for some in _chunks(told[table]):
                _hit(table, connection, sa.delete(table).where(key_of(table).in_(some)), len(some), changed, "deleted")
            continue
        where = rows.tables[table]
        expected = count(connection, table, where)
        if expected:
            _hit(table, connection, restrict(sa.delete(table), where), expected, changed, "deleted")
    witness.check(changed)


def _order(rows: Rows, connection: sa.Connection) -> tuple[list[sa.Table], list[sa.ForeignKeyConstraint]]:
    """Tables in order of deletion, and the keys to be set to NULL first, because no order satisfies them.

    Raises:
        ClearRefused: there are rows that refer to each other in a circle by columns that may not be NULL.
    """
    tables = sorted(rows.tables, key=lambda table: table.name)
    keys = [key for table in tables for key in table.foreign_key_constraints if key.referred_table in rows.tables]
    broken = [key for key in keys if key.referred_table is key.table]
    between = [key for key in keys if key.referred_table is not key.table]
    while True:
        sorter: TopologicalSorter[sa.Table] = TopologicalSorter(dict.fromkeys(tables, ()))
        for key in between:
            sorter.add(key.referred_table, key.table)
        try:
            return list(sorter.static_order()), broken
        except CycleError as exc:
            circle: list[sa.Table] = exc.args[1]
        steps = [key for key in between if (key.table, key.referred_table) in pairwise(circle)]
        chosen = next((key for key in steps if any(column.nullable for column in key.columns)), None)
        if chosen is None:
            chosen = steps[0]
            if all(exists(connection, table, rows.tables[table]) for table in circle):
                names = " and ".join(sorted({table.name for table in circle}))
                raise ClearRefused(
                    f"{names} refer to each other by columns that may not be NULL, so that no order of deleting "
                    "satisfies them: make one of these columns nullable"
                )
        between.remove(chosen)
        broken.append(chosen)


def _free(
    key: sa.ForeignKeyConstraint, where: Condition | None, connection: sa.Connection, changed: dict[str, int]
) -> None:
    """Set references to NULL that no order of deleting could satisfy."""
    nullable = [column for column in key.columns if column.nullable]
    # One statement may delete rows that refer to each other; only MariaDB looks at them one by one, and rules do, on
    # SQLite RESTRICT, too.
    at_once = key.referred_table is key.table and key.ondelete in _HARMLESS and key.ondelete != "RESTRICT"
    if not nullable or (at_once and connection.dialect.name not in ("mysql", "mariadb")):
        return
    given = sa.and_(*(column.is_not(None) for column in key.columns))
    which = given if where is None else sa.and_(given, where)
    expected = count(connection, key.table, which)
    if expected:
        reset = sa.update(key.table).where(which).values({column: sa.null() for column in nullable})
        _hit(key.table, connection, reset, expected, changed, "freed of references")


def _hit(
    table: sa.Table, connection: sa.Connection, statement: Any, expected: int, changed: dict[str, int], what: str
) -> None:
    """Execute a statement that must change so many rows of a table; each row that is changed is counted."""
    driver = connection.connection.driver_connection
    before = driver.total_changes if isinstance(driver, sqlite3.Connection) else 0
    found = connection.execute(statement).rowcount if expected else 0
    if isinstance(driver, sqlite3.Connection):
        # Rows that a rule of the same table deletes are not in the row count.
        found = max(found, min(expected, driver.total_changes - before))
    if found != expected:
        raise RowsChanged(f"{found} rows of {table.name} were {what} where {expected} were to be; nothing was changed")
    changed[table.name] = changed.get(table.name, 0) + found


class _Witness:
    """What the database itself says has changed; by default it says nothing."""

    def check(self, changed: dict[str, int]) -> None:
        """Compare.

        Args:
            changed: how many rows of each table were changed on purpose.

        Raises:
            RowsChanged: others were changed, too.
        """


class _SQLiteWitness(_Witness):
    def __init__(self, connection: sa.Connection, driver: sqlite3.Connection) -> None:
        self._connection, self._driver, self._before = connection, driver, driver.total_changes

    def check(self, changed: dict[str, int]) -> None:
        more = self._driver.total_changes - self._before - sum(changed.values())
        if more:
            query = sa.text("SELECT tbl_name, name FROM sqlite_master WHERE type = 'trigger'")
            triggers = [f"{name} on {table}" for table, name in self._connection.execute(query) if table in changed]
            raise RowsChanged(
                f"{more} more rows than planned would change while rows of {', '.join(sorted(changed))} are cleared"
                f"{_by_triggers(triggers)}; nothing was changed"
            )


class _PostgreSQLWitness(_Witness):
    def __init__(self, connection: sa.Connection) -> None:
        self._connection = connection
        self._before = self._look()

    def _look(self) -> dict[str, int]:
        return {name: number for name, number in self._connection.execute(_CHANGES)}  # noqa: C416 - rows, not pairs

    def check(self, changed: dict[str, int]) -> None:
        if self._connection.scalar(sa.text("SHOW track_counts")) != "on":
            return
        for name, number in self._look().items():
            more = number - self._before.get(name, 0) - changed.get(name, 0)
            if more:
                triggers = self._connection.execute(_TRIGGERS, {"names": list(changed)})
                raise RowsChanged(
                    f"{more} rows of {name}, which are not in the plan, would change while rows of "
                    f"{', '.join(sorted(changed))} are cleared{_by_triggers([row.told for row in triggers])}; nothing "
                    "was changed"
                )


_TRIGGERS = sa.text(
    "SELECT tgname || ' on ' || relname AS told FROM pg_trigger JOIN pg_class ON pg_class.oid = tgrelid "
    "WHERE NOT tgisinternal AND relname = ANY(:names)"
)


def _by_triggers(triggers: list[str]) -> str:
    return f" (triggers: {', '.join(triggers)})" if triggers else ""


def _witness(connection: sa.Connection) -> _Witness:
    driver = connection.connection.driver_connection
    if isinstance(driver, sqlite3.Connection):
        return _SQLiteWitness(connection, driver)
    return _PostgreSQLWitness(connection) if connection.dialect.name == "postgresql" else _Witness()


def _chunks(ids: Sequence[sa.Row[Any]]) -> Iterator[list[Any]]:
    for start in range(0, len(ids), _CHUNK):
        yield [row[0] if len(row) == 1 else tuple(row) for row in ids[start : start + _CHUNK]]


@dataclass(frozen=True)
class Dangling:
    """Rows that refer to rows that are not there.

    Attributes:
        table: where they are.
        columns: by which columns they refer, as text.
        refers_to: the table where the others should be.
        count: how many they are.
    """

    table: str
    columns: str
    refers_to: str
    count: int


def dangling(connection: sa.Connection) -> list[Dangling]:
    """What refers to nothing, by the foreign keys of the database and by those of the models."""
    found = []
    for table, columns, target, others in sorted(_keys(connection)):
        child = sa.table(table, *(sa.column(name) for name in columns)).alias("child")
        parent = sa.table(target, *(sa.column(name) for name in others)).alias("parent")
        same = [child.c[own] == parent.c[other] for own, other in zip(columns, others, strict=True)]
        missing = ~sa.exists().where(*same).select_from(parent).correlate(child)
        query = sa.select(sa.func.count()).select_from(child)
        number = connection.scalar(query.where(*(child.c[name].is_not(None) for name in columns), missing))
        if number:
            found.append(Dangling(table, ", ".join(columns), target, number))
    return found


def _keys(connection: sa.Connection) -> set[tuple[str, tuple[str, ...], str, tuple[str, ...]]]:
    inspector = sa.inspect(connection)
    there = set(inspector.get_table_names())
    found = {
        (table, tuple(key["constrained_columns"]), key["referred_table"], tuple(key["referred_columns"]))
        for (_, table), keys in inspector.get_multi_foreign_keys().items()
        for key in keys
        if key["referred_schema"] is None and key["referred_table"] in there and key["referred_columns"]
    }
    return found | {key for key in _keys_of_models() if key[0] in there and key[2] in there}


def _keys_of_models() -> Iterator[tuple[str, tuple[str, ...], str, tuple[str, ...]]]:
    for table in Base.metadata.tables.values():
        for key in table.foreign_key_constraints:
            own = tuple(element.parent.name for element in key.elements)
            yield table.name, own, key.referred_table.name, tuple(element.column.name for element in key.elements)
