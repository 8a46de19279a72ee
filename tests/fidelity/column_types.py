"""The types of SQLAlchemy that each database supports, and values at the edges of what they hold."""

from __future__ import annotations

import datetime
import enum
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

import sqlalchemy as sa
from sqlalchemy.dialects import mysql, postgresql, sqlite
from sqlalchemy.types import TypeEngine


class Metal(enum.Enum):
    iron = 1
    gold = "Au"


class Cents(sa.types.TypeDecorator[Decimal]):
    """Amounts as whole cents."""

    impl = sa.BigInteger
    cache_ok = True

    def process_bind_param(self, value: Decimal | None, dialect: sa.Dialect) -> int | None:
        if value is None:
            return None
        cents = Decimal(value) * 100
        if cents != int(cents):
            raise ValueError(f"not a number of cents: {value}")
        return int(cents)

    def process_result_value(self, value: int | None, dialect: sa.Dialect) -> Decimal | None:
        return None if value is None else Decimal(value) / 100


@dataclass(frozen=True)
class Typed:
    """A type, what to call it, and which values are given to it.

    Attributes:
        name: unique on a database; the name of a table and of a model.
        type: of the column.
        family: a key of :data:`VALUES`.
    """

    name: str
    type: TypeEngine[Any]
    family: str


