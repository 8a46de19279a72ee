"""doit, with its state in SQLite; `run_once` is how a task without files says that it is complete."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from doit.cmd_base import ModuleTaskLoader
from doit.control import TaskControl
from doit.doit_cmd import DoitMain
from doit.loader import load_tasks
from doit.tools import run_once

from peers.job import Job


def _namespace(job: Job) -> dict[str, Any]:
    def task_step() -> Iterator[dict[str, Any]]:
        for n in range(job.total):
            upstream = [f"step:{other}" for other in job.requires(n)]
            yield {"name": str(n), "actions": [(job.step, [n])], "task_dep": upstream, "uptodate": [run_once]}

    config = {"backend": "sqlite3", "dep_file": str(job.folder / "doit.db"), "reporter": "zero", "verbosity": 0}
    return {"task_step": task_step, "DOIT_CONFIG": config}


def graph(job: Job) -> None:
    tasks = TaskControl(load_tasks(_namespace(job))).tasks
    for task in tasks.values():
        list(task.task_dep)


def run(job: Job) -> None:
    DoitMain(ModuleTaskLoader(_namespace(job))).run(["run", f"step:{job.root}"])
