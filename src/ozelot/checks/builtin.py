"""The checks that come with ozelot: on each row, on a table as a whole, and by a query of their own.

A condition that is NULL for a row is not known to be broken, as in a CHECK constraint: only :func:`not_null` minds it.
"""

from __future__ import annotations

import dataclasses
import datetime
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import sqlalchemy as sa
from sqlalchemy.types import TypeDecorator, TypeEngine

from ozelot.checks.check import (
    ByQuery,
    Check,
    InPass,
    Lazy,
    Measure,
    Severity,
    about,
    clause,
    in_pass,
    key_columns,
    name_of,
    number_of,
    span,
    value_of,
)
from ozelot.checks.comparison import (
    check_ordered,
    comparable,
    differs_from_text,
    exact,
    groupable,
    same_text,
    stored_type,
)
from ozelot.checks.patterns import InvalidPattern, Pattern, translate
from ozelot.errors import UsageError
from ozelot.redaction import shown

_NAMED = 10  # values of a choice that are named
_MOST = 30_000  # values of a choice; SQLite takes 32,766 parameters
_FEW = 8  # values of a choice that are compared one by one


def holds(condition: Any, *, name: str | None = None, severity: Severity = "error") -> Check:
    """A condition holds for every row: ``holds(Flight.arrival > Flight.departure)``."""

    def measure(_: sa.Dialect) -> Measure:
        return _of_each_row("it to hold", sa.not_(clause(condition)))

    return in_pass("holds", [condition], name, severity, measure)


def not_null(*columns: Any, name: str | None = None, severity: Severity = "error") -> Check:
    r"""All of these columns have a value in every row: none is NULL. An empty text is a value.

    ``matches(Flight.number, r"\S")`` refuses empty texts, and those of blanks alone.
    """

    def measure(_: sa.Dialect) -> Measure:
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
    """All values are within bounds, which are allowed themselves; a bound of None is none.

    Text is compared character by character, as in Python. A date is compared with a time as its midnight. NaN is within
    no bounds.

    Raises:
        TypeError: databases do not agree on the order of such values, as of an Enum.
    """
    check_ordered(column, "between()")

    def measure(dialect: sa.Dialect) -> Measure:
        at_least, at_most = value_of(low), value_of(high)
        compared = exact(clause(column), dialect)
        outside: list[sa.ColumnElement[bool]] = []
        if at_least is not None and (bound := comparable(column, at_least, "low")) is not None:
            outside.append(compared < bound)
        if at_most is not None and (bound := comparable(column, at_most, "high")) is not None:
            outside.append(compared > bound)
        is_float = isinstance(stored_type(clause(column), dialect), sa.Numeric | sa.Float)
        if is_float and dialect.name == "postgresql" and (at_least is not None or at_most is not None):
            outside.append(clause(column) == sa.literal_column("'NaN'"))  # which PostgreSQL sorts behind infinity
        told = span(at_least, at_most, lambda value: shown(name_of(column), value))
        return _of_each_row(told, sa.or_(sa.false(), *outside))

    return in_pass("between", [column], name, severity, measure)


def one_of(
    column: Any, choice: Lazy[Iterable[Any] | None], *, name: str | None = None, severity: Severity = "error"
) -> Check:
    """All values are among these, upper and lower case told apart; a choice of None leaves all open."""

    def measure(dialect: sa.Dialect) -> Measure:
        wanted = value_of(choice)
        if wanted is None:
            return _of_each_row("anything", sa.false())
        values = [value for value in wanted if value is not None]
        if len(values) > _MOST:
            raise UsageError(
                f"one_of({name_of(column)}) takes at most {_MOST:,} values and got {len(values):,}. Load them into a "
                "table, and use a foreign key or the check references()"
            )
        sent = [comparable(column, value, "equal") for value in values]
        found = exact(clause(column), dialect)
        told = ", ".join(shown(name_of(column), value) for value in values[:_NAMED])
        more = f" and {len(values) - _NAMED:,} more" if len(values) > _NAMED else ""
        bad: sa.ColumnElement[bool] = found.not_in(sent) if values else found.is_not(None)
        if dialect.name == "sqlite" and 0 < len(values) <= _FEW:  # its IN takes three times as long
            bad = sa.and_(*(found != value for value in sent))
        return _of_each_row(f"one of {told or 'nothing'}{more}", bad)

    return in_pass("one_of", [column], name, severity, measure)


