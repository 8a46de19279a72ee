"""SQLAlchemy's unit of work: instances, `add_all`, commit; 10,000 at a time, as one would to keep memory small."""

from __future__ import annotations

from itertools import islice
from typing import Any

from sqlalchemy import orm

from loaders import table
from loaders.job import Job


def prepared(job: Job) -> Any:
    return table.dicts(job.size, run_id=job.run_id)


def load(job: Job, rows: Any) -> None:
    with orm.Session(job.client.engine) as session:
        while some := list(islice(rows, 10_000)):
            session.add_all([table.Sample(**row) for row in some])
            session.flush()
            session.expunge_all()
        session.commit()
