"""The superheroes example in several processes: the same database as in one."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest

from tests.engine.heroes import loaded, ozelot

pytestmark = pytest.mark.slow


def test_processes_load_the_same(
    wiki_pages: Path, all_heroes: Counter[tuple[object, ...]], database_url: str, tmp_path: Path
) -> None:
    assert ozelot(tmp_path, wiki_pages, database_url, "db", "init").code == 0
    done = ozelot(tmp_path, wiki_pages, database_url, "run", "--processes", "--workers", "2")
    assert done.code == 0, done.err
    assert loaded(database_url) == all_heroes
