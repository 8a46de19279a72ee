"""MariaDB: new tables keep every digit, the id 0 and all modes; existing ones take no value that they would change."""

from __future__ import annotations

import datetime as dt
import struct
from collections.abc import Callable
from decimal import Decimal
from typing import Any

import pytest
import sqlalchemy as sa
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import orm
from sqlalchemy.dialects import mysql
from sqlalchemy.orm import Mapped, mapped_column

from ozelot.client import Client
from ozelot.errors import LoadError, OzelotError
from ozelot.etl import tasks
from ozelot.etl.status import State, status
from ozelot.model.base import table_of
from ozelot.orm import bulk
from ozelot.orm.base import Base
from ozelot.schema.compare import differences
from ozelot.schema.difference import Takes
from ozelot.schema.upgrade import apply, plan
from tests.databases import only
from tests.etl.heroes import build
from tests.tables import create_only

pytestmark = only("mariadb")

LAX = [
    "sql_mode=",
    "sql_mode=ANSI_QUOTES,NO_BACKSLASH_ESCAPES,REAL_AS_FLOAT",
    "sql_mode=EMPTY_STRING_IS_NULL,PAD_CHAR_TO_FULL_LENGTH",
    "sql_mode=ORACLE",
    "init_command=SET sql_mode='TIME_ROUND_FRACTIONAL', time_zone='-07:00'",
]


def on_mariadb(kind: Any, there: Any) -> Any:
    return kind.with_variant(there, "mysql", "mariadb")


class MdPayment(Base):
    """One column of each type that MariaDB would store with fewer digits."""

    amount: Mapped[Decimal | None]
    at: Mapped[dt.datetime | None]
    hour: Mapped[dt.time | None]
    stamp: Mapped[dt.datetime | None] = mapped_column(sa.TIMESTAMP)
    took: Mapped[dt.timedelta | None]
    share: Mapped[float | None]
    day: Mapped[dt.date | None]
    short: Mapped[str | None] = mapped_column(sa.CHAR(5))
    text: Mapped[str | None] = mapped_column(sa.String(5))


class MdLimited(Base):
    """Types of MariaDB that change values, whatever the table is like."""

    thirds: Mapped[dt.datetime | None] = mapped_column(on_mariadb(sa.DateTime(), mysql.DATETIME(fsp=3)))
    whole: Mapped[dt.time | None] = mapped_column(on_mariadb(sa.Time(), mysql.TIME(fsp=0)))
    single: Mapped[float | None] = mapped_column(on_mariadb(sa.Float(), mysql.FLOAT(asdecimal=False)))
    cents: Mapped[float | None] = mapped_column(on_mariadb(sa.Float(), mysql.DOUBLE(15, 2, asdecimal=False)))
    bits: Mapped[int | None] = mapped_column(on_mariadb(sa.BigInteger(), mysql.BIT(64)))
    number: Mapped[Decimal | None] = mapped_column(on_mariadb(sa.Numeric(), mysql.NUMERIC(unsigned=True)))
    year: Mapped[int | None] = mapped_column(on_mariadb(sa.Integer(), mysql.YEAR()))
    padded: Mapped[str | None] = mapped_column(sa.CHAR(5))
    filled: Mapped[bytes | None] = mapped_column(on_mariadb(sa.LargeBinary(), sa.BINARY(4)))


class LoadMdPayments(tasks.ORMTask):
    creates = [MdPayment]

    def run(self) -> None:
        self.load(MdPayment, [{"id": 1, "amount": Decimal(7), "at": dt.datetime(2024, 1, 1), "share": 0.1}])


ROW: dict[str, Any] = {
    "id": 0,
    "amount": Decimal("0.49"),
    "at": dt.datetime(2024, 1, 1, 12, 0, 0, 999999),
    "hour": dt.time(23, 59, 59, 999999),
    "stamp": dt.datetime(2024, 3, 31, 2, 30, 0, 1),  # not a time in Berlin
    "took": dt.timedelta(days=-3, microseconds=1),
    "share": 0.1 + 0.2,
    "day": dt.date(1, 1, 1),
    "short": "ab",
    "text": "",
}


