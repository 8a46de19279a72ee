"""What the status page costs a run, and how long its views take.

A run of trivial tasks on SQLite, alone and with the page open, in turns: ``ozelot ui`` is a process of its own, a
client follows what is new, as a browser does, and asks for the start page and the drawing every few seconds.

    python benchmarks/ui.py --tasks 10000 --repeat 5
"""

from __future__ import annotations

import argparse
import http.client
import os
import re
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

PIPELINE = """
import luigi
from sqlalchemy.orm import Mapped
from ozelot.etl import tasks
from ozelot.orm.base import Base
from ozelot.orm.run import TaskOwned


class Number(TaskOwned, Base):
    value: Mapped[int]


class Load(tasks.ORMTask):
    creates = [Number]
    value = luigi.IntParameter()

    def run(self):
        self.session.add(Number(value=self.value))


class All(tasks.ORMWrapperTask):
    def requires(self):
        return [Load(value=value) for value in range({tasks})]
"""


def ozelot(folder: Path, *arguments: str) -> None:
    """Call a command in a folder."""
    subprocess.run(
        [sys.executable, "-m", "ozelot", *arguments],
        cwd=folder,
        check=True,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )


@contextmanager
def open_page(folder: Path) -> Iterator[str]:
    """Have the page open; gives its address."""
    command = [sys.executable, "-m", "ozelot", "ui", "--port", "0"]
    with subprocess.Popen(command, cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) as server:
        assert server.stdout is not None
        found = re.search(r"http://(\S+)/", server.stdout.readline())
        assert found is not None
        address, done = found[1], threading.Event()
        watchers = [
            threading.Thread(target=watch, args=(address, done)),
            threading.Thread(target=look, args=(address, done)),
        ]
        for watcher in watchers:
            watcher.start()
        try:
            yield address
        finally:
            done.set()
            server.terminate()
            for watcher in watchers:
                watcher.join()


def watch(address: str, done: threading.Event) -> None:
    """Follow what is new until the page is closed."""
    connection = http.client.HTTPConnection(address, timeout=30)
    try:
        connection.request("GET", "/events")
        answer = connection.getresponse()
        while not done.is_set() and answer.readline():
            pass
    except OSError:
        pass
    finally:
        connection.close()


def look(address: str, done: threading.Event) -> None:
    """Ask for the start page and the drawing every five seconds."""
    while not done.wait(5):
        for path in ("/", "/graph.json"):
            connection = http.client.HTTPConnection(address, timeout=30)
            try:
                connection.request("GET", path)
                connection.getresponse().read()
            except OSError:
                return
            finally:
                connection.close()


def seconds_of_a_run(folder: Path, *, with_page: bool) -> float:
    """How long a run takes from an empty database."""
    for path in folder.glob("ozelot.db*"):
        path.unlink()
    ozelot(folder, "db", "init")
    if not with_page:
        start = time.perf_counter()
        ozelot(folder, "run", "--quiet")
        return time.perf_counter() - start
    with open_page(folder):
        start = time.perf_counter()
        ozelot(folder, "run", "--quiet")
        return time.perf_counter() - start


def main() -> None:
    """Measure, and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tasks", type=int, default=10_000)
    parser.add_argument("--repeat", type=int, default=5)
    options = parser.parse_args()
    alone, beside = [], []
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "numbers_pipeline.py").write_text(PIPELINE.format(tasks=options.tasks))
        (folder / "project_config.py").write_text('PIPELINE = "numbers_pipeline:All"\n')
        for number in range(options.repeat):
            for with_page in (False, True) if number % 2 else (True, False):
                (beside if with_page else alone).append(seconds_of_a_run(folder, with_page=with_page))
    pairs = statistics.median(one / other for one, other in zip(beside, alone, strict=True))
    ratio = statistics.median(beside) / statistics.median(alone)
    print(
        f"{options.tasks:,} tasks on SQLite, {options.repeat} runs each, in turns, on {os.cpu_count()} cores; seconds"
    )
    print(f"alone       {statistics.median(alone):6.2f}  ({min(alone):.2f} to {max(alone):.2f})")
    print(f"page open   {statistics.median(beside):6.2f}  ({min(beside):.2f} to {max(beside):.2f})")
    print(f"ratio       {ratio:6.3f}  (of pairs, median {pairs:.3f})")


if __name__ == "__main__":
    main()
