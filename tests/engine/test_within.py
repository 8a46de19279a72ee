"""A run as a part of the caller's own transaction."""

from __future__ import annotations

from pathlib import Path

import pytest

import ozelot
from ozelot.client import Client
from ozelot.errors import ConfigError
from tests.engine.contents import contents, library, markers
from tests.engine.library import Link, LoadLibrary, create_tables


def test_it_commits_or_not_with_the_rest(db: Client, database_url: str) -> None:
    create_tables(db)
    with pytest.raises(ZeroDivisionError), db.transaction():
        assert ozelot.run(LoadLibrary()).ok
        raise ZeroDivisionError
    assert not contents(database_url)
    with db.transaction():
        assert ozelot.run(LoadLibrary()).ok
        assert not contents(database_url)
    assert contents(database_url) == library()


def test_tables_of_markers_and_runs_are_made_where_they_are_missing(sqlite_db: Client) -> None:
    with sqlite_db.transaction():
        assert ozelot.run(Link(number=1)).ok
    assert Link(number=1).complete()


def test_what_stands_on_a_task_that_failed_does_not_run(sqlite_db: Client) -> None:
    create_tables(sqlite_db)
    Path("wish Link 5").write_text("fail")
    with sqlite_db.transaction():
        result = ozelot.run(Link(number=9))
    assert list(result.failed) == ["Link {'number': '5'}"]
    assert result.not_reached == {f"Link {{'number': '{n}'}}": "Link {'number': '5'}" for n in range(6, 10)}
    assert markers(contents(str(sqlite_db.url))) == {f"Link {{'number': '{n}'}}" for n in range(5)}


def test_it_has_one_worker(sqlite_db: Client) -> None:
    with sqlite_db.transaction(), pytest.raises(ConfigError, match="one worker"):
        ozelot.run(LoadLibrary(), workers=2)
