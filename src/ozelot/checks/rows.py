"""The checks on each row of a table.

A condition that is NULL for a row is not known to be broken, as in a CHECK constraint: only :func:`not_null` minds it.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Sequence
from typing import Any

import sqlalchemy as sa
from sqlalchemy.types import TypeDecorator

from ozelot.checks.about import clause, in_pass, name_of, span
from ozelot.checks.check import Check, Lazy, Measure, Severity, value_of
from ozelot.checks.comparison import check_ordered, comparable, differs_from_text, exact, stored_type
from ozelot.checks.patterns import InvalidPattern, Pattern, translate
from ozelot.errors import UsageError
from ozelot.orm.shown import shown

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
