"""ozelot: a task that loads, with its claim, its run and its marker, from the call of `run()` to its end."""

from __future__ import annotations

from typing import Any

from loaders import table
from loaders.job import Job
from ozelot.etl import tasks


class LoadSamples(tasks.ORMTask):
    creates = [table.Sample]
    rows: Any = None

    def run(self) -> None:
        self.load(table.Sample, self.rows)


def prepared(job: Job) -> Any:
    if job.form == "polars":
        import polars as pl

        return pl.DataFrame(table.arrow(job.size))
    forms = {"dataframe": table.frame, "arrow": table.arrow, "generator": table.dicts}
    return forms[job.form](job.size)


def load(_job: Job, rows: Any) -> None:
    LoadSamples.rows = rows
    LoadSamples().run()
