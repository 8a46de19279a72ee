"""dlt, from Arrow: into a table of its own making, with its columns and without the indexes; it takes no other."""

from __future__ import annotations

import os
from typing import Any

from loaders import table
from loaders.job import Job


def prepared(job: Job) -> Any:
    return table.arrow(job.size, run_id=job.run_id)


def load(job: Job, rows: Any) -> None:
    os.environ |= {"DLT_DATA_DIR": str(job.folder / "dlt"), "RUNTIME__DLTHUB_TELEMETRY": "false"}
    import dlt

    url = job.client.url
    if job.kind == "postgresql":
        text = url.set(drivername="postgresql", password=url.password or "any").render_as_string(hide_password=False)
        destination = dlt.destinations.postgres(text)
    else:
        destination = dlt.destinations.sqlalchemy(url.render_as_string(hide_password=False))
    dataset = "main" if job.kind == "sqlite" else str(url.database) if job.kind == "mariadb" else "public"
    pipeline = dlt.pipeline("loading", str(job.folder / "dlt"), destination=destination, dataset_name=dataset)
    pipeline.run(rows, table_name=job.table)