GENERIC: dict[str, dict[str, TypeEngine[Any]]] = {
    "integer": {
        "smallint": sa.SmallInteger(),
        "integer": sa.Integer(),
        "bigint": sa.BigInteger(),
    },
    "float": {"float": sa.Float(), "float_53": sa.Float(53), "double": sa.Double(), "real": sa.REAL()},
    "decimal": {
        "numeric": sa.Numeric(),
        "numeric_10_2": sa.Numeric(10, 2),
        "numeric_15_0": sa.Numeric(15, 0),
        "numeric_38_10": sa.Numeric(38, 10),
        "numeric_60_20": sa.Numeric(60, 20),
        "decimal_5_5": sa.DECIMAL(5, 5),
        "cents": Cents(),
    },
    "decimal as float": {"numeric_float": sa.Numeric(10, 2, asdecimal=False)},
    "text": {
        "string_20": sa.String(20),
        "text": sa.Text(),
        "unicode_20": sa.Unicode(20),
        "unicode_text": sa.UnicodeText(),
        "char_5": sa.CHAR(5),
        "varchar_20": sa.VARCHAR(20),
        "nvarchar_20": sa.Unicode(20),
    },
    "boolean": {"boolean": sa.Boolean()},
    "date": {"date": sa.Date()},
    "datetime": {"datetime": sa.DateTime(), "timestamp": sa.TIMESTAMP()},
    "zoned": {"datetime_zone": sa.DateTime(timezone=True)},
    "time": {"time": sa.Time()},
    "interval": {"interval": sa.Interval()},
    "bytes": {"binary": sa.LargeBinary()},
    "json": {"json": sa.JSON()},
    "enum": {"enum_class": sa.Enum(Metal), "enum_names": sa.Enum("iron", "gold", name="metal_names")},
    "uuid": {"uuid": sa.Uuid()},
    "uuid text": {"uuid_text": sa.Uuid(as_uuid=False)},
    "pickle": {"pickle": sa.PickleType()},
}
OF_DIALECT: dict[str, dict[str, dict[str, TypeEngine[Any]]]] = {
    "sqlite": {
        "json": {"sqlite_json": sqlite.JSON()},
        "datetime": {"sqlite_datetime": sqlite.DATETIME(truncate_microseconds=False)},
    },
    "postgresql": {
        "integer": {"oid": postgresql.OID()},
        "float": {"double_precision": postgresql.DOUBLE_PRECISION()},
        "text": {
            "inet": postgresql.INET(),
            "cidr": postgresql.CIDR(),
            "macaddr": postgresql.MACADDR(),
            "macaddr8": postgresql.MACADDR8(),
            "money": postgresql.MONEY(),
            "bit": postgresql.BIT(3),
            "bit_varying": postgresql.BIT(10, varying=True),
            "tsvector": postgresql.TSVECTOR(),
            "tsquery": postgresql.TSQUERY(),
            "jsonpath": postgresql.JSONPATH(),
        },
        "bytes": {"bytea": postgresql.BYTEA()},
        "json": {"pg_json": postgresql.JSON(), "jsonb": postgresql.JSONB()},
        "uuid": {"pg_uuid": postgresql.UUID()},
        "datetime": {"pg_timestamp_3": postgresql.TIMESTAMP(precision=3)},
        "zoned": {"pg_timestamptz": postgresql.TIMESTAMP(timezone=True)},
        "time": {"pg_time_3": postgresql.TIME(precision=3), "pg_timetz": postgresql.TIME(timezone=True)},
        "interval": {"pg_interval": postgresql.INTERVAL()},
        "enum": {"pg_enum": postgresql.ENUM(Metal, name="pg_metal")},
        "array": {
            "array_integer": postgresql.ARRAY(sa.Integer),
            "array_text": postgresql.ARRAY(sa.Text),
            "array_2": postgresql.ARRAY(sa.Numeric, dimensions=2),
        },
    },
    "mariadb": {
        "integer": {
            "tinyint": mysql.TINYINT(),
            "tinyint_unsigned": mysql.TINYINT(unsigned=True),
            "smallint_unsigned": mysql.SMALLINT(unsigned=True),
            "mediumint": mysql.MEDIUMINT(),
            "mediumint_unsigned": mysql.MEDIUMINT(unsigned=True),
            "integer_unsigned": mysql.INTEGER(unsigned=True),
            "bigint_unsigned": mysql.BIGINT(unsigned=True),
            "year": mysql.YEAR(),
            "bit_8": mysql.BIT(8),
        },
        "float": {"mysql_float": mysql.FLOAT(), "mysql_double": mysql.DOUBLE(asdecimal=False)},
        "decimal": {
            "double_as_decimal": mysql.DOUBLE(),
            "real_as_decimal": mysql.REAL(),
            "decimal_65_30": mysql.DECIMAL(65, 30),
            "decimal_unsigned": mysql.DECIMAL(10, 2, unsigned=True),
            "mysql_numeric": mysql.NUMERIC(20, 4),
        },
        "text": {
            "tinytext": mysql.TINYTEXT(),
            "mysql_text": mysql.TEXT(),
            "mediumtext": mysql.MEDIUMTEXT(),
            "longtext": mysql.LONGTEXT(),
            "mysql_varchar": mysql.VARCHAR(20, charset="utf8mb4", collation="utf8mb4_bin"),
            "mysql_latin": mysql.VARCHAR(20, charset="latin1"),
            "mysql_nchar": mysql.NCHAR(5),
            "mysql_nvarchar": mysql.NVARCHAR(20),
        },
        "bytes": {
            "tinyblob": mysql.TINYBLOB(),
            "mysql_blob": mysql.BLOB(),
            "mediumblob": mysql.MEDIUMBLOB(),
            "longblob": mysql.LONGBLOB(),
            "mysql_binary_4": sa.BINARY(4),
            "mysql_varbinary_20": sa.VARBINARY(20),
        },
        "datetime": {
            "datetime_0": mysql.DATETIME(),
            "datetime_3": mysql.DATETIME(fsp=3),
            "datetime_6": mysql.DATETIME(fsp=6),
            "timestamp_6": mysql.TIMESTAMP(fsp=6),
        },
        "time": {"time_3": mysql.TIME(fsp=3), "time_6": mysql.TIME(fsp=6)},
        "json": {"mysql_json": mysql.JSON()},
        "enum": {"mysql_enum": mysql.ENUM("iron", "gold")},
        "set": {"mysql_set": mysql.SET("iron", "gold")},
    },
}