def ways() -> dict[str, Callable[[orm.Session, Any, dict[str, Any]], Any]]:
    def core_many(session: orm.Session, model: Any, row: dict[str, Any]) -> None:
        empty = {name: 99 if name == "id" else None for name in row}
        session.execute(sa.insert(model.__table__), [empty, row])

    def one_statement(session: orm.Session, model: Any, row: dict[str, Any]) -> None:
        empty = {name: 99 if name == "id" else None for name in row}
        session.execute(sa.insert(model.__table__).values([empty, row]))

    def update(session: orm.Session, model: Any, row: dict[str, Any]) -> None:
        found = model(id=row.get("id"))
        session.add(found)
        session.flush()
        for name, value in row.items():
            setattr(found, name, value)

    return {
        "load": lambda session, model, row: bulk.load(session, model, [row]),
        "add": lambda session, model, row: session.add(model(**row)),
        "Core": lambda session, model, row: session.execute(sa.insert(model.__table__), row),
        "Core, several rows": core_many,
        "Core, several rows in one statement": one_statement,
        "update": update,
    }


WAYS = ways()


def with_query(database: Client, query: str) -> Client:
    return Client(connection_string=f"{database.url.render_as_string(hide_password=False)}?{query}")


def stored(database: Client, model: Any, row: dict[str, Any]) -> dict[str, Any]:
    with database.create_session() as session:
        query = sa.select(*(getattr(model, name) for name in row)).order_by(model.id == 99, model.id.desc())
        return dict(session.execute(query.limit(1)).one()._mapping)


@pytest.mark.parametrize("query", LAX)
@pytest.mark.parametrize("way", WAYS)
def test_a_new_table_stores_every_digit_whatever_the_sql_mode(db: Client, way: str, query: str) -> None:
    database = with_query(db, query)
    create_only(database, MdPayment)
    with database.create_session() as session:
        WAYS[way](session, MdPayment, ROW)
        session.commit()
    assert stored(database, MdPayment, ROW) == ROW
    database.engine.dispose()


@pytest.mark.parametrize("query", LAX)
def test_what_does_not_fit_is_rejected_whatever_the_sql_mode(db: Client, query: str) -> None:
    database = with_query(db, query)
    create_only(database, MdPayment)
    for statement in (
        sa.text("INSERT INTO mdpayment (text) VALUES ('too long')"),
        sa.text("INSERT INTO mdpayment (amount) VALUES (1e40)"),
        sa.text("INSERT INTO mdpayment (at) VALUES ('2024-02-30')"),
        sa.text("INSERT INTO mdpayment (stamp) VALUES ('2099-01-01')"),
    ):
        with pytest.raises(sa.exc.DBAPIError), database.engine.begin() as connection:
            connection.execute(statement)
    database.engine.dispose()


def test_modes_of_the_url_are_kept_except_those_that_change_values(db: Client) -> None:
    database = with_query(db, "sql_mode=ORACLE,EMPTY_STRING_IS_NULL,PAD_CHAR_TO_FULL_LENGTH")
    with database.engine.connect() as connection:
        modes = connection.exec_driver_sql("SELECT @@sql_mode").scalar_one()
    assert {"ANSI_QUOTES", "NO_AUTO_VALUE_ON_ZERO", "STRICT_ALL_TABLES"} <= {*modes.split(",")}  # ORACLE is a group
    assert {"ORACLE", "EMPTY_STRING_IS_NULL", "PAD_CHAR_TO_FULL_LENGTH"}.isdisjoint(modes.split(","))
    database.engine.dispose()


def test_modes_of_the_server_are_kept(db: Client) -> None:
    with db.engine.connect() as connection:
        of_server, own = connection.exec_driver_sql("SELECT @@global.sql_mode, @@sql_mode").one()
    assert set(of_server.split(",")) <= set(own.split(","))


