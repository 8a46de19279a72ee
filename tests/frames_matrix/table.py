"""A table with a column of each type, and with types that return Python values of their own."""

from __future__ import annotations

import datetime as dt
import enum
import json
import uuid
from decimal import Decimal
from typing import Any
from zoneinfo import ZoneInfo

import sqlalchemy as sa
from sqlalchemy.dialects import mysql
from sqlalchemy.types import TypeDecorator, TypeEngine

BERLIN = ZoneInfo("Europe/Berlin")


class Color(enum.Enum):
    RED = 1
    BLUE = 2


class Money:
    """A value that neither Arrow nor a database knows."""

    def __init__(self, amount: int) -> None:
        self.amount = amount

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Money) and other.amount == self.amount

    def __hash__(self) -> int:
        return hash(self.amount)

    def __repr__(self) -> str:
        return f"Money({self.amount})"


class _Own(TypeDecorator[Any]):
    def process_bind_param(self, value: Any, dialect: sa.Dialect) -> Any:
        return None if value is None else self.to_database(value)

    def process_result_value(self, value: Any, dialect: sa.Dialect) -> Any:
        return None if value is None else self.from_database(value)

    def to_database(self, value: Any) -> Any:
        raise NotImplementedError

    def from_database(self, value: Any) -> Any:
        raise NotImplementedError


class Cents(_Own):
    """Decimals as whole cents."""

    impl = sa.BigInteger
    cache_ok = True

    def to_database(self, value: Any) -> int:
        return int(value * 100)

    def from_database(self, value: Any) -> Decimal:
        return Decimal(int(value)).scaleb(-2)


class Local(_Own):
    """Times of Berlin, stored without their zone."""

    impl = sa.DateTime
    cache_ok = True

    def to_database(self, value: Any) -> Any:
        return value.astimezone(BERLIN).replace(tzinfo=None)

    def from_database(self, value: Any) -> Any:
        return value.replace(tzinfo=BERLIN)


class YesNo(_Own):
    """Booleans as a letter."""

    impl = sa.String(1)
    cache_ok = True

    def to_database(self, value: Any) -> str:
        return "Y" if value else "N"

    def from_database(self, value: Any) -> bool:
        return bool(value == "Y")


class Words(_Own):
    """Lists as text."""

    impl = sa.String(100)
    cache_ok = True

    def to_database(self, value: Any) -> str:
        return ",".join(value)

    def from_database(self, value: Any) -> list[str]:
        return str(value).split(",")


class Tree(_Own):
    """Any JSON as text."""

    impl = sa.Text
    cache_ok = True

    def to_database(self, value: Any) -> str:
        return json.dumps(value)

    def from_database(self, value: Any) -> Any:
        return json.loads(value)


class Purse(_Own):
    """Objects as integers."""

    impl = sa.Integer
    cache_ok = True

    def to_database(self, value: Any) -> int:
        return int(value.amount)

    def from_database(self, value: Any) -> Money:
        return Money(value)


class Guid(_Own):
    """UUIDs as text."""

    impl = sa.CHAR(32)
    cache_ok = True

    def to_database(self, value: Any) -> str:
        return str(value.hex)

    def from_database(self, value: Any) -> uuid.UUID:
        return uuid.UUID(value)


class Upper(TypeDecorator[str]):
    """Changes what goes in, and nothing that comes out."""

    impl = sa.String(100)
    cache_ok = True

    def process_bind_param(self, value: Any, dialect: sa.Dialect) -> Any:
        return None if value is None else value.upper()


_FRACTIONS: Any = sa.DateTime().with_variant(mysql.DATETIME(fsp=6), "mysql", "mariadb")
_CLOCK: Any = sa.Time().with_variant(mysql.TIME(fsp=6), "mysql", "mariadb")
_WIDE: Any = sa.Numeric(60, 20).with_variant(sa.String(70), "sqlite")  # SQLite keeps 15 digits

_UUID = uuid.UUID("12345678-1234-5678-9234-567812345678")
_AT = dt.datetime(2024, 2, 29, 23, 59, 59, 500_000)