UTC = datetime.UTC
HOUR = datetime.timezone(datetime.timedelta(hours=1))
_DAYS = [datetime.date(*day) for day in ((1, 1, 1), (1000, 1, 1), (2024, 2, 29), (9999, 12, 31))]
_MOMENTS = [
    datetime.datetime(1, 1, 1),
    datetime.datetime(1969, 12, 31, 23, 59, 59),
    datetime.datetime(2024, 2, 29, 12, 30, 15, 123456),
    datetime.datetime(2024, 2, 29, 12, 30, 15, 999999),
    datetime.datetime.max,
]
_TEXTS = [
    "",
    " a ",
    "a",
    "7",
    "a\0b",
    "\ud800",
    "\ufeffa",
    "\ufeff",
    "😀",
    "é" * 20,
    "x" * 21,
    "\\N",
    "\\.",
    "NULL",
    "'\"%s",
]
#: Values by family; those of others are given to each type as well, to see that none is taken for another.
VALUES: dict[str, list[Any]] = {
    "integer": [0, 1, -1, 127, 255, 2**15, -(2**15), 2**24, 2**31, -(2**31), 2**53 + 1, 2**63 - 1, -(2**63), 2**64],
    "float": [0.0, -0.0, 0.1, 5e-324, 1.7976931348623157e308, 16777217.0, *map(float, ("inf", "nan")), 2**53 + 1],
    "decimal": [
        *map(Decimal, ("0", "0.00001", "1.10", "-1.005", "99999999.99", "123456789012345.6", "0.49", "NaN", "inf")),
        *(Decimal(10) ** 27, Decimal("1234567890123456789012345678.0123456789"), 2**64, 0.1, 2.675, 1e22),
    ],
    "decimal as float": [0.1, 2.675, Decimal("1.10"), 7],
    "text": _TEXTS,
    "boolean": [True, False, 0, 1, 2, 1.0],
    "date": [*_DAYS, datetime.datetime(2024, 1, 1), datetime.datetime(2024, 1, 1, 1)],
    "datetime": [*_MOMENTS, datetime.date(2024, 1, 1), datetime.datetime(2024, 1, 1, tzinfo=UTC)],
    "zoned": [*(moment.replace(tzinfo=UTC) for moment in _MOMENTS), _MOMENTS[2].replace(tzinfo=HOUR), _MOMENTS[2]],
    "time": [*map(datetime.time.fromisoformat, ("00:00", "23:59:59.999999", "01:02:03.000500", "01:00+01:00"))],
    "interval": [*(datetime.timedelta(*parts) for parts in ((), (-1, 5, 7), (400, 1))), datetime.timedelta.max],
    "bytes": [b"", b"a", b"\0", b"a\0", bytes(range(256)), bytearray(b"b"), b"abcd"],
    "json": [{}, [], {"a": [1, None, 0.1, "é"]}, "text", 2**60, 0.1, True, {"k": {1: 2}}, [float("nan")]],
    "enum": ["iron", "gold", "lead", "", Metal.iron, "1"],
    "uuid": [uuid.UUID(int=0), uuid.UUID("12345678-1234-4678-9234-567812345678"), "no uuid"],
    "uuid text": ["12345678-1234-4678-9234-567812345678", "12345678123446789234567812345678", "no uuid", ""],
    "pickle": [{1: {2}}, (1, 2), Decimal("1.10"), "a"],
    "array": [[], [1, None, 2], ["a", None], [[Decimal("1.5")], [None]]],
    "set": [{"iron"}, {"gold", "iron"}, {"lead"}, set(), "iron"],
}  # fmt: skip
#: Text that only some types of PostgreSQL take.
_SPECIAL: dict[str, list[Any]] = {
    "inet": ["127.0.0.1", "10.0.0.1/8"],
    "cidr": ["10.0.0.0/8"],
    "macaddr": ["08:00:2b:01:02:03"],
    "macaddr8": ["08:00:2b:01:02:03:04:05"],
    "money": ["$1.25", "1.255"],
    "bit": ["101", "10"],
    "bit_varying": ["1010", "101"],
    "tsvector": ["'a' 'b'", "b a"],
    "tsquery": ["'a' & 'b'"],
    "jsonpath": ['$."a"', "$.a[*]"],
    "year": [1901, 2155, 99],
}
_OTHERS: list[Any] = [
    *(None, True, 7, 0.5, "7", b"7", Decimal("7.5"), datetime.date(2024, 1, 1), _MOMENTS[2], uuid.UUID(int=7), [1], {})
]
#: Large values, of the nightly run.
LARGE: dict[str, Any] = {"text": "é" * 5_242_880, "bytes": bytes(range(256)) * 40_960}


def types_of(kind: str) -> Iterator[Typed]:
    """The types that a database supports."""
    for types in (GENERIC, OF_DIALECT[kind]):
        for family, named in types.items():
            for name, found in named.items():
                yield Typed(name, found, family)


def values_of(typed: Typed, *, large: bool) -> list[Any]:
    """The values that are given to a type, each of another type or value than the others."""
    own = [*_SPECIAL.get(typed.name, ()), *VALUES[typed.family]]
    if large and typed.family in LARGE:
        own.append(LARGE[typed.family])
    known = {(type(value), repr(value)) for value in own}
    return [*own, *(other for other in _OTHERS if (type(other), repr(other)) not in known)]
