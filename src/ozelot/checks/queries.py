"""The checks that are a query of their own each."""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa

from ozelot.checks.about import about, clause, key_columns, name_of
from ozelot.checks.check import ByQuery, Check, Severity
from ozelot.checks.comparison import groupable, same_text


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
