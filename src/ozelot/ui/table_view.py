"""Tables as the page shows them: how many rows, the first ones, and on request what is in each column."""

from __future__ import annotations

from collections.abc import Collection
from contextlib import suppress
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote

import sqlalchemy as sa
from sqlalchemy.exc import DBAPIError

from ozelot.client import Client
from ozelot.model.base import Base
from ozelot.schema.dependents import is_own, parts
from ozelot.ui import cells
from ozelot.ui.snapshot import Pipeline

_SAMPLE = 20  # rows
_FEW = 5  # rows of a first look

#: What a database may not be able to compare.
_INCOMPARABLE = (sa.JSON, sa.ARRAY, sa.types.NullType)


@dataclass(frozen=True)
class Rows:
    """Rows to be shown.

    Attributes:
        columns: their names.
        rows: values as text; None where there is none.
    """

    columns: list[str]
    rows: list[list[str | None]]


@dataclass(frozen=True)
class Column:
    """What is in a column: how many values, how many of them differ, or None where these are not to be shown."""

    name: str
    nulls: int
    distinct: int | None


def names(database: Client) -> list[str]:
    """The names of the tables of the data."""
    with database.engine.connect() as connection:
        there = sa.inspect(connection).get_table_names()
        left_out = parts(connection)
    return [name for name in sorted(there) if not is_own(name) and name not in left_out]


def described(database: Client, wanted: Collection[str] | None = None) -> dict[str, sa.Table]:
    """The tables of the data, by name, as they are in the database, which may be behind the models.

    Types, and what is to be hidden, are as models say where these were imported.

    Args:
        database: where they are.
        wanted: only tables of these names: PostgreSQL has whoever asks about a table wait while it is locked.
    """
    there = [name for name in names(database) if wanted is None or name in wanted]
    return _described(sa.inspect(database.engine), there)


def _described(inspector: sa.Inspector, names: list[str]) -> dict[str, sa.Table]:
    """Tables, by three questions: without indexes and unique constraints.

    SQLAlchemy finds the latter in the text of SQLite's schema, which takes seconds where names are very long.
    """
    if not names:
        return {}
    columns = inspector.get_multi_columns(filter_names=names)
    keys = inspector.get_multi_pk_constraint(filter_names=names)
    others = inspector.get_multi_foreign_keys(filter_names=names)
    models = _models()
    made = sa.MetaData()
    found = {}
    for where, described in columns.items():
        key = keys.get(where)
        primary = key["constrained_columns"] if key else []
        found[where[1]] = sa.Table(
            where[1],
            made,
            *(
                _column(c, c["name"] in primary, models.get((where[1].casefold(), c["name"].casefold()), []))
                for c in described
            ),
            *(
                sa.ForeignKeyConstraint(
                    other["constrained_columns"],
                    [f"{other['referred_table']}.{column}" for column in other["referred_columns"]],
                )
                for other in others.get(where, [])
                if other["referred_columns"]
            ),
        )
    return {name: found[name] for name in names if name in found}


def _models() -> dict[tuple[str, str], list[sa.Column[Any]]]:
    """The columns of all models, by the names of the table and the column.

    Case does not tell names apart, as on SQLite and MariaDB, nor does the schema: rather hide too much than too little.
    """
    found: dict[tuple[str, str], list[sa.Column[Any]]] = {}
    for table in Base.metadata.tables.values():
        for column in table.columns:
            found.setdefault((table.name.casefold(), column.name.casefold()), []).append(column)
    return found


def _column(there: Any, is_primary: bool, models: list[sa.Column[Any]]) -> sa.Column[Any]:
    return sa.Column(
        there["name"],
        models[0].type if models else there["type"],
        primary_key=is_primary,
        nullable=there["nullable"],
        info={"hidden": any(model.info.get("hidden") for model in models)},
    )


def counts(database: Client, tables: Collection[str]) -> dict[str, int]:
    """How many rows each table has, by one query; none where that takes too long, or one cannot be read."""
    if not tables:
        return {}
    each = [sa.select(sa.literal(name), sa.func.count()).select_from(sa.table(name)) for name in tables]
    with suppress(DBAPIError), database.engine.connect() as connection:
        return {name: number for name, number in connection.execute(sa.union_all(*each))}  # noqa: C416
    return {}


def sample(database: Client, table: sa.Table, *, run_id: int | None = None, few: bool = False) -> Rows:
    """The first rows of a table, or of those that a run made, as far as they know it."""
    columns = list(table.columns)
    short = _SHORT.get(database.engine.dialect.name, _of_mysql)
    query = sa.select(*((sa.null() if cells.is_hidden(c) else short(c)).label(None) for c in columns))
    query = query.select_from(table).limit(_FEW if few else _SAMPLE)
    if run_id is not None and "run_id" in table.columns:
        query = query.where(table.c.run_id == run_id)
    if keys := list(table.primary_key.columns):
        query = query.order_by(*keys)
    with database.engine.connect() as connection:
        found = connection.execute(query).all()
    hidden = [cells.is_hidden(column) for column in columns]
    return Rows(
        [column.name for column in columns],
        [
            [
                cells.HIDDEN if hide else None if value is None else _told(value, column)
                for value, hide, column in zip(row, hidden, columns, strict=True)
            ]
            for row in found
        ],
    )


