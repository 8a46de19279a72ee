"""Ctrl-C during a run, in a process of its own."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.cli.calling import environment
from tests.engine.steps import PATIENCE
from tests.waiting import until

pytestmark = pytest.mark.slow


def wait_for_file(path: Path, process: subprocess.Popen[str]) -> None:
    until(path.exists, f"the file {path.name}", unless=lambda: process.poll() is not None, seconds=PATIENCE)


def interrupted(folder: Path, workers: int, times: int) -> dict[str, Any]:
    """What the program says that was interrupted."""
    how_often = "once" if times == 1 else "twice"
    process = subprocess.Popen(
        [sys.executable, "-m", "tests.engine.interrupted", str(workers), how_often],
        cwd=folder,
        env=environment(),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        wait_for_file(folder / "ready", process)
        process.send_signal(signal.SIGINT)
        if times == 2:
            wait_for_file(folder / "stopping", process)
            process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=PATIENCE)
    finally:
        process.kill()
    assert process.returncode == 0, err
    found: dict[str, Any] = json.loads(out)
    return found


@pytest.mark.parametrize("workers", [1, 3])
def test_the_first_lets_what_runs_end_and_tells_the_result(tmp_path: Path, workers: int) -> None:
    told = interrupted(tmp_path, workers, 1)
    assert (told["ran"], told["ok"], told["stopping"]) == (6, False, 1)
    assert told["not reached"] == {f"InStep {{'number': '{number}'}}": "" for number in range(6, 10)}
    assert (told["again"], told["rows"]) == (True, 10)


def test_inside_a_transaction_it_is_heard_while_the_task_runs(tmp_path: Path) -> None:
    told = interrupted(tmp_path, 0, 1)
    assert (told["ran"], told["ok"], told["stopping"]) == (6, False, 1)
    assert (told["again"], told["rows"]) == (True, 10)


def test_the_second_ends_at_once_and_the_next_run_does_the_rest(tmp_path: Path) -> None:
    told = interrupted(tmp_path, 2, 2)
    assert told["at once"]
    assert (told["again"], told["rows"]) == (True, 10)
