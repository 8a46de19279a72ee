"""The checks on a table as a whole: how many rows, which part of them, how new."""

from __future__ import annotations

import datetime
from collections.abc import Callable, Sequence
from typing import Any

import sqlalchemy as sa
from sqlalchemy.types import TypeDecorator, TypeEngine

from ozelot.checks.about import clause, in_pass, name_of, span
from ozelot.checks.check import Check, InPass, Lazy, Measure, Severity, number_of, value_of
from ozelot.checks.comparison import stored_type

_AHEAD = datetime.timedelta(days=1)


def row_count(
    of: Any,
    least: Lazy[int | None] = 1,
    most: Lazy[int | None] = None,
    *,
    name: str | None = None,
    severity: Severity = "error",
) -> Check:
    """There are so many rows.

    Args:
        of: a model or a table.
        least: so many at least; by default, one.
        most: so many at most; None: any number.
        name: what to call the check.
        severity: ``error`` or ``warn``.
    """

    def measure(_: sa.Dialect) -> Measure:
        low, high = value_of(least), value_of(most)

        def judge(number: int, __: Sequence[Any]) -> tuple[bool, str]:
            return _is_between(number, low, high), f"{number:,}"

        return Measure(f"{span(low, high, '{:,}'.format)} rows", judge)

    owner = of if isinstance(of, sa.Table) else sa.inspect(of)
    return InPass(name=name or f"row_count({name_of(of)})", severity=severity, about=owner, measure=measure)


def fraction(
    condition: Any,
    *,
    at_least: Lazy[float] = 0.0,
    at_most: Lazy[float] = 1.0,
    name: str | None = None,
    severity: Severity = "error",
) -> Check:
    """A condition holds for such a part of the rows; those for which it is NULL do not count, either way."""
    return _share("fraction", condition, [condition], at_least, at_most, name, severity)


def references(
    column: Any,
    *,
    at_least: Lazy[float] = 1.0,
    at_most: Lazy[float] = 1.0,
    name: str | None = None,
    severity: Severity = "error",
) -> Check:
    """A foreign key is filled in such a part of the rows. (That it leads somewhere, :func:`no_orphans` checks.)"""
    return _share("references", clause(column).is_not(None), [column], at_least, at_most, name, severity)


def fresh(
    column: Any,
    within: Lazy[datetime.timedelta],
    *,
    name: str | None = None,
    severity: Severity = "error",
    now: Callable[[], datetime.datetime] = lambda: datetime.datetime.now(datetime.UTC),
) -> Check:
    """The newest value is not older than that; where there is no value, the check fails.

    A value that is more than a day in the future does not count, as it would hide that nothing new came; a day leaves
    room for the time zones in which dates are noted.

    Args:
        column: times (those without a time zone are in UTC) or dates.
        within: how old the newest may be.
        name: what to call the check.
        severity: ``error`` or ``warn``.
        now: the time, in UTC.

    Raises:
        TypeError: the column holds something else.
    """
    part = clause(column)
    if not isinstance(part.type, sa.Date | sa.DateTime | TypeDecorator | sa.types.NullType):
        raise TypeError(f"fresh() is for dates and times, which {name_of(column)} is not")

    def measure(dialect: sa.Dialect) -> Measure:
        today = now()
        since = today - value_of(within)
        latest = _as_in(stored_type(part, dialect), today + _AHEAD)
        later = sa.false() if latest is None else part > latest

        def judge(__: int, figures: Sequence[Any]) -> tuple[bool, str]:
            newest, number = figures
            ahead = f"{number:,} {'row' if number == 1 else 'rows'} more than a day in the future" if number else ""
            if newest is None:
                return False, f"none but {ahead}" if ahead else "none"
            is_time = isinstance(newest, datetime.datetime)
            limit = since if is_time and newest.tzinfo else since.replace(tzinfo=None)
            is_fresh = newest >= (limit if is_time else limit.date())
            return is_fresh, f"{newest}, and {ahead}" if ahead else f"{newest}"

        newest = sa.func.max(part if latest is None else sa.case((sa.not_(later), part)))
        return Measure(f"a value since {since:%Y-%m-%d %H:%M}", judge, [newest, number_of(later)])

    return in_pass("fresh", [column], name, severity, measure)


def _as_in(kind: TypeEngine[Any], when: datetime.datetime) -> datetime.date | None:
    """A time in UTC as a column holds it; None where it holds something else."""
    if isinstance(kind, sa.Date):
        return when.date()
    if not isinstance(kind, sa.DateTime):
        return None
    return when if getattr(kind, "timezone", False) else when.replace(tzinfo=None)


def _share(
    kind: str,
    condition: Any,
    parts: Sequence[Any],
    at_least: Lazy[float],
    at_most: Lazy[float],
    name: str | None,
    severity: Severity,
) -> InPass:
    def measure(_: sa.Dialect) -> Measure:
        low, high = value_of(at_least), value_of(at_most)
        true, false = clause(condition), sa.not_(clause(condition))

        def judge(__: int, figures: Sequence[Any]) -> tuple[bool, str]:
            yes, no = figures
            if not yes + no:
                return True, "no rows"
            rounded_down = yes * 10_000 // (yes + no) / 10_000  # so that it never looks like what was asked for
            return low <= yes / (yes + no) <= high, f"{_percent(rounded_down)} ({yes:,} of {yes + no:,} rows)"

        told = span(low if low > 0 or high >= 1 else None, high if high < 1 else None, _percent)
        # Where too many are so, these are what to look at.
        figures = [number_of(true), number_of(false)]
        return Measure(f"{told} of rows", judge, figures, bad=false if low > 0 else true)

    return in_pass(kind, parts, name, severity, measure)


def _is_between(value: Any, low: Any, high: Any) -> bool:
    return (low is None or value >= low) and (high is None or value <= high)


def _percent(part: float) -> str:
    return f"{part * 100:.9g} %"
