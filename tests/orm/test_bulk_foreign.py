"""Values of other libraries are stored as what they are, or rejected: never as the number that stands for them."""

from __future__ import annotations

import datetime
import enum
from collections.abc import Iterator
from decimal import Decimal
from typing import Any
from zoneinfo import ZoneInfo

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest
import sqlalchemy as sa
from sqlalchemy import String
from sqlalchemy.dialects import mysql
from sqlalchemy.orm import Mapped, mapped_column

from ozelot import checks
from ozelot.client import Client
from ozelot.errors import LoadError, UsageError
from ozelot.orm import bulk
from ozelot.orm.base import Base
from ozelot.state.runs import MOMENT
from tests.databases import only
from tests.tables import create_only

pytestmark = pytest.mark.servers

UTC = datetime.UTC
NOON = datetime.datetime(2013, 1, 1, 12)
LARGE = 2**53 + 1


class Foreign(Base):
    text: Mapped[str | None] = mapped_column(String(200))
    number: Mapped[int | None] = mapped_column(sa.BigInteger)
    real: Mapped[float | None] = mapped_column(sa.Double)
    exact: Mapped[Decimal | None] = mapped_column(sa.Numeric(30, 10))
    flag: Mapped[bool | None]
    day: Mapped[datetime.date | None]
    moment: Mapped[datetime.datetime | None] = mapped_column(MOMENT)
    zoned: Mapped[datetime.datetime | None] = mapped_column(sa.DateTime(timezone=True))
    time: Mapped[datetime.time | None] = mapped_column(sa.Time().with_variant(mysql.TIME(fsp=6), "mysql"))
    raw: Mapped[bytes | None] = mapped_column(sa.LargeBinary().with_variant(mysql.LONGBLOB(), "mysql"))
    info: Mapped[Any | None] = mapped_column(sa.JSON)


class Text(str):
    """A subclass that shows itself in another way."""

    def __str__(self) -> str:
        return "other"


class Flavor(str, enum.Enum):  # noqa: UP042 - as users wrote them before there was StrEnum
    sour = "SOUR"


class Price(Decimal):
    pass


class Moment(datetime.datetime):
    pass


class Day(datetime.date):
    pass


def put(db: Client, name: str, values: Any) -> list[Any]:
    """What is in the table after a load into a column; an error leaves it empty."""
    rows = values if hasattr(values, "columns") else [{name: value} for value in values]
    with db.transaction() as session:
        session.execute(sa.delete(Foreign))
        bulk.load(session, Foreign, rows)
    with db.create_session() as session:
        return list(session.scalars(sa.select(getattr(Foreign, name)).order_by(Foreign.id)))


def frames_of(name: str, array: Any) -> Iterator[Any]:
    """An array of pandas in the frames that can hold it."""
    yield pd.DataFrame({name: array})
    yield pd.DataFrame({name: pd.Series(array).astype(object)})


