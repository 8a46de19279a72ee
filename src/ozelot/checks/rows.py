"""The checks on each row of a table.

A condition that is NULL for a row is not known to be broken, as in a CHECK constraint: only :func:`not_null` minds it.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import sqlalchemy as sa

from ozelot.checks.about import MARIADB, clause, exact, in_pass, name_of, span
from ozelot.checks.check import Check, Lazy, Measure, Severity, value_of
from ozelot.orm.shown import shown

_NAMED = 10  # values of a choice that are named
_FEW = 8  # values of a choice that are compared one by one


def holds(condition: Any, *, name: str | None = None, severity: Severity = "error") -> Check:
    """A condition holds for every row: ``holds(Flight.arrival > Flight.departure)``."""

    def measure(_: str) -> Measure:
        return _of_each_row("it to hold", sa.not_(clause(condition)))

    return in_pass("holds", [condition], name, severity, measure)


def not_null(*columns: Any, name: str | None = None, severity: Severity = "error") -> Check:
    """All of these columns have a value in every row."""

    def measure(_: str) -> Measure:
        return _of_each_row("a value", sa.or_(*(clause(column).is_(None) for column in columns)))

    return in_pass("not_null", columns, name, severity, measure)


def between(
    column: Any,
    low: Lazy[Any] = None,
    high: Lazy[Any] = None,
    *,
    name: str | None = None,
    severity: Severity = "error",
) -> Check:
    """All values are within bounds, which are allowed themselves; a bound of None is none."""

    def measure(_: str) -> Measure:
        at_least, at_most = value_of(low), value_of(high)
        outside = [clause(column) < at_least] if at_least is not None else []
        outside += [clause(column) > at_most] if at_most is not None else []
        told = span(at_least, at_most, lambda value: shown(name_of(column), value))
        return _of_each_row(told, sa.or_(sa.false(), *outside))

    return in_pass("between", [column], name, severity, measure)


def one_of(
    column: Any, choice: Lazy[Iterable[Any] | None], *, name: str | None = None, severity: Severity = "error"
) -> Check:
    """All values are among these, upper and lower case told apart; a choice of None leaves all open."""

    def measure(dialect: str) -> Measure:
        wanted = value_of(choice)
        if wanted is None:
            return _of_each_row("anything", sa.false())
        values = [value for value in wanted if value is not None]
        found = exact(clause(column), dialect)
        told = ", ".join(shown(name_of(column), value) for value in values[:_NAMED])
        more = f" and {len(values) - _NAMED:,} more" if len(values) > _NAMED else ""
        bad: sa.ColumnElement[bool] = found.not_in(values) if values else found.is_not(None)
        if dialect == "sqlite" and 0 < len(values) <= _FEW:  # its IN takes three times as long
            bad = sa.and_(*(found != value for value in values))
        return _of_each_row(f"one of {told or 'nothing'}{more}", bad)

    return in_pass("one_of", [column], name, severity, measure)


def matches(column: Any, pattern: Lazy[str], *, name: str | None = None, severity: Severity = "error") -> Check:
    """A regular expression is found in every text, upper and lower case told apart; ``^`` and ``$`` tie it to the ends.

    It is the database's own dialect: that of Python on SQLite, POSIX on PostgreSQL, PCRE on MariaDB, ICU on MySQL.
    """
    if not isinstance(clause(column).type, sa.String):
        raise TypeError(f"matches() is for text, which {name_of(column)} is not")

    def measure(dialect: str) -> Measure:
        expression = value_of(pattern)
        sent = f"(?-i){expression}" if dialect in MARIADB else expression
        return _of_each_row(f"a match of {expression!r}", sa.not_(clause(column).regexp_match(sent)))

    return in_pass("matches", [column], name, severity, measure)


def _of_each_row(expected: str, bad: sa.ColumnElement[bool]) -> Measure:
    def judge(number: int, figures: Sequence[Any]) -> tuple[bool, str]:
        return not figures[0], f"{figures[0]:,} of {number:,} rows otherwise"

    return Measure(expected, judge, bad=bad, is_strict=True)
