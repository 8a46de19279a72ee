"""Which table an expression is about, and what to call it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import sqlalchemy as sa
from sqlalchemy.exc import CompileError
from sqlalchemy.sql.expression import ColumnClause, ScalarSelect, SelectBase

from ozelot.checks.check import InPass, Measure, Severity
from ozelot.orm.shown import is_secret

#: What its dialects are called.
MARIADB = ("mariadb", "mysql")

_LONGEST = 80  # characters of a condition that are shown


def clause(expression: Any) -> sa.ColumnElement[Any]:
    """A column or a condition as SQLAlchemy's Core has it."""
    found = expression.__clause_element__() if hasattr(expression, "__clause_element__") else expression
    if not isinstance(found, sa.ColumnElement):
        raise TypeError(f"Not a column, nor a condition on columns: {expression!r}")
    return found


def columns_in(expression: Any) -> list[ColumnClause[Any]]:
    """The columns that an expression is about, each once; not those within its subqueries."""
    return list(dict.fromkeys(_walk(clause(expression))))


def _walk(part: Any) -> Iterator[ColumnClause[Any]]:
    if isinstance(part, ColumnClause):
        yield part
    elif not isinstance(part, SelectBase | ScalarSelect):
        for child in part.get_children():
            yield from _walk(child)


def about(*expressions: Any) -> Any:
    """The one model (as its mapper) or table that expressions are about.

    Raises:
        ValueError: they are about none, or several.
    """
    found = {_owner(column): None for expression in expressions for column in columns_in(expression)}
    if len(found) != 1:
        told = ", ".join(map(str, found)) or "no column"
        raise ValueError(f"A check is about the columns of one table, not {told}: no_rows(select(...)) takes any query")
    return next(iter(found))


def _owner(column: Any) -> Any:
    # Where an attribute of a model is part of an expression, only its annotations tell of which model.
    return column._annotations.get("parententity", column.table)


def key_columns(owner: Any) -> list[sa.ColumnElement[Any]]:
    """The primary key of a model or table."""
    return list(owner.primary_key)


def name_of(thing: Any) -> str:
    """A model, attribute, column or condition in words: ``Character``, ``Character.height``, ``flight.number``."""
    if isinstance(thing, type | sa.Table):
        return thing.__name__ if isinstance(thing, type) else thing.name
    if hasattr(thing, "class_") and hasattr(thing, "key"):
        return f"{thing.class_.__name__}.{thing.key}"
    return _text(clause(thing))


def _text(expression: sa.ColumnElement[Any]) -> str:
    text = str(expression)
    if not any(is_secret(column.key) for column in columns_in(expression)):
        try:
            text = str(expression.compile(compile_kwargs={"literal_binds": True}))
        except (CompileError, NotImplementedError):  # values that cannot be written as text
            text = str(expression)
    text = " ".join(text.split())
    return text if len(text) <= _LONGEST else f"{text[: _LONGEST - 3]}..."


def in_pass(
    kind: str, parts: Sequence[Any], name: str | None, severity: Severity, measure: Callable[[sa.Dialect], Measure]
) -> InPass:
    """A check about expressions, made together with others on the same table.

    Args:
        kind: what to call it, with what it is about.
        parts: what it is about.
        name: what to call it instead.
        severity: ``error`` or ``warn``.
        measure: what to ask, given the dialect.
    """
    columns = list(dict.fromkeys(column for part in parts for column in columns_in(part)))
    told = name or f"{kind}({', '.join(map(name_of, parts))})"
    return InPass(name=told, severity=severity, about=about(*parts), columns=columns, measure=measure)


def span(low: Any, high: Any, text: Callable[[Any], str]) -> str:
    """Bounds in words: ``1 to 5``, ``at least 1``, ``at most 5``."""
    if low is not None and high is not None:
        return text(low) if low == high else f"{text(low)} to {text(high)}"
    if high is not None:
        return f"at most {text(high)}"
    return "any" if low is None else f"at least {text(low)}"