PERIODS = pd.period_range("2024-01", periods=2, freq="M").array
INTERVALS = pd.interval_range(0, 2).array
#: A column, an input that it rejects, and what the error says.
REJECTED: list[tuple[str, Any, str]] = [
    ("number", pd.DataFrame({"number": [float(LARGE), None]}), "row 0 has the float 9007199254740992.0 (a float fr"),
    ("number", pd.DataFrame({"number": [1.0, -(2.0**60)]}), "row 1 has the float -1.152921504606847e+18"),
    ("number", pd.DataFrame({"number": pd.array([2.0**53], "Float64")}), "a float from 2**53 up may be a rounded"),
    ("number", pd.DataFrame({"number": np.array([2.0**24 + 2, 1], "float32")}), "a float from 2**24 up may"),
    ("number", pd.DataFrame({"number": np.array([2.0**24, None], "float32")}), "a float from 2**24 up may"),
    ("number", pl.DataFrame({"number": [2.0**60, None]}), "a float from 2**53 up may be a rounded"),
    ("number", pl.DataFrame({"number": pl.Series([2.0**30], dtype=pl.Float32)}), "a float from 2**24 up"),
    ("number", pa.table({"number": pa.array([2.0**60, None])}), "a float from 2**53 up may be a rounded"),
    ("number", [2.0**60], "a float from 2**53 up may be a rounded"),
    ("number", [np.float64(2.0**60)], "a float from 2**53 up may be a rounded"),
    ("number", [np.float16(2048)], "a float from 2**11 up may be a rounded"),
    *(("number", frame, "expects an integer; row 0 has Period('2024-") for frame in frames_of("number", PERIODS)),
    *(("text", frame, "expects a string; row 0 has Period(") for frame in frames_of("text", PERIODS)),
    *(("info", frame, "foreign.info expects JSON; row 0 has Period(") for frame in frames_of("info", PERIODS)),
    *(("info", frame, "foreign.info expects JSON; row 0 has Interval(") for frame in frames_of("info", INTERVALS)),
    ("number", pd.DataFrame({"number": pd.Categorical(PERIODS)}), "row 0 has Period("),
    ("number", pa.Table.from_pandas(pd.DataFrame({"number": PERIODS})), "the Arrow extension type pandas.period"),
    ("info", pa.Table.from_pandas(pd.DataFrame({"info": INTERVALS})), "the Arrow extension type pandas.interval"),
    ("number", pd.DataFrame({"number": pd.to_timedelta([1, 2], "s")}), "row 0 has the timedelta datetime.timedelta("),
    ("number", pd.DataFrame({"number": pd.to_datetime(["2024-01-01"])}), "row 0 has the datetime 2024-01-01 00:00:00"),
    *(
        (name, frame, "row 0 has the time '12024-01-01T00:00:00' (out of range). Correct it, or store it as text")
        for name in ("number", "moment", "text", "info")
        for frame in (
            pd.DataFrame({name: np.array(["12024-01-01"], "datetime64[s]")}),
            pa.table({name: pa.array(np.array(["12024-01-01"], "datetime64[s]"))}),
        )
    ),
    ("number", [np.datetime64("12024-01-01", "s")], "(out of range)"),
    ("moment", [np.datetime64("12024-01-01", "D")], "(out of range)"),
    ("moment", [np.datetime64(2**62, "s")], "(out of range)"),
    ("moment", [np.datetime64("2024-01-01T00:00:00.000000001")], "(finer than a microsecond)"),
    ("number", [np.timedelta64(5)], "(it has no unit)"),
    ("number", [np.timedelta64(2**62, "s")], "(out of range)"),
    ("day", pa.table({"day": pa.array([2**22], pa.int32()).cast(pa.date32())}), "row 0 has the time '13453-"),
    ("number", pa.table({"number": pa.array([2**22], pa.int32()).cast(pa.date32())}), "row 0 has the time '13453-"),
    ("day", pa.table({"day": pa.array([86_400_005]).cast(pa.date64())}), "(it has a time)"),
    ("time", pa.table({"time": pa.array([1_001]).cast(pa.time64("ns"))}), "the time '00:00:00.000001001' (finer"),
    ("time", pl.DataFrame({"time": pl.Series([1_001]).cast(pl.Time)}), "(finer than a microsecond)"),
    ("moment", pl.DataFrame({"moment": pl.Series([1]).cast(pl.Datetime("ns"))}), "(finer than a microsecond)"),
    ("real", pd.DataFrame({"real": [1 + 0j]}), "expects a float; row 0 has the complex (1+0j)"),
    ("number", pd.DataFrame({"number": np.array([2**64 - 1], "uint64")}), "row 0 has the integer 18446744073709551615"),
    ("real", [LARGE], "row 0 has the integer 9007199254740993 (too many digits"),
    ("real", pd.DataFrame({"real": [LARGE, 1]}), "row 0 has the integer 9007199254740993 (too many digits"),
    ("real", [Decimal("0.12345678901234567890")], "(too many digits for a float)"),
    ("real", [np.longdouble(1) / 3], "expects a float; row 0 has np.longdouble("),
    ("text", [["a"]], "expects a string; row 0 has the list ['a']. Convert it: str(value)"),
    ("text", pl.DataFrame({"text": [["a"]]}), "expects a string; row 0 has the list ['a']"),
    ("text", pa.table({"text": pa.array([{"a": 1}])}), "expects a string; row 0 has the dict {'a': 1}"),
    ("number", pl.DataFrame({"number": pl.Series([object()], dtype=pl.Object)}), "row 0 has the object <object object"),
    ("flag", pd.DataFrame({"flag": [2, 1]}), "row 0 has the integer 2 (neither 0 nor 1)"),
    ("flag", pd.DataFrame({"flag": [0.5, None]}), "row 0 has the float 0.5 (neither 0 nor 1)"),
    ("raw", [np.void(b"ab", [("a", "S2")])], "expects bytes; row 0 has np.void("),
    ("info", [{"a": {1, 2}}], "foreign.info expects JSON; row 0 has the dict {'a': {1, 2}} (TypeError: Object"),
    ("text", pd.DataFrame({"text": pd.Series(["\ud800"], dtype=pd.StringDtype("python"))}), "half of a surrogate pair"),
]  # fmt: skip


