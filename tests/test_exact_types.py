"""Values that are given to sessions, to Core and to loads are stored exactly, or rejected, by one set of rules."""

from __future__ import annotations

import datetime
import enum
import math
import os
import uuid
from collections.abc import Callable
from decimal import Decimal
from typing import Any
from zoneinfo import ZoneInfo

import numpy as np
import pandas as pd
import pytest
import sqlalchemy as sa
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy.dialects import mysql, postgresql
from sqlalchemy.dialects.mysql import insert as mysql_insert
from sqlalchemy.dialects.postgresql import insert as postgresql_insert
from sqlalchemy.dialects.sqlite import insert as sqlite_insert
from sqlalchemy.orm import Mapped, mapped_column

from ozelot.client import Client
from ozelot.errors import LoadError, OzelotError, ValueRejected
from ozelot.orm import bulk
from ozelot.orm.base import Base
from tests import databases
from tests.tables import create_only

pytestmark = pytest.mark.servers

NIGHTLY = bool(os.environ.get("OZELOT_TEST_NIGHTLY"))
UTC = datetime.UTC
BERLIN = ZoneInfo("Europe/Berlin")
NOON = datetime.datetime(2024, 1, 1, 12)
PLUS_FIVE = datetime.timezone(datetime.timedelta(hours=5, minutes=30))
FIRST_HALF_PAST_TWO = datetime.datetime(2024, 10, 27, 2, 30, tzinfo=BERLIN)
LAST_SECOND = datetime.datetime(9999, 12, 31, 23, 59, 59, tzinfo=UTC)
SECOND_HALF_PAST_TWO = FIRST_HALF_PAST_TWO.replace(fold=1)


class Metal(enum.Enum):
    gold = 1
    tin = 2


class Cents(sa.types.TypeDecorator[Decimal]):
    impl = sa.Numeric(30, 2)
    cache_ok = True


class Doubled(sa.Numeric[Decimal]):
    """Has methods of its own, which are not to be replaced."""

    def bind_processor(self, dialect: sa.Dialect) -> Callable[[Any], Any]:
        return lambda value: None if value is None else float(value) * 2


class Coin(Base):
    __tablename__ = "coin"
    number: Mapped[int | None]
    name: Mapped[str | None] = mapped_column(sa.String(8))
    weight: Mapped[float | None] = mapped_column(sa.Double)
    price: Mapped[Decimal | None] = mapped_column(sa.Numeric(10, 2))
    share: Mapped[Decimal | None] = mapped_column(sa.Numeric(30, 20))
    cents: Mapped[Decimal | None] = mapped_column(Cents)
    day: Mapped[datetime.date | None]
    local: Mapped[datetime.datetime | None]
    at: Mapped[datetime.datetime | None] = mapped_column(sa.DateTime(timezone=True))
    time: Mapped[datetime.time | None]
    zoned: Mapped[datetime.time | None] = mapped_column(sa.Time(timezone=True))
    took: Mapped[datetime.timedelta | None]
    image: Mapped[bytes | None]
    metal: Mapped[Metal | None]
    key: Mapped[str | None] = mapped_column(sa.Uuid(as_uuid=False))
    code: Mapped[str | None] = mapped_column(sa.CHAR(4))
    is_new: Mapped[bool | None]
    secret: Mapped[int | None]


class Mint(Base):
    opened: Mapped[datetime.datetime] = mapped_column(sa.DateTime(timezone=True))


class MintCoin(Base):
    mint_id: Mapped[int] = mapped_column(sa.ForeignKey("mint.id"))


COIN: Any = Coin.__table__


def by_add(session: sa.orm.Session, name: str, value: Any) -> None:
    session.add(Coin(**{name: value}))
    session.flush()


def by_change(session: sa.orm.Session, name: str, value: Any) -> None:
    coin = Coin()
    session.add(coin)
    session.flush()
    setattr(coin, name, value)
    session.flush()


def by_values(session: sa.orm.Session, name: str, value: Any) -> None:
    session.execute(sa.insert(COIN).values({name: value}))


def by_rows_of_values(session: sa.orm.Session, name: str, value: Any) -> None:
    session.execute(sa.insert(COIN).values([{name: None}, {name: value}]))
    session.execute(sa.delete(COIN).where(COIN.c[name].is_(None)))


