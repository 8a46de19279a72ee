"""What an SQL statement does, as far as its text or how it was built tells; and triggers that add to it."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any, NamedTuple
from weakref import WeakKeyDictionary

import sqlalchemy as sa
from sqlalchemy.sql import visitors
from sqlalchemy.sql.ddl import DropTable

#: White space and comments.
_BLANK = r"(?:\s|--[^\n]*(?:\n|$)|#[^\n]*(?:\n|$)|/\*.*?\*/)*"


def _begins(words: str) -> re.Pattern[str]:
    return re.compile(rf"{_BLANK}({words})\b", re.I | re.S)


_READS = _begins(
    "SELECT|PRAGMA|EXPLAIN|DESCRIBE|DESC|VALUES|WITH|ATTACH|DETACH|VACUUM|BEGIN|COMMIT|ROLLBACK|RELEASE|SHOW"
)
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

_NAME = r"""(?:"[^"]+"|`[^`]+`|\[[^\]]+\]|[^\W\d][\w$]*)"""
_TABLE = rf"({_NAME}(?:\s*\.\s*{_NAME})?)"
_INSERTS = re.compile(rf"{_BLANK}INSERT\s+(?:(?:OR\s+)?IGNORE\s+)?INTO\s+{_TABLE}", re.I | re.S)
_REPLACES = re.compile(rf"{_BLANK}(?:INSERT\s+OR\s+REPLACE|REPLACE)\s+INTO\s+{_TABLE}", re.I | re.S)
_DELETES = re.compile(rf"{_BLANK}DELETE\s+FROM\s+(?:ONLY\s+)?{_TABLE}", re.I | re.S)
_UPSERTS = re.compile(r"\bON\s+(?:CONFLICT\b.*\bDO\s+UPDATE|DUPLICATE\s+KEY)\b", re.I | re.S)
_RETURNS = re.compile(r"\bRETURNING\b", re.I)
_SEVERAL = re.compile(rf";{_BLANK}\S", re.S)
#: Statements that insert and delete no rows of tables that are there already.
_NO_ROWS = _begins(
    r"UPDATE(?!\s+OR\b)|SET|RESET|CREATE|ANALYZE|LOCK|UNLOCK|COMMENT|GRANT|REVOKE|REINDEX|NOTIFY|SAVEPOINT|DISCARD"
)


def reads(statement: str) -> bool:
    """Whether a statement leaves the database as it is (a doubtful one counts as writing)."""
    match = _READS.match(statement)
    if match is None:
        return False
    verb = match[1].upper()
    if verb in ("EXPLAIN", "DESCRIBE", "DESC"):
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


class RowChange(NamedTuple):
    """By how many rows a statement changed a table.

    Attributes:
        table: the table, with its schema in front if one was named; None: any.
        rows: inserted rows, or minus the deleted ones; None: unknown.
    """

    table: str | None = None
    rows: int | None = None


def row_change(statement: str, context: Any, cursor: Any) -> RowChange | None:
    """By how many rows a statement changed a table; None where it inserts and deletes none.

    Args:
        statement: its text; one that writes.
        context: SQLAlchemy's execution context.
        cursor: the driver's cursor, which has executed it.
    """
    compiled = context.compiled
    if compiled is not None and not context.isddl and not isinstance(compiled.statement, sa.TextClause):
        if compiled.ctes:
            return RowChange()
        if context.isinsert:
            return RowChange(_table_of_insert(compiled).fullname, _rows_inserted(statement, context, cursor))
        if context.isdelete:
            return RowChange(compiled.statement.table.fullname, _minus(_row_count(statement, context, cursor)))
        return None
    if _SEVERAL.search(statement):
        return RowChange()
    if (match := _INSERTS.match(statement)) is not None:
        return RowChange(_unquoted(match[1]), _row_count(statement, context, cursor))
    if (match := _REPLACES.match(statement)) is not None:
        return RowChange(_unquoted(match[1]), None)
    if (match := _DELETES.match(statement)) is not None:
        return RowChange(_unquoted(match[1]), _minus(_row_count(statement, context, cursor)))
    return None if _NO_ROWS.match(statement) else RowChange()


def _table_of_insert(compiled: Any) -> Any:
    """The table; of a derived model's ``insert(Model)``, of which the ORM makes several, the one at hand."""
    return compiled.statement._annotations.get("_emit_insert_table", compiled.statement.table)


def _rows_inserted(statement: str, context: Any, cursor: Any) -> int | None:
    insert = context.compiled.statement
    if insert.select is not None or insert._post_values_clause is not None or insert._prefixes:
        return None if _REPLACES.match(statement) else _row_count(statement, context, cursor)
    if context.executemany:
        return len(context.compiled_parameters)
    return sum(map(len, insert._multi_values)) or 1


def _row_count(statement: str, context: Any, cursor: Any) -> int | None:
    """What the driver says; None where that is not the number of inserted or deleted rows."""
    counts_later = context.dialect.name == "sqlite" and _RETURNS.search(statement)  # once all rows were fetched
    if counts_later or _UPSERTS.search(statement) or cursor.rowcount < 0:
        return None
    rows: int = cursor.rowcount
    return rows


def is_whole(context: Any) -> bool:
    """Whether the ORM emitted a statement for instances or mappings: it writes to all tables of a derived model."""
    if context.compiled is None:
        return False
    emits = "_emit_insert_table" in context.compiled.statement._annotations
    return emits or "compiled_cache" in context.execution_options


def inserted_keys(context: Any) -> set[tuple[Any, ...]]:
    """The primary keys that an insert names; empty where the database made them, or they are not to be seen."""
    if context.compiled is None or not context.isinsert or context.compiled.statement.select is not None:
        return set()
    insert = context.compiled.statement
    names = [column.key for column in _table_of_insert(context.compiled).primary_key]
    rows = [
        {column if isinstance(column, str) else column.key: value for column, value in row.items()}
        for rows in insert._multi_values
        for row in rows
    ] or context.compiled_parameters
    return {tuple(row[name] for name in names) for row in rows if row.keys() >= set(names)}


def _minus(rows: int | None) -> int | None:
    return None if rows is None else -rows


def _unquoted(name: str) -> str:
    return re.sub(r"""["`\[\]]|\s*(\.)\s*""", r"\1", name)


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
    tables = list(_tables(_table_of_insert(compiled) if kind == "insert" else statement.table))
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


def unescaped(text: str, dialect: sa.Dialect) -> str:
    """Quoted names as the server reads them.

    SQLAlchemy doubles each ``%`` for drivers that replace ``%s`` by parameters. A statement without parameters, and a
    name that is a parameter itself, must have it once.
    """
    doubles = "%%" in dialect.identifier_preparer.quote("%")
    return text.replace("%%", "%") if doubles else text
