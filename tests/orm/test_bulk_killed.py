"""A process that is killed in the middle of a load leaves nothing of it, and the next one loads all."""

from __future__ import annotations

import os
import random
import select
import subprocess
import sys
from pathlib import Path

import pytest

from ozelot.client import Client
from tests.cli.calling import environment
from tests.orm.loader import LoadSamples, Sample
from tests.tables import count_rows, create_only

pytestmark = pytest.mark.slow

NIGHTLY = bool(os.environ.get("OZELOT_TEST_NIGHTLY"))


def started(db: Client, *arguments: str) -> subprocess.Popen[str]:
    url = db.url.render_as_string(hide_password=False)
    command = [sys.executable, "-W", "ignore", "-m", "tests.orm.loader", url, *arguments]
    return subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment(), cwd=Path.cwd()
    )


def until(process: subprocess.Popen[str], line: str) -> None:
    assert process.stdout is not None
    assert process.stdout.readline() == f"{line}\n"


def killed(process: subprocess.Popen[str]) -> None:
    process.kill()
    process.communicate()


def check_nothing_is_there_and_load_again(db: Client) -> None:
    assert count_rows(db, Sample) == 0
    assert not LoadSamples().complete()
    LoadSamples.size, LoadSamples.form, LoadSamples.pause_at = 1_000, "generator", -1
    LoadSamples().run()
    assert count_rows(db, Sample) == 1_000


def test_a_load_that_is_killed_half_way_leaves_nothing(db: Client) -> None:
    create_only(db, Sample)
    process = started(db, "100000", "generator", "90000")
    until(process, "begins")
    until(process, "pauses")  # with 75,000 rows or more sent
    killed(process)
    check_nothing_is_there_and_load_again(db)


def test_a_load_that_is_killed_at_any_moment_leaves_nothing(db: Client) -> None:
    create_only(db, Sample)
    size = 1_000_000 if NIGHTLY else 100_000
    for number in range(8 if NIGHTLY else 1):
        process = started(db, str(size), "generator" if number % 2 else "frame")
        until(process, "begins")
        assert process.stdout is not None
        select.select([process.stdout], [], [], random.uniform(0, 3) if NIGHTLY else 0.1)
        killed(process)
        if LoadSamples().complete():  # it was quicker
            assert count_rows(db, Sample) == size
            LoadSamples().clear()
        assert count_rows(db, Sample) == 0
    check_nothing_is_there_and_load_again(db)
