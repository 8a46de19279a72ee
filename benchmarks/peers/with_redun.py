"""redun, with its database in SQLite: a graph of expressions, evaluated in threads of one process."""

from __future__ import annotations

import logging
from typing import Any

from redun import Scheduler, task
from redun.config import Config

from peers.job import Job

current: list[Job] = []


@task(namespace="peers", version="1")
def step(n: int, upstream: list[int]) -> int:
    current[0].step(n)
    return n


def _root(job: Job) -> Any:
    made: list[Any] = []
    for n in range(job.total):
        made.append(step(n, [made[other] for other in job.requires(n)]))
    return made[job.root]


def graph(job: Job) -> None:
    _root(job)


def run(job: Job) -> None:
    current.append(job)
    logging.disable(logging.INFO)
    config = {
        "backend": {"db_uri": f"sqlite:///{job.folder / 'redun.db'}", "automigrate": "True"},
        "executors.default": {"type": "local", "mode": "thread", "max_workers": str(job.workers)},
    }
    scheduler = Scheduler(config=Config(config))
    scheduler.load()
    scheduler.run(_root(job))