def matches(column: Any, pattern: Lazy[str], *, name: str | None = None, severity: Severity = "error") -> Check:
    r"""A regular expression is found in every text, upper and lower case told apart.

    It means the same on every database: what it means in Python with ``re.ASCII``, but that ``$`` is the very end of a
    text. So ``^`` and ``$`` tie it to the ends, ``\d``, ``\w``, ``\s`` and ``\b`` are about ASCII characters, and ``.``
    is any character but a newline.

    Raises:
        TypeError: the column is not for text.
        ValueError: a part of the pattern has no common meaning; the text says what to write instead. If the pattern is
            a function, this is found out when the check runs.
    """
    if not isinstance(clause(column).type, sa.String | TypeDecorator) or isinstance(clause(column).type, sa.Enum):
        raise TypeError(f"matches() is for text, which {name_of(column)} is not")
    told = name or f"matches({name_of(column)})"
    known = None if callable(pattern) else _translated(pattern, told)

    def measure(dialect: sa.Dialect) -> Measure:
        expression = value_of(pattern)
        sent = (known or _translated(expression, told)).for_database(dialect.name)
        text = sa.cast(clause(column), sa.Text) if differs_from_text(clause(column), dialect) else clause(column)
        matched = sa.type_coerce(text, sa.Text).regexp_match(sent)
        return dataclasses.replace(_of_each_row(f"a match of {expression!r}", sa.not_(matched)), may_give_up=True)

    return in_pass("matches", [column], name, severity, measure)


def _translated(pattern: str, check: str) -> Pattern:
    try:
        return translate(pattern)
    except InvalidPattern as exc:
        raise InvalidPattern(f"{check}: {exc}") from None


def _of_each_row(expected: str, bad: sa.ColumnElement[bool]) -> Measure:
    def judge(number: int, figures: Sequence[Any]) -> tuple[bool, str]:
        return not figures[0], f"{figures[0]:,} of {number:,} rows otherwise"

    return Measure(expected, judge, bad=bad, is_strict=True)


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


def unique(*columns: Any, name: str | None = None, severity: Severity = "error") -> Check:
    """No value, or combination of values, is there twice, upper and lower case told apart; NULL equals nothing.

    It sorts or hashes the table, where an index on the columns does not help: look at what it takes on large ones.
    """
    parts = [clause(column) for column in columns]
    owner = about(*columns)

    def repeated(dialect: sa.Dialect) -> sa.SelectBase:
        compared = [groupable(part, dialect) for part in parts]
        # Of what is the same, any one can be shown.
        told = [
            part if part is same else sa.func.min(part).label(part.key)
            for part, same in zip(parts, compared, strict=True)
        ]
        query = sa.select(*told, sa.func.count().label("times")).select_from(owner)
        return query.where(*(part.is_not(None) for part in parts)).group_by(*compared).having(sa.func.count() > 1)

    told = name or f"unique({', '.join(map(name_of, columns))})"
    return ByQuery(name=told, severity=severity, expected="each once", query=repeated, what="value")


def no_orphans(column: Any, to: Any = None, *, name: str | None = None, severity: Severity = "error") -> Check:
    """Every value refers to a row that is there.

    Args:
        column: a foreign key; or any column, with ``to``.
        to: the column whose values are referred to, where ``column`` is no foreign key.
        name: what to call the check.
        severity: ``error`` or ``warn``.
    """
    part = clause(column)
    target = clause(to) if to is not None else _referred(column)
    there = target.table.alias("referred")  # it may be the same table
    other = there.c[target.key]
    owner = about(column)
    key = [one for one in key_columns(owner) if one.key != part.key]
    query = sa.select(*key, part).select_from(owner)

    def dangling(dialect: sa.Dialect) -> sa.SelectBase:
        # A join, as MariaDB keeps what a subquery gave for one value, and takes it for all that its collation equates.
        return query.outerjoin(there, same_text(other, part, dialect)).where(part.is_not(None), other.is_(None))

    told = name or f"no_orphans({name_of(column)})"
    expected = f"a row of {target.table.name} for each"
    return ByQuery(name=told, severity=severity, expected=expected, query=dangling)


def no_rows(query: sa.SelectBase | sa.TextClause, *, name: str, severity: Severity = "error") -> Check:
    """A query has no result.

    Args:
        query: a ``select(...)`` of what should not be, or ``text("SELECT ...")``.
        name: what the rows would be, in words: ``"flights with the weather of another airport"``.
        severity: ``error`` or ``warn``.
    """
    return ByQuery(name=name, severity=severity, expected="no rows", query=lambda _: query)


def _referred(column: Any) -> Any:
    keys = list(getattr(clause(column), "foreign_keys", ()))
    if len(keys) != 1:
        raise ValueError(
            f"{name_of(column)} is not a foreign key to one column: name the other, no_orphans(column, to)"
        )
    return keys[0].column
