"""What a check is, how one is asked, and what came of it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias, TypeVar

import sqlalchemy as sa

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
