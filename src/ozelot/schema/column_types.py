"""Types and defaults of columns: whether database and model mean the same, and whether one holds all of another."""

from __future__ import annotations

import re
from decimal import Decimal, InvalidOperation
from typing import Any, cast

import sqlalchemy as sa

_TYPE = re.compile(r"(?P<name>[A-Z_0-9]+(?: (?!WITH)[A-Z]+)*)\s*(?:\((?P<sizes>[^()]*)\))?(?P<zone> WITH TIME ZONE)?")
_INTEGERS = {"BOOL": 1, "BOOLEAN": 1, "TINYINT": 1, "SMALLINT": 2, "MEDIUMINT": 3, "INTEGER": 4, "INT": 4, "BIGINT": 8}
_FLOATS = {"REAL": 4, "FLOAT": 4, "DOUBLE": 8, "DOUBLE PRECISION": 8}
_UNLIMITED = 2**62
#: Characters that each holds whatever they are; of MariaDB, which counts bytes, a quarter of these.
_TEXTS = {"TINYTEXT": 63, "TEXT": _UNLIMITED, "MEDIUMTEXT": 2**22 - 1, "LONGTEXT": 2**30 - 1, "CLOB": _UNLIMITED}
_BLOBS = {"TINYBLOB": 255, "BLOB": _UNLIMITED, "MEDIUMBLOB": 2**24 - 1, "LONGBLOB": 2**32 - 1, "BYTEA": _UNLIMITED}
_TEXT_OF_MARIADB, _BLOB_OF_MARIADB = 16383, 65535
_DIGITS = {1: 3, 2: 5, 3: 8, 4: 10, 8: 19}  # of an integer of so many bytes
_DIGITS_OF_LARGEST_UNSIGNED = 20
_UNSIGNED = " UNSIGNED"
_MARIADB = ("mysql", "mariadb")
_COLLATION_OF_JSON = "utf8mb4_bin"  # of the text that JSON is on MariaDB


def text_of(kind: sa.types.TypeEngine[Any], dialect: sa.Dialect) -> str:
    """A type as it stands in the SQL of a database, without display widths; values of enumerations included."""
    values = enum_values(kind, dialect)
    text = kind.compile(dialect)
    if values is not None:
        return f"ENUM({', '.join(repr(value) for value in values)})"
    text = re.sub(r" (CHARACTER SET|COLLATE) \S+", "", text)
    name = text.partition("(")[0]
    if name in _INTEGERS:
        return f"{name}{_UNSIGNED}" if _UNSIGNED in text else name
    return text.replace(" WITHOUT TIME ZONE", "")


def enum_values(kind: sa.types.TypeEngine[Any], dialect: sa.Dialect) -> list[str] | None:
    """The values that the database itself enumerates; None where it is no such type there."""
    kind = kind.dialect_impl(dialect)
    if isinstance(kind, sa.TypeDecorator):
        kind = kind.impl_instance
    if not isinstance(kind, sa.Enum) or not kind.native_enum or dialect.name == "sqlite":
        return None
    return [str(value) for value in kind.enums]


def enum_name(kind: sa.types.TypeEngine[Any], dialect: sa.Dialect) -> str | None:
    """The name of the type that PostgreSQL makes for an enumeration."""
    return None if enum_values(kind, dialect) is None else getattr(kind.dialect_impl(dialect), "name", None)


def same_type(there: sa.types.TypeEngine[Any], wanted: sa.types.TypeEngine[Any], dialect: sa.Dialect) -> bool | None:
    """Whether a type in the database is what a model says; None where Alembic is to say it."""
    values = enum_values(there, dialect), enum_values(wanted, dialect)
    if None not in values:
        return values[0] is not None and values[1] is not None and set(values[0]) == set(values[1])
    name, sizes, zone = _parsed(there, dialect)
    other, other_sizes, other_zone = _parsed(wanted, dialect)
    if name in _FLOATS and other in _FLOATS:
        places = places_of(there, dialect), places_of(wanted, dialect)
        return _bytes(name, sizes, dialect) == _bytes(other, other_sizes, dialect) and places[0] == places[1]
    if name == other and name in ("DATETIME", "TIMESTAMP", "TIME"):
        return (sizes or [0], zone) == (other_sizes or [0], other_zone)
    if name == other and name in ("VARCHAR", "CHAR"):  # Alembic takes one without a length for the same as any other
        return (sizes or [int(name == "CHAR")]) == (other_sizes or [int(name == "CHAR")])
    if name in ("NUMERIC", "DECIMAL") and other in ("NUMERIC", "DECIMAL"):
        return _digits(name, sizes, dialect) == _digits(other, other_sizes, dialect)
    return None