def by_many(session: sa.orm.Session, name: str, value: Any) -> None:
    session.execute(sa.insert(Coin), [{name: value}, {name: value}])


def by_update(session: sa.orm.Session, name: str, value: Any) -> None:
    session.add(Coin())
    session.flush()
    session.execute(sa.update(Coin).values({name: value}))


def by_upsert(session: sa.orm.Session, name: str, value: Any) -> None:
    session.add(Coin(id=7))
    session.flush()
    kind = session.connection().dialect.name
    if kind == "mysql":
        session.execute(mysql_insert(COIN).values(id=7).on_duplicate_key_update({name: value}))
        return
    insert: Any = {"sqlite": sqlite_insert, "postgresql": postgresql_insert}[kind]
    session.execute(insert(COIN).values(id=7).on_conflict_do_update(index_elements=["id"], set_={name: value}))


def by_load(session: sa.orm.Session, name: str, value: Any) -> None:
    bulk.load(session, Coin, [{name: value}])


def by_load_of_objects(session: sa.orm.Session, name: str, value: Any) -> None:
    bulk.load(session, Coin, [Coin(**{name: value})])


Way = Callable[[sa.orm.Session, str, Any], None]
SESSIONS: list[Way] = [by_add, by_change, by_values, by_rows_of_values, by_many, by_update, by_upsert]
WAYS: list[Way] = [*SESSIONS, by_load, by_load_of_objects]

#: A value, and what is returned for it.
EXACT: list[tuple[str, Any, Any]] = [
    ("number", -(2**31), -(2**31)),
    ("number", 3.0, 3),
    ("number", Decimal("3.000"), 3),
    ("number", np.int64(7), 7),
    ("number", np.uint8(7), 7),
    ("name", "", ""),
    ("name", "Münze 🪙", "Münze 🪙"),
    ("name", np.str_("dime"), "dime"),
    ("weight", 0.1, 0.1),
    ("weight", -1.5e300, -1.5e300),
    ("weight", 2**53, float(2**53)),
    ("weight", Decimal("0.1"), 0.1),
    ("weight", np.float32(0.5), 0.5),
    ("price", Decimal("-99999999.99"), Decimal("-99999999.99")),
    ("price", Decimal("1.5" + "0" * 60), Decimal("1.50")),
    ("price", Decimal("1E+2"), Decimal(100)),
    ("price", 7, Decimal(7)),
    ("share", Decimal("0.1"), Decimal("0.1")),
    ("share", Decimal("1E-20"), Decimal("1E-20")),
    ("share", Decimal("1234567890.12345"), Decimal("1234567890.12345")),
    ("cents", Decimal("1234567890123.45"), Decimal("1234567890123.45")),
    ("day", datetime.date(9999, 12, 31), datetime.date(9999, 12, 31)),
    ("day", datetime.datetime(2024, 2, 29), datetime.date(2024, 2, 29)),
    ("local", NOON, NOON),
    ("local", pd.Timestamp(NOON), NOON),
    ("local", datetime.date(2024, 1, 1), datetime.datetime(2024, 1, 1)),
    ("at", NOON.replace(tzinfo=UTC), NOON.replace(tzinfo=UTC)),
    ("at", NOON.replace(tzinfo=BERLIN), datetime.datetime(2024, 1, 1, 11, tzinfo=UTC)),
    ("at", FIRST_HALF_PAST_TWO, datetime.datetime(2024, 10, 27, 0, 30, tzinfo=UTC)),
    ("at", SECOND_HALF_PAST_TWO, datetime.datetime(2024, 10, 27, 1, 30, tzinfo=UTC)),
    ("at", pd.Timestamp(NOON, tz=BERLIN), datetime.datetime(2024, 1, 1, 11, tzinfo=UTC)),
    ("at", LAST_SECOND, LAST_SECOND),
    ("at", datetime.datetime(1, 1, 1, tzinfo=UTC), datetime.datetime(1, 1, 1, tzinfo=UTC)),
    ("time", datetime.time(23, 59, 59), datetime.time(23, 59, 59)),
    ("took", datetime.timedelta(days=-3, seconds=7), datetime.timedelta(days=-3, seconds=7)),
    ("image", b"\0\xff", b"\0\xff"),
    ("image", bytearray(b"abc"), b"abc"),
    ("metal", Metal.tin, Metal.tin),
    ("key", "12345678-1234-5678-1234-567812345678", "12345678-1234-5678-1234-567812345678"),
    ("key", "ABCDEFAB123456781234567812345678", "abcdefab-1234-5678-1234-567812345678"),
    ("code", "ab", "ab"),
    ("code", "", ""),
    ("is_new", 1, True),
]  # fmt: skip
REJECTED: list[tuple[str, Any]] = [
    ("number", "abc"),
    ("number", "12"),
    ("number", 1.5),
    ("number", Decimal("1.5")),
    ("number", math.inf),
    ("number", 2**70),
    ("number", np.float64(0.5)),
    ("number", NOON),
    ("name", 5),
    ("name", b"dime"),
    ("weight", "1.5"),
    ("weight", 2**53 + 1),
    ("weight", 10**400),
    ("weight", Decimal("0.1234567890123456789")),
    ("weight", Decimal("1E+400")),
    ("price", Decimal("1.005")),
    ("price", Decimal("0.001")),
    ("price", Decimal(10**8)),
    ("price", 99999999.995),
    ("price", "1.50"),
    ("price", math.inf),
    ("price", Decimal("-Infinity")),
    ("share", Decimal("1E-21")),
    ("share", Decimal("99999999999999999999999999999999999999")),
    ("day", NOON),
    ("day", "2024-01-01"),
    ("day", 20240101),
    ("local", NOON.replace(tzinfo=UTC)),
    ("local", "2024-01-01 12:00"),
    ("local", pd.Timestamp("2024-01-01 00:00:00.000000001")),
    ("at", NOON),
    ("at", datetime.date(2024, 1, 1)),
    ("at", datetime.datetime(1, 1, 1, tzinfo=PLUS_FIVE)),
    ("at", datetime.datetime(9999, 12, 31, 23, tzinfo=ZoneInfo("America/New_York"))),
    ("time", datetime.time(12, tzinfo=UTC)),
    ("time", "12:00"),
    ("zoned", datetime.time(12, tzinfo=BERLIN)),
    ("took", 5),
    ("image", "text"),
    ("image", 5),
    ("metal", "silver"),
    ("key", "no uuid"),
    ("key", 5),
    ("is_new", 2),
    ("is_new", "yes"),
]  # fmt: skip


