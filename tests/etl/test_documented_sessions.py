"""The sessions that the documentation shows, on every database: same messages, same order, same counts."""

from __future__ import annotations

import logging
import re

import pytest

from ozelot.client import Client
from ozelot.etl import tasks
from tests.etl import heroes
from tests.etl.heroes import FULL, build, counts
from tests.log_messages import messages
from tests.tables import create_tables


@pytest.fixture(autouse=True)
def inputs(db: Client) -> None:
    create_tables(db, *heroes.TABLES)
    heroes.write_inputs()


def test_after_loading_characters_the_rest_is_incomplete(db: Client, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    assert build(heroes.LoadCharacters())
    caplog.clear()
    complete = tasks.check_completion(heroes.LoadEverything())
    assert messages(caplog) == [
        "Task incomplete: LoadMovies {}",
        "Task incomplete: LoadMovieAppearances {}",
        "Task incomplete: InflationAdjustMovieBudgets {}",
        "Task incomplete: LoadEverything {}",
        "Task completion checking, summary:\n{'Complete tasks': 4, 'Incomplete tasks': 4}",
    ]
    assert complete is False


def test_after_loading_everything_all_is_complete_and_a_second_build_runs_nothing(
    db: Client, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    assert build(heroes.LoadEverything())
    before = counts(db)
    assert before == FULL
    caplog.clear()
    assert tasks.check_completion(heroes.LoadEverything()) is True
    assert messages(caplog) == ["Task completion checking, summary:\n{'Complete tasks': 8}"]
    assert build(heroes.LoadEverything())
    assert counts(db) == before
    assert tasks.check_completion(heroes.LoadEverything(), return_stats=True) == (True, {"Complete tasks": 8})


def test_removing_one_marker_shows_what_stands_on_it_and_clearing_goes_from_the_root(
    db: Client, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    assert build(heroes.LoadEverything())
    heroes.LoadMovies().mark_incomplete()
    caplog.clear()
    assert not tasks.check_completion(heroes.LoadEverything())
    examined = [
        "Task incomplete: LoadMovies {}",
        "Task complete but requirements incomplete: LoadMovieAppearances {}",
        "Task complete but requirements incomplete: InflationAdjustMovieBudgets {}",
        "Task complete but requirements incomplete: LoadEverything {}",
    ]
    assert messages(caplog) == [
        *examined,
        "Task completion checking, summary:\n{'Complete tasks': 4, 'Incomplete tasks': 4}",
    ]

    assert not tasks.check_completion(heroes.LoadEverything(), clear=True)
    logged = messages(caplog)
    assert logged[:4] == examined
    assert logged[4] == "Cleared task: LoadEverything {}"
    assert set(logged[5:7]) == {
        "Cleared task: LoadMovieAppearances {}",
        "Cleared task: InflationAdjustMovieBudgets {}",
    }
    assert logged[7:] == [
        "Cleared task: LoadMovies {}",
        "Task completion checking, summary:\n{'Complete tasks': 4, 'Incomplete tasks': 4, 'Cleared': 4}",
    ]
    assert counts(db) == {**FULL, "HMovie": 0, "HMovieAppearance": 0}
    assert build(heroes.LoadEverything())
    assert counts(db) == FULL
    assert tasks.check_completion(heroes.LoadEverything())


def test_mark_incomplete_removes_markers_and_leaves_data(db: Client) -> None:
    assert build(heroes.LoadEverything())
    heroes.LoadMovies().mark_incomplete()
    complete, stats = tasks.check_completion(heroes.LoadEverything(), mark_incomplete=True, return_stats=True)
    assert not complete
    assert stats == {"Complete tasks": 4, "Incomplete tasks": 4, "Marked incomplete": 4}
    assert counts(db) == FULL
    assert not heroes.InflationAdjustMovieBudgets().complete()
    assert heroes.LoadCharacters().complete()


def test_clear_alone_on_referenced_rows_leaves_them_for_the_completion_check(
    db: Client, caplog: pytest.LogCaptureFixture
) -> None:
    assert build(heroes.LoadEverything())
    caplog.clear()
    heroes.LoadMovies().clear()
    (warning,) = [record.getMessage() for record in caplog.records if record.levelno == logging.WARNING]
    assert re.search(
        r"LoadMovies {} is marked incomplete, but its rows stay: 50 rows of hmovieappearance "
        r"\(created by LoadMovieAppearances {}\) refer to hmovie",
        warning,
    )
    assert counts(db) == FULL
    _, stats = tasks.check_completion(heroes.LoadEverything(), clear=True, return_stats=True)
    assert stats == {"Complete tasks": 4, "Incomplete tasks": 4, "Cleared": 4}
    assert counts(db) == {**FULL, "HMovie": 0, "HMovieAppearance": 0}