def widens(there: sa.types.TypeEngine[Any], wanted: sa.types.TypeEngine[Any], dialect: sa.Dialect) -> bool:
    """Whether a type holds each value of another one, unchanged, and the database converts it by itself."""
    values, others = enum_values(there, dialect), enum_values(wanted, dialect)
    if values is not None and others is not None:
        return set(values) <= set(others)
    name, sizes, zone = _parsed(there, dialect)
    other, other_sizes, other_zone = _parsed(wanted, dialect)
    old, new = _capacity(name, sizes, dialect, most=True), _capacity(other, other_sizes, dialect)
    if old is not None and new is not None and old[0] == new[0]:
        return old[1] <= new[1] and not (name == "VARCHAR" and other == "CHAR")
    integer, other_integer = _integer(name), _integer(other)
    if integer is not None and other_integer is not None:
        return name == other or _holds(other_integer, integer)
    if integer is not None and other in _FLOATS:
        return 1 < integer[0] < _bytes(other, other_sizes, dialect)
    if name in _FLOATS and other in _FLOATS:
        places, wanted_places = places_of(there, dialect), places_of(wanted, dialect)
        holds = wanted_places is None or (places is not None and places <= wanted_places)
        return holds and _bytes(name, sizes, dialect) <= _bytes(other, other_sizes, dialect)
    if other in ("NUMERIC", "DECIMAL"):
        whole, decimals = _digits(other, other_sizes, dialect)
        if integer is not None:
            size, is_signed = integer
            digits = _DIGITS[size] if is_signed or size < 8 else _DIGITS_OF_LARGEST_UNSIGNED
            return size > 1 and whole >= digits
        if name in ("NUMERIC", "DECIMAL"):
            old_whole, old_decimals = _digits(name, sizes, dialect)
            return whole >= old_whole and decimals >= old_decimals
    if name == other and name in ("DATETIME", "TIMESTAMP", "TIME"):
        return zone == other_zone and (sizes or [0]) <= (other_sizes or [0])
    return False


def _integer(name: str) -> tuple[int, bool] | None:
    """How many bytes an integer type has, and whether one of them has the sign; None for another type."""
    size = _INTEGERS.get(name.removesuffix(_UNSIGNED))
    return None if size is None else (size, not name.endswith(_UNSIGNED))


def _holds(larger: tuple[int, bool], smaller: tuple[int, bool]) -> bool:
    """Whether an integer type holds all values of another one, which is not one for booleans."""
    if smaller[0] == 1 or (smaller[1] and not larger[1]):
        return False
    return smaller[0] < larger[0] or (smaller[0] == larger[0] and smaller[1] == larger[1])


def longest(wanted: sa.types.TypeEngine[Any], there: sa.types.TypeEngine[Any], dialect: sa.Dialect) -> int | None:
    """How many characters a text type holds, where the other one is text that may be longer; else None."""
    name, sizes, _ = _parsed(wanted, dialect)
    other, _, _ = _parsed(there, dialect)
    new = _capacity(name, sizes, dialect)
    is_text = new is not None and new[0] == "text" and (other == "VARCHAR" or other in _TEXTS)
    return new[1] if new is not None and is_text and name != "CHAR" else None


def places_of(kind: sa.types.TypeEngine[Any], dialect: sa.Dialect) -> int | None:
    """The digits after the point that MariaDB rounds floats to, as in ``FLOAT(10, 2)``; None where it does not."""
    name, sizes, _ = _parsed(kind, dialect)
    return sizes[1] if name in _FLOATS and len(sizes) > 1 and dialect.name in _MARIADB else None


def is_single(kind: sa.types.TypeEngine[Any], dialect: sa.Dialect) -> bool:
    """Whether a type is of floats with single precision."""
    name, sizes, _ = _parsed(kind, dialect)
    return name in _FLOATS and _bytes(name, sizes, dialect) == _FLOATS["FLOAT"]


