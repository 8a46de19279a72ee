"""Column types that check and convert each value on its way through SQLAlchemy, by the rules of ``self.load``.

An engine gets them by :mod:`ozelot.values.checked_dialect`. So ``session.add``, Core, and ``TypeDecorator`` on top of
these types store a value exactly, or reject it.
"""

from __future__ import annotations

import datetime
from collections.abc import Callable
from decimal import Decimal
from typing import Any, TypeAlias

import sqlalchemy as sa
from sqlalchemy.dialects import sqlite
from sqlalchemy.types import TypeEngine

from ozelot.errors import ValueRejected
from ozelot.redaction import shown_with_type
from ozelot.values.column_rule import ColumnType, InvalidValue, Reason
from ozelot.values.numbers import DIGITS, decimals_of_sqlite
from ozelot.values.type_rules import value_type_of

_NAMES = {"sqlite": "SQLite", "postgresql": "PostgreSQL", "mysql": "MariaDB", "mariadb": "MariaDB"}


def rejection(where: str, value: Any, reason: str, rule: ColumnType, database: str) -> str:
    """One line: the column, what it expects, the value and its type, the reason, and the remedy.

    Args:
        where: ``table.column``; empty where it is not known.
        value: the value.
        reason: what is wrong with it.
        rule: what the column takes.
        database: the name of the dialect.
    """
    why = reason if isinstance(reason, Reason) else Reason(reason)
    column = f"{where or 'A column'} on {_NAMES.get(database, database)}"
    detail = f" ({why.detail})" if why.detail else ""
    remedy = f". {why.remedy}" if why.remedy else ""
    if _is_missing(value):
        remedy = ". For a missing value, use None"
    return f"{column} expects {why.expects or rule.expects}; got {shown_with_type(where, value)}{detail}{remedy}"


def _is_missing(value: Any) -> bool:
    is_nan = isinstance(value, float | Decimal) and value != value
    return is_nan or type(value).__name__ in ("NAType", "NaTType")


Processor: TypeAlias = Callable[[Any], Any]
TypeClass: TypeAlias = type[TypeEngine[Any]]

_UTC = datetime.UTC
_TIMESTAMPTZ = 1184  # PostgreSQL's number of the type


class Exact(TypeEngine[Any]):
    """Base of the types made here, in front of the type of SQLAlchemy that each refines.

    Attributes:
        declared: the type that the model names.
        exact: the type of most values; these are checked quickest.
    """

    declared: TypeClass
    exact: type = object

    def rule(self, dialect: sa.Dialect) -> ColumnType:
        """Which values the column takes."""
        return value_type_of(self if isinstance(self, self.declared) else self.adapt(self.declared), dialect)

    def conversion(self, dialect: sa.Dialect) -> Processor | None:
        """What turns a value that the column takes into one for the driver; None: nothing is to be done."""
        return super().bind_processor(dialect)

    def checking(self, dialect: sa.Dialect, where: str, rule: ColumnType) -> Processor:
        """What checks values that are written, and converts them.

        Args:
            dialect: of the database.
            where: the column, for messages.
            rule: which values it takes.
        """
        convert = self.conversion(dialect)
        exact, fault = self.exact, rule.fault

        def process(value: Any) -> Any:
            if type(value) is not exact or fault(value) is not None:
                if value is None:
                    return None
                value = checked(rule, value, where, dialect)
            return value if convert is None else convert(value)

        return process

    def checking_only(self, dialect: sa.Dialect, where: str, given: Processor | None) -> Processor:
        """What checks and converts values of the usual type, and leaves others, such as text, to SQLAlchemy."""
        check, usual = self.checking(dialect, where, self.rule(dialect)), self.exact

        def process(value: Any) -> Any:
            if isinstance(value, usual):
                return check(value)
            return value if given is None else given(value)

        return process

    def bind_processor(self, dialect: sa.Dialect) -> Processor | None:
        """As the base class, with a check."""
        return self.checking(dialect, "", self.rule(dialect))

    def comparing(self, dialect: sa.Dialect, where: str) -> Processor | None:
        """What converts values that others are compared with.

        Args:
            dialect: of the database.
            where: the column, for messages.
        """
        return super().bind_processor(dialect)


