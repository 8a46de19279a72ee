"""What it takes to apply a difference: what the rows allow, what the database can, and what goes together."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import sqlalchemy as sa

from ozelot.schema import column_types, dependents
from ozelot.schema.dependents import creators, fillers_of, rebuilt_with
from ozelot.schema.difference import Difference, Kind, Takes

_OF_COLUMNS = (Kind.TYPE, Kind.NULLABLE, Kind.DEFAULT)


def judged(
    connection: sa.Connection,
    kind: Kind,
    table: str,
    model: sa.Table | None,
    item: Any,
    columns: Sequence[str],
    words: str,
) -> Difference:
    """A difference with what applying it takes, looked at by itself."""
    takes, why = Takes.IN_PLACE, ""
    if kind in (Kind.TABLE_EXTRA, Kind.COLUMN_EXTRA):
        takes = Takes.DROP
        if kind is Kind.COLUMN_EXTRA and not item.nullable and item.server_default is None:
            why = "it takes no NULL and has no default, so that no row can be added"
    elif model is not None and kind is not Kind.TABLE_MISSING:
        why = _why_not(connection, kind, model, item, columns)
        takes = Takes.REBUILD if why else Takes.IN_PLACE
    filled: set[str] = set()
    if model is not None and kind is not Kind.COLUMN_EXTRA:
        own = [column for column in model.columns if column.name in columns]
        filled = set().union(*(fillers_of(column) for column in own)) if own else creators(model)
    return Difference(
        kind=kind,
        table=table,
        column=", ".join(columns) or None,
        words=words,
        takes=takes,
        tasks=tuple(sorted(filled)),
        why=why,
        item=item,
    )


def _why_not(connection: sa.Connection, kind: Kind, table: sa.Table, item: Any, columns: Sequence[str]) -> str:
    """Why it cannot be applied with the rows kept; empty where it can."""
    if kind is Kind.PRIMARY_KEY:
        return "rows are told apart by it"
    if kind is Kind.COLUMN_MISSING:
        return _why_not_added(connection, table, item)
    if kind is Kind.TYPE:
        return _why_not_converted(connection, table, *item)
    if kind is Kind.NULLABLE:
        number = 0 if item[0].nullable else dependents.nulls(connection, table, item[0].name)
        return f"{number:,} rows hold NULL" if number else ""
    new = _new(connection, table, columns)
    if kind is Kind.UNIQUE_MISSING or (kind is Kind.INDEX_MISSING and item.unique):
        if new:
            fills = all(column.nullable and column.server_default is None for column in new)
            return "" if fills or dependents.rows(connection, table) < 2 else "all rows would hold the same"
        number = dependents.repeated(connection, table, columns)
        return f"{number:,} values are there more than once" if number else ""
    if kind is Kind.FOREIGN_KEY_MISSING and not new:
        if not sa.inspect(connection).has_table(item.referred_table.name, schema=item.referred_table.schema):
            return (
                "rows refer to what is not there"
                if any(
                    dependents.rows(connection, table) - dependents.nulls(connection, table, name) for name in columns
                )
                else ""
            )
        number = dependents.dangling(connection, item)
        return f"{number:,} rows refer to what is not there" if number else ""
    return ""


def _new(connection: sa.Connection, table: sa.Table, names: Sequence[str]) -> list[sa.Column[Any]]:
    there = {column["name"] for column in sa.inspect(connection).get_columns(table.name, schema=table.schema)}
    return [column for column in table.columns if column.name in names and column.name not in there]


def _why_not_added(connection: sa.Connection, table: sa.Table, column: sa.Column[Any]) -> str:
    if column.primary_key:
        return "rows are told apart by it"
    fills = column.nullable or column.server_default is not None or column.computed is not None
    if fills or not dependents.has_rows(connection, table):
        return ""
    return "it takes no NULL and has no default, and there are rows"


def _why_not_converted(connection: sa.Connection, table: sa.Table, column: sa.Column[Any], there: Any) -> str:
    dialect = connection.dialect
    if column_types.widens(there["type"], column.type, dialect):
        return ""
    length = column_types.longest(column.type, there["type"], dialect)
    if length is None:
        return "not every value would stay what it is"
    number = dependents.longer(connection, table, column.name, length)
    return f"{number:,} values are longer" if number else ""


def levelled(connection: sa.Connection, tables: Mapping[str, sa.Table], found: list[Difference]) -> list[Difference]:
    """Differences with what applying each takes together with others: of one column, of one table, of related ones."""
    found = [_with_its_columns(difference, found) for difference in found]
    before: list[Difference] = []
    while found != before:  # what refers to what refers to a table that has to wait has to wait, too
        before, found = found, [_with_what_it_refers_to(difference, found) for difference in found]
    rebuilt = {difference.table for difference in found if difference.takes.rebuilds}
    if connection.dialect.name == "sqlite":
        found = [_with_its_table(difference, rebuilt) for difference in found]
        found = [_with_its_columns(difference, found) for difference in found]
    columns = {(difference.table, difference.column) for difference in found if difference.kind is Kind.COLUMN_EXTRA}
    strangers = {difference.table for difference in found if difference.kind is Kind.TABLE_EXTRA}
    for name in sorted(rebuilt):
        along = {table.fullname for table in rebuilt_with([tables[name]])}
        names = {table.name for table in rebuilt_with([tables[name]])}
        referring = {
            holder
            for holder, _, key in dependents.foreign_keys(connection)
            if key["referred_table"] in names
            and (holder in strangers or any((holder, column) in columns for column in key["constrained_columns"]))
        }
        if dropped := sorted({f"{table}.{column}" for table, column in columns if table in along} | referring):
            why = f"which drops {', '.join(dropped)}"
            found = [
                replace(one, takes=Takes.REBUILD_AND_DROP, why=", ".join(filter(None, [one.why, why])))
                if one.table == name and one.takes.rebuilds
                else one
                for one in found
            ]
    return found


def _with_its_columns(difference: Difference, found: Sequence[Difference]) -> Difference:
    if difference.takes is not Takes.IN_PLACE or difference.column is None or difference.kind.endswith("extra"):
        return difference
    columns = set(difference.column.split(", "))
    whole = difference.kind in _OF_COLUMNS
    for other in found:
        of_a_column = (
            other.kind is Kind.COLUMN_MISSING or other.kind is Kind.TYPE or (whole and other.kind in _OF_COLUMNS)
        )
        if of_a_column and other.table == difference.table and other.takes.rebuilds and other.column in columns:
            return replace(difference, takes=other.takes, why=f"with {other.column}")
    return difference


def _with_what_it_refers_to(difference: Difference, found: Sequence[Difference]) -> Difference:
    if difference.takes is not Takes.IN_PLACE:
        return difference
    keys: list[sa.ForeignKeyConstraint] = []
    if difference.kind is Kind.FOREIGN_KEY_MISSING:
        keys = [difference.item]
    elif difference.kind is Kind.TABLE_MISSING:
        keys = [*difference.item.foreign_key_constraints]
    for key in keys:
        columns = {element.column.name for element in key.elements}
        for other in found:
            touched = other.kind is Kind.TABLE_MISSING or not columns.isdisjoint((other.column or "").split(", "))
            if touched and other.takes.rebuilds and other.table == key.referred_table.fullname:
                return replace(difference, takes=other.takes, why=f"with {other.table}")
    return difference


def _with_its_table(difference: Difference, rebuilt: set[str]) -> Difference:
    """On SQLite a table is copied or made anew as a whole."""
    if difference.table not in rebuilt or difference.takes.rebuilds or alters(difference):
        return difference
    takes = Takes.REBUILD_AND_DROP if difference.takes is Takes.DROP else Takes.REBUILD
    return replace(difference, takes=takes, why="with the rest of the table")


def alters(difference: Difference) -> bool:
    """Whether SQLite applies a difference without a copy of the table."""
    if difference.kind is Kind.COLUMN_MISSING:
        column: sa.Column[Any] = difference.item
        plain = column.server_default is None and column.computed is None and not column.foreign_keys
        return bool(plain and column.nullable and not column.unique)
    return difference.kind in (Kind.INDEX_MISSING, Kind.INDEX_EXTRA, Kind.TABLE_MISSING, Kind.TABLE_EXTRA)