def _parsed(kind: sa.types.TypeEngine[Any], dialect: sa.Dialect) -> tuple[str, list[int], bool]:
    found = _TYPE.match(text_of(kind, dialect).upper())
    if found is None:
        return "", [], False
    sizes = [int(size) for size in (found["sizes"] or "").split(",") if size.strip().isdigit()]
    name = found["name"].removesuffix(" VARYING")
    if name == "LONGTEXT" and getattr(kind, "collation", None) == _COLLATION_OF_JSON and dialect.name in _MARIADB:
        name = "JSON"
    return name, sizes, bool(found["zone"])


def _capacity(name: str, sizes: list[int], dialect: sa.Dialect, *, most: bool = False) -> tuple[str, int] | None:
    """What a type of text or bytes holds for certain, or at the most."""
    if name in ("VARCHAR", "CHAR", "NVARCHAR", "NCHAR"):
        return "text", sizes[0] if sizes else _UNLIMITED
    if name in ("VARBINARY", "BINARY"):
        return "bytes", sizes[0] if sizes else _UNLIMITED
    if name in _TEXTS:
        size = _TEXT_OF_MARIADB if name == "TEXT" and dialect.name in _MARIADB else _TEXTS[name]
        return "text", size * 4 if most and dialect.name in _MARIADB and size < _UNLIMITED else size
    if name in _BLOBS:
        return "bytes", _BLOB_OF_MARIADB if name == "BLOB" and dialect.name in _MARIADB else _BLOBS[name]
    return None


def _bytes(name: str, sizes: list[int], dialect: sa.Dialect) -> int:
    if dialect.name == "sqlite" or (name == "REAL" and dialect.name in _MARIADB):
        return 8
    if name == "FLOAT":
        return 8 if (len(sizes) == 1 and sizes[0] > 24) or (not sizes and dialect.name == "postgresql") else 4
    return _FLOATS[name]


def _digits(name: str, sizes: list[int], dialect: sa.Dialect) -> tuple[int, int]:
    if not sizes:
        return (10, 0) if dialect.name in _MARIADB else (_UNLIMITED, _UNLIMITED)
    scale = sizes[1] if len(sizes) > 1 else 0
    return sizes[0] - scale, scale


_PARTS = re.compile(r"'(?:[^']|'')*'|[^']+")
_CAST = re.compile(r"::[\w. ]+(?:\([\d, ]*\))?(?:\[\])?")
_FRACTION = re.compile(r"(:\d\d)(\.\d*[1-9])?\.?0*(?='$)")
_NOW = re.compile(r"\b(?:now|current_timestamp|localtimestamp)\b(?:\((\d*)\))?")


def wanted(column: sa.Column[Any], dialect: sa.Dialect) -> str | None:
    """The default of a column in SQL, as its model says it; None where there is none."""
    default = column.server_default
    if not isinstance(default, sa.DefaultClause):
        return None  # generated columns and sequences are no values
    compiler = cast(Any, dialect.ddl_compiler)(dialect, None)
    text: str | None = compiler.get_column_default_string(column)
    # The compiler escapes for drivers that take a per cent sign for a parameter.
    return text.replace("%%", "%") if text and dialect.paramstyle in ("format", "pyformat") else text


def same_default(there: str | None, model: str | None) -> bool:
    """Whether two defaults mean the same."""
    return plain(there) == plain(model)


def plain(text: str | None) -> str:
    """A default without what databases add or spell differently: casts, brackets, blanks, upper case, zeros."""
    if text is None:
        return "null"
    # PostgreSQL adds casts; outside quotes, case and blanks mean nothing.
    found = "".join(
        part if part.startswith("'") else re.sub(r"\s+", "", _CAST.sub("", part.lower()))
        for part in _PARTS.findall(text.strip())
    )
    while found.startswith("(") and _closes_at_end(found):
        found = found[1:-1]
    found = _NOW.sub(lambda match: f"now({match[1] or ''})", found)
    found = {"true": "1", "false": "0"}.get(found, found)
    found = _FRACTION.sub(r"\1\2", found)
    number = found[1:-1] if found.startswith("'") and found.endswith("'") else found
    try:
        return f"{Decimal(number).normalize():f}"
    except InvalidOperation:
        return found


def _closes_at_end(text: str) -> bool:
    depth = 0
    for position, char in enumerate(text):
        depth += (char == "(") - (char == ")")
        if depth == 0:
            return position == len(text) - 1
    return False
