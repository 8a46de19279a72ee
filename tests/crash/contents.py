"""What is in a database, told so that two databases with the same content are told the same.

Keys that the database makes up differ where a transaction was rolled back, and so do the numbers of runs: each
reference is told by what it refers to, and keys and times not at all. All else counts, of every table that is there.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa

from tests.crash.databases import Database

_OWN = {"ormtargetmarker", "ozelot_run", "ozelot_run_edge", "ozelot_run_page"}


@dataclass(frozen=True)
class Contents:
    """The content of a database.

    Attributes:
        rows: how often each row is there, by table; ozelot's own tables left out.
        complete: how often each marker is there.
        made: of each complete task, what its run recorded: rows, and what it was built on.
    """

    rows: dict[str, Counter[str]]
    complete: Counter[str]
    made: dict[str, str]

    def differences(self, expected: Contents) -> list[str]:
        """In which this differs from what was expected, a line each."""
        found = []
        empty: Counter[str] = Counter()
        pairs = {table: (self.rows.get(table, empty), rows) for table, rows in expected.rows.items()}
        pairs["markers"] = self.complete, expected.complete
        pairs["runs"] = _lines(self.made), _lines(expected.made)
        for what, (one, other) in pairs.items():
            found += [f"{what}: {number} too many: {row}" for row, number in (one - other).items()]
            found += [f"{what}: {number} missing: {row}" for row, number in (other - one).items()]
        return found + [f"a table that was not there: {table}" for table in self.rows.keys() - expected.rows.keys()]


def _lines(made: dict[str, str]) -> Counter[str]:
    return Counter(f"{label}: {recorded}" for label, recorded in made.items())


def contents(database: Database) -> Contents:
    """What is in a database now."""
    with database.engine.connect() as connection:
        if database.kind != "sqlite":
            connection = connection.execution_options(isolation_level="REPEATABLE READ")
        else:
            connection.exec_driver_sql("BEGIN")
        read = {table: connection.execute(sa.select(table)).mappings().all() for table in database.tables.sorted_tables}
    told: dict[str, dict[Any, str]] = {}
    for table, rows in read.items():
        told[table.name] = {}
        for row in sorted(rows, key=lambda row: _nulls(table, row)):  # what refers to rows of its own table comes later
            told[table.name][_key(table, row)] = _told(table, row, told)
    runs = {row["id"]: row for table, rows in read.items() if table.name == "ozelot_run" for row in rows}
    built: defaultdict[int, list[str]] = defaultdict(list)
    for table, rows in read.items():
        if table.name == "ozelot_run_edge":
            for row in rows:
                built[row["run_id"]].append(_label(runs[row["built_on_id"]]))
    markers = [row for table, rows in read.items() if table.name == "ormtargetmarker" for row in rows]
    keys = {row["key"] for row in markers}
    return Contents(
        {table.name: Counter(told[table.name].values()) for table in read if table.name not in _OWN},
        Counter(f"{_label(row)} {row['key']}" for row in markers),
        {
            f"{_label(row)} #{number}": f"{row['rows']} on {sorted(built[row['id']])}"
            for key, number, row in _done(runs)
            if key in keys
        },
    )


def _done(runs: dict[int, Any]) -> list[tuple[str, int, Any]]:
    """Runs that are done, each with its place among those of its task, the last run first.

    Where the last run of a task is not the one that is done, or two are, the places tell.
    """
    places: Counter[str] = Counter()
    found = []
    for number in sorted(runs, reverse=True):
        row = runs[number]
        places[row["key"]] += 1
        if row["state"] == "done":
            found.append((row["key"], places[row["key"]], row))
    return found


def _label(row: Any) -> str:
    return f"{row['name']} {row['params']}"


def _key(table: sa.Table, row: Any) -> Any:
    return tuple(row[column.name] for column in table.primary_key)


def _nulls(table: sa.Table, row: Any) -> Any:
    own = [c.name for c in table.columns if any(key.column.table is table for key in c.foreign_keys)]
    return [row[name] is not None for name in own], str(_key(table, row)).zfill(20) if own else ""


def _told(table: sa.Table, row: Any, told: dict[str, dict[Any, str]]) -> str:
    if table.name == "ozelot_run":
        return _label(row)
    values = []
    for column in table.columns:
        value = row[column.name]
        keys = [key for key in column.foreign_keys if value is not None]
        if keys:
            value = told[keys[0].column.table.name].get((value,), f"nothing: {value}")
        elif column is table.autoincrement_column:
            continue
        values.append(f"{column.name}={value!r}")
    return f"({', '.join(values)})"
