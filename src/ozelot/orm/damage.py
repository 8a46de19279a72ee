"""What is wrong with ozelot's own tables in a database that another program wrote to, in one line."""

from __future__ import annotations

import datetime
import json
from typing import Any

import sqlalchemy as sa

from ozelot.orm.fingerprint import fingerprints
from ozelot.orm.target import OWN_TABLES

_SHOWN = 40  # characters of a value
_EXPECTED = {str: "text", int: "an integer", datetime.datetime: "a date and time", dict: "a JSON object"}


def views(connection: sa.Connection) -> list[str]:
    """The names of ozelot's own tables that are views; asks the catalog only, since a view may never end."""
    return sorted({table.name for table in OWN_TABLES}.intersection(sa.inspect(connection).get_view_names()))


def first_value(connection: sa.Connection) -> str | None:
    """The first value in ozelot's own tables that its column does not allow: where, what is expected, what is found."""
    inspector = sa.inspect(connection)
    there = set(inspector.get_table_names())
    for table in OWN_TABLES:
        if table.name in there:
            names = {column["name"] for column in inspector.get_columns(table.name)}
            if found := _first_in(connection, table, [column for column in table.columns if column.name in names]):
                return found
    return None


def _first_in(connection: sa.Connection, table: sa.Table, columns: list[sa.Column[Any]]) -> str | None:
    raw = [sa.type_coerce(column, sa.types.NullType()).label(f"c{place}") for place, column in enumerate(columns)]
    for row in connection.execute(sa.select(*raw)) if raw else ():
        for column, value in zip(columns, row, strict=True):
            expected = _expected(connection, column, value)
            if expected is not None:
                keys = [f"{c.name} {v!r}"[:_SHOWN] for c, v in zip(columns, row, strict=True) if c.primary_key]
                where = f" in the row with {', '.join(keys)}" if keys and not column.primary_key else ""
                return f"{table.name}.{column.name} expects {expected}; it holds {_shown(value)}{where}"
    return None


def _expected(connection: sa.Connection, column: sa.Column[Any], value: Any) -> str | None:
    """What a column expects where the value is something else; else None."""
    kind = dict if column is fingerprints.c.parts else column.type.python_type
    if value is None:
        return None if column.nullable else f"{_EXPECTED[kind]}, not NULL"
    try:
        if kind is dict:
            value = json.loads(value)
        else:
            process = column.type.dialect_impl(connection.dialect).result_processor(connection.dialect, None)
            value = process(value) if process is not None else value
    except (ValueError, TypeError, OverflowError):
        return _EXPECTED[kind]
    return None if isinstance(value, kind) else _EXPECTED[kind]


def _shown(value: object) -> str:
    text = repr(value[:_SHOWN] if isinstance(value, str | bytes) else value)
    return text if len(text) <= _SHOWN else f"{text[:_SHOWN]}..."
