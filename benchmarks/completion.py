"""Checking and clearing wide and deep graphs: how long, and whether ten times the tasks take ten times as long.

    python benchmarks/completion.py [SIZE ...]

Each size is measured five times on SQLite, and the medians are printed. 'walk' is what building the graph costs, which
is calling every `requires()`; what checking takes beyond that is the cost of knowing. Every task has a run, with edges
to what it was built on, and a row in a table that all share.
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
import sqlalchemy as sa

from ozelot import client
from ozelot.clear.plan import ClearPlan
from ozelot.client import Client
from ozelot.etl import tasks
from ozelot.etl.completion import clear_plan
from ozelot.etl.status import status
from ozelot.etl.targets import ORMTarget
from ozelot.etl.verify import verify
from ozelot.orm.base import Base
from ozelot.orm.run import TaskOwned
from ozelot.pipeline.graph import Graph, walk
from ozelot.state import markers as target
from ozelot.state import runs as run

REPEAT = 5


class Item(TaskOwned, Base):
    """One row of each task."""


class Leaf(tasks.ORMTask):
    creates = [Item]
    n: int = luigi.IntParameter()

    def run(self) -> None:
        self.load(Item, [{}])


class Wide(tasks.ORMWrapperTask):
    size: int = luigi.IntParameter()

    def requires(self) -> Any:
        return [Leaf(n=n) for n in range(self.size)]


class Deep(tasks.ORMTask):
    creates = [Item]
    n: int = luigi.IntParameter()

    def requires(self) -> Any:
        return [Deep(n=self.n - 1)] if self.n else []

    def run(self) -> None:
        self.load(Item, [{}])


def seconds(action: Callable[[], Any]) -> float:
    start = time.perf_counter()
    action()
    return time.perf_counter() - start


def fill(graph: Graph, database: Client) -> None:
    """What a run of the graph leaves: markers, runs, what was built on what, and a row of each task."""
    now = run.utc_now()
    ids = {label: number for number, label in enumerate(graph.tasks, 1)}
    entries, markers = [], []
    for label, task in graph.tasks.items():
        found = ORMTarget.from_task(task)
        told = {"name": found.name, "params": found.params, "key": found.keys[0]}
        markers.append(told)
        states = {"state": run.DONE, "started": now, "finished": now, "host": "here", "process": 1}
        entries.append({"id": ids[label], "rows": '{"item": 1}', **told, **states})
    edges = [{"run_id": ids[a], "built_on_id": ids[b]} for a, others in graph.requires.items() for b in others]
    items = [{"run_id": ids[label]} for label, task in graph.tasks.items() if not isinstance(task, Wide)]
    with database.engine.begin() as connection:
        connection.execute(sa.insert(target.markers), markers)
        connection.execute(sa.insert(run.runs), entries)
        connection.execute(sa.insert(run.run_edge), edges)
        connection.execute(sa.insert(Item), items)


def measure(root: luigi.Task, database: Client) -> dict[str, float]:
    graph = walk(root)
    Base.drop_all(database)
    Base.create_all(database)
    fill(graph, database)
    walked = seconds(lambda: walk(root))
    checked = seconds(lambda: tasks.check_completion(root))
    told = seconds(lambda: status(root))
    verified = seconds(lambda: verify(root))
    plans: list[ClearPlan] = []
    planned = seconds(lambda: plans.append(clear_plan(root, graph.tasks.values())))
    cleared = seconds(plans[0].apply)
    beyond = {"check": checked, "status": told, "verify": verified, "plan": planned}
    return {"walk": walked, **{f"{name} beyond": value - walked for name, value in beyond.items()}, "clear": cleared}


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
