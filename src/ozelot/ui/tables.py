"""Tables as the page shows them: how many rows, the first ones, and on request what is in each column."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any
from urllib.parse import quote

import sqlalchemy as sa

from ozelot.client import Client
from ozelot.orm.base import Base
from ozelot.schema.reading import is_own, parts
from ozelot.ui import shown
from ozelot.ui.pipeline import Pipeline

_SAMPLE = 20  # rows
_FEW = 5  # rows of a first look


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


def all_tables(database: Client) -> dict[str, sa.Table]:
    """The tables of the data, by name, as they are in the database, which may be behind the models.

    Types, and what is to be hidden, are as models say where these were imported.
    """
    inspector = sa.inspect(database.engine)
    with database.engine.connect() as connection:
        left_out = parts(connection)
    there = [name for name in sorted(inspector.get_table_names()) if not is_own(name) and name not in left_out]
    return _described(inspector, there)


def _described(inspector: sa.Inspector, names: list[str]) -> dict[str, sa.Table]:
    """Tables, by three questions: without indexes and unique constraints.

    SQLAlchemy finds the latter in the text of SQLite's schema, which takes seconds where names are very long.
    """
    if not names:
        return {}
    columns = inspector.get_multi_columns(filter_names=names)
    keys = inspector.get_multi_pk_constraint(filter_names=names)
    others = inspector.get_multi_foreign_keys(filter_names=names)
    models = {table.name: {c.name: c for c in table.columns} for table in Base.metadata.tables.values()}
    made = sa.MetaData()
    found = {}
    for where, described in columns.items():
        key = keys.get(where)
        primary = key["constrained_columns"] if key else []
        found[where[1]] = sa.Table(
            where[1],
            made,
            *(_column(c, c["name"] in primary, models.get(where[1], {}).get(c["name"])) for c in described),
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


def _column(there: Any, is_primary: bool, model: sa.Column[Any] | None) -> sa.Column[Any]:
    return sa.Column(
        there["name"],
        there["type"] if model is None else model.type,
        primary_key=is_primary,
        nullable=there["nullable"],
        info={} if model is None else dict(model.info),
    )


def counts(database: Client, tables: dict[str, sa.Table]) -> dict[str, int]:
    """How many rows each table has, by one query."""
    if not tables:
        return {}
    each = [sa.select(sa.literal(name), sa.func.count()).select_from(table) for name, table in tables.items()]
    with database.engine.connect() as connection:
        return {name: number for name, number in connection.execute(sa.union_all(*each))}  # noqa: C416


def sample(database: Client, table: sa.Table, *, run_id: int | None = None, few: bool = False) -> Rows:
    """The first rows of a table, or of those that a run made, as far as they know it."""
    columns = list(table.columns)
    query = sa.select(
        *(sa.null().label(c.name) if shown.is_hidden(c) else sa.type_coerce(c, _as_is(c)) for c in columns)
    )
    query = query.select_from(table).limit(_FEW if few else _SAMPLE)
    if run_id is not None and "run_id" in table.columns:
        query = query.where(table.c.run_id == run_id)
    if keys := list(table.primary_key.columns):
        query = query.order_by(*keys)
    with database.engine.connect() as connection:
        found = connection.execute(query).all()
    hidden = [shown.is_hidden(column) for column in columns]
    return Rows(
        [column.name for column in columns],
        [
            [
                shown.HIDDEN if hide else None if value is None else shown.value(value)
                for value, hide in zip(row, hidden, strict=True)
            ]
            for row in found
        ],
    )


def _as_is(column: sa.Column[Any]) -> sa.types.TypeEngine[Any]:
    """The type by which to read a column: its own, but for those that unpack objects that a file could hold."""
    return sa.LargeBinary() if isinstance(column.type, sa.PickleType) else column.type


def profile(database: Client, table: sa.Table) -> tuple[int, list[Column]]:
    """How many rows a table has, and of each column how many are NULL and how many values differ, by one query."""
    columns = list(table.columns)
    asked: list[Any] = [sa.func.count()]
    for column in columns:
        asked.append(sa.func.count(column))
        countable = not shown.is_hidden(column) and not isinstance(column.type, sa.JSON | sa.LargeBinary)
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
            made[table] = made.get(table, 0) + count
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
