"""What makes the dialect of an engine check and convert values: its type classes, and its compiler of statements.

What is computed from the values of a column, or compared with them, is for the database: see :class:`_ExactCompiler`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql
from sqlalchemy.sql.compiler import SQLCompiler
from sqlalchemy.types import TypeDecorator, TypeEngine
from sqlalchemy.util import memoized_property

from ozelot.values.checked_types import (
    Exact,
    ExactBytes,
    ExactDate,
    ExactDateTime,
    ExactFloat,
    ExactInteger,
    ExactNumeric,
    ExactText,
    ExactTime,
    Processor,
    TypeClass,
    checked,
)
from ozelot.values.type_rules import value_type_of

_OWN_METHODS = ("bind_processor", "result_processor", "bind_expression", "column_expression")

#: The first that a type of SQLAlchemy derives from counts.
_REFINED: list[tuple[TypeClass, type[Exact] | None]] = [
    (sa.Enum, None),  # see _check
    (sa.String, ExactText),
    (sa.Integer, ExactInteger),
    (sa.Float, ExactFloat),
    (sa.Numeric, ExactNumeric),
    (sa.Date, ExactDate),
    (sa.DateTime, ExactDateTime),
    (sa.Time, ExactTime),
    (sa.LargeBinary, ExactBytes),
    (sa.BINARY, ExactBytes),
    (sa.VARBINARY, ExactBytes),
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
