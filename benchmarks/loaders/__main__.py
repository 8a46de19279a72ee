"""Load rows by one way, see that they are there, and print a line of JSON: seconds, and memory above the start."""

from __future__ import annotations

import argparse
import importlib
import json
import logging
import resource
import sys
import time
from pathlib import Path

import sqlalchemy as sa

from loaders.job import Job
from loaders.table import Sample
from ozelot import client
from ozelot.client import Client
from ozelot.orm.base import Base
from ozelot.state import markers, runs

# Bytes on macOS, kilobytes elsewhere.
MEGABYTE = 2**20 if sys.platform == "darwin" else 2**10


def peak() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / MEGABYTE


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m loaders")
    parser.add_argument("way")
    parser.add_argument("form")
    parser.add_argument("size", type=int)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--database", default="")
    asked = parser.parse_args()
    logging.disable(logging.WARNING)
    database = Client(connection_string=asked.database or f"sqlite:///{asked.folder / 'loading.db'}")
    client.set_client(database)
    kind = {"mysql": "mariadb"}.get(database.engine.dialect.name, database.engine.dialect.name)
    Base.create_all(database)
    markers.prepare(database.engine)
    with database.engine.begin() as connection:
        run_id = runs.begin(connection, [runs.Starting("other", "Other", "{}")])["other"].run_id
    way = importlib.import_module(f"loaders.with_{asked.way}")
    table = "by_dlt" if asked.way == "dlt" else Sample.__tablename__
    job = Job(kind, database, asked.size, asked.form, asked.folder, run_id, table)
    rows = way.prepared(job)
    before, cpu, start = peak(), time.process_time(), time.perf_counter()
    way.load(job, rows)
    seconds, cpu = time.perf_counter() - start, time.process_time() - cpu
    grown = peak() - before
    with database.engine.connect() as connection:
        query = sa.text(f"SELECT count(*), count(code), sum(number), min(name), max(name) FROM {table}")
        found = [str(value) for value in connection.execute(query).one()]
    print(json.dumps({"seconds": seconds, "cpu": cpu, "grown": grown, "found": found}))


if __name__ == "__main__":
    main()
