"""Luigi, with markers in SQLite: a table, one connection, and a commit for each task."""

from __future__ import annotations

import sqlite3
from typing import Any, ClassVar

import luigi

from peers.job import Job


class Marker(luigi.Target):
    def __init__(self, connection: sqlite3.Connection, task_id: str) -> None:
        self.connection, self.task_id = connection, task_id

    def exists(self) -> bool:
        found = self.connection.execute("SELECT 1 FROM marker WHERE task_id = ?", (self.task_id,))
        return found.fetchone() is not None

    def create(self) -> None:
        with self.connection:
            self.connection.execute("INSERT INTO marker VALUES (?)", (self.task_id,))


class Step(luigi.Task):
    job: ClassVar[Job]
    connection: ClassVar[sqlite3.Connection]

    n: int = luigi.IntParameter()

    def requires(self) -> Any:
        return [Step(n=n) for n in self.job.requires(self.n)]

    def output(self) -> Any:
        return Marker(self.connection, self.task_id)

    def run(self) -> None:
        self.job.step(self.n)
        self.output().create()


def graph(job: Job) -> None:
    Step.job = job
    waiting, seen = [Step(n=job.root)], set()
    while waiting:
        task = waiting.pop()
        if task.task_id not in seen:
            seen.add(task.task_id)
            waiting += task.deps()  # type: ignore[no-untyped-call]


def run(job: Job) -> None:
    Step.job = job
    Step.connection = sqlite3.connect(job.folder / "markers.db")
    Step.connection.execute("PRAGMA journal_mode = WAL")
    Step.connection.execute("PRAGMA synchronous = NORMAL")
    Step.connection.execute("CREATE TABLE IF NOT EXISTS marker (task_id TEXT PRIMARY KEY)")
    luigi.build([Step(n=job.root)], local_scheduler=True, log_level="ERROR")
