"""Checking and clearing wide and deep graphs: how long, and whether ten times the tasks take ten times as long.

    python benchmarks/completion.py [SIZE ...]

Each size is measured five times on SQLite, and the medians are printed. 'walk' is what building the graph costs, which
is calling every `requires()`; what checking takes beyond that is the cost of knowing.
"""

from __future__ import annotations

import logging
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import luigi

from ozelot import client
from ozelot.client import Client
from ozelot.etl import tasks
from ozelot.etl.completion import clear_plan
from ozelot.etl.graph import walk
from ozelot.etl.status import status
from ozelot.etl.targets import ORMTarget
from ozelot.orm import target
from ozelot.orm.base import Base

REPEAT = 5


class Leaf(tasks.ORMTask):
    creates = ()
    n: int = luigi.IntParameter()


class Wide(tasks.ORMWrapperTask):
    size: int = luigi.IntParameter()

    def requires(self) -> Any:
        return [Leaf(n=n) for n in range(self.size)]


class Deep(tasks.ORMTask):
    creates = ()
    n: int = luigi.IntParameter()

    def requires(self) -> Any:
        return [Deep(n=self.n - 1)] if self.n else []


def seconds(action: Callable[[], Any]) -> float:
    start = time.perf_counter()
    action()
    return time.perf_counter() - start


def measure(root: luigi.Task, database: Client) -> dict[str, float]:
    graph = walk(root)
    Base.drop_all(database)
    Base.create_all(database)
    with database.engine.begin() as connection:
        for task in graph.tasks.values():
            marker = ORMTarget.from_task(task)
            target.insert(connection, marker.name, marker.params)
    walked = seconds(lambda: walk(root))
    checked = seconds(lambda: tasks.check_completion(root))
    told = seconds(lambda: status(root))
    plan = clear_plan(root, graph.tasks.values())
    cleared = seconds(plan.apply)
    return {"walk": walked, "check beyond": checked - walked, "status beyond": told - walked, "clear": cleared}


def main() -> None:
    logging.getLogger("ozelot").setLevel(logging.ERROR)
    sizes = [int(size) for size in sys.argv[1:]] or [1_000, 10_000, 100_000]
    with tempfile.TemporaryDirectory() as folder:
        database = Client(connection_string=f"sqlite:///{Path(folder) / 'benchmark.db'}")
        client.set_client(database)
        print(f"{'graph':6} {'tasks':>8}   seconds, medians of {REPEAT}")
        for shape in ("wide", "deep"):
            for size in sizes:
                root = Wide(size=size) if shape == "wide" else Deep(n=size - 1)
                runs = [measure(root, database) for _ in range(REPEAT)]
                medians = {name: statistics.median(run[name] for run in runs) for name in runs[0]}
                print(f"{shape:6} {size:8,}   " + "  ".join(f"{name} {value:.3f}" for name, value in medians.items()))
        database.engine.dispose()


if __name__ == "__main__":
    main()
