"""The example `flights`: five tables, a task a month, what is derived; each task in a transaction with its marker."""

from __future__ import annotations

import logging
import sys
from pathlib import Path

import ozelot
from ozelot import client
from ozelot.client import Client
from ozelot.orm.base import Base

sys.path.insert(0, str(Path(__file__).parents[2] / "examples" / "flights"))
from flights import pipeline

logging.disable(logging.WARNING)


def run(path: Path) -> None:
    database = Client(connection_string=f"sqlite:///{path}")
    client.set_client(database)
    Base.create_all(database)
    if not ozelot.run(pipeline.LoadEverything()):
        sys.exit("the pipeline failed")
    database.engine.dispose()
