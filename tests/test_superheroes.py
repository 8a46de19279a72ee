"""The superheroes pipeline on every database, and the documented clearing session on its full data."""

from __future__ import annotations

import logging
from pathlib import Path

import pytest

from ozelot import config
from ozelot.client import Client
from ozelot.etl import tasks
from tests import superheroes
from tests.etl.heroes import build
from tests.log_messages import messages
from tests.superheroes import MODELS, checks, fill_cache, pipeline
from tests.tables import count_rows, create_tables

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def filled_cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return fill_cache(tmp_path_factory.mktemp("cache") / "web_cache.db")


@pytest.fixture(autouse=True)
def settings(db: Client, filled_cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in superheroes.settings(filled_cache).items():
        monkeypatch.setitem(vars(config), name, value)
    create_tables(db, *MODELS)


def counts(db: Client) -> dict[str, int]:
    return {model.__name__: count_rows(db, model) for model in MODELS}


def test_clearing_movies_alone_then_the_documented_clearing_session(
    db: Client, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    assert build(pipeline.LoadEverything())
    full = counts(db)
    assert full["Universe"] >= 20 and full["Character"] >= 120 and full["Movie"] >= 40
    assert full["MovieAppearance"] >= 300

    caplog.clear()
    pipeline.LoadMovies().clear()
    (warning,) = messages(caplog)
    assert warning.startswith(
        f"LoadMovies {{}} is marked incomplete, but its rows stay: {full['MovieAppearance']} rows of movieappearance "
        "(created by LoadMovieAppearances {}) refer to movie"
    )
    assert counts(db) == full

    examined = [
        "Task incomplete: LoadMovies {}",
        "Task complete but requirements incomplete: LoadMovieAppearances {}",
        "Task complete but requirements incomplete: InflationAdjustMovieBudgets {}",
        "Task complete but requirements incomplete: LoadEverything {}",
    ]
    assert tasks.check_completion(pipeline.LoadEverything()) is False
    assert messages(caplog) == [
        *examined,
        "Task completion checking, summary:\n{'Complete tasks': 4, 'Incomplete tasks': 4}",
    ]
    assert tasks.check_completion(pipeline.LoadEverything(), clear=True) is False
    logged = messages(caplog)
    assert logged[:5] == [*examined, "Cleared task: LoadEverything {}"]
    assert sorted(logged[5:7]) == [
        "Cleared task: InflationAdjustMovieBudgets {}",
        "Cleared task: LoadMovieAppearances {}",
    ]
    assert logged[7:] == [
        "Cleared task: LoadMovies {}",
        "Task completion checking, summary:\n{'Complete tasks': 4, 'Incomplete tasks': 4, 'Cleared': 4}",
    ]
    assert counts(db) == {**full, "Movie": 0, "MovieAppearance": 0}

    assert build(pipeline.LoadEverything(), checks.Tests())
    assert counts(db) == full
    assert tasks.check_completion(pipeline.LoadEverything(), return_stats=True) == (True, {"Complete tasks": 8})
