"""Whatever the types of a model allow goes in and comes out equal, however it comes and wherever it goes."""

from __future__ import annotations

import datetime
import enum
import os
import re
import uuid
from collections.abc import Callable, Sequence
from decimal import Decimal
from typing import Any

import pandas as pd
import polars as pl
import pyarrow as pa
import pytest
import sqlalchemy as sa
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import String
from sqlalchemy.dialects import mysql
from sqlalchemy.orm import Mapped, mapped_column

from ozelot.client import Client
from ozelot.errors import LoadError
from ozelot.orm import bulk
from ozelot.orm.base import Base
from ozelot.state.runs import MOMENT
from tests.tables import create_only

pytestmark = pytest.mark.servers

NIGHTLY = bool(os.environ.get("OZELOT_TEST_NIGHTLY"))
LONG_BYTES = sa.LargeBinary().with_variant(mysql.LONGBLOB(), "mysql")


class Shade(enum.Enum):
    dark = "the dark one"
    bright = "the bright one"


class Trimmed(sa.types.TypeDecorator[str]):
    """Stores something else than it is given, NULL included."""

    impl = String(60)
    cache_ok = True

    def process_bind_param(self, value: str | None, dialect: sa.Dialect) -> str:
        return "nothing" if value is None else f"<{value}>"

    def process_result_value(self, value: str | None, dialect: sa.Dialect) -> str | None:
        return None if value in (None, "nothing") else value[1:-1]


class EveryType(Base):
    place: Mapped[int]
    text: Mapped[str | None] = mapped_column(String(50))
    long_text: Mapped[str | None] = mapped_column(sa.Text)
    small: Mapped[int | None] = mapped_column(sa.SmallInteger)
    number: Mapped[int | None]
    large: Mapped[int | None] = mapped_column(sa.BigInteger)
    real: Mapped[float | None] = mapped_column(sa.Double)
    exact: Mapped[Decimal | None] = mapped_column(sa.Numeric(14, 4))
    flag: Mapped[bool | None]
    day: Mapped[datetime.date | None]
    moment: Mapped[datetime.datetime | None] = mapped_column(MOMENT)
    time: Mapped[datetime.time | None] = mapped_column(sa.Time().with_variant(mysql.TIME(fsp=6), "mysql"))
    length: Mapped[datetime.timedelta | None] = mapped_column(
        sa.Interval(second_precision=6).with_variant(sa.Interval(native=False), "mysql")
    )
    raw: Mapped[bytes | None] = mapped_column(LONG_BYTES)
    info: Mapped[Any | None] = mapped_column(sa.JSON)
    shade: Mapped[Shade | None]
    one: Mapped[uuid.UUID | None]
    trimmed: Mapped[str | None] = mapped_column(Trimmed)


NAMES = [attribute.key for attribute in sa.inspect(EveryType).column_attrs if attribute.key not in ("id", "place")]

# NUL is not for PostgreSQL, half surrogates are for nobody; both are refused, as other tests show.
text = st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), max_size=50)
plain_json = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.text(st.characters(exclude_categories=["Cs", "Cc"])),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(text.filter(str.isprintable), inner, max_size=3),
    max_leaves=6,
)
naive = st.datetimes(min_value=datetime.datetime(1000, 1, 1), max_value=datetime.datetime.max)
VALUES: dict[str, st.SearchStrategy[Any]] = {
    "text": text,
    "long_text": text | st.just("é" * 20_000),
    "small": st.integers(-(2**15), 2**15 - 1),
    "number": st.integers(-(2**31), 2**31 - 1),
    "large": st.integers(-(2**63), 2**63 - 1),
    "real": st.floats(allow_nan=True, allow_infinity=False, allow_subnormal=False),
    "exact": st.decimals(-(10**10) + 1, 10**10 - 1, places=4, allow_nan=False),
    "flag": st.booleans(),
    "day": st.dates(min_value=datetime.date(1000, 1, 1)),
    "moment": naive,
    "time": st.times(),
    "length": st.timedeltas(datetime.timedelta(), datetime.timedelta(days=10_000)).map(
        lambda found: found - datetime.timedelta(microseconds=found.microseconds)
    ),
    "raw": st.binary(max_size=50),
    "info": plain_json,
    "shade": st.sampled_from(Shade),
    "one": st.uuids(version=4),  # MariaDB refuses some that are none of the standard
    "trimmed": st.text("abc", max_size=5),
}
rows_of = st.fixed_dictionaries({name: st.none() | values for name, values in VALUES.items()})

#: Python's objects that a frame holds as they are, and Arrow does not know.
ONLY_OBJECTS = {"info", "shade", "one"}
ARROW = {
    "place": pa.int64(),
    "text": pa.large_string(),
    "long_text": pa.string_view(),
    "small": pa.int16(),
    "number": pa.int32(),
    "large": pa.int64(),
    "real": pa.float64(),
    "exact": pa.decimal128(14, 4),
    "flag": pa.bool_(),
    "day": pa.date32(),
    "moment": pa.timestamp("us"),
    "time": pa.time64("us"),
    "length": pa.duration("us"),
    "raw": pa.binary(),
    "trimmed": pa.dictionary(pa.int8(), pa.string()),
}

