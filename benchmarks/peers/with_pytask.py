"""pytask, with its lock file; a task without files is complete when it ran since its code changed."""

from __future__ import annotations

from typing import Any

import pytask

from peers.job import Job


def _tasks(job: Job) -> list[Any]:
    made: list[Any] = []
    for n in range(job.total):

        def step(n: int = n) -> None:
            job.step(n)

        made.append(pytask.task(name=f"step_{n}", after=[made[other] for other in job.requires(n)])(step))
    return made


def _build(job: Job, **more: Any) -> None:
    pytask.build(tasks=_tasks(job), paths=job.folder, verbose=0, capture="no", **more)


def graph(job: Job) -> None:
    _build(job, dry_run=True)


def run(job: Job) -> None:
    _build(job)
