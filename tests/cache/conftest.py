"""What the tests of the request cache have in common."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from ozelot.cache import RequestCache
from tests.cache.hurried import Hurried
from tests.cache.server import Server, serving


@pytest.fixture(autouse=True)
def turns_of_their_own(turns_of_their_own: None) -> None:
    """In each test: they ask servers of their own."""


@pytest.fixture
def server() -> Iterator[Server]:
    with serving() as found:
        yield found


@pytest.fixture
def cache(tmp_path: Path) -> Iterator[RequestCache]:
    """A cache on the real web, which does not wait between two tries."""
    with RequestCache(tmp_path / "cache.db", timer=Hurried()) as found:
        yield found