Rows = list[dict[str, Any]]


def as_arrow(rows: Rows) -> Any:
    return pa.Table.from_pylist([{name: row[name] for name in ARROW} for row in rows], pa.schema(ARROW))


def as_pandas(rows: Rows) -> Any:
    frame = pd.DataFrame({name: pd.Series([row[name] for row in rows], dtype=object) for name in ["place", *NAMES]})
    frame.index = pd.Index(range(100, 100 + len(rows)))
    whole = {"small": "Int16", "number": "Int32", "large": "Int64", "flag": "boolean", "text": "str"}
    return frame.astype({**whole, "moment": "datetime64[us]", "trimmed": "category", "length": "timedelta64[us]"})


def as_polars(rows: Rows) -> Any:
    return pl.DataFrame(as_arrow(rows))


FORMS: dict[str, Callable[[Rows], Any]] = {"dicts": list, "pandas": as_pandas, "arrow": as_arrow, "polars": as_polars}


def comparable(value: Any) -> Any:
    return None if value is None or value != value else value


def expected(rows: Rows, form: str) -> list[dict[str, Any]]:
    lost = ONLY_OBJECTS if form in ("arrow", "polars") else set()
    return [{name: None if name in lost else comparable(row[name]) for name in NAMES} for row in rows]


def stored(session: sa.orm.Session) -> list[dict[str, Any]]:
    session.expire_all()
    found = session.scalars(sa.select(EveryType).order_by(EveryType.place))
    return [{name: getattr(row, name) for name in NAMES} for row in found]


@settings(
    max_examples=400 if NIGHTLY else 30,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(st.lists(rows_of, max_size=6), st.sampled_from(sorted(FORMS)))
def round_trip(db: Client, rows: Rows, form: str) -> None:
    numbered = [{"place": place, **row} for place, row in enumerate(rows)]
    with db.create_session() as session:
        bulk.load(session, EveryType, FORMS[form](numbered))
        assert stored(session) == expected(rows, form)
        session.rollback()
        # And by the ORM, so that what is stored is what an add would have stored.
        kept = [name for name in NAMES if form == "dicts" or name not in ONLY_OBJECTS]
        session.add_all(
            EveryType(place=row["place"], **{name: comparable(row[name]) for name in kept}) for row in numbered
        )
        by_orm = raw_values(session, kept)
        session.rollback()
        bulk.load(session, EveryType, FORMS[form](numbered))
        assert raw_values(session, kept) == by_orm
        session.rollback()


def raw_values(session: sa.orm.Session, names: Sequence[str]) -> list[tuple[Any, ...]]:
    """What is in the table, as the driver tells it; JSON's own null, which the ORM stores for None, as NULL."""
    session.flush()
    columns = [sa.type_coerce(sa.column(name), sa.types.NullType()) for name in names]
    found = session.connection().execute(
        sa.select(*columns).select_from(sa.table("everytype")).order_by(sa.text("place"))
    )
    info = names.index("info") if "info" in names else None
    return [
        tuple(None if place == info and value in (None, "null") else repr(value) for place, value in enumerate(row))
        for row in found
    ]


def test_values_come_out_as_they_went_in(db: Client) -> None:
    create_only(db, EveryType)
    round_trip(db)


BAD: dict[str, Any] = {"text": "x" * 51, "number": 2**63, "exact": Decimal("0.00001"), "day": "today", "flag": 3}


@settings(
    max_examples=200 if NIGHTLY else 25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(
    st.integers(1, 12_000).flatmap(lambda n: st.tuples(st.just(n), st.sets(st.integers(0, n - 1), max_size=9))),
    st.sampled_from(sorted(BAD)),
    st.sampled_from(["dicts", "pandas", "generator"]),
)
def named_exactly(db: Client, places: tuple[int, set[int]], name: str, form: str) -> None:
    size, bad = places
    rows = [{"place": place, name: BAD[name] if place in bad else None} for place in range(size)]
    forms: dict[str, Any] = {"dicts": rows, "generator": iter(rows), "pandas": pd.DataFrame(rows, dtype=object)}
    with db.create_session() as session:
        try:
            bulk.load(session, EveryType, forms[form])
            named: list[int] = []
        except LoadError as exc:
            message = str(exc)
            assert message.startswith(f"EveryType.{name} expects ")
            named = [int(found) for found in re.findall(r"row (\d+)", message)]
            more = re.search(r", and (\d+) more rows? do(es)? not fit", message)
            assert int(more[1] if more else 0) == max(len(bad) - 5, 0)
        assert named == sorted(bad)[:5]
        assert session.scalar(sa.select(sa.func.count()).select_from(EveryType)) == (0 if bad else size)
        session.rollback()


def test_bad_rows_are_named_exactly(sqlite_db: Client) -> None:
    create_only(sqlite_db, EveryType)
    named_exactly(sqlite_db)
