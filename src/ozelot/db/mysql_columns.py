"""Which values the existing columns of MariaDB and MySQL would change without an error.

Strict mode rejects a number out of range. But a fraction of a second, digits after the point and the seventh digit of a
``FLOAT`` are dropped, mostly without even a warning. ``CHAR`` loses blanks at the end, ``BINARY`` gains zeros, ``BIT``
drops signs, and a ``YEAR`` of 5 becomes 2005. So values are compared with the columns before they are sent. The columns
of a table are read once per engine, before its first insert or update.
"""

from __future__ import annotations

import datetime
import re
import struct
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from decimal import Context, Decimal, InvalidOperation
from typing import Any, NamedTuple, TypeAlias
from weakref import WeakKeyDictionary

import sqlalchemy as sa
from sqlalchemy import Engine, event

from ozelot.db.mysql_sessions import NAMES, TypeCompiler
from ozelot.db.sql_analysis import commits_on_mariadb
from ozelot.errors import LoadError
from ozelot.redaction import shown_with_type
from ozelot.values.column_rule import Reason, Values

_TYPE = re.compile(r"(\w+)(?:\(([\d, ]+)\))?")
_TIMES = ("DATETIME", "TIMESTAMP", "TIME")
_DECIMALS = ("DECIMAL", "NUMERIC")
_OWN = re.compile("ozelot_|ormtargetmarker$")
_FRACTION_IN_TEXT = re.compile(r":\d+\.(\d*[1-9])")
_YEARS = range(1901, 2156)

_exactly = Context(prec=200)
_single = struct.Struct("f")


class Limit(NamedTuple):
    """What an existing column stores.

    Attributes:
        kind: its type, as MariaDB names it: ``DATETIME``, ``DECIMAL(10, 0)``.
        keeps: whether it returns a value as the driver was given it.
        is_narrow: whether the type of the model stores more.
        keeps_all: the same as ``keeps`` of a whole list, where there is a quicker way; it may raise ``TypeError``.
    """

    kind: str
    keeps: Callable[[Any], bool]
    is_narrow: bool
    keeps_all: Callable[[Values], bool] | None = None

    def changed(self, values: Values) -> list[int]:
        """The places of the values that it does not keep."""
        if self.keeps_all is not None:
            with suppress(TypeError):
                if self.keeps_all(values):
                    return []
        return [place for place, value in enumerate(values) if value is not None and not self.keeps(value)]

    @property
    def reason(self) -> Reason:
        """What is wrong with a value that it does not keep, and what to do."""
        return Reason(
            "not stored exactly",
            expects=f"a value that its type in the database, {self.kind}, stores exactly",
            remedy="Widen it: ozelot db upgrade" if self.is_narrow else "Change the value, or the type in the model",
        )


#: By the keys of columns.
Limits: TypeAlias = dict[str, Limit]

_known: WeakKeyDictionary[sa.Dialect, WeakKeyDictionary[sa.Table, Limits]] = WeakKeyDictionary()


def set_up(engine: Engine) -> None:
    """Let inserts and updates of an engine reject what the columns would change, those of the ORM included."""
    known = _known_to(engine.dialect)

    def read(table: Any, cursor: Any) -> Limits:
        return _limits(engine.dialect, table, lambda sql: _fetched(cursor, sql))

    @event.listens_for(engine, "before_cursor_execute")
    def _before(_conn: object, cursor: Any, statement: str, _parameters: object, context: Any, _many: bool) -> None:
        if context.isinsert or context.isupdate:
            table = context.compiled.dml_compile_state.dml_table
            limits = known.get(table)
            if limits is None:
                limits = read(table, cursor)
            if limits and not getattr(context, "_ozelot_compared", False):
                context._ozelot_compared = True  # SQLAlchemy may execute it in several parts
                # Another process may have widened the column.
                if _fault(context, limits) and (limits := read(table, cursor)):
                    _refuse(context, table, limits)
        elif context.isddl or (context.compiled is None and commits_on_mariadb(statement)):
            known.clear()


def limits_of(connection: sa.Connection, table: sa.Table, *, again: bool = False) -> Limits:
    """What the columns of a table store, of those that do not keep every value; empty on other databases.

    Args:
        connection: to the database.
        table: the table.
        again: whether to ask the database, as another process may have changed the table.
    """
    if connection.dialect.name not in NAMES:
        return {}
    known = None if again else _known_to(connection.dialect).get(table)
    if known is not None:
        return known
    return _limits(connection.dialect, table, lambda sql: connection.exec_driver_sql(sql).all())


def _known_to(dialect: sa.Dialect) -> WeakKeyDictionary[sa.Table, Limits]:
    return _known.setdefault(dialect, WeakKeyDictionary())


def _fetched(cursor: Any, sql: str) -> Sequence[Any]:
    with cursor.connection.cursor() as own:
        own.execute(sql, ())  # as SQLAlchemy does: the driver takes %% for %
        return list(own.fetchall())


def _limits(dialect: sa.Dialect, table: Any, fetch: Callable[[str], Iterable[Any]]) -> Limits:
    found: Limits = {}
    if not isinstance(table, sa.Table) or _OWN.match(table.name):
        _known_to(dialect)[table] = found
        return found
    name = dialect.identifier_preparer.format_table(table)
    with suppress(dialect.loaded_dbapi.Error, sa.exc.DBAPIError):  # what is to be written says it better
        columns = {row[0].casefold(): _text(row[1]) for row in fetch(f"SHOW COLUMNS FROM {name}")}
        for column in table.columns:
            there = columns.get(column.name.casefold())
            limit = None if there is None else _limit(there, column, dialect)
            if limit is not None:
                found[column.key] = limit
        _known_to(dialect)[table] = found
    return found