def checked(rule: ColumnType, value: Any, where: str, dialect: sa.Dialect) -> Any:
    """A value as the rule takes it.

    Raises:
        ValueRejected: it does not fit.
    """
    try:
        return rule.checked(value)
    except InvalidValue as exc:
        raise ValueRejected(rejection(where, value, exc.reason, rule, dialect.name)) from None


class ExactInteger(Exact):
    """Whole numbers."""

    def checking(self, dialect: sa.Dialect, where: str, rule: Any) -> Processor:
        """As the base class."""
        low, high = rule.low, rule.high

        def process(value: Any) -> Any:
            if (type(value) is int and low <= value <= high) or value is None:
                return value
            return checked(rule, value, where, dialect)

        return process

    def comparing(self, dialect: sa.Dialect, where: str) -> Processor | None:
        """As the base class."""
        return _without_numpy if dialect.name == "sqlite" else super().comparing(dialect, where)


def _without_numpy(value: Any) -> Any:
    # SQLite takes a number of NumPy for bytes, which no number equals.
    return value.tolist() if type(value).__module__ == "numpy" else value


class ExactText(Exact):
    """Text."""

    exact = str

    def checking(self, dialect: sa.Dialect, where: str, rule: Any) -> Processor:
        """As the base class."""
        convert = self.conversion(dialect)
        if rule.padded or convert is not None:
            return super().checking(dialect, where, rule)
        # SQLite stores longer text than the column names; what else does not fit, the databases refuse by themselves.
        longest = 2**62 if rule.length is None or dialect.name == "sqlite" else rule.length

        def process(value: Any) -> Any:
            if (type(value) is str and len(value) <= longest) or value is None:
                return value
            if isinstance(value, str) and len(value) <= longest:
                return str.__str__(value)
            return checked(rule, value, where, dialect)

        return process

    def result_processor(self, dialect: sa.Dialect, coltype: object) -> Processor | None:
        """As the base class."""
        given = super().result_processor(dialect, coltype)
        if not issubclass(self.declared, sa.CHAR) or dialect.name != "postgresql":
            return given
        return _without_padding


def _without_padding(value: str | None) -> str | None:
    return None if value is None else value.rstrip(" ")


class ExactFloat(Exact):
    """Floating point numbers."""

    def checking(self, dialect: sa.Dialect, where: str, rule: Any) -> Processor:
        """As the base class."""
        convert = self.conversion(dialect)
        if not rule.is_plain or dialect.name in ("mysql", "mariadb"):
            return super().checking(dialect, where, rule)

        def process(value: Any) -> Any:
            if (type(value) is float and value == value) or value is None:
                return value
            value = checked(rule, value, where, dialect)
            return value if convert is None else convert(value)

        return process

    def result_processor(self, dialect: sa.Dialect, coltype: object) -> Processor | None:
        """As the base class; decimals have all digits of the float, instead of ten places."""
        kind: Any = self
        if not kind.asdecimal or kind.decimal_return_scale is not None or getattr(kind, "scale", None) is not None:
            return super().result_processor(dialect, coltype)
        return lambda value: None if value is None else Decimal(repr(float(value)))


class ExactNumeric(Exact):
    """Decimals."""

    exact = Decimal

    def checking(self, dialect: sa.Dialect, where: str, rule: Any) -> Processor:
        """As the base class."""
        convert, fault = self.conversion(dialect), rule.fault
        smallest, limit = rule.smallest, rule.plain_limit
        if smallest is None or limit is None:
            return super().checking(dialect, where, rule)
        lowest, has_places = -limit, smallest.same_quantum

        def process(value: Any) -> Any:
            if value is None:
                return None
            if type(value) is not Decimal or not (
                (has_places(value) and lowest < value < limit) or fault(value) is None
            ):
                value = checked(rule, value, where, dialect)
            return value if convert is None else convert(value)

        return process

    def comparing(self, dialect: sa.Dialect, where: str) -> Processor | None:
        """As the base class."""
        if dialect.name != "sqlite":
            return super().comparing(dialect, where)  # compares all digits
        rule = value_type_of(sa.Numeric(), dialect)

        def process(value: Any) -> Any:
            return float(checked(rule, value, where, dialect)) if type(value) is Decimal else value

        return process

    def result_processor(self, dialect: sa.Dialect, coltype: object) -> Processor | None:
        """As the base class."""
        kind: Any = self
        given = super().result_processor(dialect, coltype)
        if dialect.name != "sqlite" or not kind.asdecimal:
            return given
        if kind.precision is not None and kind.precision <= DIGITS:
            return given  # by the format of a float with the places of the column, which is quicker and exact
        places = kind.scale if kind.decimal_return_scale is None else kind.decimal_return_scale
        if places is None and kind.precision is not None:
            places = 0
        return decimals_of_sqlite(places)


