"""``ozelot run TASK --force`` as a process of its own: at a terminal, and with processes."""

from __future__ import annotations

from pathlib import Path

import pytest

from ozelot.client import Client
from tests.cli.calling import at_terminal, process
from tests.engine.contents import contents, library
from tests.engine.library import PIPELINE, load_once

pytestmark = pytest.mark.slow


@pytest.fixture(autouse=True)
def loaded(sqlite_db: Client) -> None:
    """The library, complete; what is loaded from now on is of another version."""
    load_once(sqlite_db)


@pytest.mark.parametrize("answer", ["n", "y"])
def test_at_a_terminal_it_shows_the_plan_and_asks(sqlite_db: Client, answer: str, tmp_path: Path) -> None:
    pytest.importorskip("pty")
    arguments = ("--pipeline", PIPELINE, "--database", str(sqlite_db.url), "run", "RateAuthors", "--force")
    done = at_terminal(tmp_path, *arguments, answers=[answer])
    assert done.out.index("author.rating") < done.out.index("Clear 2 tasks, and run? [y/N]")
    assert done.code == (0 if answer == "y" else 1), done.out
    assert Path("came by RateAuthors").exists() is (answer == "y")
    rating = "3" if answer == "y" else "1"
    assert contents(str(sqlite_db.url))["author", "author 1", rating] == 1


def test_it_works_on_processes_too(sqlite_db: Client, tmp_path: Path) -> None:
    arguments = ("run", "LoadAuthors", "--force", "--yes", "--processes", "--workers", "2")
    done = process(tmp_path, "--pipeline", PIPELINE, "--database", str(sqlite_db.url), *arguments)
    assert done.code == 0, done.err
    assert contents(str(sqlite_db.url)) == library("v2")


def test_force_on_a_cluster_that_is_not_there_clears_nothing(sqlite_db: Client, tmp_path: Path) -> None:
    url = sqlite_db.url.render_as_string()
    before = contents(url)
    refused = process(
        tmp_path,
        "--pipeline",
        PIPELINE,
        "--database",
        url,
        "run",
        "LoadAuthors",
        "--force",
        "--yes",
        "--dask",
        "tcp://127.0.0.1:1",
    )
    assert refused.code == 3
    assert "No Dask scheduler answers at tcp://127.0.0.1:1" in refused.err
    assert contents(url) == before