def test_what_would_have_to_be_guessed_is_rejected(sqlite_db: Client) -> None:
    create_only(sqlite_db, Foreign)
    for name, given, message in REJECTED:
        with pytest.raises(LoadError) as caught:
            print(name, given, "became", put(sqlite_db, name, given))
        assert message in str(caught.value)
        assert "\n" not in str(caught.value)


NEW_YORK = ZoneInfo("America/New_York")
FOLDS = [datetime.datetime(2024, 11, 3, 1, 30, tzinfo=NEW_YORK, fold=fold) for fold in (0, 1)]
#: A column, an input, and what is stored.
STORED: list[tuple[str, Any, list[Any]]] = [
    ("number", pd.DataFrame({"number": pd.array([LARGE, None], "Int64")}), [LARGE, None]),
    ("number", pd.DataFrame({"number": pd.Series([LARGE, None], dtype="int64[pyarrow]")}), [LARGE, None]),
    ("number", pd.DataFrame({"number": pd.Series([LARGE, None], dtype=object)}), [LARGE, None]),
    ("number", pd.DataFrame({"number": [2.0**53 - 1, None]}), [2**53 - 1, None]),
    ("number", pd.DataFrame({"number": np.array([2.0**24 - 1, 1], "float32")}), [2**24 - 1, 1]),
    ("number", pl.DataFrame({"number": pl.Series([LARGE, None], dtype=pl.Int128)}), [LARGE, None]),
    ("number", [Decimal(LARGE), Price(5), np.int8(-1), np.uint64(7), True], [LARGE, 5, -1, 7, 1]),
    ("number", pd.DataFrame({"number": pd.arrays.SparseArray([1, 0, 2])}), [1, 0, 2]),
    ("number", pd.DataFrame({"number": pd.Categorical([5, None, 5])}), [5, None, 5]),
    ("text", pd.DataFrame({"text": pd.Categorical(["a", None, "b\0"[:1]])}), ["a", None, "b"]),
    ("text", pl.DataFrame({"text": pl.Series(["a", None], dtype=pl.Categorical)}), ["a", None]),
    ("text", pl.DataFrame({"text": pl.Series(["a", None], dtype=pl.Enum(["a"]))}), ["a", None]),
    ("text", pa.table({"text": pa.array(["a", None]).dictionary_encode()}), ["a", None]),
    ("text", [Text("a"), np.str_("b"), Flavor.sour], ["a", "b", "SOUR"]),
    ("real", pd.DataFrame({"real": np.array([2.0**60, 0.1], "float32")}), [2.0**60, float(np.float32(0.1))]),
    ("real", [np.float16(0.5), np.longdouble(0.5), 2**60, Decimal("0.1"), True], [0.5, 0.5, 2.0**60, 0.1, 1.0]),
    ("exact", [Price("0.5"), pd.NA, Price("NaN")], [Decimal("0.5"), None, None]),
    ("exact", pl.DataFrame({"exact": pl.Series([Decimal("0.5"), None])}), [Decimal("0.5"), None]),
    ("exact", pa.table({"exact": pa.array([Decimal("1.5")], pa.decimal256(60, 20))}), [Decimal("1.5")]),
    ("flag", pd.DataFrame({"flag": [1.0, None]}), [True, None]),
    ("moment", [Moment(2024, 1, 1), np.datetime64("2024", "Y"), Day(2024, 1, 1)], [datetime.datetime(2024, 1, 1)] * 3),
    ("day", [Day(2024, 1, 1), Moment(2024, 1, 1)], [datetime.date(2024, 1, 1)] * 2),
    ("day", pa.table({"day": pa.array([datetime.date(2024, 1, 1)], pa.date64())}), [datetime.date(2024, 1, 1)]),
    ("time", pl.DataFrame({"time": [datetime.time(1, 2, 3, 4)]}), [datetime.time(1, 2, 3, 4)]),
    ("time", pa.table({"time": pa.array([datetime.time(1, 2)], pa.time32("s"))}), [datetime.time(1, 2)]),
    ("raw", [np.bytes_(b"a\0"), bytearray(b"b"), memoryview(b"c")], [b"a\0", b"b", b"c"]),
    ("raw", pl.DataFrame({"raw": [b"a\0"]}), [b"a\0"]),
    ("info", pd.DataFrame({"info": [np.array([1, 2]), None]}), [[1, 2], None]),
    ("info", pl.DataFrame({"info": [{"a": [1]}]}), [{"a": [1]}]),
    *(
        (name, [pd.NA, None, pd.NaT, float("nan"), np.float32("nan"), Decimal("NaN"), np.datetime64("NaT")], [None] * 7)
        for name in ("text", "number", "real", "exact", "flag", "day", "moment", "zoned", "time", "raw", "info")
    ),
]  # fmt: skip


