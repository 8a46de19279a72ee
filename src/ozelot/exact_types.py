"""Column types that check and convert each value on its way through SQLAlchemy, by the rules of ``self.load``.

An engine gets them by :func:`install`: its dialect then adapts SQLAlchemy's types to the classes made here. So
``session.add``, Core, and ``TypeDecorator`` on top of these types store a value exactly, or reject it. What is computed
from the values of a column, or compared with them, is for the database: see :class:`_ExactCompiler`.
"""

from __future__ import annotations

import datetime
from collections.abc import Callable, Mapping
from decimal import Decimal
from typing import Any, TypeAlias

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.sql.compiler import SQLCompiler
from sqlalchemy.types import TypeDecorator, TypeEngine
from sqlalchemy.util import memoized_property

from ozelot.column_type import ColumnType, InvalidValue
from ozelot.errors import ValueRejected
from ozelot.number_types import DIGITS, decimals_of_sqlite
from ozelot.rejections import rejection
from ozelot.value_types import value_type_of

Processor: TypeAlias = Callable[[Any], Any]
TypeClass: TypeAlias = type[TypeEngine[Any]]

_UTC = datetime.UTC
_TIMESTAMPTZ = 1184  # PostgreSQL's number of the type
_OWN_METHODS = ("bind_processor", "result_processor", "bind_expression", "column_expression")


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
        raise ValueRejected(rejection(where, value, str(exc), rule, dialect.name)) from None


class _Integer(Exact):
    def checking(self, dialect: sa.Dialect, where: str, rule: Any) -> Processor:
        low, high = rule.low, rule.high

        def process(value: Any) -> Any:
            if (type(value) is int and low <= value <= high) or value is None:
                return value
            return checked(rule, value, where, dialect)

        return process

    def comparing(self, dialect: sa.Dialect, where: str) -> Processor | None:
        return _without_numpy if dialect.name == "sqlite" else super().comparing(dialect, where)


def _without_numpy(value: Any) -> Any:
    # SQLite takes a number of NumPy for bytes, which no number equals.
    return value.tolist() if type(value).__module__ == "numpy" else value


class _Text(Exact):
    exact = str

    def checking(self, dialect: sa.Dialect, where: str, rule: Any) -> Processor:
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
        given = super().result_processor(dialect, coltype)
        if not issubclass(self.declared, sa.CHAR) or dialect.name != "postgresql":
            return given
        return _without_padding


def _without_padding(value: str | None) -> str | None:
    return None if value is None else value.rstrip(" ")


class _Float(Exact):
    def checking(self, dialect: sa.Dialect, where: str, rule: Any) -> Processor:
        convert = self.conversion(dialect)
        if not rule.is_plain or dialect.name in ("mysql", "mariadb"):
            return super().checking(dialect, where, rule)

        def process(value: Any) -> Any:
            if (type(value) is float and value == value) or value is None:
                return value
            value = checked(rule, value, where, dialect)
            return value if convert is None else convert(value)

        return process


class _Numeric(Exact):
    exact = Decimal

    def checking(self, dialect: sa.Dialect, where: str, rule: Any) -> Processor:
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
        if dialect.name != "sqlite":
            return super().comparing(dialect, where)  # compares all digits
        rule = value_type_of(sa.Numeric(), dialect)

        def process(value: Any) -> Any:
            return float(checked(rule, value, where, dialect)) if type(value) is Decimal else value

        return process

    def result_processor(self, dialect: sa.Dialect, coltype: object) -> Processor | None:
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


class _Date(Exact):
    exact = datetime.date

    def conversion(self, dialect: sa.Dialect) -> Processor | None:
        if isinstance(self, sqlite.DATE) and self._storage_format == sqlite.DATE._storage_format:
            return datetime.date.isoformat
        return super().conversion(dialect)


class _DateTime(Exact):
    exact = datetime.datetime

    @property
    def _is_instant(self) -> bool:
        kind: Any = self
        return bool(kind.timezone)

    @property
    def _has_plain_text(self) -> bool:
        return isinstance(self, sqlite.DATETIME) and self._storage_format == sqlite.DATETIME._storage_format

    def conversion(self, dialect: sa.Dialect) -> Processor | None:
        if dialect.name == "postgresql":
            return super().conversion(dialect)
        if self._has_plain_text:
            return _text_in_utc if self._is_instant else _text
        convert = super().conversion(dialect)
        if not self._is_instant:
            return convert
        return _naive_in_utc if convert is None else lambda value: convert(_naive_in_utc(value))

    def comparing(self, dialect: sa.Dialect, where: str) -> Processor | None:
        return self.checking(dialect, where, self.rule(dialect))

    def result_processor(self, dialect: sa.Dialect, coltype: object) -> Processor | None:
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


class _Time(Exact):
    exact = datetime.time

    def conversion(self, dialect: sa.Dialect) -> Processor | None:
        if isinstance(self, sqlite.TIME) and self._storage_format == sqlite.TIME._storage_format:
            return lambda value: value.isoformat("microseconds")
        return super().conversion(dialect)

    def comparing(self, dialect: sa.Dialect, where: str) -> Processor | None:
        return self.checking(dialect, where, self.rule(dialect))


class _Bytes(Exact):
    exact = bytes


