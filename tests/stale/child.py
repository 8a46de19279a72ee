"""Imports what takes long once, and then forks for each command: a project is run, or judged, in a process of its own.

Reads lines ``run FOLDER``, ``process FOLDER`` (to run it in processes), ``judge FOLDER`` and ``compare FOLDER`` (models
and database), and answers each by a line of JSON.
"""

from __future__ import annotations

import importlib
import json
import os
import sys

import ozelot
from ozelot.cli import status as state
from ozelot.client import get_client
from ozelot.etl.status import State, made_stale, status
from ozelot.orm.base import Base
from ozelot.schema.compare import differences


def answer(command: str, folder: str) -> object:
    """Do what is asked for, in a process that has not seen a project yet."""
    os.chdir(folder)
    sys.path.insert(0, folder)
    os.environ["OZELOT_DATABASE_URL"] = f"sqlite:///{folder}/shop.db"
    root = importlib.import_module("shop.tasks").Everything()
    if command in ("run", "process"):
        Base.create_all(get_client())
        return ozelot.run(root, executor="process" if command == "process" else None).ok
    importlib.import_module("shop.extra")  # as MODELS may say
    found = {entry.name: entry for entry in status(root)}
    if command == "compare":
        with get_client().engine.connect() as connection:
            return sorted({name for one in differences(connection) for name in made_stale(one, found.values())})
    return {
        name: "; ".join(map(str, entry.verdict.reasons))
        for name, entry in found.items()
        if entry.state is State.STALE and entry.verdict is not None
    }


if __name__ == "__main__":
    assert state  # imported here, and not in each child
    for line in sys.stdin:
        child = os.fork()
        if child == 0:
            try:
                print(json.dumps(answer(*line.split())), flush=True)
            except BaseException as exc:  # noqa: BLE001 - for whoever asked
                print(json.dumps(f"{type(exc).__name__}: {exc}"), flush=True)
            os._exit(0)
        os.waitpid(child, 0)
