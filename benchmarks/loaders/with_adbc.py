"""ADBC: `adbc_ingest` of an Arrow table into the table as it is."""

from __future__ import annotations

from typing import Any

from loaders import table
from loaders.job import Job


def prepared(job: Job) -> Any:
    return table.arrow(job.size, run_id=job.run_id)


def load(job: Job, rows: Any) -> None:
    if job.kind == "mariadb":
        raise RuntimeError("there is no ADBC driver for it")
    if job.kind == "sqlite":
        from adbc_driver_sqlite import dbapi

        connection = dbapi.connect(str(job.client.url.database))
    else:
        from adbc_driver_postgresql import dbapi

        connection = dbapi.connect(job.client.url.set(drivername="postgresql").render_as_string(hide_password=False))
    with connection, connection.cursor() as cursor:
        cursor.adbc_ingest("sample", rows, mode="append")
        connection.commit()
