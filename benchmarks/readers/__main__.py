"""Fill the table, or read it by one way; print a line of JSON: seconds, memory above the start, types that came."""

from __future__ import annotations

import argparse
import importlib
import json
import logging
import sys
import time
from pathlib import Path
from typing import Any

from loaders import table
from loaders.__main__ import peak

from ozelot.client import Client
from ozelot.orm import bulk
from ozelot.orm.base import Base
from ozelot.state import markers, runs


def fill(database: Client, size: int) -> None:
    """Make the table, and all of its rows."""
    Base.create_all(database)
    markers.prepare(database.engine)
    with database.engine.begin() as connection:
        run_id = runs.begin(connection, [runs.Starting("other", "Other", "{}")])["other"].run_id
    with database.transaction() as session:
        bulk.load(session, table.Sample, table.arrow(size, run_id=run_id))


def types(frame: Any) -> list[str]:
    """What the columns are."""
    return [str(kind) for kind in (frame.schema.types if hasattr(frame, "schema") else frame.dtypes)]


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m readers")
    parser.add_argument("way")
    parser.add_argument("form", choices=["arrow", "pandas"])
    parser.add_argument("size", type=int)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--database", default="")
    asked = parser.parse_args()
    logging.disable(logging.WARNING)
    database = Client(connection_string=asked.database or f"sqlite:///{asked.folder / 'frames.db'}")
    if asked.way == "fill":
        fill(database, asked.size)
        print("{}")
        return
    importlib.import_module(asked.form if asked.form == "pandas" else "pyarrow")
    way = importlib.import_module(f"readers.with_{asked.way}")
    read = way.prepared(database, asked.form)
    before, cpu, start = peak(), time.process_time(), time.perf_counter()
    frame = read()
    seconds, cpu = time.perf_counter() - start, time.process_time() - cpu
    grown = peak() - before
    if len(frame) != asked.size:
        sys.exit(f"{len(frame)} rows in place of {asked.size}")
    print(json.dumps({"seconds": seconds, "cpu": cpu, "grown": grown, "types": types(frame)}))


if __name__ == "__main__":
    main()
