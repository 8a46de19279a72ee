"""Code in the database that may write rows behind a statement's back: triggers, rules and routines."""

from __future__ import annotations

import re
from typing import NamedTuple
from weakref import WeakKeyDictionary

import sqlalchemy as sa


class DatabaseCode(NamedTuple):
    """What a database has of it.

    Attributes:
        tables: names of the tables and views with triggers or rules.
        calls: finds a call of a routine in a statement; None: there are no routines.
    """

    tables: frozenset[str]
    calls: re.Pattern[str] | None


_TRIGGERS = {
    "sqlite": "SELECT tbl_name FROM sqlite_master WHERE type = 'trigger'",
    "postgresql": "SELECT relname FROM pg_class WHERE oid IN (SELECT tgrelid FROM pg_trigger WHERE NOT tgisinternal) "
    "OR oid IN (SELECT ev_class FROM pg_rewrite WHERE rulename <> '_RETURN')",
    "mysql": "SELECT event_object_table FROM information_schema.triggers WHERE trigger_schema = DATABASE()",
}
_ROUTINES = {
    "postgresql": "SELECT proname FROM pg_proc JOIN pg_language ON pg_language.oid = prolang "
    "JOIN pg_namespace ON pg_namespace.oid = pronamespace WHERE lanname NOT IN ('internal', 'c') "
    "AND provolatile = 'v' AND nspname NOT IN ('pg_catalog', 'information_schema')",
    "mysql": "SELECT routine_name FROM information_schema.routines WHERE routine_schema = DATABASE()",
}

_known: WeakKeyDictionary[sa.Engine, DatabaseCode] = WeakKeyDictionary()


def database_code(connection: sa.Connection) -> DatabaseCode:
    """The triggers, rules and routines of a database, which are read once per engine."""
    found = _known.get(connection.engine)
    if found is None:
        dialect = connection.dialect.name.replace("mariadb", "mysql")
        tables = _names(connection, _TRIGGERS.get(dialect))
        routines = _names(connection, _ROUTINES.get(dialect))
        calls = re.compile(rf"\b(?:{'|'.join(map(re.escape, routines))})[\"`]?\s*\(", re.I) if routines else None
        found = _known[connection.engine] = DatabaseCode(frozenset(tables), calls)
    return found


def _names(connection: sa.Connection, query: str | None) -> list[str]:
    return [] if query is None else [str(name) for name in connection.execute(sa.text(query)).scalars()]
