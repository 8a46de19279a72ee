"""SQLAlchemy's `insert(Model)` with a list of dicts, 10,000 at a time."""

from __future__ import annotations

from itertools import islice
from typing import Any

import sqlalchemy as sa
from sqlalchemy import orm

from loaders import table
from loaders.job import Job


def prepared(job: Job) -> Any:
    return table.dicts(job.size, run_id=job.run_id)


def load(job: Job, rows: Any) -> None:
    with orm.Session(job.client.engine) as session:
        while some := list(islice(rows, 10_000)):
            session.execute(sa.insert(table.Sample), some)
        session.commit()
