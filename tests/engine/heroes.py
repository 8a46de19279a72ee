"""The superheroes example, run by the command as a process of its own."""

from __future__ import annotations

import os
import sys
from collections import Counter
from pathlib import Path

import pytest
import sqlalchemy as sa

from ozelot import cache
from tests.cli.calling import ROOT, Called, process
from tests.engine.contents import engine_for

sys.path.insert(0, str(ROOT / "examples" / "superheroes"))
from superheroes import snapshot

EXAMPLE = ROOT / "examples" / "superheroes"
WIKI = "https://marvel.fandom.com"  # every page comes from the cache
PATH = os.pathsep.join([str(EXAMPLE), str(ROOT), os.environ.get("PYTHONPATH", "")])

_WHAT_IS_THERE = """
SELECT 'movie', m.name, m.budget_inflation_adjusted, m.url FROM movie m
UNION ALL SELECT 'appearance', m.name, NULL, c.url
FROM movieappearance a JOIN movie m ON m.id = a.movie_id JOIN {character} c ON c.id = a.character_id
UNION ALL SELECT 'marker', name, NULL, NULL FROM ormtargetmarker
"""


def fill_cache(path: Path) -> None:
    """Put the snapshot of the wiki into a request cache."""
    with cache.RequestCache(path) as store:
        for url, body in snapshot.pages(WIKI):
            store.put(url, body)
        for url in snapshot.gone(WIKI):
            store.put(url, "", status_code=404)


def settings(pages: Path) -> dict[str, str]:
    """The environment of a process that runs the example on pages from a cache."""
    return {"PYTHONPATH": PATH, "OZELOT_REQUEST_CACHE_PATH": str(pages)}


def ozelot(folder: Path, pages: Path, url: str, *arguments: str) -> Called:
    """Call a command for the example."""
    options = ("--pipeline", "superheroes.pipeline:LoadEverything", "--database", url)
    return process(folder, *options, *arguments, **settings(pages))


def loaded(url: str) -> Counter[tuple[object, ...]]:
    """What is in its database."""
    engine = engine_for(url)
    named = engine.dialect.identifier_preparer.quote("character")
    text = _WHAT_IS_THERE.format(character=named)
    with engine.connect() as connection:
        return Counter(tuple(row) for row in connection.execute(sa.text(text)))


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
