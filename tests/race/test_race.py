"""Runners race for one pipeline: however many there are, each task's rows are there once, and nobody fails.

A small version of ``python -m tests.race``, and two races more: against Luigi, and with a runner that is killed.
"""

from __future__ import annotations

import os
import signal
from collections import Counter
from pathlib import Path

import pytest
import sqlalchemy as sa

import ozelot
from ozelot.client import Client
from ozelot.orm.run import Run
from tests.race import checks, gate, pipeline, runners
from tests.race.pipeline import DOOM, ROWS, Part, Source, Survivors, Total
from tests.tables import create_tables

pytestmark = pytest.mark.slow

MODULE = "tests.race.pipeline"
SURVIVORS = ["LoadDoomed {}", *(f"LoadRemains {{'number': '{number}'}}" for number in range(5)), "Survivors {}"]


@pytest.fixture(autouse=True)
def tables(db: Client) -> None:
    create_tables(db, Source, Part, Total)


def url(db: Client) -> str:
    return db.url.render_as_string(hide_password=False)


def test_eight_runners_at_once_load_each_task_once(db: Client, tmp_path: Path) -> None:
    command = runners.ozelot(url(db), f"{MODULE}:All(tasks=40)")
    with runners.racing([command] * 8, tmp_path, url(db)) as race:
        race.wait()
    printed = race.ended_well()
    assert all("All {'tasks': '40'} is complete" in text for text in printed)
    assert set(checks.all_is_there_once(db, 40)) <= set(race.processes)


def test_luigi_and_ozelot_run_race_for_the_same_pipeline(db: Client, tmp_path: Path) -> None:
    commands = [
        runners.ozelot(url(db), f"{MODULE}:All(tasks=20)"),
        runners.luigi(MODULE, "All", "--tasks", "20", "--local-scheduler", "--no-lock"),
    ]
    with runners.racing(commands * 3, tmp_path, url(db)) as race:
        race.wait()
    printed = race.ended_well()
    assert sum("This progress looks :)" in text for text in printed) == 3
    assert set(checks.all_is_there_once(db, 20)) <= set(race.processes)


def test_a_runner_that_is_killed_in_the_middle_of_a_task_is_followed_by_one_that_waits(
    db: Client, tmp_path: Path
) -> None:
    command = runners.ozelot(url(db), f"{MODULE}:Survivors")
    doomed = tmp_path / "doomed"
    with runners.racing([command] * 4, tmp_path, url(db), **{DOOM: str(tmp_path)}) as race:
        gate.until(lambda: doomed.exists() and doomed.read_text().endswith("\n"), "a runner in the middle of the task")
        # From here on there is one task that the others can run, and it is taken.
        looked = [tmp_path / f"looked.{process}" for process in race.processes]
        gate.until(lambda: all(path.exists() for path in looked), "the others to know what there is to run")
        victim = int(doomed.read_text())
        assert victim in race.processes
        with db.create_session() as session:
            assert checks.runs(session) == {("LoadDoomed {}", "running"): 1}
            assert checks.markers(session) == {}
        os.kill(victim, signal.SIGKILL)
        race.wait()
    race.ended_well(but=[victim])
    survived(db, victim)


def survived(db: Client, victim: int) -> None:
    """Hold the database to be what one runner alone would have made of it, but for the run of the one killed."""
    with db.create_session() as session:
        sources = Counter(tuple(row) for row in session.execute(sa.select(Source.number, Source.amount)))
        parts = Counter(tuple(row) for row in session.execute(sa.select(Part.number, Part.amount)))
        assert sources == checks.once((0, row) for row in range(ROWS))
        assert parts == checks.once((number, row) for number in range(5) for row in range(ROWS))
        assert checks.markers(session) == checks.once(SURVIVORS)
        runs = checks.runs(session)
        del runs["Survivors {}", "cleared"]  # a wrapper may run again
        aborted = [("LoadDoomed {}", "aborted")]
        assert runs == checks.once([*((label, "done") for label in SURVIVORS), *aborted])
        query = sa.select(Run.state, Run.process).where(Run.name == "LoadDoomed")
        processes = dict(iter(session.execute(query)))
        assert processes["aborted"] == victim != processes["done"]
    assert ozelot.verify(Survivors()) == []
    assert pipeline.LoadDoomed().complete()
