"""Processes that run a task of the staff, one or several at the same moment."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

from ozelot import client
from ozelot.client import Client
from tests.etl import staff
from tests.folders import ROOT
from tests.waiting import until


def start(db: Client, task: str, gate: Path | str = "", number: int = 1, **params: str) -> subprocess.Popen[str]:
    """Start so many processes that run one task, once the file of a gate is there; the one given waits for all."""
    url = db.url.render_as_string(hide_password=False)
    command = [sys.executable, "-m", "tests.etl.staff_processes", url, task, json.dumps(params), str(gate), str(number)]
    return subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)


def eight_at_once(db: Client, task: str, folder: Path) -> str:
    """What eight processes print that run a task at the same moment; all of them must end well."""
    gate = folder / "gate"
    process = start(db, task, gate, 8)
    until(lambda: len(list(folder.glob("gate.*"))) == 8, "eight processes at the gate", seconds=120)
    gate.touch()
    output = process.communicate(timeout=120)[0]
    assert process.returncode == 0, output
    return output


def worker(url: str, task_class: str, params: dict[str, str], gate: str) -> None:
    """What a worker process does: wait for the gate, then run one task with Luigi."""
    client.set_client(Client(connection_string=url))
    task = getattr(staff, task_class)(**params)
    if gate:
        Path(f"{gate}.{os.getpid()}").touch()
        until(Path(gate).exists, "the gate to open", seconds=30)
    done = task.build()
    if params.get("edge") == "after":
        staff.die()
    raise SystemExit(0 if done else 1)


def fork(number: int) -> None:
    """Go on in so many processes; this one ends when all of these have, with 0 if all of them did.

    As many interpreters that import all of it would take longer than what they are to do.
    """
    children = []
    for _ in range(number):
        if not (child := os.fork()):
            return
        children.append(child)
    codes = [os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) for child in children]
    raise SystemExit(f"Exit codes: {codes}" if any(codes) else 0)


if __name__ == "__main__":
    if (number := int(sys.argv[5])) > 1:
        fork(number)
    worker(sys.argv[1], sys.argv[2], json.loads(sys.argv[3]), sys.argv[4])
