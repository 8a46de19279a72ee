"""What the tests of the request cache have in common."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from ozelot.cache import RequestCache
from tests.cache.hurried import Hurried
from tests.cache.server import Server, serving


@pytest.fixture(autouse=True)
def turns_of_their_own(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let no test wait because another one's server, on the same port since, asked to be left alone."""
    folder = tmp_path_factory.mktemp("turns")
    tempfile.gettempdir()  # what this process takes from here on; TMPDIR is for those that it starts
    monkeypatch.setenv("TMPDIR", str(folder))
    for module in ("request_cache", "download"):
        monkeypatch.setattr(f"ozelot.cache.{module}.shared_folder", lambda: folder)


@pytest.fixture
def server() -> Iterator[Server]:
    with serving() as found:
        yield found


@pytest.fixture
def cache(tmp_path: Path) -> Iterator[RequestCache]:
    """A cache on the real web, which does not wait between two tries."""
    with RequestCache(tmp_path / "cache.db", timer=Hurried()) as found:
        yield found