def _told(value: Any, column: sa.Column[Any]) -> str:
    if isinstance(value, bytes):  # the beginning of a text, in which SQLite keeps what it is given
        value = value.decode(errors="replace")
    kind = column.type._type_affinity
    if kind is sa.Boolean and value in (0, 1, "true", "false"):
        value = value in (1, "true")
    if kind in (sa.DateTime, sa.Time) and isinstance(value, str):
        value = value.removesuffix(".000000")
    return cells.value(value)


# Values are read as the database holds them, and no more of each than is shown. Types of a model would stumble over
# what does not fit them, such as a date that is none; unpack objects, which a file could hold; and run foreign code.


def _of_sqlite(column: sa.Column[Any]) -> sa.ColumnElement[Any]:
    """As bytes, where it is a text: SQLite does not see to it that it can be decoded."""
    raw = sa.type_coerce(column, sa.types.NullType())
    beginning = sa.cast(sa.func.substr(raw, 1, cells.LONGEST + 1), sa.BLOB)
    kind = sa.func.typeof(raw)
    return sa.case(
        (kind == "blob", sa.func.printf("%,d bytes", sa.func.length(raw))), (kind == "text", beginning), else_=raw
    )


def _of_postgresql(column: sa.Column[Any]) -> sa.ColumnElement[Any]:
    raw = sa.type_coerce(column, sa.types.NullType())
    if _is_binary(column):
        return sa.func.octet_length(raw).op("||")(sa.text("' bytes'"))
    return sa.func.substr(sa.cast(raw, sa.Text), 1, cells.LONGEST + 1)


def _of_mysql(column: sa.Column[Any]) -> sa.ColumnElement[Any]:
    raw = sa.type_coerce(column, sa.types.NullType())
    if _is_binary(column) or isinstance(column.type, sa.types.NullType):  # the latter is a place on a map
        return sa.func.concat(sa.func.octet_length(raw), " bytes")
    if column.type._type_affinity in (sa.String, sa.JSON):
        return sa.func.left(raw, cells.LONGEST + 1)
    return raw


_SHORT = {"sqlite": _of_sqlite, "postgresql": _of_postgresql}


def _is_binary(column: sa.Column[Any]) -> bool:
    return issubclass(column.type._type_affinity or object, sa.types._Binary)


def profile(database: Client, table: sa.Table) -> tuple[int, list[Column]]:
    """How many rows a table has, and of each column how many are NULL and how many values differ, by one query."""
    columns = list(table.columns)
    asked: list[Any] = [sa.func.count()]
    for column in columns:
        asked.append(sa.func.count(column))
        kind = getattr(column.type, "data_type", column.type)  # the former is of a domain
        countable = not (cells.is_hidden(column) or _is_binary(column) or isinstance(kind, _INCOMPARABLE))
        asked.append(sa.func.count(sa.distinct(column)) if countable else sa.null())
    with database.engine.connect() as connection:
        number, *rest = connection.execute(sa.select(*asked).select_from(table)).one()
    pairs = zip(columns, rest[::2], rest[1::2], strict=True)
    return number, [Column(column.name, number - filled, distinct) for column, filled, distinct in pairs]


def filled_by(pipeline: Pipeline) -> dict[str, dict[str, tuple[list[str], int]]]:
    """Which tasks filled each table, or a column of it.

    Returns:
        By table, by class: the keys of its tasks, and how many rows or values they made.
    """
    found: dict[str, dict[str, tuple[list[str], int]]] = {}
    for key, node in pipeline.nodes.items():
        made: dict[str, int] = {}
        for name, count in node.rows.items():
            table = name.partition(".")[0]
            made[table] = made.get(table, 0) + (count or 0)
        for table, count in made.items():
            if count:
                keys, before = found.setdefault(table, {}).setdefault(node.name, ([], 0))
                keys.append(key)
                found[table][node.name] = keys, before + count
    return found


def schema(tables: dict[str, sa.Table], numbers: dict[str, int]) -> dict[str, Any]:
    """Boxes and arrows of the data model, for the script that lays them out."""
    boxes = [
        {
            "id": name,
            "href": f"/data/{quote(name, safe='')}",
            "title": name,
            "lines": [f"{len(table.columns)} columns"],
            "state": "table",
            "words": f"{numbers[name]:,} rows" if name in numbers else "not counted",
            "center": False,
        }
        for name, table in tables.items()
    ]
    arrows = {
        (name, key.target_fullname.rpartition(".")[0].rpartition(".")[2]): None
        for name, table in tables.items()
        for key in sorted(table.foreign_keys, key=lambda key: key.target_fullname)
    }
    kept = [list(pair) for pair in arrows if pair[1] in tables and pair[0] != pair[1]]
    return {"kind": "table", "boxes": boxes, "arrows": kept, "left_out": 0}