def test_types_of_new_columns(db: Client) -> None:
    columns: dict[str, list[Any]] = {
        "DATETIME(6)": [sa.DateTime, sa.DateTime(timezone=True), sa.Interval, mysql.DATETIME],
        "DATETIME(3)": [mysql.DATETIME(fsp=3)],
        "DATETIME": [mysql.DATETIME(fsp=0)],
        "TIMESTAMP(6)": [sa.TIMESTAMP, mysql.TIMESTAMP],
        "TIME(6)": [sa.Time, mysql.TIME],
        "DOUBLE": [sa.Float, sa.Float(24), sa.Float(53), sa.FLOAT, sa.REAL, sa.Double, sa.Double(53), mysql.DOUBLE],
        "DOUBLE(10, 2)": [mysql.DOUBLE(10, 2), mysql.REAL(10, 2)],
        "FLOAT": [mysql.FLOAT],
        "DECIMAL(65, 30)": [sa.Numeric, sa.DECIMAL, mysql.NUMERIC, sa.Numeric(scale=2), sa.Numeric(asdecimal=False)],
        "DECIMAL(65, 30) UNSIGNED": [mysql.DECIMAL(unsigned=True)],
        "DECIMAL(10, 0)": [sa.Numeric(10)],
        "DECIMAL(12, 3)": [sa.Numeric(12, 3)],
    }
    kinds = [(text, kind) for text, some in columns.items() for kind in some]
    table = sa.Table("md_kinds", sa.MetaData(), *(sa.Column(f"c{i}", kind) for i, (_, kind) in enumerate(kinds)))
    with db.engine.begin() as connection:
        table.create(connection)
        found = sa.inspect(connection).get_columns("md_kinds")
        assert [column["type"].compile(db.engine.dialect) for column in found] == [text for text, _ in kinds]
        assert differences(connection, table.metadata) == []
        again = sa.Table("md_kinds", sa.MetaData(), autoload_with=connection)
        table.drop(connection)
        again.create(connection)  # as it was: a column without fractions has none
        assert differences(connection, table.metadata) == []


def test_casts_keep_every_digit(db: Client) -> None:
    moment, number = dt.datetime(2024, 1, 1, 12, 0, 0, 999999), Decimal("0.125")
    values = [
        (moment, sa.DateTime),
        (moment, sa.TIMESTAMP),
        (moment.time(), sa.Time),
        (number, sa.Numeric),
        (0.1 + 0.2, sa.Float),
        (0.1 + 0.2, sa.Double),
    ]
    with db.engine.connect() as connection:
        casts: list[Any] = [sa.cast(str(value), kind).label(None) for value, kind in values]
        row = connection.execute(sa.select(*casts)).one()
    assert [*row] == [value for value, _ in values]


def test_the_current_time_as_a_default_has_the_digits_of_its_column(db: Client) -> None:
    now: list[Any] = [sa.func.now(), sa.func.current_timestamp(), sa.text("NOW()"), sa.text("CURRENT_TIMESTAMP")]
    now.append(sa.text("CURRENT_TIMESTAMP ON UPDATE CURRENT_TIMESTAMP"))
    kinds: list[Any] = [sa.DateTime, sa.TIMESTAMP, mysql.DATETIME(fsp=3), mysql.DATETIME(fsp=0)]
    columns = [
        sa.Column(f"c{i}_{j}", kind, server_default=default)
        for i, kind in enumerate(kinds)
        for j, default in enumerate(now)
    ]
    table = sa.Table("md_now", sa.MetaData(), sa.Column("id", sa.Integer, primary_key=True), *columns)
    with db.engine.begin() as connection:
        table.create(connection)
        assert differences(connection, table.metadata) == []
        connection.execute(sa.insert(table), {"id": 0})
        row = connection.execute(sa.select(table)).one()._mapping
        utc = connection.exec_driver_sql("SELECT UTC_TIMESTAMP(6)").scalar_one()
    assert all(abs(value - utc) < dt.timedelta(seconds=5) for name, value in row.items() if name != "id")


numbers = st.decimals(-(10**34), 10**34, allow_nan=False, places=30) | st.decimals(-1000, 1000, places=2)


@settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(given=st.lists(numbers | st.integers(-(10**34), 10**34).map(Decimal), min_size=1, max_size=30))
def test_a_number_without_a_precision_comes_back_equal_and_without_zeros(db: Client, given: list[Decimal]) -> None:
    create_only(db, MdPayment)
    with db.create_session() as session:
        bulk.load(session, MdPayment, [{"amount": number} for number in given])
        session.add_all([MdPayment(amount=number) for number in given])
        session.flush()
        found = session.scalars(sa.select(MdPayment.amount).order_by(MdPayment.id)).all()
        session.rollback()
    assert found == given * 2
    assert not [number for number in found if "." in f"{number:f}" and f"{number:f}".endswith("0")]
    assert not [number for number in found if number is not None and int(number.as_tuple().exponent) > 0]


