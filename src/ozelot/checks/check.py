"""What a check is, which table it is about, and what came of it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias, TypeVar

import sqlalchemy as sa
from sqlalchemy.exc import CompileError
from sqlalchemy.sql.expression import ColumnClause, ScalarSelect, SelectBase

from ozelot.redaction import is_secret

_T = TypeVar("_T")

Severity = Literal["error", "warn"]

#: A value, or a function that gives it when the check is made: ``lambda: config.FARTHEST``.
Lazy: TypeAlias = _T | Callable[[], _T]


def value_of(bound: Lazy[_T]) -> _T:
    """A bound as it is now."""
    return bound() if callable(bound) else bound


@dataclass(frozen=True)
class Result:
    """What came of a check.

    Attributes:
        name: of the check.
        ok: whether it holds.
        expected: what should be, in words.
        found: what is, in words.
        rows: the first few rows that are not as they should be, in words.
        severity: whether it is an error if it does not hold.
    """

    name: str
    ok: bool
    expected: str
    found: str
    rows: tuple[str, ...] = ()
    severity: Severity = "error"

    def __str__(self) -> str:
        such = f", such as {', '.join(self.rows)}" if self.rows else ""
        return f"{self.name}: expected {self.expected}, found {self.found}{such}"

    def as_data(self) -> dict[str, Any]:
        """What is kept with the run."""
        return {"name": self.name, "ok": self.ok, "expected": self.expected, "found": self.found}


@dataclass(frozen=True)
class Measure:
    """What is asked in a pass over a table, with all bounds as they are now.

    Attributes:
        expected: what should be, in words.
        judge: is handed the number of rows and the figures; whether it holds, and what was found, in words.
        figures: aggregates over all rows.
        bad: the rows that are not as they should be; None: it is not about rows.
        is_strict: whether there may be no such row: the only figure then is their number.
        may_give_up: whether the database may leave a row undecided, and count it as bad, with a warning.
    """

    expected: str
    judge: Callable[[int, Sequence[Any]], tuple[bool, str]]
    figures: Sequence[sa.ColumnElement[Any]] = ()
    bad: sa.ColumnElement[bool] | None = None
    is_strict: bool = False
    may_give_up: bool = False


def number_of(condition: sa.ColumnElement[bool]) -> sa.ColumnElement[int]:
    """For how many rows a condition holds."""
    return sa.func.count(sa.case((condition, 1)))


@dataclass(frozen=True, eq=False, kw_only=True)
class Check:
    """Something that must hold of the data; made by the functions of :mod:`ozelot.checks`.

    Attributes:
        name: what to call it in messages.
        severity: ``error``: the task fails; ``warn``: it is logged, and kept with the run.
    """

    name: str
    severity: Severity = "error"

    def __post_init__(self) -> None:
        if self.severity not in ("error", "warn"):
            raise ValueError(f"{self.name}: severity is 'error' or 'warn', not {self.severity!r}")


@dataclass(frozen=True, eq=False, kw_only=True)
class InPass(Check):
    """A check that shares one pass over a table with others.

    Attributes:
        about: the model or table.
        columns: what to show of rows that are not as they should be, beside their key.
        measure: what to ask, given the dialect.
    """

    about: Any
    columns: Sequence[sa.ColumnElement[Any]] = ()
    measure: Callable[[sa.Dialect], Measure]


@dataclass(frozen=True, eq=False, kw_only=True)
class ByQuery(Check):
    """A check that is a query of its own.

    Attributes:
        expected: what should be, in words.
        query: finds what should not be, given the dialect.
        what: what one row of it is, in words.
    """

    expected: str
    query: Callable[[sa.Dialect], sa.SelectBase | sa.TextClause]
    what: str = "row"


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
