"""Databases with the tables of the steps, a clean drawing for each test, and what the superheroes example loads."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

from ozelot.client import Client
from tests.engine import heroes
from tests.engine.steps import EStep, empty_drawing
from tests.superheroes import fill_cache
from tests.tables import create_tables


@pytest.fixture(autouse=True)
def nothing_drawn() -> Iterator[None]:
    with empty_drawing():
        yield


@pytest.fixture(scope="session")
def wiki_pages(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A request cache with the pages that the superheroes example loads."""
    return fill_cache(tmp_path_factory.mktemp("pages") / "web_cache.db", heroes.WIKI)


@pytest.fixture(scope="session")
def all_heroes(wiki_pages: Path) -> Counter[tuple[object, ...]]:
    """What one thread loads from them."""
    return heroes.expected(wiki_pages)


@pytest.fixture
def everywhere(db: Client) -> Client:
    """Each kind of database in turn, with its tables."""
    create_tables(db, EStep)
    return db


@pytest.fixture
def here(sqlite_db: Client) -> Client:
    """SQLite, with its tables."""
    create_tables(sqlite_db, EStep)
    return sqlite_db
