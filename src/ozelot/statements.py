"""What an SQL statement does, as far as its text, or how it was built, can tell."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any, NamedTuple

import sqlalchemy as sa
from sqlalchemy.sql import visitors
from sqlalchemy.sql.ddl import DropTable

#: White space and comments.
_BLANK = r"(?:\s|--[^\n]*(?:\n|$)|#[^\n]*(?:\n|$)|/\*.*?\*/)*"


def _begins(words: str) -> re.Pattern[str]:
    return re.compile(rf"{_BLANK}({words})\b", re.I | re.S)


_READS = _begins("SELECT|PRAGMA|EXPLAIN|VALUES|WITH|ATTACH|DETACH|VACUUM|BEGIN|COMMIT|ROLLBACK|RELEASE|SHOW")
_WRITES_INSIDE = re.compile(r"\b(INSERT|UPDATE|DELETE|REPLACE|MERGE)\b", re.I)
_ANALYZES = re.compile(r"\bANALY[SZ]E\b", re.I)
_ENDS = _begins(r"COMMIT|END|ABORT|BEGIN|START\s+TRANSACTION|ROLLBACK(?!\s+(?:WORK\s+|TRANSACTION\s+)?TO\b)")
_ENDS_LATER = re.compile(rf";{_BLANK}(COMMIT|ROLLBACK(?!\s+(?:WORK\s+|TRANSACTION\s+)?TO\b))\b", re.I | re.S)
_CREATES = _begins("CREATE")
_COMMITS = _begins("CREATE|DROP|ALTER|TRUNCATE|RENAME|LOCK|UNLOCK|ANALYZE|OPTIMIZE")
_TEMPORARY = re.compile(rf"{_BLANK}\w+\s+TEMPORARY\b", re.I | re.S)
_EMPTIES = re.compile(
    rf"{_BLANK}(?:TRUNCATE(?:\s+TABLE)?|DROP\s+TABLE(?:\s+IF\s+EXISTS)?)\s+(?:ONLY\s+)?([^;]+)", re.I | re.S
)


def reads(statement: str) -> bool:
    """Whether a statement leaves the database as it is (a doubtful one counts as writing)."""
    match = _READS.match(statement)
    if match is None:
        return False
    verb = match[1].upper()
    if verb == "EXPLAIN":
        return _ANALYZES.search(statement) is None
    return verb != "WITH" or _WRITES_INSIDE.search(statement) is None


def ends_transaction(statement: str) -> str | None:
    """The word that begins or ends a transaction, in a statement or behind it; None where there is none."""
    match = _ENDS.match(statement)
    if match is None and ";" in statement and _CREATES.match(statement) is None:
        match = _ENDS_LATER.search(statement)
    return None if match is None else match[1].split()[0].upper()


def commits_on_mariadb(statement: str) -> str | None:
    """The word of a statement that makes MariaDB commit what was before it; None where it does not."""
    match = _COMMITS.match(statement)
    return None if match is None or _TEMPORARY.match(statement) else match[1].upper()


class Target(NamedTuple):
    """What a statement writes.

    Attributes:
        table: the table, with its schema in front if one was named.
        kind: ``insert``, ``update`` or ``delete``.
        columns: which columns, of an update.
        model: the class that is mapped to the table, where it was named.
    """

    table: str
    kind: str
    columns: frozenset[str] = frozenset()
    model: type | None = None


def targets(context: Any) -> Iterator[Target] | None:
    """What a statement that is about to be executed writes; None where only the database can tell.

    Args:
        context: SQLAlchemy's execution context.
    """
    compiled = context.compiled
    for kind in ("insert", "update", "delete"):
        if getattr(compiled, f"is{kind}", False):
            return None if compiled.ctes else _built(compiled, kind)
    if context.isddl and compiled is not None:
        dropped = [compiled.statement.element] if isinstance(compiled.statement, DropTable) else []
        return (Target(table.fullname, "delete") for table in dropped)
    return None


def is_built(context: Any) -> bool:
    """Whether SQLAlchemy built a statement to read or to change rows; text may do anything, in any of its parts.

    Args:
        context: SQLAlchemy's execution context.
    """
    compiled = context.compiled
    return compiled is not None and not context.isddl and not isinstance(compiled.statement, sa.TextClause)


def emptied(statement: str) -> list[str]:
    """The tables that a ``TRUNCATE`` or ``DROP TABLE`` names."""
    match = _EMPTIES.match(statement)
    if match is None:
        return []
    names = re.sub(r"\b(CASCADE|RESTRICT|RESTART\s+IDENTITY|CONTINUE\s+IDENTITY)\b", "", match[1], flags=re.I)
    return [re.sub(r'["`*\s]', "", name) for name in names.split(",")]


def _built(compiled: Any, kind: str) -> Iterator[Target]:
    statement = compiled.statement
    subject = statement._propagate_attrs.get("plugin_subject")
    model = getattr(subject, "class_", None)
    tables = list(_tables(statement.table))
    if kind != "update":
        yield from (Target(table.fullname, kind, model=model) for table in tables)
        return
    values = compiled.compile_state._dict_parameters or {}
    given = {*(compiled.column_keys or ()), *(column for column in values if isinstance(column, str))}
    changed = [column for table in tables for column in table.columns if column.key in given]
    changed += [column for column in values if not isinstance(column, str)]
    changed += compiled.update_prefetch
    by_table: dict[str, set[str]] = {table.fullname: set() for table in tables[:1]}
    for column in changed:
        for table in _tables(column.table):
            by_table.setdefault(table.fullname, set()).add(column.name)
    for name, columns in by_table.items():
        yield Target(name, kind, frozenset(columns), model)


def _tables(source: Any) -> Iterator[sa.TableClause]:
    """The tables behind aliases and joins; without those that were made to be temporary."""
    for element in [source] if isinstance(source, sa.TableClause) else visitors.iterate(source):
        if isinstance(element, sa.TableClause) and "TEMPORARY" not in getattr(element, "_prefixes", ()):
            yield element
