"""Making checks: those of one table that count in one pass over it, the others one by one."""

from __future__ import annotations

import logging
from collections.abc import Collection, Iterable, Sequence
from typing import Any

import sqlalchemy as sa
from sqlalchemy import orm

from ozelot.checks.check import MARIADB, ByQuery, Check, InPass, Result, key_columns, number_of
from ozelot.errors import CheckFailed
from ozelot.redaction import shown

log = logging.getLogger(__name__)

_SHOWN = 5  # rows
_REGEX_WARNING = 1139

Where = orm.Session | sa.Connection


def checked(where: Where, checks: Iterable[Check], by: str = "") -> list[Result]:
    """What came of checks; those that fail and have the severity ``warn`` are logged.

    Args:
        where: a session, which writes first what it has pending, or a connection.
        checks: the checks.
        by: who makes them, for messages.

    Raises:
        CheckFailed: one of the others fails.
    """
    results = examined(where, list(checks))
    failed = [result for result in results if not result.ok]
    said = f"{by}: " if by else ""
    for result in failed:
        if result.severity == "warn":
            log.warning("%s%s", said, result)
    if errors := [str(result) for result in failed if result.severity == "error"]:
        number = f"{len(errors)} of {len(results)} checks: " if len(results) > 1 else ""
        raise CheckFailed(number + "; ".join(errors), results)
    return results


def examined(where: Where, checks: Collection[Check]) -> list[Result]:
    """What came of checks, in their order; whatever it is, nothing is raised."""
    passes: dict[Any, list[InPass]] = {}
    found: dict[Check, Result] = {}
    for check in checks:
        if isinstance(check, InPass):
            passes.setdefault(check.about, []).append(check)
        elif isinstance(check, ByQuery):
            found[check] = _by_query(where, check)
        else:
            raise TypeError(f"Not a check: {check!r}")
    for about, together in passes.items():
        found |= _in_one_pass(where, about, together)
    return [found[check] for check in checks]


def _in_one_pass(where: Where, about: Any, checks: Sequence[InPass]) -> dict[Check, Result]:
    measures = [check.measure(_dialect(where)) for check in checks]
    # Whether there is any row that breaks one of them costs less than how many break each, which is asked only then.
    strict = [measure.bad for measure in measures if measure.is_strict and measure.bad is not None]
    figures = [figure for measure in measures for figure in measure.figures]
    any_bad = [number_of(sa.or_(*strict))] if strict else []
    number, *answers = where.execute(sa.select(sa.func.count(), *figures, *any_bad).select_from(about)).one()
    each: Iterable[int] = [0] * len(strict)
    if strict and answers.pop():
        each = where.execute(sa.select(*map(number_of, strict)).select_from(about)).one()
    answer, bad = iter(answers), iter(each)
    found: dict[Check, Result] = {}
    for check, measure in zip(checks, measures, strict=True):
        own = [next(bad)] if measure.is_strict else [next(answer) for _ in measure.figures]
        ok, told = measure.judge(number, own)
        rows = () if ok or measure.bad is None else _bad_rows(where, check, measure.bad)
        if rows and measure.may_give_up and (why := _gave_up(where)):
            told += f" (for some, MariaDB gave up: {why}; simplify the pattern)"
        found[check] = Result(check.name, ok, measure.expected, told, rows, check.severity)
    return found


def _bad_rows(where: Where, check: InPass, bad: sa.ColumnElement[bool]) -> tuple[str, ...]:
    key = key_columns(check.about)
    others = [column for column in check.columns if column.key not in {part.key for part in key}]
    query = sa.select(*key, *others).select_from(check.about).where(bad).order_by(*key).limit(_SHOWN)
    return _told(where.execute(query))


def _gave_up(where: Where) -> str:
    """Why MariaDB did not decide whether a pattern matches a row of the last query; empty where it did."""
    if _dialect(where).name not in MARIADB:
        return ""
    warnings = where.execute(sa.text("SHOW WARNINGS")).all()
    return next((str(text) for _, code, text in warnings if code == _REGEX_WARNING), "")


def _by_query(where: Where, check: ByQuery) -> Result:
    query = check.query(_dialect(where))
    if isinstance(query, sa.TextClause):
        found = where.execute(query)
        names, rows = found.keys(), found.all()
        told, number = tuple(_row(names, row) for row in rows[:_SHOWN]), len(rows)
    else:
        inner = query.subquery()
        told = _told(where.execute(sa.select(inner).limit(_SHOWN)))
        number = len(told)
        if number == _SHOWN:
            number = where.execute(sa.select(sa.func.count()).select_from(inner)).scalar_one()
    what = check.what if number == 1 else f"{check.what}s"
    return Result(check.name, not number, check.expected, f"{number:,} {what}", told, check.severity)


def _dialect(where: Where) -> sa.Dialect:
    return (where.connection() if isinstance(where, orm.Session) else where).dialect


def _told(found: sa.Result[Any]) -> tuple[str, ...]:
    names = found.keys()
    return tuple(_row(names, row) for row in found)


def _row(names: Iterable[str], row: Iterable[Any]) -> str:
    return f"({', '.join(f'{name} {shown(name, value)}' for name, value in zip(names, row, strict=True))})"
