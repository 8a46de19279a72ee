"""One measurement: a fresh process that does one thing, its seconds, and its peak memory."""

from __future__ import annotations

import argparse
import json
import os
import platform
import subprocess
import sys
import tempfile
import time
import uuid
from collections.abc import Collection, Iterable, Iterator
from contextlib import contextmanager
from importlib import metadata
from pathlib import Path
from typing import Any, Literal

HERE = Path(__file__).parent
Action = Literal["graph", "run", "bare"]


class Unfinished(Exception):
    """A measurement that gave no figure; its text is what the table shows instead."""


class Over(Unfinished):
    """It took longer than it was given."""


def machine(packages: Iterable[str] = ()) -> str:
    """What measures: Python, the processor, and the packages that take part."""
    versions = [f"{name} {metadata.version(name)}" for name in packages]
    return ", ".join([f"Python {platform.python_version()}", f"{os.cpu_count()} cores", *versions])


def options_for_rows(about: str, ways: Collection[str], repeat: int) -> argparse.ArgumentParser:
    """The options of a measurement that puts ways of moving rows side by side, on several databases."""
    parser = argparse.ArgumentParser(description=about, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--databases", nargs="+", default=["sqlite", "postgresql", "mariadb"])
    parser.add_argument("--ways", nargs="+", choices=ways, default=list(ways))
    parser.add_argument("--repeat", type=int, default=repeat)
    parser.add_argument("--cap", type=float, default=900, help="seconds that one process is given")
    return parser


@contextmanager
def state_of(peer: str, kind: str) -> Iterator[list[str]]:
    """A new folder, and for ozelot a new database of that kind, as arguments of a process; both are gone afterwards."""
    with tempfile.TemporaryDirectory(prefix="ozelot_") as folder:
        if kind == "sqlite" or not peer.startswith("ozelot"):
            yield [folder]
            return
        name = f"ozelot_{uuid.uuid4().hex[:12]}"
        url = _server("create", kind, name)
        try:
            yield [folder, "--database", url]
        finally:
            _server("drop", kind, name)


def measured(
    peer: str, action: Action, shape: str, size: int, state: list[str], *, cap: float, options: tuple[str, ...] = ()
) -> dict[str, Any]:
    """What a process found out that did something with a graph, and its `seconds`, as :func:`told_by`."""
    seconds, found = told_by("peers", peer, action, shape, str(size), *state, *options, cap=cap)
    return {**found, "seconds": seconds}


def told_by(package: str, *arguments: str, cap: float) -> tuple[float, dict[str, Any]]:
    """What a process found out, and its seconds from start to end as somebody who waits for it sees them.

    Raises:
        Over: it took longer than `cap` seconds.
        Unfinished: it ended without a result.
    """
    command = [sys.executable, "-m", package, *arguments]
    start = time.perf_counter()
    try:
        # The peak that the kernel tells of a process includes what its parent used: this one imports next to nothing.
        done = subprocess.run(command, cwd=HERE, capture_output=True, text=True, timeout=cap, check=False)
    except subprocess.TimeoutExpired:
        raise Over(f"over {cap:g} s") from None
    seconds = time.perf_counter() - start
    if done.returncode:
        said = done.stderr.strip().splitlines() or [f"exit code {done.returncode}"]
        raise Unfinished(f"fails: {said[-1][:80]}")
    return seconds, json.loads(done.stdout.splitlines()[-1])


def python_seconds(code: str) -> float:
    """From the start to the end of a process that does nothing else."""
    start = time.perf_counter()
    subprocess.run([sys.executable, "-c", code], check=True)
    return time.perf_counter() - start


def _server(action: str, kind: str, name: str) -> str:
    command = [sys.executable, "-m", "peers.server", action, kind, name]
    return subprocess.run(command, cwd=HERE, stdout=subprocess.PIPE, text=True, check=True).stdout.strip()
