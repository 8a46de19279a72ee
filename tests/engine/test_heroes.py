"""The superheroes example in several processes: the same database as in one."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest

from tests.engine.heroes import fill_cache, loaded, ozelot


@pytest.fixture(scope="module")
def pages(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("pages") / "web_cache.db"
    fill_cache(path)
    return path


@pytest.fixture(scope="module")
def expected(pages: Path) -> Counter[tuple[object, ...]]:
    """What one thread loads."""
    url = f"sqlite:///{pages.parent / 'expected.db'}"
    assert ozelot(pages.parent, pages, url, "db", "init").code == 0
    done = ozelot(pages.parent, pages, url, "run")
    assert done.code == 0, done.err
    found = loaded(url)
    assert found.total() > 500
    return found


def test_processes_load_the_same(
    pages: Path, expected: Counter[tuple[object, ...]], database_url: str, tmp_path: Path
) -> None:
    assert ozelot(tmp_path, pages, database_url, "db", "init").code == 0
    done = ozelot(tmp_path, pages, database_url, "run", "--processes", "--workers", "2")
    assert done.code == 0, done.err
    assert loaded(database_url) == expected
    again = ozelot(tmp_path, pages, database_url, "run", "LoadMovies", "--force", "--atomic", "--yes")
    assert again.code == 0, again.err
    assert loaded(database_url) == expected
