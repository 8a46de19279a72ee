"""Values that frames once changed: each comes back as a session returns it, or the frame raises."""

from __future__ import annotations

import datetime as dt
from decimal import Decimal
from typing import Any

import pandas as pd
import polars as pl
import pyarrow as pa
import pytest
import sqlalchemy as sa
from sqlalchemy.dialects import mysql

from ozelot.client import Client
from ozelot.errors import FrameError
from tests.databases import only
from tests.frames_matrix.table import BERLIN, COLUMNS, SAMPLES, Money
from tests.frames_matrix.values import BACKENDS, in_pieces, in_session, whole

pytestmark = pytest.mark.servers

MARK = "\ufeff"


def of(name: str) -> Any:
    return sa.select(SAMPLES.c[name].label("v")).order_by(SAMPLES.c.id)


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize(
    "expression",
    [
        sa.func.coalesce(sa.func.avg(SAMPLES.c.whole), 0),
        sa.func.sum(sa.case((SAMPLES.c.id > 2, 1), else_=0.5)),
        sa.func.max(SAMPLES.c.small) / 3.0,
        sa.func.max(SAMPLES.c.whole) * 0.1,
        sa.func.max(SAMPLES.c.amount) / 3,
        sa.func.max(SAMPLES.c.amount) * Decimal("1.005"),
        sa.func.sum(SAMPLES.c.amount) / sa.func.count(),
    ],
    ids=str,
)
def test_an_expression_is_neither_rounded_nor_cut(samples: Client, expression: Any, backend: str) -> None:
    query = sa.select(expression.label("v"))
    assert whole(samples, query, backend) == in_pieces(samples, query, backend, 1) == in_session(samples, query)


@pytest.mark.parametrize("backend", BACKENDS)
def test_a_union_holds_the_values_of_both_sides(samples: Client, backend: str) -> None:
    query: Any = sa.union_all(sa.select(SAMPLES.c.whole.label("v")), sa.select(SAMPLES.c.single))
    assert sorted(map(str, whole(samples, query, backend))) == sorted(
        str(None if value is None else float(value)) if backend != "pandas" or value is not None else "nan"
        for value in in_session(samples, query)
    )


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("name", ["cents", "local", "letter", "words"])
def test_a_frame_has_the_python_values_of_a_type_decorator(samples: Client, name: str, backend: str) -> None:
    expected = in_session(samples, of(name))
    assert whole(samples, of(name), backend) == in_pieces(samples, of(name), backend, 3) == expected
    if name == "local":
        assert [value.replace(tzinfo=BERLIN) for value in whole(samples, of(name), backend)[:3]] == expected[:3]


def test_objects_are_kept_by_the_backends_that_can_hold_them(samples: Client) -> None:
    for backend in ("pandas", "polars"):
        assert whole(samples, of("purse"), backend) == [Money(7), Money(8), Money(-3), None]
        assert in_pieces(samples, of("purse"), backend, 1) == [Money(7), Money(8), Money(-3), None]
        assert whole(samples, of("any"), backend) == [1, "x", {"a": [0.5]}, None]
    with pytest.raises(FrameError, match=r"Column 'v' .*Money.*backend='pandas'.*cast\("):
        samples.frame(of("purse"), backend="arrow")


@pytest.mark.parametrize("backend", BACKENDS)
@only("postgresql", "mariadb")
def test_decimals_of_more_than_38_digits_are_exact(samples: Client, backend: str) -> None:
    expected = in_session(samples, of("wide"))
    assert expected[0] == Decimal(f"{10**39}.{'1' * 20}")
    assert whole(samples, of("wide"), backend) == in_pieces(samples, of("wide"), backend, 2) == expected
    few = of("wide").where(SAMPLES.c.id == 2)
    assert whole(samples, few, backend) == [Decimal(8)]
    if backend == "polars":
        assert isinstance(samples.frame(few, backend="polars").dtypes[0], pl.Decimal)


@only("postgresql")
def test_numbers_of_any_length_are_python_decimals(samples: Client) -> None:
    query: Any = sa.select(sa.literal_column("(10::numeric ^ 100 + 0.1)").label("v"))
    for backend in ("pandas", "polars"):
        assert whole(samples, query, backend) == [Decimal(f"1{'0' * 100}.1")] == in_session(samples, query)
    with pytest.raises(FrameError, match=r"cast\("):
        samples.frame(query, backend="arrow")


@pytest.mark.parametrize("backend", BACKENDS)
@only("sqlite")
def test_the_first_piece_decides_on_the_type(samples: Client, backend: str) -> None:
    with samples.engine.begin() as connection:
        connection.execute(sa.insert(SAMPLES), [{"id": number} for number in range(10, 3000)])
    mixed = sa.case((SAMPLES.c.id < 2500, SAMPLES.c.id), else_=SAMPLES.c.id + sa.literal_column("0.5"))
    query = sa.select(mixed.label("v")).order_by(SAMPLES.c.id)
    assert whole(samples, query, backend) == in_session(samples, query)
    with pytest.raises(FrameError, match=r"Column 'v' .* int64, the type of the first piece .*cast\("):
        in_pieces(samples, query, backend, 1000)
    named = sa.select(sa.cast(mixed, sa.Double).label("v")).order_by(SAMPLES.c.id)
    assert in_pieces(samples, named, backend, 1000) == in_session(samples, query)


