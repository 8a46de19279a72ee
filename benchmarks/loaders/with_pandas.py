"""pandas: `to_sql`, appending to the table as it is."""

from __future__ import annotations

from typing import Any

from loaders import table
from loaders.job import Job


def prepared(job: Job) -> Any:
    return table.frame(job.size, run_id=job.run_id)


def load(job: Job, rows: Any) -> None:
    with job.client.engine.begin() as connection:
        rows.to_sql("sample", connection, if_exists="append", index=False, chunksize=10_000)
