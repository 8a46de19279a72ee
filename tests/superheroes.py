"""The superheroes example within this process: its modules, and a request cache with the pages that it loads."""

from __future__ import annotations

import sys
from pathlib import Path

from ozelot import cache
from ozelot.orm.base import Base
from tests.folders import EXAMPLES

sys.path.insert(0, str(EXAMPLES / "superheroes"))
from superheroes import checks, inputs, pipeline, snapshot
from superheroes.models import Character, Movie, MovieAppearance, Place, Universe

__all__ = ["EXAMPLE", "MODELS", "WIKI", "checks", "fill_cache", "inputs", "pipeline", "settings"]

EXAMPLE = EXAMPLES / "superheroes"
MODELS: list[type[Base]] = [Universe, Place, Character, Movie, MovieAppearance]
WIKI = "https://wiki.example"


def fill_cache(path: Path, wiki: str = WIKI) -> Path:
    """Put the snapshot of the wiki into a request cache, as if it came from an address; returns the path."""
    with cache.RequestCache(path) as store:
        for url, body in snapshot.pages(wiki):
            store.put(url, body)
        for url in snapshot.gone(wiki):
            store.put(url, "", status_code=404)
    return path


def settings(pages: Path) -> dict[str, object]:
    """What :mod:`ozelot.config` has to say for the example to load the pages of a cache."""
    return {"WIKI_URL": WIKI, "UNIVERSES": None, "RATE_LIMIT": None, "REQUEST_CACHE_PATH": str(pages)}
