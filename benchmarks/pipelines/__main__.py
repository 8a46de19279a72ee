"""Fill a database in one way; print a line of JSON: seconds, those of the processor, and what is in the database."""

from __future__ import annotations

import importlib
import json
import sqlite3
import sys
import time
from pathlib import Path

TABLES = ("airline", "airport", "plane", "weather", "flight")
SUMS = "count(*), sum(made_up), round(sum(speed)), count(plane_id), count(weather_id), count(destination_id)"


def main() -> None:
    way, folder, *_ = sys.argv[1:]
    path = Path(folder) / "flights.db"
    run = importlib.import_module(f"pipelines.{way}").run  # what it imports is part of neither
    cpu, start = time.process_time(), time.perf_counter()
    run(path)
    seconds, cpu = time.perf_counter() - start, time.process_time() - cpu
    connection = sqlite3.connect(path)
    counts = [connection.execute(f"SELECT count(*) FROM {table}").fetchone()[0] for table in TABLES]
    found = counts + list(connection.execute(f"SELECT {SUMS} FROM flight").fetchone())
    print(json.dumps({"seconds": seconds, "cpu": cpu, "found": [str(value) for value in found]}))


if __name__ == "__main__":
    main()
