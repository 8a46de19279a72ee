"""What knowing what is stale costs: the fingerprints of many classes, and the status of many tasks.

    python benchmarks/staleness.py [--modules 50] [--classes 20] [--tasks 10000] [--repeat 5]

A project of so many modules is written, each with so many classes of tasks, helpers, and imports of other modules.
Seconds of processor time, medians:

cold     the fingerprints of all classes, in a process that has only imported them
again    once more, in the same process
status   the state of so many tasks of one class, each with a file, on SQLite; 'graph' is what building the graph takes
"""

from __future__ import annotations

import argparse
import gc
import importlib
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import luigi

import ozelot
from ozelot import client
from ozelot.etl import tasks
from ozelot.etl.status import State, status
from ozelot.orm.base import Base
from ozelot.orm.run import TaskOwned
from ozelot.pipeline.declarations import task_classes
from ozelot.pipeline.graph import walk
from ozelot.staleness.code_closure import code_of
from ozelot.staleness.fingerprint import fingerprint_of


class Item(TaskOwned, Base):
    """One row of each task."""


class File(tasks.InputFileTask):
    n: int = luigi.IntParameter()

    @property
    def input_file(self) -> str:  # type: ignore[override]
        return f"input/{self.n}.txt"


class Leaf(tasks.ORMTask):
    creates = [Item]
    n: int = luigi.IntParameter()

    def requires(self) -> Any:
        return File(n=self.n % 100)

    def run(self) -> None:
        self.session.add(Item())


class Wide(tasks.ORMWrapperTask):
    size: int = luigi.IntParameter()

    def requires(self) -> Any:
        return [Leaf(n=n) for n in range(self.size)]


def write_project(folder: Path, modules: int, classes: int) -> None:
    """A project of so many modules, each with helpers and classes of tasks that use those of other modules."""
    (folder / "project").mkdir()
    (folder / "project" / "__init__.py").touch()
    for number in range(modules):
        lines = ["import json", "from ozelot.etl.tasks import ORMTask"]
        lines += [f"from project import m{other}" for other in range(max(0, number - 3), number)]
        lines += [f"FACTOR = {number}"]
        for each in range(classes):
            used = f"m{number - 1}.help_{each}(value)" if number else "value"
            lines += [
                f"def help_{each}(value):",
                f"    result = json.dumps([{used}, FACTOR])",
                "    return [part for part in result.split(',') if part]",
                f"class Load{number}_{each}(ORMTask):",
                "    creates = ()",
                "    def run(self):",
                f"        for row in help_{each}('x'):",
                "            print(row)",
            ]
        (folder / "project" / f"m{number}.py").write_text("\n".join(lines) + "\n")


def measure_classes(modules: int) -> None:
    """Print the seconds of the fingerprints of all classes of a project in this folder, cold and again."""
    sys.path.insert(0, os.getcwd())  # noqa: PTH109
    for number in range(modules):
        importlib.import_module(f"project.m{number}")
    classes = [cls for cls in task_classes if cls.__module__.startswith("project.")]
    made = [cls() for cls in classes]
    code_of(Leaf)  # imports are warm
    print(*(seconds(lambda: [fingerprint_of(task, frozenset()) for task in made]) for _ in range(2)))


def seconds(act: Callable[[], Any]) -> float:
    """The processor time of something."""
    begin = time.process_time()
    act()
    return time.process_time() - begin


def measure_status(size: int, repeat: int) -> tuple[float, float]:
    """The seconds of building a graph, and of its status beyond that."""
    client.set_client(client.Client(connection_string="sqlite:///status.db"))
    Path("input").mkdir()
    for number in range(100):
        Path(f"input/{number}.txt").write_text(str(number))
    Base.create_all(client.get_client())
    assert ozelot.run(Wide(size=size)).ok
    gc.set_threshold(50_000, 10, 10)  # as the command `ozelot` does
    graphs, takes = [], []
    for _ in range(repeat):
        luigi.task_register.Register.clear_instance_cache()
        graphs.append(seconds(lambda: walk(Wide(size=size))))
        luigi.task_register.Register.clear_instance_cache()
        found: list[Any] = []
        takes.append(seconds(lambda found=found: found.extend(status(Wide(size=size)))))
        assert {entry.state for entry in found} == {State.COMPLETE}
    return statistics.median(graphs), statistics.median(takes)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--modules", type=int, default=50)
    parser.add_argument("--classes", type=int, default=20)
    parser.add_argument("--tasks", type=int, nargs="+", default=[10_000])
    parser.add_argument("--repeat", type=int, default=5)
    parser.add_argument("--in-process", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.in_process:
        measure_classes(options.modules)
        return
    script = Path(__file__).resolve()
    with tempfile.TemporaryDirectory(prefix="ozelot_") as folder:
        write_project(Path(folder), options.modules, options.classes)
        command = [sys.executable, str(script), "--in-process", "--modules", str(options.modules)]
        told = [
            subprocess.run(command, cwd=folder, capture_output=True, text=True, check=True).stdout.split()
            for _ in range(options.repeat)
        ]
        cold, again = (statistics.median(float(each[place]) for each in told) for place in (0, 1))
        number = options.modules * options.classes
        print(f"{number:,} classes in {options.modules} modules: cold {cold:.3f} s, again {again:.4f} s")
    for size in options.tasks:
        with tempfile.TemporaryDirectory(prefix="ozelot_") as folder:
            os.chdir(folder)
            graph, took = measure_status(size, options.repeat)
            print(f"{size:,} tasks: status {took:.3f} s, graph {graph:.3f} s of it")


if __name__ == "__main__":
    main()