def test_rows_without_any_value_get_new_ids(db: Client) -> None:
    create_only(db, MdPayment)
    with db.create_session() as session:
        session.add_all([MdPayment() for _ in range(3)])
        session.flush()
        session.execute(sa.insert(table_of(MdPayment)), [{}, {}])
        session.execute(sa.insert(table_of(MdPayment)))
        ids = session.scalars(sa.insert(MdPayment).returning(MdPayment.id), [{}, {}]).all()
        assert sorted(session.scalars(sa.select(MdPayment.id))) == list(range(1, 9))
        assert sorted(ids) == [7, 8]


KEPT: list[dict[str, Any]] = [
    {"thirds": dt.datetime(2024, 1, 1, 12, 0, 0, 123000)},
    {"whole": dt.time(23, 59, 59)},
    *({"single": number} for number in (0.1, -3.4e38, 16777200.0, 1.5e-38, 0.0, 123456.0)),
    *({"cents": number} for number in (0.1, -1234567890.12, 0.0)),
    *({"year": year} for year in (0, 1901, 2155)),
    {"bits": 2**64 - 1},
    {"number": Decimal("99999999999999999999999999999999999.000000000000000000000000000001")},
    {"padded": " a b"},
    {"filled": b"\0abc"},
    dict.fromkeys(["thirds", "whole", "single", "cents", "bits", "number", "year", "padded", "filled"]),
]
CHANGED: list[dict[str, Any]] = [
    {"thirds": dt.datetime(2024, 1, 1, 12, 0, 0, 123400)},
    {"whole": dt.time(23, 59, 59, 1)},
    *({"single": number} for number in (0.1234567, 16777216.0, 1e-46)),
    *({"cents": number} for number in (0.125, -0.001)),
    *({"year": year} for year in (1, 70, 99)),
    {"bits": -1},
    *({"number": Decimal(number)} for number in ("1E-31", "1E+35", "0.1234567890123456789012345678901")),
    {"padded": "ab "},
    {"filled": b"abc"},
]


@pytest.mark.parametrize("way", WAYS)
def test_types_that_keep_some_values_take_these_and_no_others(db: Client, way: str) -> None:
    create_only(db, MdLimited)
    for row in KEPT:
        with db.create_session() as session:
            WAYS[way](session, MdLimited, row)
            session.commit()
        with db.engine.connect() as connection:
            names = sa.select(*(table_of(MdLimited).c[name] for name in row))
            assert [*row.values()] in [[*found] for found in connection.execute(names)]
    for row in CHANGED:
        (name,) = row
        with db.create_session() as session, pytest.raises(OzelotError, match=f"(?i)mdlimited.{name}.* expects "):
            WAYS[way](session, MdLimited, row)
            session.flush()


floats = st.floats(-3e38, 3e38) | st.integers(-(10**8), 10**8).map(float) | st.decimals(-999, 999, places=3).map(float)


@settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(numbers=st.lists(floats, min_size=1, max_size=50))
def test_a_float_of_six_digits_is_returned_or_rejected(db: Client, numbers: list[float]) -> None:
    create_only(db, MdLimited)
    with db.create_session() as session:
        for number in numbers:
            try:
                bulk.load(session, MdLimited, [{"single": number, "cents": round(number, 2)}])
            except LoadError:
                continue
            query = sa.select(MdLimited.single, MdLimited.cents).order_by(MdLimited.id.desc()).limit(1)
            assert session.execute(query).one() == (number, round(number, 2))
        session.rollback()


def create_as_0_2(database: Client) -> None:
    """The table of payments as SQLAlchemy made it for ozelot 0.2, with a row."""
    create_only(database, MdPayment)
    with database.engine.begin() as connection:
        connection.exec_driver_sql("DROP TABLE mdpayment")
        connection.exec_driver_sql(
            "CREATE TABLE mdpayment (id INTEGER NOT NULL AUTO_INCREMENT, amount NUMERIC, at DATETIME, hour TIME, "
            "stamp TIMESTAMP NULL, took DATETIME, share FLOAT, day DATE, short CHAR(5), text VARCHAR(5), "
            "PRIMARY KEY (id))"
        )


NARROW = {
    "mdpayment.amount is DECIMAL(10, 0), the model says NUMERIC(65, 30)",
    "mdpayment.at is DATETIME, the model says DATETIME(6)",
    "mdpayment.hour is TIME, the model says TIME(6)",
    "mdpayment.share is FLOAT, the model says DOUBLE",
    "mdpayment.stamp is TIMESTAMP, the model says TIMESTAMP(6)",
    "mdpayment.took is DATETIME, the model says DATETIME(6)",
}
OLD_ROW: dict[str, Any] = {
    "id": 5,
    "amount": Decimal("-1234567890"),
    "at": dt.datetime(2024, 1, 1, 12, 0, 1),
    "hour": dt.time(23, 59, 59),
    "stamp": dt.datetime(2024, 1, 1, 12, 0, 1),
    "took": dt.timedelta(days=-3),
    "share": 0.1,
    "day": dt.date(1, 1, 1),
    "short": "ab",
    "text": "",
}