#: For each column its type and three values; a row of NULL follows.
COLUMNS: dict[str, tuple[TypeEngine[Any], list[Any]]] = {
    "small": (sa.SmallInteger(), [7, 8, -3]),
    "whole": (sa.Integer(), [7, 8, -3]),
    "big": (sa.BigInteger(), [2**53 + 1, 8, -(2**62)]),
    "real": (sa.Double(), [0.1, 7.5, -1e300]),
    "single": (sa.Float(), [0.5, 7.25, -4.0]),
    "amount": (sa.Numeric(10, 2), [Decimal("0.10"), Decimal("1250.00"), Decimal("-7.55")]),
    "rate": (sa.Numeric(15, 8, asdecimal=False), [0.125, 7.5, -0.00390625]),
    "wide": (_WIDE, [Decimal(f"{10**39}.{'1' * 20}"), Decimal("8." + "0" * 20), Decimal("-0." + "0" * 19 + "1")]),
    "yes": (sa.Boolean(), [True, False, True]),
    "text": (sa.String(100), ["\ufeffa", "7", "\ufeff"]),
    "long": (sa.Text(), ["中文 🦓\n", "", " x "]),
    "raw": (sa.LargeBinary(), [b"\0\xff", b"7", b""]),
    "day": (sa.Date(), [dt.date(1, 1, 1), dt.date(9999, 12, 31), dt.date(2024, 2, 29)]),
    "at": (_FRACTIONS, [dt.datetime(1, 1, 1), dt.datetime(9999, 12, 31, 23, 59, 59, 999_999), _AT]),
    "zoned": (
        sa.DateTime(timezone=True).with_variant(mysql.DATETIME(timezone=True, fsp=6), "mysql", "mariadb"),
        [dt.datetime(1000, 1, 1, tzinfo=dt.UTC), dt.datetime(2024, 7, 1, tzinfo=dt.UTC), _AT.replace(tzinfo=dt.UTC)],
    ),
    "clock": (_CLOCK, [dt.time(), dt.time(23, 59, 59, 999_999), dt.time(12, 30)]),
    "span": (
        sa.Interval(second_precision=6),
        [dt.timedelta(days=400, microseconds=1), dt.timedelta(seconds=1), dt.timedelta()],
    ),
    "color": (sa.Enum(Color), [Color.RED, Color.BLUE, Color.RED]),
    "size": (sa.Enum("S", "M", name="size"), ["S", "M", "S"]),
    "key": (sa.Uuid(), [_UUID, uuid.UUID(int=0), uuid.UUID(int=2**128 - 1)]),
    "tree": (sa.JSON(none_as_null=True), [{"a": [1, None, 0.5]}, [True], "x"]),
    "cents": (Cents(), [Decimal("0.10"), Decimal("1250.55"), Decimal("-1")]),
    "local": (Local(), [dt.datetime(2024, 7, 1, tzinfo=BERLIN), _AT.replace(tzinfo=BERLIN), _AT.astimezone(BERLIN)]),
    "letter": (YesNo(), [True, False, True]),
    "words": (Words(), [["a", "b"], ["c"], ["d", "e", "f"]]),
    "any": (Tree(), [1, "x", {"a": [0.5]}]),
    "purse": (Purse(), [Money(7), Money(8), Money(-3)]),
    "guid": (Guid(), [_UUID, uuid.UUID(int=0), uuid.UUID(int=5)]),
    "upper": (Upper(), ["A", "Ä", "\ufeff"]),
}

NUMBERS = ["small", "whole", "big", "real", "single", "amount", "rate", "wide", "yes", "cents"]
TIMES = ["day", "at", "zoned", "clock", "span", "local"]

SAMPLES = sa.Table(
    "samples",
    sa.MetaData(),
    sa.Column("id", sa.Integer, primary_key=True),
    *(sa.Column(name, kind) for name, (kind, _) in COLUMNS.items()),
)


def fill(engine: sa.Engine) -> None:
    """Create the table with three rows of values and one of NULL."""
    SAMPLES.create(engine)
    on_sqlite = engine.dialect.name == "sqlite"
    with engine.begin() as connection:
        for number in range(4):
            row: dict[str, Any] = {"id": number + 1}
            for name, (_, values) in COLUMNS.items():
                value = values[number] if number < len(values) else None
                row[name] = str(value) if on_sqlite and name == "wide" and value is not None else value
            connection.execute(sa.insert(SAMPLES), row)
