"""A refresh in one transaction: who reads meanwhile sees all that was there, or all that is new, and nothing else.

With ``OZELOT_TEST_NIGHTLY=1`` the refresh is killed hundreds of times, at random moments.
"""

from __future__ import annotations

import os
import random
import re
import signal
import subprocess
import time
from pathlib import Path

import pytest

from ozelot.client import Client
from ozelot.engine import run_again
from ozelot.errors import ConfigError
from ozelot.etl.completion import clear_plan
from tests import quick
from tests.cli.calling import command, environment, process
from tests.engine.contents import contents, library, runs
from tests.engine.library import LIBRARY, PIPELINE, LoadAuthors, LoadLibrary, load_all_again, load_once
from tests.engine.reader import Reader
from tests.waiting import until

NIGHTLY = bool(os.environ.get("OZELOT_TEST_NIGHTLY"))
KILLS = 300 if NIGHTLY else 6
WORKING = ["LoadAuthors", "RateAuthors", "LoadBooks 1990", "LoadBooks 1991", "LoadBooks 1992", "LoadReviews"]


@pytest.fixture(autouse=True)
def loaded(db: Client) -> None:
    """The library, complete; what is loaded from now on is of another version."""
    load_once(db)


def test_who_reads_meanwhile_sees_the_old_state_and_then_the_new_one(database_url: str) -> None:
    Path("wish LoadReviews").write_text("wait")
    reader = Reader(database_url, waiting="LoadReviews")
    with reader.reading():
        result = load_all_again()
    assert result.ok and sorted(result.ran) == sorted(LIBRARY)
    assert reader.looks_in_the_middle >= 5
    assert [library(), library("v2")][: len(reader.seen)] == reader.seen
    assert contents(database_url) == library("v2")


@pytest.mark.parametrize("name", WORKING)
def test_a_failure_anywhere_leaves_what_was_there(database_url: str, name: str) -> None:
    Path(f"wish {name}").write_text("fail")
    reader = Reader(database_url)
    with reader.reading():
        result = load_all_again()
    assert reader.seen == [library()]
    assert contents(database_url) == library()
    (label,) = result.failed
    assert label.startswith(name.split()[0]) and not result.ran
    assert sorted([label, *result.not_reached, *result.rolled_back]) == sorted(LIBRARY)
    came_by = {path.name.removeprefix("came by ") for path in Path.cwd().glob("came by *")}
    assert {re.sub(r"\W+year\W+|\W+$", " ", label).strip() for label in result.rolled_back} == came_by - {name}
    states = [(label, state) for label, state, _ in runs(database_url)]
    assert states[len(LIBRARY) :] == [(label, "failed")]
    Path(f"wish {name}").unlink()
    assert load_all_again().ok and contents(database_url) == library("v2")


@pytest.mark.slow
def test_the_history_tells_what_failed(database_url: str, tmp_path: Path) -> None:
    Path("wish LoadReviews").write_text("fail")
    options = ("--pipeline", PIPELINE, "--database", database_url)
    done = process(tmp_path, *options, "run", "LoadAuthors", "--force", "--atomic", "--yes")
    assert "LoadReviews: RuntimeError: no LoadReviews today" in done.out
    assert re.search(r"^Ran, and rolled back: \d: LoadAuthors, .*\nNot reached: \d: .*LoadLibrary$", done.out, re.M)
    told = process(tmp_path, *options, "history", "--last", "1")
    assert "LoadReviews" in told.out and "failed" in told.out and "no LoadReviews today" in told.out
    assert contents(database_url) == library()


@pytest.mark.slow
def test_a_kill_at_any_moment_leaves_all_that_was_there_or_all_that_is_new(database_url: str, tmp_path: Path) -> None:
    driver = subprocess.Popen(
        quick.python("-m", "tests.engine.again_and_again", database_url),
        cwd=tmp_path,
        env=environment(OZELOT_LOG_LEVEL="ERROR"),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert driver.stdin is not None and driver.stdout is not None
    reader = Reader(database_url)
    states = [library()]
    longest, killed = 0.0, 0
    try:
        with reader.reading():
            for number in range(KILLS):
                states.append(library(f"v{number}"))
                Path("wish version").write_text(f"v{number}")
                start = time.monotonic()
                print(file=driver.stdin, flush=True)
                pid = int(driver.stdout.readline())
                if number:  # the first one says how long it takes; the moment is what is drawn
                    time.sleep(random.uniform(0.0, longest) if number > 1 else 0.0)
                    os.kill(pid, signal.SIGKILL)
                print(file=driver.stdin, flush=True)
                code = int(driver.stdout.readline())
                assert code == 0 if not number else code in (0, -signal.SIGKILL)
                longest = longest or time.monotonic() - start
                killed += code != 0
                found = contents(database_url)
                assert found in (states[-2:] if code else states[-1:])
                states[-2:] = [found]
    finally:
        driver.stdin.close()
        driver.wait(60)
        driver.stdout.close()
    assert killed
    whole = [library(), *(library(f"v{number}") for number in range(KILLS))]
    assert all(found in whole for found in reader.seen)
    assert load_all_again().ok and contents(database_url) == library(f"v{KILLS - 1}")


def started(folder: Path, url: str) -> subprocess.Popen[str]:
    """A refresh that waits in the middle of a task."""
    Path("wish LoadReviews").write_text("wait")
    options = ("--pipeline", PIPELINE, "--database", url, "run", "LoadAuthors", "--force", "--atomic", "--yes")
    child = subprocess.Popen(
        command(*options), cwd=folder, env=environment(), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    until(Path("came by LoadReviews").exists, "the task in the middle", unless=lambda: child.poll() is not None)
    return child


@pytest.mark.slow
def test_ctrl_c_leaves_what_was_there(database_url: str, tmp_path: Path) -> None:
    reader = Reader(database_url)
    with reader.reading(), started(tmp_path, database_url) as child:
        child.send_signal(signal.SIGINT)
        Path("wish LoadReviews").unlink()  # the first one lets it end
        out, err = child.communicate(timeout=60)
    assert child.returncode == 130, err
    assert "Ran, and rolled back: " in out and "Not reached: " in out and "Ran 6" not in out
    assert reader.seen == [library()] and contents(database_url) == library()


@pytest.mark.slow
def test_ctrl_c_twice_ends_at_once_and_leaves_what_was_there(database_url: str, tmp_path: Path) -> None:
    with started(tmp_path, database_url) as child:
        deadline = time.monotonic() + 60
        while child.poll() is None and time.monotonic() < deadline:
            child.send_signal(signal.SIGINT)  # two at the same moment are one
            time.sleep(0.05)
        _, err = child.communicate(timeout=60)
    assert child.returncode == 130, err
    assert "rolled back" in err and "Traceback" not in err
    assert contents(database_url) == library()


def test_it_has_one_worker() -> None:
    roots = [LoadAuthors()]
    for how in ({"workers": 2}, {"executor": "process"}):
        with pytest.raises(ConfigError, match="one worker"):
            run_again(clear_plan(LoadLibrary(), roots), roots, atomic=True, **how)