def payment_differences(database: Client) -> dict[str, Takes]:
    metadata = sa.MetaData()
    table_of(MdPayment).to_metadata(metadata)
    with database.engine.connect() as connection:
        return {one.words: one.takes for one in differences(connection, metadata) if one.table == "mdpayment"}


def upgrade_payments(database: Client) -> None:
    metadata = sa.MetaData()
    table_of(MdPayment).to_metadata(metadata)
    with database.engine.connect() as connection:
        planned = plan(connection, metadata=metadata)
    assert apply(database, planned).left == ()


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("name", ["amount", "at", "hour", "stamp", "took", "share"])
def test_an_existing_table_rejects_what_it_would_round_until_it_is_upgraded(db: Client, name: str, way: str) -> None:
    create_as_0_2(db)
    with db.create_session() as session:
        WAYS[way](session, MdPayment, OLD_ROW)  # all of it fits
        session.commit()
    row = {name: ROW[name]}
    with db.create_session() as session, pytest.raises(LoadError, match=rf"mdpayment\.{name}.*: ozelot db upgrade"):
        WAYS[way](session, MdPayment, row)
        session.flush()
    assert stored(db, MdPayment, OLD_ROW) == OLD_ROW
    other = Client(connection_string=db.url)  # as another process would
    upgrade_payments(other)
    other.engine.dispose()
    assert stored(db, MdPayment, OLD_ROW) == OLD_ROW
    with db.create_session() as session:
        WAYS[way](session, MdPayment, row)
        session.commit()
    with db.create_session() as session:
        column = getattr(MdPayment, name)
        assert ROW[name] in session.scalars(sa.select(column)).all()


def test_a_load_names_the_rows_that_an_existing_table_would_round(db: Client) -> None:
    create_as_0_2(db)
    rows = [{"amount": Decimal(number)} for number in ("1", "0.5", "2.00", "0.49")]
    with db.create_session() as session, pytest.raises(LoadError) as caught:
        bulk.load(session, MdPayment, rows)
    assert str(caught.value) == (
        "mdpayment.amount expects a value that its type in the database, DECIMAL(10, 0), stores exactly; row 1 has "
        "Decimal('0.5'), row 3 has Decimal('0.49'). Widen it: ozelot db upgrade. Nothing was loaded; rows count from 0"
    )


def test_columns_that_lose_digits_are_named_and_widened_with_all_rows_and_no_stale_task(db: Client) -> None:
    create_as_0_2(db)
    build(LoadMdPayments())
    with db.create_session() as session:
        session.add(MdPayment(**OLD_ROW))
        session.commit()
    assert payment_differences(db) == dict.fromkeys(NARROW, Takes.IN_PLACE)
    upgrade_payments(db)
    assert payment_differences(db) == {}
    assert stored(db, MdPayment, OLD_ROW) == OLD_ROW
    (entry,) = status(LoadMdPayments())
    assert entry.state is State.COMPLETE
    assert entry.verdict is not None
    assert not entry.verdict.reasons
    assert not entry.verdict.unknown


def test_floats_that_are_widened_keep_the_number_they_stood_for(db: Client) -> None:
    create_as_0_2(db)
    given = [0.1, -0.1, 1.03, 123456.7, 0.0, 3.4e38, -1.2e-38, 99999.95, 16777216.0, 0.33333334]
    with db.engine.begin() as connection:
        for number in given:
            connection.execute(sa.text("INSERT INTO mdpayment (share) VALUES (:number)"), {"number": number})
        connection.exec_driver_sql(
            "ALTER TABLE mdpayment ADD changed TIMESTAMP NOT NULL DEFAULT '2020-01-01' ON UPDATE CURRENT_TIMESTAMP"
        )
    upgrade = payment_differences(db)
    assert "mdpayment.share is FLOAT, the model says DOUBLE" in upgrade
    metadata = sa.MetaData()
    table_of(MdPayment).to_metadata(metadata)
    with db.engine.connect() as connection:
        planned = plan(connection, metadata=metadata)
    apply(db, planned)
    with db.engine.connect() as connection:
        found = connection.exec_driver_sql("SELECT share FROM mdpayment ORDER BY id").scalars().all()
        changed = connection.exec_driver_sql("SELECT DISTINCT changed FROM mdpayment").scalars().all()
    assert [single(number) for number in found] == [single(number) for number in given]
    assert found == given
    assert changed == [dt.datetime(2020, 1, 1)]  # the rows did not change


