"""How ozelot talks to MariaDB and MySQL: column types that keep every digit, and sessions that truncate nothing.

By default, MariaDB stores a ``Numeric`` without a precision as an integer, a ``Float`` with six digits, times without
fractions of a second, and replaces the id 0 by the next one. The types below are used for new tables, new columns and
casts; tables that exist are reflected as they are.
"""
# ruff: noqa: N802 - SQLAlchemy names the methods

from __future__ import annotations

import re
from collections.abc import Callable
from decimal import Context
from typing import Any

import sqlalchemy as sa
from sqlalchemy import Engine, event
from sqlalchemy.dialects import mysql
from sqlalchemy.dialects.mysql.base import MySQLCompiler, MySQLDDLCompiler, MySQLTypeCompiler

NAMES = ("mysql", "mariadb")

#: Of a ``Numeric`` without a precision: the most digits there are, and the most after the point that MySQL has, too.
PRECISION, SCALE = 65, 30

_FRACTION = 6  # digits of a second: as exact as Python's datetime

#: Modes with which a value that is read is not what was stored: NULL for '', blanks added, a time added to a date.
_CHANGING = ("EMPTY_STRING_IS_NULL", "PAD_CHAR_TO_FULL_LENGTH", "ORACLE")
_MODES = "CONCAT_WS(',', @@sql_mode, 'STRICT_ALL_TABLES', 'NO_AUTO_VALUE_ON_ZERO')"
for _mode in _CHANGING:
    _MODES = f"REPLACE({_MODES}, '{_mode}', 'STRICT_ALL_TABLES')"  # not '', which the first of them makes NULL
_SESSION = f"SET SESSION time_zone = '+00:00', sql_mode = {_MODES}"
_NOW = r"(?:NOW|CURRENT_TIMESTAMP|LOCALTIME|LOCALTIMESTAMP)\b(?:\s*\(\s*0?\s*\))?"
_DEFAULT_NOW = re.compile(rf"{_NOW}(\s+ON\s+UPDATE\s+{_NOW})?", re.I)

_exactly = Context(prec=PRECISION)


def set_up(engine: Engine) -> None:
    """Make an engine of MariaDB or MySQL follow the rules at the top of this file."""
    dialect: Any = engine.dialect
    dialect.type_compiler_instance = dialect.type_compiler = TypeCompiler(dialect)
    dialect.ddl_compiler = _DDLCompiler
    dialect.statement_compiler = type("Compiler", (_Compiler, dialect.statement_compiler), {})
    numeric = dict.fromkeys((sa.Numeric, mysql.NUMERIC, mysql.DECIMAL), NUMERIC)
    dialect.colspecs = {**dialect.colspecs, **numeric, sa.Float: DOUBLE, sa.Double: DOUBLE}
    dialect.ischema_names = {
        **dialect.ischema_names,
        "datetime": ReflectedDATETIME,
        "time": ReflectedTIME,
        "timestamp": ReflectedTIMESTAMP,
    }

    @event.listens_for(engine, "connect")
    def _configure(connection: Any, _record: object) -> None:
        with connection.cursor() as cursor:
            cursor.execute(_SESSION)


class TypeCompiler(MySQLTypeCompiler):
    """The types of columns in SQL."""

    def visit_DATETIME(self, type_: Any, **kw: Any) -> str:
        return f"DATETIME{_fraction(type_)}"

    def visit_TIMESTAMP(self, type_: Any, **kw: Any) -> str:
        return f"TIMESTAMP{_fraction(type_)}"

    def visit_TIME(self, type_: Any, **kw: Any) -> str:
        return f"TIME{_fraction(type_)}"

    def visit_NUMERIC(self, type_: Any, **kw: Any) -> str:
        return super().visit_NUMERIC(_with_precision(type_), **kw)

    def visit_DECIMAL(self, type_: Any, **kw: Any) -> str:
        return super().visit_DECIMAL(_with_precision(type_), **kw)

    def visit_float(self, type_: Any, **kw: Any) -> str:
        return self._extend_numeric(type_, "DOUBLE")

    def visit_FLOAT(self, type_: Any, **kw: Any) -> str:
        # That of MariaDB alone means its FLOAT: to the others, FLOAT has double precision.
        return super().visit_FLOAT(type_, **kw) if self._mysql_type(type_) else "DOUBLE"

    def visit_REAL(self, type_: Any, **kw: Any) -> str:
        # REAL is FLOAT where sql_mode has REAL_AS_FLOAT.
        return super().visit_REAL(type_, **kw).replace("REAL", "DOUBLE")


