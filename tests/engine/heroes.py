"""The superheroes example, run by the command as a process of its own."""

from __future__ import annotations

import os
from collections import Counter
from pathlib import Path

import sqlalchemy as sa

from tests.cli.calling import Called, process
from tests.engine.contents import engine_for
from tests.folders import ROOT
from tests.superheroes import EXAMPLE

WIKI = "https://marvel.fandom.com"  # every page comes from the cache
PATH = os.pathsep.join([str(EXAMPLE), str(ROOT), os.environ.get("PYTHONPATH", "")])

_WHAT_IS_THERE = """
SELECT 'movie', m.name, m.budget_inflation_adjusted, m.url FROM movie m
UNION ALL SELECT 'appearance', m.name, NULL, c.url
FROM movieappearance a JOIN movie m ON m.id = a.movie_id JOIN {character} c ON c.id = a.character_id
UNION ALL SELECT 'marker', name, NULL, NULL FROM ormtargetmarker
"""


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


def expected(pages: Path) -> Counter[tuple[object, ...]]:
    """What one thread loads into a database beside the pages."""
    url = f"sqlite:///{pages.parent / 'expected.db'}"
    assert ozelot(pages.parent, pages, url, "db", "init").code == 0
    done = ozelot(pages.parent, pages, url, "run")
    assert done.code == 0, done.err
    found = loaded(url)
    assert found.total() > 500
    return found