#: The first that a type of SQLAlchemy derives from counts.
_REFINED: list[tuple[TypeClass, type[Exact] | None]] = [
    (sa.Enum, None),  # see _check
    (sa.String, _Text),
    (sa.Integer, _Integer),
    (sa.Float, _Float),
    (sa.Numeric, _Numeric),
    (sa.Date, _Date),
    (sa.DateTime, _DateTime),
    (sa.Time, _Time),
    (sa.LargeBinary, _Bytes),
    (sa.BINARY, _Bytes),
    (sa.VARBINARY, _Bytes),
]


_made: dict[Any, Any] = {}  # which is for the life of the process, as SQLAlchemy keeps each subclass


class ExactTypes(dict[Any, Any]):
    """The classes that a dialect adapts types to: of those that it has itself, those that check.

    Args:
        standard: what it has itself.
    """

    def __init__(self, standard: Mapping[Any, Any]) -> None:
        super().__init__()
        self._standard = dict(standard)

    def __missing__(self, kind: TypeClass) -> TypeClass:
        base = next((self._standard[parent] for parent in kind.__mro__ if parent in self._standard), kind)
        if issubclass(kind, base):
            base = kind  # which is more than the dialect asks for
        found: TypeClass = _refined(kind, base)
        self[kind] = found
        return found

    def copy(self) -> ExactTypes:
        """A copy, for a dialect that adds to it what it learns of the server."""
        return ExactTypes(self._standard)

    def update(self, *others: Any, **named: Any) -> None:
        """Let the dialect have more classes itself."""
        self._standard.update(*others, **named)
        self.clear()


def _refined(kind: TypeClass, base: TypeClass) -> Any:
    mixin = next((mixin for parent, mixin in _REFINED if issubclass(kind, parent)), None)
    if mixin is None or issubclass(kind, TypeDecorator | Exact) or _has_rules_of_its_own(kind):
        return base
    found = _made.get((kind, base))
    if found is None:
        values = {"declared": kind, "__module__": __name__}
        found = _made[kind, base] = type(f"Exact{base.__name__}", (mixin, base), values)
    return found


def _has_rules_of_its_own(kind: TypeClass) -> bool:
    """Whether the class is not SQLAlchemy's, and makes other values of those that it is given."""
    own = [parent for parent in kind.__mro__ if not parent.__module__.startswith("sqlalchemy.")]
    return any(name in vars(parent) for parent in own for name in _OWN_METHODS)


class _ExactCompiler(SQLCompiler):
    """Tells values that are written, which must fit, from those that are compared.

    PostgreSQL and MariaDB compare all digits of a number, also those that a column does not have. SQLite compares
    floats, so a number of more digits is rejected there, too. A time must have a zone where the column's do, and only
    there.
    """

    @memoized_property
    def _bind_processors(self) -> Any:
        found: dict[str, Any] = dict(super()._bind_processors)
        statement: Any = self.statement
        upserts = self.isinsert and getattr(statement, "select", None) is None
        for bind, name in self.bind_names.items():
            if bind in self.literal_execute_params or bind.type._is_tuple_type:
                continue
            process: Processor | None = found.get(name)
            if bind._is_crud or upserts:
                process = self._writing(bind, name, process)
            else:
                kind = bind.type.dialect_impl(self.dialect)
                if isinstance(kind, Exact):
                    process = kind.comparing(self.dialect, "" if bind._orig_key == "param" else bind._orig_key)
            found.pop(name, None)
            if process is not None:
                found[name] = process
        return found

    def _writing(self, bind: Any, name: str, process: Processor | None) -> Processor | None:
        dialect, kind = self.dialect, bind.type.dialect_impl(self.dialect)
        if isinstance(kind, Exact):
            return kind.checking(dialect, self._column(bind, name), value_type_of(bind.type, dialect))
        if isinstance(kind, TypeDecorator) and not isinstance(kind, sa.Interval):
            return process
        return _check(bind.type, process, self._column(bind, name), dialect)

    def _column(self, bind: Any, name: str) -> str:
        table: Any = getattr(self.statement, "table", None)
        names: Any = table.c if table is not None else ()
        of_several_rows = name.rpartition("_m")[0]
        key = next((key for key in (bind._orig_key, name, of_several_rows) if key in names), None)
        return "" if key is None else f"{table.name}.{names[key].name}"


def _check(kind: TypeEngine[Any], process: Processor | None, where: str, dialect: sa.Dialect) -> Processor | None:
    """What checks the values of a type that is not adapted to one of those made here."""
    if not isinstance(kind.dialect_impl(dialect), sa.Enum | sa.Uuid | sa.Boolean | sa.Interval | postgresql.INTERVAL):
        return process
    rule = value_type_of(kind, dialect)

    def check(value: Any) -> Any:
        if value is not None:
            value = checked(rule, value, where, dialect)
        return value if process is None else process(value)

    return check


def install(dialect: sa.Dialect) -> None:
    """Let an engine check and convert values by the rules of its dialect.

    Args:
        dialect: of the engine, before its first use.
    """
    dialect.colspecs = ExactTypes(dialect.colspecs)
    standard: Any = dialect.statement_compiler
    if standard not in _made:
        _made[standard] = type(f"Exact{standard.__name__}", (_ExactCompiler, standard), {"__module__": __name__})
    dialect.statement_compiler = _made[standard]


def conversion(kind: TypeEngine[Any], dialect: sa.Dialect) -> Processor | None:
    """What turns values of a column that were checked already into those that the driver takes."""
    found = kind.dialect_impl(dialect)
    return found.conversion(dialect) if isinstance(found, Exact) else found.bind_processor(dialect)