def stored_by(db: Client, way: Way, name: str, value: Any) -> Any:
    """What is read back after a value was written one way; nothing stays."""
    with db.create_session() as session:
        way(session, name, value)
        session.expire_all()
        return session.scalars(sa.select(getattr(Coin, name))).first()


def test_each_way_in_stores_the_same_value(db: Client) -> None:
    create_only(db, Coin)
    for name, value, expected in EXACT:
        for way in WAYS:
            found = stored_by(db, way, name, value)
            assert (found, type(found)) == (expected, type(expected)), (name, value, way.__name__)


def test_each_way_in_rejects_what_would_become_another_value(db: Client) -> None:
    create_only(db, Coin)
    for name, value in REJECTED:
        for way in WAYS:
            with pytest.raises(OzelotError) as caught:
                stored_by(db, way, name, value)
            assert "\n" not in str(caught.value), (name, value, way.__name__)
            assert isinstance(caught.value, ValueRejected if way in SESSIONS else LoadError)
            assert f"{'coin' if way in SESSIONS else 'Coin'}.{name}" in str(caught.value) or way is by_upsert
    with db.create_session() as session:
        assert session.scalar(sa.select(sa.func.count()).select_from(Coin)) == 0


def test_none_is_null_in_each_way(db: Client) -> None:
    create_only(db, Coin)
    for name in {name for name, *_ in [*EXACT, *REJECTED]}:
        for way in (by_add, by_values, by_many, by_update, by_load):
            assert stored_by(db, way, name, None) is None