def _fraction(type_: Any) -> str:
    digits = getattr(type_, "fsp", None)
    digits = _FRACTION if digits is None else digits
    return f"({digits})" if digits else ""


def _with_precision(type_: Any) -> Any:
    if type_.precision is not None:
        return type_
    signs = {name: getattr(type_, name, False) for name in ("unsigned", "zerofill")}
    return mysql.NUMERIC(PRECISION, SCALE, **signs)


class _DDLCompiler(MySQLDDLCompiler):
    def get_column_default_string(self, column: sa.Column[Any]) -> str | None:
        """The current time with as many digits as the column: MySQL rejects another number of them."""
        text = super().get_column_default_string(column)
        found = None if text is None else _DEFAULT_NOW.fullmatch(text)
        if found is None:
            return text
        kind = column.type._unwrapped_dialect_impl(self.dialect)
        if not isinstance(kind, sa.DateTime):
            return text
        now = f"CURRENT_TIMESTAMP{_fraction(kind)}"
        if found[1]:
            now = now if now.endswith(")") else f"{now}()"  # as MariaDB tells it
            return f"{now} ON UPDATE {now}"
        return now


class _Compiler(MySQLCompiler):
    def visit_insert(self, insert_stmt: sa.Insert, *args: Any, **kw: Any) -> str:
        """As the base class, but for rows without any value: here, DEFAULT would be the id 0."""
        text: str = super().visit_insert(insert_stmt, *args, **kw)  # type: ignore[no-untyped-call]
        table = insert_stmt.table
        first = table._autoincrement_column if isinstance(table, sa.Table) else None
        if first is None or first is not table.columns[0]:
            return text
        many = self._insertmanyvalues
        if many is not None and many.single_values_expr == "DEFAULT":
            params = [(column, name, "NULL", binds) for column, name, _, binds in many.insert_crud_params]
            self._insertmanyvalues = many._replace(single_values_expr="NULL", insert_crud_params=params)
        name = self.preparer.format_column(first)
        return text.replace(f"({name}) VALUES (DEFAULT)", f"({name}) VALUES (NULL)")

    def visit_typeclause(self, typeclause: Any, type_: Any = None, **kw: Any) -> str | None:
        """As the base class, but for ``TIMESTAMP``, which it casts to whole seconds."""
        found = typeclause.type.dialect_impl(self.dialect) if type_ is None else type_
        if isinstance(found, sa.TIMESTAMP):
            return f"DATETIME{_fraction(found)}"
        return super().visit_typeclause(typeclause, type_, **kw)


class NUMERIC(mysql.NUMERIC):
    """Where the model names no precision, without the zeros that MariaDB fills 30 digits with."""

    def result_processor(self, dialect: sa.Dialect, coltype: object) -> Callable[[Any], Any] | None:
        """As the base class."""
        found: Callable[[Any], Any] | None = super().result_processor(dialect, coltype)  # type: ignore[no-untyped-call]
        return without_zeros if found is None and self.precision is None else found


def without_zeros(value: Any) -> Any:
    """A decimal without zeros at the end of its fraction; anything else as it is."""
    try:
        whole = value.to_integral_value()  # to ask for the type takes longer
    except AttributeError:
        return value
    return whole if whole == value else _exactly.normalize(value)


class DOUBLE(mysql.FLOAT):
    """What ``Float`` and ``Double`` are, also in a cast, whatever their precision."""

    __visit_name__ = "float"


class ReflectedDATETIME(mysql.DATETIME):
    """That of a table: without a number of digits, it has none."""

    def __init__(self, timezone: bool = False, fsp: int | None = 0) -> None:
        super().__init__(timezone=timezone, fsp=fsp)


class ReflectedTIME(mysql.TIME):
    """That of a table: without a number of digits, it has none."""

    def __init__(self, timezone: bool = False, fsp: int | None = 0) -> None:
        super().__init__(timezone=timezone, fsp=fsp)


class ReflectedTIMESTAMP(mysql.TIMESTAMP):
    """That of a table: without a number of digits, it has none."""

    def __init__(self, timezone: bool = False, fsp: int | None = 0) -> None:
        super().__init__(timezone=timezone, fsp=fsp)