def single(number: float) -> bytes:
    return struct.pack("f", number)


def test_rounded_floats_are_told_and_widened(db: Client) -> None:
    def md_prices(*columns: sa.Column[Any]) -> sa.MetaData:
        metadata = sa.MetaData()
        sa.Table("md_prices", metadata, sa.Column("id", sa.Integer, primary_key=True), *columns)
        return metadata

    old = md_prices(sa.Column("a", mysql.DOUBLE(10, 2)), sa.Column("b", mysql.FLOAT(30, 2)))
    new = md_prices(sa.Column("a", sa.Double), sa.Column("b", sa.Float))
    with db.engine.begin() as connection:
        old.create_all(connection)
        connection.exec_driver_sql("INSERT INTO md_prices VALUES (0, 1234567.89, 1.26)")
        found = differences(connection, new)
        assert [one.words for one in found] == [
            "md_prices.a is DOUBLE(10, 2), the model says DOUBLE",
            "md_prices.b is FLOAT(30, 2), the model says DOUBLE",
        ]
        assert {one.takes for one in found} == {Takes.IN_PLACE}
        planned = plan(connection, metadata=new)
        backwards = differences(connection, old)
    assert backwards == []
    assert apply(db, planned).left == ()
    with db.engine.connect() as connection:
        assert connection.exec_driver_sql("SELECT * FROM md_prices").all() == [(0, 1234567.89, 1.26)]
        assert {one.takes for one in differences(connection, old)} == {Takes.REBUILD}


def test_columns_of_any_name_in_tables_of_any_name_are_compared(db: Client) -> None:
    names = ["50%", "a b", "select", "Größe", "quoted`name", "b_m1"]
    columns = [sa.Column(name, sa.DateTime) for name in names]
    table = sa.Table("100% `prices`", sa.MetaData(), sa.Column("id", sa.Integer, primary_key=True), *columns)
    with db.engine.begin() as connection:
        connection.exec_driver_sql(
            "CREATE TABLE `100%% ``prices``` (id INT PRIMARY KEY, "
            + ", ".join(f"`{name.replace('`', '``').replace('%', '%%')}` DATETIME" for name in names)
            + ")",
            (),
        )
        for name in names:
            with pytest.raises(LoadError) as caught:
                connection.execute(sa.insert(table).values({name: ROW["at"], "id": 1}))
            assert str(caught.value).startswith(f"100% `prices`.{name} expects a value that its type in the database")
        connection.execute(sa.insert(table).values({names[0]: OLD_ROW["at"], "id": 0}))
        update = sa.update(table).where(table.c.id == 0).values({names[0]: ROW["at"]})
        with pytest.raises(LoadError, match="50%"):
            connection.execute(update)
        connection.execute(sa.update(table).where(table.c[names[0]] < ROW["at"]).values({names[0]: OLD_ROW["at"]}))


def test_a_column_without_a_type_is_compared_with_what_the_table_has(db: Client) -> None:
    table = sa.Table("md_untyped", sa.MetaData(), sa.Column("at"), sa.Column("number"))
    with db.engine.begin() as connection:
        connection.exec_driver_sql("CREATE TABLE md_untyped (at DATETIME, number INTEGER)")
        connection.execute(sa.insert(table), {"at": OLD_ROW["at"], "number": 1})
        with pytest.raises(LoadError, match=r"md_untyped.at expects .* DATETIME, stores exactly"):
            connection.execute(sa.insert(table), {"at": ROW["at"]})


def test_a_table_that_is_gone_is_reported_by_the_database(db: Client) -> None:
    create_only(db, MdPayment)
    with db.engine.begin() as connection:
        connection.exec_driver_sql("DROP TABLE mdpayment")
    with db.create_session() as session, pytest.raises(sa.exc.ProgrammingError, match="mdpayment"):
        session.add(MdPayment())
        session.flush()