@settings(
    max_examples=400 if NIGHTLY else 60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(
    st.one_of(
        st.decimals(allow_nan=False, allow_infinity=False, places=3),
        st.decimals(allow_nan=False, allow_infinity=False),
        st.integers(-(10**20), 10**20).map(Decimal),
        st.integers(-(10**18), 10**18).map(lambda number: Decimal(number).scaleb(-9)),
    )
)
def stored_or_rejected(db: Client, value: Decimal) -> None:
    outcomes = []
    for way in (by_add, by_values, by_load):
        try:
            outcomes.append(stored_by(db, way, "share", value))
        except OzelotError:
            outcomes.append(None)
    assert outcomes in ([value] * 3, [None] * 3)


def test_a_decimal_is_returned_exactly_or_rejected(db: Client) -> None:
    create_only(db, Coin)
    stored_or_rejected(db)


@databases.only("sqlite")
def test_sqlite_keeps_15_significant_digits(db: Client) -> None:
    create_only(db, Coin)
    for text in ("1234567890.12345", "0.00000123456789012345", "999999999999999E-20", "1E+9"):
        assert stored_by(db, by_add, "share", Decimal(text)) == Decimal(text)
        assert stored_by(db, by_load, "share", Decimal(text)) == Decimal(text)
    for text in ("1234567890.123456", "9007199254740993E-10", "0.1000000000000001"):
        for way in WAYS:
            with pytest.raises(OzelotError, match="15 significant digits"):
                stored_by(db, way, "share", Decimal(text))
    with pytest.raises(ValueRejected, match="15 significant digits"):
        stored_by(db, by_add, "cents", Decimal("12345678901234.56"))


#: A float, and what a column with two digits after the point returns.
ROUNDED = [
    (0.125, "0.13"), (-0.125, "-0.13"), (0.135, "0.14"), (1.005, "1.01"), (2.675, "2.68"), (0.1 + 0.2, "0.30"),
    (1e-10, "0.00"), (0.005, "0.01"), (0.0049999, "0.00"), (99999999.994, "99999999.99"), (1e7, "10000000.00"),
    (np.float64(0.125), "0.13"), (np.float32(0.125), "0.13"),
]  # fmt: skip


def test_floats_are_rounded_half_away_from_zero_by_the_digits_of_repr(db: Client) -> None:
    create_only(db, Coin)
    for value, expected in ROUNDED:
        for way in WAYS:
            assert stored_by(db, way, "price", value) == Decimal(expected), (value, way.__name__)


def test_numbers_do_not_depend_on_the_decimal_context_of_the_caller(db: Client) -> None:
    from decimal import Context, Inexact, localcontext

    create_only(db, Coin)
    with localcontext(Context(prec=3, traps=[Inexact])):
        for way in WAYS:
            assert str(stored_by(db, way, "price", Decimal("12345.67"))) == "12345.67"
            assert str(stored_by(db, way, "price", 12345.675)) == "12345.68"


def test_a_comparison_with_more_digits_is_exact_or_rejected(db: Client) -> None:
    create_only(db, Coin)
    with db.create_session() as session:
        session.add(Coin(price=Decimal("1.01")))
        session.flush()
        found = sa.select(Coin.price)
        assert session.scalars(found.where(Coin.price > Decimal("1.005"))).all() == [Decimal("1.01")]
        assert session.scalars(found.where(Coin.price == Decimal("1.005"))).all() == []
        assert session.scalars(found.where(Coin.price.in_([Decimal("1.010"), Decimal(5)]))).all() == [Decimal("1.01")]
        assert session.scalars(found.where(Coin.price < Decimal(10) ** 12)).all() == [Decimal("1.01")]
        close = found.where(Coin.price < Decimal("1.0100000000000000000001"))
        if db.engine.dialect.name == "sqlite":
            with pytest.raises(ValueRejected, match=r"price on SQLite .* 15 significant digits"):
                session.scalars(close)
        else:
            assert session.scalars(close).all() == [Decimal("1.01")]
        session.execute(sa.update(Coin).values(price=Coin.price * Decimal("1.005")))


def test_a_comparison_finds_numbers_of_numpy(db: Client) -> None:
    create_only(db, Coin)
    with db.create_session() as session:
        session.add(Coin(id=5, number=7))
        session.flush()
        query = sa.select(Coin.id).where(Coin.number == sa.bindparam("number", type_=sa.Integer))
        assert session.scalars(query, {"number": np.int64(7)}).all() == [5]
        session.expire_all()
        assert session.get(Coin, np.int64(5)) is not None


def test_instants_are_returned_in_utc_everywhere(db: Client) -> None:
    create_only(db, Mint, MintCoin)
    given_as = [FIRST_HALF_PAST_TWO, SECOND_HALF_PAST_TWO, NOON.replace(tzinfo=PLUS_FIVE)]
    expected = [value.astimezone(UTC) for value in given_as]
    with db.transaction() as session:
        bulk.load(session, Mint, [{"opened": value} for value in given_as])
        bulk.load(session, MintCoin, [{"mint": value} for value in given_as], refs={"mint": Mint.opened})
    with db.create_session() as session:
        found = session.scalars(sa.select(Mint.opened).order_by(Mint.id)).all()
        assert found == expected
        assert {value.tzinfo for value in found} == {UTC}
        assert session.scalars(sa.select(MintCoin.mint_id).order_by(MintCoin.id)).all() == [1, 2, 3]
        for number, value in enumerate(given_as, 1):
            assert session.scalars(sa.select(Mint.id).where(Mint.opened == value)).all() == [number]
        assert session.scalar(sa.select(sa.func.max(Mint.opened))) == max(expected)
        with pytest.raises(ValueRejected, match=r"opened on .* expects a datetime with a time zone"):
            session.scalars(sa.select(Mint.id).where(Mint.opened > NOON))
    query = sa.select(Mint.opened).order_by(Mint.id)
    for backend in ("pandas", "polars", "arrow"):
        frame: Any = db.frame(query, backend=backend)
        column = frame["opened"].to_pylist() if backend == "arrow" else list(frame["opened"])
        assert [value.astimezone(UTC) for value in column] == expected
        assert all(value.utcoffset() == datetime.timedelta() for value in column)
        with db.create_session() as session:
            assert bulk.load(session, Mint, frame).written == 3
            assert set(session.scalars(sa.select(Mint.opened))) == set(expected)
    assert [piece["opened"][0] for piece in db.frames(query, rows=1, backend="polars")] == expected


@databases.only("sqlite", "mariadb")
def test_instants_are_stored_in_utc_in_the_text_format_of_other_times(db: Client) -> None:
    create_only(db, Coin)
    for way in WAYS:
        with db.create_session() as session:
            way(session, "at", NOON.replace(tzinfo=PLUS_FIVE))
            text = session.scalar(sa.text("SELECT at FROM coin"))
            assert str(text).removesuffix(".000000") == "2024-01-01 06:30:00"


@databases.only("postgresql")
def test_instants_do_not_depend_on_the_time_zone_of_the_server(database_url: str) -> None:
    for zone in ("Europe/Berlin", "America/New_York"):
        url = sa.make_url(database_url).update_query_dict({"options": f"-c TimeZone={zone}"})
        db = Client(connection_string=url)
        create_only(db, Coin)
        for value in (datetime.datetime(1, 1, 1, tzinfo=UTC), datetime.datetime.max.replace(tzinfo=UTC)):
            with db.create_session() as session:
                session.add(Coin(at=value))
                session.flush()
                assert session.scalar(sa.select(Coin.at)) == value
                now = session.scalar(sa.select(sa.func.now()))
                assert now is not None
                assert now.tzinfo is UTC
        db.engine.dispose()


def test_times_with_a_zone_are_for_postgresql(db: Client) -> None:
    create_only(db, Coin)
    zoned = datetime.time(12, 30, tzinfo=PLUS_FIVE)
    for way in WAYS:
        if db.engine.dialect.name == "postgresql":
            found = stored_by(db, way, "zoned", zoned)
            assert (found, found.utcoffset()) == (zoned, zoned.utcoffset())
            with pytest.raises(OzelotError, match="a time with a time zone"):
                stored_by(db, way, "zoned", datetime.time(12, 30))
        else:
            assert stored_by(db, way, "zoned", datetime.time(12, 30)) == datetime.time(12, 30)
            with pytest.raises(OzelotError, match="a time without a time zone"):
                stored_by(db, way, "zoned", zoned)


def test_an_error_names_the_column_the_value_and_what_to_do(sqlite_db: Client) -> None:
    create_only(sqlite_db, Coin)
    with pytest.raises(ValueRejected) as caught:
        stored_by(sqlite_db, by_add, "number", "abc")
    assert str(caught.value) == (
        "coin.number on SQLite expects an integer; got the string 'abc'. Replace it with an integer"
    )
    with pytest.raises(ValueRejected, match=r"got the string '7'\. Convert it: int\(value\)"):
        stored_by(sqlite_db, by_add, "number", "7")
    with pytest.raises(ValueRejected) as caught:
        stored_by(sqlite_db, by_add, "secret", "abc")
    assert "got a string [hidden]" in str(caught.value)
    with pytest.raises(ValueRejected, match="For a missing value, use None"):
        stored_by(sqlite_db, by_add, "weight", math.nan)


def test_a_type_with_methods_of_its_own_is_left_alone(sqlite_db: Client) -> None:
    table = sa.Table("doubled", sa.MetaData(), sa.Column("number", Doubled(10, 2)))
    with sqlite_db.engine.begin() as connection:
        table.create(connection)
        connection.execute(sa.insert(table).values(number=Decimal("1.005")))
        assert connection.scalar(sa.text("SELECT number FROM doubled")) == 2.01


def test_padded_text_loses_no_spaces(db: Client) -> None:
    create_only(db, Coin)
    for way in WAYS:
        if db.engine.dialect.name == "sqlite":
            assert stored_by(db, way, "code", "ab ") == "ab "
        else:
            with pytest.raises(OzelotError, match="ends with spaces"):
                stored_by(db, way, "code", "ab ")
    with db.transaction() as session:
        session.add(Coin(code="ab"))
    assert db.frame(sa.select(Coin.code), backend="polars")["code"].to_list() == ["ab"]


@databases.only("postgresql", "mariadb")
def test_a_text_that_is_too_long_by_spaces_is_not_shortened(db: Client) -> None:
    create_only(db, Coin)
    for way in WAYS:
        with pytest.raises(OzelotError, match="at most 8 characters"):
            stored_by(db, way, "name", "12345678 ")


@databases.only("postgresql", "mariadb")
def test_floats_of_four_bytes_return_what_they_were_given(db: Client) -> None:
    kind: sa.types.TypeEngine[Any] = sa.REAL().with_variant(mysql.FLOAT(), "mysql", "mariadb")
    table = sa.Table("single", sa.MetaData(), sa.Column("number", kind))
    with db.engine.begin() as connection:
        table.create(connection)
        for value in (0.1, 123456.0, 1.5e30, -0.25):
            connection.execute(sa.insert(table).values(number=value))
            assert connection.scalar(sa.select(table.c.number)) == value
            connection.execute(sa.delete(table))
        for value in (0.123456789, 16777217.0, 1e300):
            with pytest.raises(ValueRejected, match="a float of 4 bytes"):
                connection.execute(sa.insert(table).values(number=value))


@databases.only("postgresql", "mariadb")
def test_a_time_that_is_finer_than_the_column_is_rejected(db: Client) -> None:
    kind: sa.types.TypeEngine[Any] = postgresql.TIMESTAMP(precision=3)
    kind = kind.with_variant(mysql.DATETIME(fsp=3), "mysql", "mariadb")
    table = sa.Table("moments", sa.MetaData(), sa.Column("at", kind))
    with db.engine.begin() as connection:
        table.create(connection)
        connection.execute(sa.insert(table).values(at=NOON.replace(microsecond=123_000)))
        assert connection.scalar(sa.select(table.c.at)) == NOON.replace(microsecond=123_000)
        with pytest.raises(ValueRejected, match=r"moments\.at .*finer than the column keeps"):
            connection.execute(sa.insert(table).values(at=NOON.replace(microsecond=123_456)))


@databases.only("sqlite")
def test_decimals_without_a_precision_are_returned_exactly(db: Client) -> None:
    table = sa.Table("plain", sa.MetaData(), sa.Column("number", sa.Numeric))
    with db.engine.begin() as connection:
        table.create(connection)
        for text in ("1E-12", "0.123456789012345", "-1E+20", "123456789012345", "0"):
            connection.execute(sa.insert(table).values(number=Decimal(text)))
            assert connection.scalar(sa.select(table.c.number)) == Decimal(text)
            connection.execute(sa.delete(table))
        connection.execute(sa.insert(table), [{"number": Decimal("0.1")}, {"number": Decimal("0.2")}])
        assert connection.scalar(sa.select(sa.func.sum(table.c.number))) == Decimal("0.3")


def test_uuids_stay_what_they_are(db: Client) -> None:
    value = uuid.UUID("ABCDEFAB-1234-5678-1234-567812345678")
    create_only(db, Coin)
    for way in WAYS:
        assert stored_by(db, way, "key", str(value).upper()) == str(value)
