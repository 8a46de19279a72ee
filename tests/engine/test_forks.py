"""A child that run() forks ends by itself, and the parent continues its transaction."""

from __future__ import annotations

import subprocess

import pytest

from tests import quick
from tests.cli.calling import environment
from tests.databases import only
from tests.engine.forks import ENDS

pytestmark = pytest.mark.slow

PROGRAM = "import sys; from tests.engine import forks; forks.main(*sys.argv[1:])"
WAYS = [(kind, way) for kind in ("orm", "generator") for way in ("thread", "process", "build", "atomic")]
_PATIENCE = 60  # seconds


def program(url: str, *arguments: str) -> str:
    done = subprocess.run(
        quick.python("-c", PROGRAM, *arguments),
        env=environment(OZELOT_DATABASE_URL=url),
        capture_output=True,
        text=True,
        check=False,
        timeout=_PATIENCE,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.count("parent ended well") == 1
    return done.stdout + done.stderr


@pytest.mark.parametrize("how", [how for how in ENDS if how != "write"])
def test_a_child_ends_and_the_task_goes_on(database_url: str, how: str) -> None:
    said = program(database_url, "orm", "thread", how)
    assert how == "_exit" or said.count("in the child") == 1
    assert said.count("of the child\n") == (how in ("exit text", "raise"))


@only("postgresql", "mariadb")  # on SQLite, the child would wait for the transaction of its parent
def test_what_a_child_writes_by_itself_is_no_part_of_the_task(database_url: str) -> None:
    program(database_url, "orm", "thread", "write")


@pytest.mark.parametrize(("kind", "way"), [*WAYS, ("luigi", "thread"), ("luigi", "process")])
def test_however_the_task_is_run(database_url: str, kind: str, way: str) -> None:
    program(database_url, kind, way, "exit 3")
