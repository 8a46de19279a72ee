"""The driver alone, from rows as it takes them: the limit.

SQLite: `executemany` of tuples, dates as text. PostgreSQL: binary COPY of tuples, by psycopg's own `write_row`.
MariaDB: PyMySQL's `executemany`, which makes INSERTs of many rows.
"""

from __future__ import annotations

from typing import Any

from loaders import table
from loaders.job import Job

_NAMES = ", ".join((*table.COLUMNS, "run_id"))


def prepared(job: Job) -> Any:
    if job.form == "frame":
        return table.frame(job.size, run_id=job.run_id)
    rows = ((*table.row(n), job.run_id) for n in range(job.size))
    if job.kind == "sqlite":
        return [(name, value, number, str(day), int(flag), *rest) for name, value, number, day, flag, *rest in rows]
    return list(rows)


def load(job: Job, rows: Any) -> None:
    raw = job.client.engine.raw_connection()
    driver: Any = raw.driver_connection
    if job.form == "frame":
        rows = rows.assign(day=rows["day"].map(str)) if job.kind == "sqlite" else rows
        rows = rows.astype(object).where(rows.notna(), None).itertuples(index=False, name=None)
    if job.form == "64 MB":
        driver.execute("PRAGMA cache_size = -65536")
    if job.kind == "sqlite":
        driver.execute("BEGIN IMMEDIATE")
        driver.executemany(f"INSERT INTO sample ({_NAMES}) VALUES (?, ?, ?, ?, ?, ?, ?)", rows)
    elif job.kind == "postgresql":
        with driver.cursor() as cursor, cursor.copy(f"COPY sample ({_NAMES}) FROM STDIN (FORMAT BINARY)") as copy:
            copy.set_types(["varchar", "float8", "int4", "date", "bool", "varchar", "int4"])
            for row in rows:
                copy.write_row(row)
    else:
        with driver.cursor() as cursor:
            cursor.executemany(f"INSERT INTO sample ({_NAMES}) VALUES (%s, %s, %s, %s, %s, %s, %s)", rows)
    raw.commit()
    raw.close()
