"""Rows of any kind go in by one call, and come out as they were."""

from __future__ import annotations

import datetime
from collections.abc import Callable, Iterator
from typing import Any

import pandas as pd
import polars as pl
import pyarrow as pa
import pytest
import sqlalchemy as sa
from sqlalchemy import String
from sqlalchemy.orm import Mapped, mapped_column

from ozelot.client import Client
from ozelot.errors import LoadError
from ozelot.orm import bulk
from ozelot.orm.base import Base
from tests.tables import create_only

pytestmark = pytest.mark.servers

DAY = datetime.date(2013, 1, 31)


class Measurement(Base):
    name: Mapped[str] = mapped_column(String(50))
    value: Mapped[float | None]
    number: Mapped[int | None]
    day: Mapped[datetime.date | None]
    flag: Mapped[bool | None]
    renamed: Mapped[str | None] = mapped_column("other_name", String(50))


ROWS: list[dict[str, Any]] = [
    {"name": "a", "value": 0.5, "number": 3, "day": DAY, "flag": True, "renamed": ""},
    {"name": "ü 😀", "value": None, "number": None, "day": None, "flag": None, "renamed": None},
    {"name": "c", "value": -2.25, "number": -(2**31), "day": datetime.date.max, "flag": False, "renamed": "x'\\\"\n\t"},
]
NAMES = list(ROWS[0])


def as_generator(rows: list[dict[str, Any]]) -> Iterator[dict[str, Any]]:
    yield from rows


def as_reader(rows: list[dict[str, Any]]) -> pa.RecordBatchReader:
    return pa.Table.from_pylist(rows).to_reader()


class Capsule:
    """Something that is Arrow by its protocol only."""

    def __init__(self, rows: list[dict[str, Any]]) -> None:
        self._table = pa.Table.from_pylist(rows)

    def __arrow_c_stream__(self, requested_schema: object = None) -> object:
        return self._table.__arrow_c_stream__(requested_schema)


INPUTS: dict[str, Callable[[list[dict[str, Any]]], Any]] = {
    "dicts": list,
    "generator": as_generator,
    "instances": lambda rows: [Measurement(**row) for row in rows],
    "pandas": pd.DataFrame,
    "pandas of objects": lambda rows: pd.DataFrame(rows, dtype=object),
    "pandas with nullable types": lambda rows: pd.DataFrame(rows).convert_dtypes(),
    "pandas on arrow": lambda rows: pd.DataFrame(rows).convert_dtypes(dtype_backend="pyarrow"),
    "polars": pl.DataFrame,
    "arrow": pa.Table.from_pylist,
    "record batch": pa.RecordBatch.from_pylist,
    "reader": as_reader,
    "arrow by its protocol": Capsule,
}


def stored(db: Client, model: type[Base] = Measurement) -> list[dict[str, Any]]:
    with db.create_session() as session:
        names = [attribute.key for attribute in sa.inspect(model).column_attrs if attribute.key != "id"]
        return [
            {name: getattr(row, name) for name in names} for row in session.scalars(sa.select(model).order_by("id"))
        ]


def put(db: Client, rows: Any) -> bulk.LoadReport:
    """Load rows into the empty table."""
    create_only(db, Measurement)
    with db.transaction() as session:
        session.execute(sa.delete(Measurement))
        return bulk.load(session, Measurement, rows)


def test_every_kind_of_input_comes_out_as_it_was(db: Client) -> None:
    for kind, made in INPUTS.items():
        report = put(db, made(ROWS))
        assert (report.rows, report.written, stored(db)) == (3, 3, ROWS), kind


def test_columns_may_be_named_as_in_the_table(sqlite_db: Client) -> None:
    rows = [{"name": row["name"], "other_name": row["renamed"]} for row in ROWS]
    for kind, made in INPUTS.items():
        if kind != "instances":
            put(sqlite_db, made(rows))
            assert [row["renamed"] for row in stored(sqlite_db)] == [row["renamed"] for row in ROWS], kind


def test_no_rows_are_no_error(db: Client) -> None:
    frames = [pd.DataFrame(), pd.DataFrame({"name": []}), pl.DataFrame(), pl.DataFrame({"name": []})]
    for empty in [[], iter(()), *frames, pa.table({}), pa.table({"name": []}), pa.table({"name": []}).to_reader()]:
        assert put(db, empty).written == 0


def test_rows_with_different_keys_are_filled_up(sqlite_db: Client) -> None:
    put(sqlite_db, [{"name": "a", "number": 1}, {"flag": True, "name": "b"}, {"name": "c"}])

    assert [(row["name"], row["number"], row["flag"]) for row in stored(sqlite_db)] == [
        ("a", 1, None),
        ("b", None, True),
        ("c", None, None),
    ]


@pytest.mark.parametrize(
    ("rows", "told"),
    [
        ({"name": ["a"]}, "Cannot load dict: rows are a pandas or polars DataFrame"),
        ("text", "Cannot load str"),
        (7, "Cannot load int"),
        ([("a", 1)], "Row 0 is no dict and no Measurement, but tuple"),
        ([{"name": "a"}, None], "Row 1 is no dict and no Measurement, but NoneType"),
        (pl.LazyFrame({"name": ["a"]}), r"rows.collect\(\)"),
        (pd.DataFrame([["a", "b"]], columns=["name", "name"]), "several columns named name"),
        ([{"nmae": "a"}], "Measurement has no column 'nmae'. Did you mean 'name'?"),
        (pd.DataFrame({"other_name": ["a"], "renamed": ["b"], "name": "c"}), "Measurement.renamed twice"),
        ([{"value": 1.0}], "Measurement.name expects a value in each row; the input has no column 'name'"),
    ],
)
def test_what_cannot_be_loaded_says_what_can(sqlite_db: Client, rows: Any, told: str) -> None:
    with pytest.raises(LoadError, match=told):
        put(sqlite_db, rows)