@pytest.mark.parametrize("backend", BACKENDS)
def test_text_keeps_a_mark_at_its_begin(samples: Client, backend: str) -> None:
    for name in ("text", "upper"):
        expected = in_session(samples, of(name))[:3]
        assert MARK in expected
        backwards = sa.select(SAMPLES.c[name].label("v")).order_by(SAMPLES.c.id.desc())
        assert whole(samples, of(name), backend)[:3] == in_pieces(samples, of(name), backend, 1)[:3] == expected
        assert whole(samples, backwards.where(SAMPLES.c.id < 4), backend) == expected[::-1]


@only("postgresql")
def test_every_piece_that_the_server_sends_keeps_a_mark_at_its_begin(db: Client) -> None:
    query = sa.text(f"SELECT repeat('{MARK}', 100000) AS v FROM generate_series(1, 100)").columns(v=sa.String)
    assert whole(db, query, "arrow") == [MARK * 100_000] * 100  # 30 MB


@pytest.mark.parametrize("backend", BACKENDS)
@only("postgresql")
def test_a_time_keeps_its_zone(samples: Client, backend: str) -> None:
    zone = dt.timezone(dt.timedelta(hours=2))
    for kind in (sa.Time(timezone=True), sa.Time()):
        query = sa.select(sa.literal_column("'12:00:00+02'::timetz", kind).label("v"))
        if backend == "arrow":
            with pytest.raises(FrameError, match=r"Column 'v' .*cast\("):
                whole(samples, query, backend)
            continue
        (value,) = whole(samples, query, backend)
        assert (value, value.tzinfo) == (dt.time(12, tzinfo=zone), zone)


@pytest.mark.parametrize("backend", BACKENDS)
def test_pieces_hold_values_of_megabytes(db: Client, backend: str) -> None:
    kind = sa.Text().with_variant(mysql.LONGTEXT(), "mysql", "mariadb")
    table = sa.Table("big", sa.MetaData(), sa.Column("id", sa.Integer, primary_key=True), sa.Column("v", kind))
    table.create(db.engine)
    sizes = [3_000_000, 10, *[1_000_000] * 9, 3_000_000, 10_000_000, 5]
    with db.engine.begin() as connection:
        for size in sizes:
            connection.execute(sa.insert(table), {"v": "x" * size})
    query = sa.select(table.c.v).order_by(table.c.id)
    assert [len(value) for value in in_pieces(db, query, backend, 1)] == sizes
    assert [len(value) for value in whole(db, query, backend)] == sizes


def test_names_of_text_columns_are_matched_as_a_session_does(samples: Client) -> None:
    by_name = sa.text("SELECT text, whole FROM samples WHERE id = 2").columns(whole=sa.Integer, text=sa.String)
    by_place = sa.text("SELECT text AS a, whole AS b FROM samples WHERE id = 2").columns(
        sa.column("a", sa.String), sa.column("b", sa.Integer)
    )
    for query in (by_name, by_place):
        with samples.create_session() as session:
            (expected,) = session.execute(query).mappings()
        assert samples.frame(query, backend="arrow").to_pylist() == [dict(expected)]


@pytest.mark.parametrize("backend", BACKENDS)
def test_an_enum_value_that_the_model_does_not_know_is_an_error(samples: Client, backend: str) -> None:
    one = sa.select(sa.type_coerce(SAMPLES.c.text, sa.Enum("a", "b")).label("v"))
    with samples.create_session() as session, pytest.raises(LookupError):
        session.execute(one).all()
    with pytest.raises(FrameError, match="Column 'v'"):
        whole(samples, one, backend)


@only("postgresql")
def test_parameters_have_the_types_that_the_driver_gives_them(samples: Client) -> None:
    for value in (0.1, Decimal("0.1"), 3, -7.5, float("inf"), dt.date(2020, 1, 1), "it's 100 %", True, b"\0"):
        query = sa.select(sa.literal(value).label("v"), SAMPLES.c.id).where(SAMPLES.c.id * 0.1 < 0.3)
        assert whole(samples, query, "arrow") == in_session(samples, query)
    third = sa.text("SELECT 1 / :x AS v").columns(v=sa.Float).bindparams(x=3.0)
    assert whole(samples, third, "arrow") == in_session(samples, third)


def test_a_column_has_one_type_with_and_without_values(samples: Client) -> None:
    for name in COLUMNS:
        if name in ("local", "cents", "letter", "words", "any", "purse", "guid"):  # their values decide
            continue
        for backend in BACKENDS:
            full = samples.frame(of(name), backend=backend)  # type: ignore[call-overload]
            missing = samples.frame(of(name).where(SAMPLES.c.id == 4), backend=backend)  # type: ignore[call-overload]
            empty = samples.frame(of(name).where(sa.false()), backend=backend)  # type: ignore[call-overload]
            kinds = {str(_kind(frame)) for frame in (full, missing, empty)}
            assert len(kinds) == 1 or (name, backend) == ("wide", "polars"), (name, backend, kinds)


def _kind(frame: Any) -> Any:
    if isinstance(frame, pa.Table):
        return frame.schema.types[0]
    return frame.dtypes.iloc[0] if isinstance(frame, pd.DataFrame) else frame.dtypes[0]
