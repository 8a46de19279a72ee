"""Let many runners race for one pipeline, and hold the database to be what one alone would have made of it.

python -m tests.race --runners 8 --rounds 4 --tasks 200 --database all
"""

from __future__ import annotations

import argparse
import logging
import os
import sys
import tempfile
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from ozelot import client
from ozelot.client import Client
from ozelot.orm.base import Base
from tests import databases
from tests.race import checks, runners


@contextmanager
def _fresh(kind: str, folder: Path) -> Iterator[str | None]:
    if kind == "sqlite":
        yield f"sqlite:///{folder / 'race.db'}"
        return
    server, reason = databases.server(kind)
    if server is None:
        if os.environ.get("OZELOT_TEST_ALL_DATABASES"):
            raise SystemExit(reason)
        print(f"{kind}: left out, {reason}")
        yield None
        return
    with databases.fresh(server) as url:
        yield url
    server.dispose()


def race(url: str, folder: Path, *, count: int, tasks: int) -> tuple[float, Counter[int]]:
    """Let runners race on an empty database.

    Returns:
        How many seconds it took, from the gate to the end of the last one, and how many tasks each process ran.
    """
    database = Client(connection_string=url)
    client.set_client(database)
    try:
        Base.create_all(database)
        command = runners.ozelot(url, f"tests.race.pipeline:All(tasks={tasks})")
        with runners.racing([command] * count, folder, url) as started:
            took = started.wait()
        started.ended_well()
        return took, checks.all_is_there_once(database, tasks)
    finally:
        client.set_client(None)
        database.engine.dispose()


def main() -> None:
    """Parse, race, print."""
    parser = argparse.ArgumentParser(prog="python -m tests.race", description=__doc__)
    parser.add_argument("--runners", type=int, default=8)
    parser.add_argument("--rounds", type=int, default=4)
    parser.add_argument("--tasks", type=int, default=200)
    parser.add_argument("--database", choices=["sqlite", *databases.SERVERS, "all"], default="all")
    chosen = parser.parse_args()
    logging.getLogger("ozelot").setLevel(logging.WARNING)
    for kind in ["sqlite", *databases.SERVERS] if chosen.database == "all" else [chosen.database]:
        for number in range(1, chosen.rounds + 1):
            with tempfile.TemporaryDirectory() as folder, _fresh(kind, Path(folder)) as url:
                if url is None:
                    break
                took, shared = race(url, Path(folder), count=chosen.runners, tasks=chosen.tasks)
            ran = sorted(shared.values(), reverse=True) + [0] * (chosen.runners - len(shared))
            told = " ".join(str(count) for count in ran)
            print(f"{kind}, round {number}: {took:.1f} s; tasks run by each of {chosen.runners} runners: {told}")
            sys.stdout.flush()
    print("Each task's rows are there once, with one marker and one run; no runner failed")


if __name__ == "__main__":
    main()
