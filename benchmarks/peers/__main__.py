"""Build or run one graph with one peer, and print a line of JSON: how many steps ran, and the peak memory."""

from __future__ import annotations

import argparse
import importlib
import json
import resource
import sys
import time
from pathlib import Path

from peers.job import SHAPES, Job

# Bytes on macOS, kilobytes elsewhere.
MEGABYTE = 2**20 if sys.platform == "darwin" else 2**10


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m peers")
    parser.add_argument("peer")
    parser.add_argument("action", choices=("graph", "run", "bare"))
    parser.add_argument("shape", choices=SHAPES)
    parser.add_argument("size", type=int)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--database", default="")
    parser.add_argument("--workers", type=int, default=1)
    parser.add_argument("--processes", action="store_true")
    parser.add_argument("--die-at", type=int)
    asked = parser.parse_args()
    database = asked.database or f"sqlite:///{asked.folder / 'state.db'}"
    job = Job(asked.shape, asked.size, asked.folder, database, asked.workers, asked.processes, asked.die_at)
    peer = importlib.import_module(f"peers.with_{asked.peer}")
    start = time.perf_counter()
    more = getattr(peer, asked.action)(job) or {}
    found = {"ran": len(job.ran), "seconds": time.perf_counter() - start, **more}
    found["peak"] = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / MEGABYTE
    print(json.dumps(found))


if __name__ == "__main__":
    main()
