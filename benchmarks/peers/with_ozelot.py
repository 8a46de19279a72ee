"""ozelot, driven by its own engine, in the database that is asked for."""

from __future__ import annotations

import logging
import time
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from typing import Any, ClassVar

import luigi

import ozelot
from ozelot import client
from ozelot.client import Client
from ozelot.etl.tasks import ORMTask
from ozelot.pipeline.graph import walk
from peers.job import Job

# As wide as what a task leaves: its run, and its marker.
TABLES = (
    "CREATE TABLE bare_run (id INTEGER PRIMARY KEY, state VARCHAR(16), finished VARCHAR(32), written VARCHAR(100))",
    "CREATE TABLE bare_marker (id VARCHAR(64) PRIMARY KEY, name VARCHAR(100), params VARCHAR(100))",
)
FILL = "INSERT INTO bare_run VALUES (?, 'running', '', '')"
UPDATE = "UPDATE bare_run SET state = 'done', finished = '2026-01-01 00:00:00', written = '{}' WHERE id = ?"
INSERT = "INSERT INTO bare_marker VALUES (?, 'Step', ?)"


class Step(ORMTask):
    creates = ()
    job: ClassVar[Job | None] = None  # in other processes there is none, and nothing to do

    n: int = luigi.IntParameter()

    def requires(self) -> Any:
        return [Step(n=n) for n in self.job.requires(self.n)] if self.job else []

    def run(self) -> None:
        if self.job:
            self.job.step(self.n)


def connected_root(job: Job) -> Step:
    logging.getLogger("ozelot").setLevel(logging.ERROR)
    Step.job = job
    client.set_client(Client(connection_string=job.database))
    return Step(n=job.root)


def graph(job: Job) -> None:
    walk(connected_root(job))


def run(job: Job) -> None:
    executor = "process" if job.processes else None
    result = ozelot.run(connected_root(job), workers=job.workers, executor=executor)
    if not result.ok:
        raise RuntimeError(f"the run failed: {result}")
    if job.processes:
        job.ran.extend(range(len(result.ran)))


def bare(job: Job) -> dict[str, float]:
    """Run, and then do, in the same process and threads, what no engine can save: a commit a task, and no more."""
    start = time.perf_counter()
    run(job)
    done = time.perf_counter()
    database = client.get_client()
    sqlite = database.engine.dialect.name == "sqlite"
    mark = "?" if sqlite else "%s"
    fill, update, insert = (statement.replace("?", mark) for statement in (FILL, UPDATE, INSERT))
    with database.engine.begin() as connection:
        for table in TABLES:
            connection.exec_driver_sql(table)
        connection.exec_driver_sql(fill, [(n,) for n in range(job.total)])

    def commits(numbers: Iterable[int]) -> None:
        connection = database.engine.raw_connection()
        cursor = connection.cursor()
        for n in numbers:
            if sqlite:
                cursor.execute("BEGIN IMMEDIATE")  # other drivers begin by themselves
            cursor.execute(update, (n,))
            cursor.execute(insert, (f"{n:064x}", f"{{'n': '{n}'}}"))
            connection.commit()
        connection.close()

    shares = [range(first, job.total, job.workers) for first in range(job.workers)]
    begun = time.perf_counter()
    with ThreadPoolExecutor(job.workers) as pool:
        list(pool.map(commits, shares))
    return {"run_seconds": done - start, "bare_seconds": time.perf_counter() - begun}
