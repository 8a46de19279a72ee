"""Queries of one column: each kind of expression over each type of column."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterator
from decimal import Decimal
from itertools import product
from typing import Any

import sqlalchemy as sa

from tests.frames_matrix.table import COLUMNS, NUMBERS, SAMPLES, TIMES

Query = Any

_LITERALS: dict[str, Any] = {
    "0": 0,
    "0.5": 0.5,
    "1.005": Decimal("1.005"),
    "3": 3,
    "'x'": "x",
    "date": dt.date(2020, 1, 1),
    "datetime": dt.datetime(2020, 1, 1, 5),
}
_CASTS: dict[str, Any] = {
    "Integer": sa.Integer,
    "BigInteger": sa.BigInteger,
    "Float": sa.Float,
    "Double": sa.Double,
    "Numeric": sa.Numeric,
    "Numeric(30, 12)": sa.Numeric(30, 12),
    "Numeric(60, 20)": sa.Numeric(60, 20),
    "Numeric float": sa.Numeric(12, 4, asdecimal=False),
    "String": sa.String(50),
    "Date": sa.Date,
    "DateTime": sa.DateTime,
    "DateTime zone": sa.DateTime(timezone=True),
    "Time": sa.Time,
    "Time zone": sa.Time(timezone=True),
    "LargeBinary": sa.LargeBinary,
}


def queries() -> Iterator[tuple[str, Query]]:
    """Each query with a name. Not each of them makes sense to each database."""
    for name in COLUMNS:
        column = SAMPLES.c[name]
        for label, expression in _of_column(column):
            yield f"{label} of {name}", sa.select(expression.label("v")).select_from(SAMPLES).order_by(SAMPLES.c.id)
        for label, expression in _aggregates(column):
            yield f"{label} of {name}", sa.select(expression.label("v"))
            grouped = sa.select(expression.label("v")).group_by(SAMPLES.c.id).order_by(SAMPLES.c.id)
            yield f"{label} of {name}, grouped", grouped
    for one, other in product(COLUMNS, COLUMNS):
        union: Any = sa.union_all(sa.select(SAMPLES.c[one].label("v")), sa.select(SAMPLES.c[other]))
        yield f"union of {one} and {other}", union
        inner = union.subquery()
        yield f"from union of {one} and {other}", sa.select(inner.c.v)
    for one, other in product(NUMBERS, NUMBERS):
        left, right = SAMPLES.c[one], SAMPLES.c[other]
        for sign, expression in (("+", left + right), ("*", left * right), ("/", left / sa.func.nullif(right, 0))):
            yield f"{one} {sign} {other}", sa.select(expression.label("v")).order_by(SAMPLES.c.id)
    for one, other in product(TIMES, TIMES):
        left, right = SAMPLES.c[one], SAMPLES.c[other]
        for sign, expression in (("+", left + right), ("-", left - right)):
            yield f"{one} {sign} {other}", sa.select(expression.label("v")).order_by(SAMPLES.c.id)
    for one, other in product(COLUMNS, COLUMNS):
        choice = sa.case((SAMPLES.c.id == 2, SAMPLES.c[one]), else_=SAMPLES.c[other])
        yield f"case of {one} or {other}", sa.select(choice.label("v")).order_by(SAMPLES.c.id)
        first = sa.func.coalesce(SAMPLES.c[one], SAMPLES.c[other])
        yield f"coalesce of {one} and {other}", sa.select(first.label("v")).order_by(SAMPLES.c.id)
    for label, expression in _alone():
        yield label, sa.select(expression.label("v"))


def _of_column(column: Any) -> Iterator[tuple[str, Any]]:
    number = SAMPLES.c.id
    yield "column", column
    yield "null", sa.case((number == 99, column))
    yield "negative", -column
    yield "nullif", sa.func.nullif(column, column)
    yield "text function", sa.func.upper(column)
    yield "round", sa.func.round(column)
    yield "abs", sa.func.abs(column)
    yield "is null", column.is_(None)
    yield "comparison", column > column
    yield "subquery", sa.select(sa.func.max(SAMPLES.c[column.name])).correlate(None).scalar_subquery()
    for part in ("year", "second"):
        yield f"extract {part}", sa.extract(part, column)
    for label, literal in _LITERALS.items():
        yield f"coalesce with {label}", sa.func.coalesce(column, literal)
        yield f"case with {label}", sa.case((number > 2, column), else_=literal)
        yield f"case to {label}", sa.case((number > 2, literal), else_=column)
        for sign in ("+", "-", "*", "/", "%"):
            yield f"{sign} {label}", column.op(sign)(literal)
        yield f"plus {label}", column + literal
        yield f"by {label}", column / literal
    for label, kind in _CASTS.items():
        yield f"cast to {label}", sa.cast(column, kind)
        yield f"coerce to {label}", sa.type_coerce(column, kind)
    over: dict[str, Any] = {"order_by": number}
    for label, window in (
        ("lag", sa.func.lag(column).over(**over)),
        ("lag with 0", sa.func.lag(column, 1, 0).over(**over)),
        ("first_value", sa.func.first_value(column).over(**over)),
        ("running sum", sa.func.sum(column).over(**over)),
        ("running avg", sa.func.avg(column).over(**over)),
        ("running min", sa.func.min(column).over(**over)),
        ("rank", sa.func.rank().over(order_by=column)),
        ("percent_rank", sa.func.percent_rank().over(order_by=column)),
        ("ratio", column / sa.func.sum(column).over()),
    ):
        yield label, window


def _aggregates(column: Any) -> Iterator[tuple[str, Any]]:
    for name in ("sum", "avg", "min", "max", "count", "stddev", "array_agg", "json_agg"):
        yield name, getattr(sa.func, name)(column)
    yield "sum by count", sa.func.sum(column) / sa.func.count(column)
    yield "sum by 3", sa.func.sum(column) / 3
    yield "avg or 0", sa.func.coalesce(sa.func.avg(column), 0)
    yield "sum or 0.5", sa.func.coalesce(sa.func.sum(column), 0.5)
    yield "sum of case", sa.func.sum(sa.case((SAMPLES.c.id > 2, column), else_=0.5))
    yield "sum of distinct", sa.func.sum(column.distinct())
    yield "max times 1.005", sa.func.max(column) * Decimal("1.005")


def _alone() -> Iterator[tuple[str, Any]]:
    for label, literal in _LITERALS.items():
        yield f"literal {label}", sa.literal(literal)
    for text in (
        "1", "1.5", "1e0", "1.50", "'x'", "NULL", "2147483648", "9223372036854775807", "18446744073709551615",
        "-9223372036854775808", "0.1 + 0.2", "7 / 2", "7 / 2.0", "1 = 1", "CURRENT_DATE", "DATE '2020-01-01'",
        "TIME '12:00:00'", "'NaN'::float8", "'Infinity'::float8", "'NaN'::numeric", "1e100::numeric", "1e-100::numeric",
        "'12:00:00+02'::timetz", "'infinity'::date", "'2020-01-01'::timestamptz", "'1 month'::interval", "ARRAY[1, 2]",
        "'{\"a\": 1}'::jsonb", "'[1, 2)'::int4range", "'10.0.0.1'::inet", "'\\x00ff'::bytea",
        "1::\"char\"", "'a'::char(5)",
        "B'101'", "x'00ff'", "CAST('0000-00-00' AS DATE)", "YEAR(CURRENT_DATE)", "1 DIV 2", "TRUE", "~0",
        "CAST(1 AS UNSIGNED)",
        "TIMEDIFF('200:00:00', '00:00:00')", "CAST(-1 AS SIGNED)", "CAST('{}' AS JSON)", "'a' COLLATE utf8mb4_bin",
    ):  # fmt: skip
        yield f"text {text}", sa.literal_column(text)
        yield f"text {text} as Integer", sa.literal_column(text, sa.Integer)
        yield f"text {text} as String", sa.literal_column(text, sa.String)