def test_values_that_are_the_same_in_the_type_of_the_column_are_stored(db: Client) -> None:
    create_only(db, Foreign)
    for name, given, expected in STORED:
        assert put(db, name, given) == expected, (name, given)
        assert list(map(type, put(db, name, given))) == list(map(type, expected)), (name, given)


def test_both_hours_of_the_night_when_clocks_go_back_are_two_instants(db: Client) -> None:
    create_only(db, Foreign)
    instants = [moment.astimezone(UTC) for moment in FOLDS]
    series = pd.Series(instants).dt.tz_convert("America/New_York")
    for given in (
        pd.DataFrame({"zoned": series}),
        pl.DataFrame({"zoned": pl.Series(instants).dt.convert_time_zone("America/New_York")}),
        pa.table({"zoned": pa.array(instants, pa.timestamp("us", "America/New_York"))}),
    ):
        found = [value.replace(tzinfo=value.tzinfo or UTC) for value in put(db, "zoned", given)]
        assert found == instants


def test_a_text_keeps_nul_at_its_end(sqlite_db: Client) -> None:
    create_only(sqlite_db, Foreign)
    assert put(sqlite_db, "text", [np.str_("a\0")]) == ["a\0"]


@only("mariadb")
def test_a_row_that_is_larger_than_a_packet_is_named_with_the_setting(db: Client) -> None:
    create_only(db, Foreign)
    with db.engine.connect() as connection:
        most = connection.scalar(sa.text("SELECT @@max_allowed_packet"))
    with pytest.raises(LoadError) as caught:
        put(db, "raw", [b"a", bytes(most // 2), b"b"])
    assert f"Row 1 takes {most + 50:,} bytes, {most + 3:,} of them in foreign.raw; " in str(caught.value)
    assert f"the server's max_allowed_packet is {most:,} bytes. Raise it with SET GLOBAL" in str(caught.value)
    assert put(db, "raw", [b"a", bytes(most // 2 - 500)])[1] == bytes(most // 2 - 500)


@only("sqlite")
def test_a_value_that_is_too_large_for_sqlite_is_named(db: Client) -> None:
    create_only(db, Foreign)
    with db.transaction() as session:
        driver: Any = session.connection().connection.driver_connection
        driver.setlimit(0, 1_000_000)  # SQLITE_LIMIT_LENGTH
        with pytest.raises(
            LoadError, match=r"The database refuses row 1 for foreign: .*too big\. Keep the value in a file\. Nothing"
        ):
            bulk.load(session, Foreign, [{"raw": b"a"}, {"raw": bytes(1_000_001)}])


def test_a_choice_of_too_many_values_is_refused_in_one_line(db: Client) -> None:
    create_only(db, Foreign)
    with db.create_session() as session:
        checks.checked(session, [checks.one_of(Foreign.number, range(30_000))])
        with pytest.raises(UsageError) as caught:
            checks.checked(session, [checks.one_of(Foreign.number, range(70_000))])
    assert str(caught.value) == (
        "one_of(Foreign.number) takes at most 30,000 values and got 70,000. Load them into a table, and use a foreign "
        "key or the check references()"
    )
