"""``stale_if_error``: where a page cannot be refreshed, the kept one is returned, and says so."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import pytest

from ozelot.cache import Answer, Unreachable
from ozelot.errors import FetchError, NotInCache
from ozelot.testing import FakeWeb

URL = "https://wiki.example/Thor"
PATIENCE = Answer(503, "", {"Retry-After": "7200"})


@pytest.mark.parametrize("failure", [500, 502, 503, 504, 520, 408, 429, Unreachable("no route to host"), PATIENCE])
@pytest.mark.parametrize("options", [{"refresh": True}, {"max_age": -1}])
def test_page_that_cannot_be_refreshed_is_the_kept_one(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, failure: Any, options: Any
) -> None:
    web = FakeWeb({URL: ["old", failure]})
    with web.cache(tmp_path / "cache.db") as cache, caplog.at_level(logging.WARNING):
        cache.get(URL)
        with pytest.raises(FetchError):
            cache.get(URL, **options)
        assert caplog.records == []
        page = cache.get_page(URL, stale_if_error=True, **options)
        assert (page.text, page.from_cache, page.error) == ("old", True, None)
        assert isinstance(page.refresh_error, FetchError)
        assert cache.get_page(URL).refresh_error is None
    (message,) = [record.getMessage() for record in caplog.records]
    assert message.startswith(f"Not refreshed, so the page of the cache is used: No page from {URL}: ")


@pytest.mark.parametrize("status", [400, 401, 403, 404, 410, 451])
def test_answer_that_there_is_no_page_is_an_error(tmp_path: Path, status: int) -> None:
    with FakeWeb({URL: ["old", status]}).cache(tmp_path / "cache.db") as cache:
        cache.get(URL)
        with pytest.raises(FetchError, match=f"HTTP status {status}"):
            cache.get(URL, refresh=True, stale_if_error=True)


def test_without_a_kept_page_the_failure_is_an_error(tmp_path: Path) -> None:
    with FakeWeb({URL: 500}).cache(tmp_path / "cache.db") as cache:
        for _ in range(2):
            with pytest.raises(FetchError, match="HTTP status 500"):
                cache.get(URL, stale_if_error=True, store_on_error=True)


def test_many_pages_and_parts_of_pages_are_kept_likewise(tmp_path: Path) -> None:
    web = FakeWeb({URL: ["<p>old</p>", "<p>old</p>", 500], f"{URL}/2": ["two", "new"]})
    with web.cache(tmp_path / "cache.db") as cache:
        assert cache.get(URL, xpath="//p") == "<p>old</p>"
        list(cache.get_many([URL, f"{URL}/2"]))
        assert cache.get(URL, xpath="//p", refresh=True, stale_if_error=True) == "<p>old</p>"
        pages = {page.url: page for page in cache.get_many([URL, f"{URL}/2"], refresh=True, stale_if_error=True)}
    assert {url: page.text for url, page in pages.items()} == {URL: "<p>old</p>", f"{URL}/2": "new"}
    assert pages[URL].refresh_error is not None
    assert pages[f"{URL}/2"].refresh_error is None


def test_offline_a_page_that_is_too_old_is_returned(tmp_path: Path) -> None:
    web = FakeWeb({URL: "old"})
    with web.cache(tmp_path / "cache.db") as cache:
        cache.get(URL)
    with web.cache(tmp_path / "cache.db", offline=True) as cache:
        with pytest.raises(NotInCache):
            cache.get(URL, max_age=-1)
        assert cache.get(URL, max_age=-1, stale_if_error=True) == "old"


def test_rules_that_cannot_be_had_are_such_a_failure_and_rules_that_forbid_are_not(tmp_path: Path) -> None:
    web = FakeWeb({URL: "old", "https://wiki.example/robots.txt": 500})
    with web.cache(tmp_path / "cache.db") as cache:
        cache.get(URL)
    with web.cache(tmp_path / "cache.db", robots=True) as cache:
        assert cache.get(URL, refresh=True, stale_if_error=True) == "old"
        web.pages["https://wiki.example/robots.txt"] = "User-agent: *\nDisallow: /"
        with pytest.raises(FetchError, match="forbids"):
            cache.get(URL, refresh=True, stale_if_error=True)
