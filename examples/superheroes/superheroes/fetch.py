"""The wiki, read through the request cache."""

import logging
from collections.abc import Iterable, Iterator

from ozelot import cache, config
from ozelot.errors import OzelotError
from superheroes import parse
from superheroes.wiki import category_url, page_url

log = logging.getLogger("ozelot.superheroes")

_GONE = (404, 410)


class WikiError(OzelotError, RuntimeError):
    """The wiki does not give what the whole pipeline stands on."""


def url_of(title: str) -> str:
    """The address of a page."""
    return page_url(_wiki_url(), title)


def pages(urls: Iterable[str]) -> Iterator[tuple[str, str]]:
    """The pages that are there with their addresses, as they come; those not in the cache are fetched in parallel.

    A page that the wiki says is gone is left out, and not asked for again.

    Raises:
        FetchError: if a page cannot be had for any other reason. That is worth another run, which finds all pages so
            far in the cache; a page left out would be missing from then on.
    """
    store = cache.get_request_cache()
    for page in store.get_many(urls, rate_limit=config.RATE_LIMIT, progress=True):
        if page.error is None:
            yield page.url, page.text
        elif page.status not in _GONE:
            raise page.error
        else:
            store.put(page.url, "", status_code=page.status)
            log.warning("Page gone, skipped: %s", page.url)


def index(url: str) -> str:
    """A page that names other pages: without it there is nothing to load.

    Raises:
        FetchError: if it cannot be had, for whatever reason.
    """
    return _get(url)


def category_members(category: str) -> list[str]:
    """The titles of all pages in a category, each once.

    Raises:
        FetchError: if a piece of the list cannot be had.
        WikiError: if the list makes no sense.
    """
    url: str | None = category_url(_wiki_url(), category)
    asked: set[str] = set()
    titles: list[str] = []
    while url is not None:
        asked.add(url)
        try:
            listing = parse.category_members(index(url))
        except ValueError as exc:
            raise WikiError(f"{exc}. Asked for: {url}") from exc
        titles.extend(listing.titles)
        if listing.continue_from is None:
            break
        url = category_url(_wiki_url(), category, listing.continue_from)
        if url in asked:
            raise WikiError(f"The list of Category:{category} runs in a circle at {url}")
    return list(dict.fromkeys(titles))


def _get(url: str) -> str:
    return cache.get_request_cache().get(url, rate_limit=config.RATE_LIMIT, log_hits=False)


def _wiki_url() -> str:
    return str(config.WIKI_URL).rstrip("/")