class ExactDate(Exact):
    """Dates."""

    exact = datetime.date

    def conversion(self, dialect: sa.Dialect) -> Processor | None:
        """As the base class."""
        if isinstance(self, sqlite.DATE) and self._storage_format == sqlite.DATE._storage_format:
            return datetime.date.isoformat
        return super().conversion(dialect)


class ExactDateTime(Exact):
    """Dates with times; those with a time zone are stored and returned as UTC."""

    exact = datetime.datetime

    @property
    def _is_instant(self) -> bool:
        kind: Any = self
        return bool(kind.timezone)

    @property
    def _has_plain_text(self) -> bool:
        return isinstance(self, sqlite.DATETIME) and self._storage_format == sqlite.DATETIME._storage_format

    def conversion(self, dialect: sa.Dialect) -> Processor | None:
        """As the base class."""
        if dialect.name == "postgresql":
            return super().conversion(dialect)
        if self._has_plain_text:
            return _text_in_utc if self._is_instant else _text
        convert = super().conversion(dialect)
        if not self._is_instant:
            return convert
        return _naive_in_utc if convert is None else lambda value: convert(_naive_in_utc(value))

    def comparing(self, dialect: sa.Dialect, where: str) -> Processor | None:
        """As the base class."""
        return self.checking_only(dialect, where, super().comparing(dialect, where))

    def result_processor(self, dialect: sa.Dialect, coltype: object) -> Processor | None:
        """As the base class."""
        given = super().result_processor(dialect, coltype)
        if dialect.name == "postgresql":
            return _in_utc if self._is_instant or coltype == _TIMESTAMPTZ else given
        return _with_utc(given) if self._is_instant else given


def _with_utc(read: Any) -> Processor:
    """What gives naive values, which are those in UTC, their zone."""

    def process(value: Any) -> Any:
        if value is None:
            return None
        return (value if read is None else read(value)).replace(tzinfo=_UTC)

    process.gives_utc = True  # type: ignore[attr-defined]
    return process


def _text(value: datetime.datetime) -> str:
    return value.isoformat(" ", "microseconds")


def _naive_in_utc(value: datetime.datetime) -> datetime.datetime:
    return value.astimezone(_UTC).replace(tzinfo=None)


def _text_in_utc(value: datetime.datetime) -> str:
    return value.astimezone(_UTC).isoformat(" ", "microseconds")[:-6]


def _in_utc(value: Any) -> Any:
    if value is None or value.tzinfo is None or value.tzinfo is _UTC:
        return value
    return value.astimezone(_UTC)


_in_utc.gives_utc = True  # type: ignore[attr-defined]


class ExactTime(Exact):
    """Times of a day."""

    exact = datetime.time

    def conversion(self, dialect: sa.Dialect) -> Processor | None:
        """As the base class."""
        if isinstance(self, sqlite.TIME) and self._storage_format == sqlite.TIME._storage_format:
            return lambda value: value.isoformat("microseconds")
        return super().conversion(dialect)

    def comparing(self, dialect: sa.Dialect, where: str) -> Processor | None:
        """As the base class."""
        return self.checking_only(dialect, where, super().comparing(dialect, where))


class ExactBytes(Exact):
    """Bytes."""

    exact = bytes


def conversion(kind: TypeEngine[Any], dialect: sa.Dialect) -> Processor | None:
    """What turns values of a column that were checked already into those that the driver takes."""
    found = kind.dialect_impl(dialect)
    return found.conversion(dialect) if isinstance(found, Exact) else found.bind_processor(dialect)