def _text(value: Any) -> str:
    return value.decode() if isinstance(value, bytes) else str(value)


def _limit(there: str, column: sa.Column[Any], dialect: sa.Dialect) -> Limit | None:
    name, sizes = _parsed(there)
    wanted, wanted_sizes = _parsed("")
    with suppress(sa.exc.CompileError):  # a column without a type, in a table that was not created from it
        wanted, wanted_sizes = _parsed(TypeCompiler(dialect).process(column.type))
    kind = f"{name}({', '.join(map(str, sizes))})" if sizes else name
    if name in _TIMES:
        digits = sizes[0] if sizes else 0
        is_narrow = wanted == name and (wanted_sizes or [0])[0] > digits
        return None if digits >= 6 else Limit(kind, lambda value: _keeps_time(value, digits), is_narrow)
    if name in ("FLOAT", "DOUBLE"):
        places = sizes[1] if len(sizes) > 1 else None
        if name == "DOUBLE" and places is None:
            return None
        is_narrow = wanted == "DOUBLE" and not wanted_sizes
        return Limit(kind, lambda value: _keeps_float(value, places, is_single=name == "FLOAT"), is_narrow)
    if name in _DECIMALS and wanted in _DECIMALS:
        whole, places = _digits(sizes)
        wanted_whole, wanted_places = _digits(wanted_sizes)
        is_narrow = whole < wanted_whole or places < wanted_places
        if not is_narrow and getattr(column.type._unwrapped_dialect_impl(dialect), "precision", None) is not None:
            return None  # values are compared with the type of the model
        return Limit(kind, lambda value: _keeps_decimal(value, whole, places), is_narrow)
    if name == "BIT":
        return Limit(kind, lambda value: not (isinstance(value, int) and value < 0), is_narrow=False)
    if name == "YEAR":
        return Limit(kind, _keeps_year, is_narrow=False)
    if name == "CHAR" and isinstance(column.type._unwrapped_dialect_impl(dialect), sa.String):  # no Uuid
        return Limit(kind, _keeps_blanks, is_narrow=False, keeps_all=_keep_blanks)
    if name == "BINARY":
        size = sizes[0] if sizes else 1
        return Limit(kind, lambda value: not isinstance(value, bytes) or len(value) >= size, is_narrow=False)
    return None


def _parsed(text: str) -> tuple[str, list[int]]:
    found = _TYPE.match(text.upper())
    if found is None:
        return "", []
    return found[1], [int(size) for size in (found[2] or "").split(",") if size.strip()]


def _digits(sizes: Sequence[int]) -> tuple[int, int]:
    precision, places = (*sizes, 0)[:2] if sizes else (10, 0)
    return precision - places, places


def _keeps_time(value: Any, digits: int) -> bool:
    if isinstance(value, datetime.datetime | datetime.time):
        return not value.microsecond % 10 ** (6 - digits)
    if isinstance(value, datetime.timedelta):
        return not value.microseconds % 10 ** (6 - digits)
    if isinstance(value, str):
        found = _FRACTION_IN_TEXT.search(value)
        return found is None or len(found[1]) <= digits
    return True


def _keeps_float(value: Any, places: int | None, *, is_single: bool) -> bool:
    """Whether MariaDB prints what it was given: six digits of a FLOAT, or a fixed number after the point."""
    try:
        given = float(value)
        stored = _single.unpack(_single.pack(given))[0] if is_single else given
    except (OverflowError, ValueError, TypeError):
        return True  # an error of the database
    return float(f"{stored:.6g}" if places is None else f"{stored:.{places}f}") == given


def _keeps_decimal(value: Any, whole: int, places: int) -> bool:
    if isinstance(value, float):
        value = repr(value)
    with suppress(InvalidOperation, ValueError, TypeError):
        found = _exactly.normalize(Decimal(value))
        if found.is_finite() and found:
            return found.adjusted() < whole and -int(found.as_tuple().exponent) <= places
    return True


def _keeps_blanks(value: Any) -> bool:
    return not (isinstance(value, str) and value.endswith(" "))


def _keep_blanks(values: Values) -> bool:
    return " \n" not in "\n".join([value for value in values if value is not None] + [""])


def _keeps_year(value: Any) -> bool:
    """Whether a year has four digits: 5 would become 2005, and 70 would become 1970."""
    with suppress(ValueError, TypeError):
        return int(value) == 0 or int(value) in _YEARS
    return True


def _refuse(context: Any, table: sa.Table, limits: Limits) -> None:
    """Raise for the first value of a statement that its column would change, if there is one."""
    fault = _fault(context, limits)
    if fault is None:
        return
    place, key, value = fault
    where = f"{table.name}.{table.columns[key].name}"
    row = f" in row {place} of the statement, counted from 0" if len(context.compiled_parameters) > 1 else ""
    reason = limits[key].reason
    raise LoadError(f"{where} expects {reason.expects}; got {shown_with_type(where, value)}{row}. {reason.remedy}")


def _fault(context: Any, limits: Limits) -> tuple[int, str, Any] | None:
    rows: Sequence[dict[str, Any]] = context.compiled_parameters
    processors = context.compiled._bind_processors
    for key, limit in limits.items():
        names = [name for name in context.compiled.binds if name == key or _is_of_row(name, key)]
        for name in names:
            convert = processors.get(name)
            for place, row in enumerate(rows):
                value = row.get(name)
                bound = value if convert is None else convert(value)
                if bound is not None and not limit.keeps(bound):
                    return place, key, value
    return None


def _is_of_row(name: str, key: str) -> bool:
    """Whether a name is that of a column in an insert of several rows in one statement: ``amount_m1``."""
    return name.startswith(f"{key}_m") and name[len(key) + 2 :].isdigit()
