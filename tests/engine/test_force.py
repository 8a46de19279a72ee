"""``ozelot run TASK --force``: what is complete, loaded again with what stands on it."""

from __future__ import annotations

from pathlib import Path

import pytest

import ozelot
from ozelot import client
from ozelot.client import Client
from ozelot.etl.completion import clear_plan
from tests.cli.calling import Called, called
from tests.engine.contents import Contents, contents, library, markers, runs
from tests.engine.library import LIBRARY, PIPELINE, LoadLibrary, LoadReviews, load_once

pytestmark = pytest.mark.usefixtures("nothing_left_behind")


@pytest.fixture(autouse=True)
def loaded(db: Client) -> None:
    """The library, complete; what is loaded from now on is of another version."""
    load_once(db)


def force(url: str, *arguments: str) -> Called:
    before = client.get_client()
    try:
        return called("--pipeline", PIPELINE, "--database", url, "run", *arguments, "--force")
    finally:
        client.get_client().engine.dispose()
        client.set_client(before)


def came_by() -> set[str]:
    """The tasks that ran since."""
    return {path.name.removeprefix("came by ") for path in Path.cwd().glob("came by *")}


def with_new_books(year: int) -> Contents:
    """What is there when only the books of one year, and what stands on them, are new."""
    old, new = library(), library("v2")
    return (old - new) & _outside(old, year) | (new - old) & _of(new, year) | (old & new)


def _of(found: Contents, year: int) -> Contents:
    return Contents({row: n for row, n in found.items() if row[0] == "review" or f"of {year} by" in row[1]})


def _outside(found: Contents, year: int) -> Contents:
    return found - _of(found, year)


def test_a_task_and_all_that_stands_on_it_are_loaded_again(database_url: str) -> None:
    done = force(database_url, "LoadBooks {'year': '1990'}", "--yes")
    assert done.code == 0, done.err
    assert came_by() == {"LoadBooks 1990", "LoadReviews"}
    assert contents(database_url) == with_new_books(1990)
    assert "To be cleared in" in done.out and "4 book" in done.out and "8 review" in done.out
    assert "Ran 3 in " in done.out


@pytest.mark.parametrize("atomic", [(), ("--atomic",)], ids=["plain", "atomic"])
def test_all_of_it_can_be_loaded_again(database_url: str, atomic: tuple[str, ...]) -> None:
    done = force(database_url, "LoadAuthors", "--yes", *atomic)
    assert done.code == 0, done.err
    assert contents(database_url) == library("v2")
    assert f"Ran {len(LIBRARY)} in " in done.out
    states = [state for _, state, _ in runs(database_url)]
    assert states.count("cleared") == states.count("done") == len(LIBRARY)


@pytest.mark.parametrize("atomic", [(), ("--atomic",)], ids=["plain", "atomic"])
def test_what_was_incomplete_downstream_is_not_run(database_url: str, atomic: tuple[str, ...]) -> None:
    clear_plan(LoadLibrary(), [LoadReviews()]).apply()
    done = force(database_url, "LoadBooks {'year': '1991'}", "--yes", *atomic)
    assert "Ran 1 in " in done.out
    assert came_by() == {"LoadBooks 1991"}
    assert markers(contents(database_url)) == {*LIBRARY} - {"LoadReviews {}", "LoadLibrary {}"}
    assert sum(row[2] == "v2" for row in contents(database_url).elements()) == 4


def test_nothing_is_changed_where_nobody_can_be_asked(database_url: str) -> None:
    asked = force(database_url, "LoadAuthors")
    assert asked.code == 1 and "add --yes" in asked.err
    assert contents(database_url) == library() and not came_by()


def test_a_failure_leaves_what_came_before_it_loaded_and_what_stands_on_it_incomplete(database_url: str) -> None:
    Path("wish LoadBooks 1991").write_text("fail")
    force(database_url, "LoadAuthors", "--yes")
    expected = {*LIBRARY} - {"LoadBooks {'year': '1991'}", "LoadReviews {}", "LoadLibrary {}"}
    assert markers(contents(database_url)) == expected
    Path("wish LoadBooks 1991").unlink()
    assert ozelot.run(LoadLibrary()).ok
    assert contents(database_url) == library("v2")


@pytest.mark.parametrize("atomic", [(), ("--atomic",)], ids=["plain", "atomic"])
def test_the_exit_code_tells_that_what_stands_on_it_failed(database_url: str, atomic: tuple[str, ...]) -> None:
    Path("wish LoadBooks 1991").write_text("fail")
    assert force(database_url, "LoadAuthors", "--yes", *atomic).code == 1
