"""A page, as it is handed out; and the error where there is none."""

from __future__ import annotations

import datetime
import json
import re
from dataclasses import dataclass
from typing import Any

from lxml import html
from w3lib.encoding import http_content_type_encoding

from ozelot.cache.encoding import document, is_json, json_encoding, text_of, usable
from ozelot.cache.request import (
    ERROR_CONNECTION_ERROR,
    ERROR_DISALLOWED,
    ERROR_LOCAL_TARGET,
    ERROR_OFFLINE,
    ERROR_TOO_LARGE,
    ERROR_XPATH_NOT_FOUND,
)
from ozelot.cache.storage import Entry
from ozelot.errors import ConfigError, Disallowed, FetchError, LocalTargetRefused, NotInCache, TooLarge

_KINDS: dict[int, type[FetchError]] = {
    ERROR_TOO_LARGE: TooLarge,
    ERROR_DISALLOWED: Disallowed,
    ERROR_LOCAL_TARGET: LocalTargetRefused,
    ERROR_OFFLINE: NotInCache,
}
_CONTROL = re.compile(r"[\0-\x1f\x7f]")  # in an address, they would make more than one line of a message
_TO_DO = {
    401: "It wants other headers, such as Authorization",
    403: "It wants other headers, or does not let you in",
    408: "It is in trouble: try again later",
    429: "Ask less often: rate_limit",
    ERROR_CONNECTION_ERROR: "Check the address and the network, or try again later",
    ERROR_TOO_LARGE: "Let the cache take more, or use a DownloadTask",
    ERROR_DISALLOWED: "Leave it, or ask whose server it is",
    ERROR_OFFLINE: "Get it once without OFFLINE",
}


@dataclass(frozen=True, eq=False)
class Page:
    """A page from the cache or the web; or why there is none.

    Attributes:
        url: what was asked for, as it was given.
        entry: what is kept of it.
        from_cache: whether it is what the cache holds.
        error: why there is no page; None where there is one.
        refresh_error: why a page that was due for a refresh is still the old one (``stale_if_error``).
    """

    url: str
    entry: Entry
    from_cache: bool
    error: FetchError | None = None
    refresh_error: FetchError | None = None

    @property
    def status(self) -> int:
        """The HTTP status, or a code in its place."""
        return self.entry.status

    @property
    def content(self) -> bytes:
        """The bytes of the page, without compression.

        Raises:
            FetchError: there is no page.
        """
        if self.error is not None:
            raise self.error
        return self.entry.body or b""

    @property
    def text(self) -> str:
        """The text of the page, or of the node at the xpath.

        Raises:
            FetchError: there is no page.
        """
        try:
            return text_of(self.content, self.entry.encoding)
        except (LookupError, UnicodeError) as exc:
            raise ConfigError(
                f"The request cache says that {self.entry.url} is encoded as {self.entry.encoding!r}, which is no "
                "encoding of text: clear it there, and ask again"
            ) from exc

    def json(self) -> Any:
        """The page, read as JSON.

        JSON is UTF-8, 16 or 32, whatever is declared. A charset in the header counts only where the type in the header
        is not JSON, and the page is none of these.

        Raises:
            FetchError: there is no page, or it is no JSON.
        """
        body, declared = self.content, self.entry.headers.get("content-type")
        try:
            text = body.decode(json_encoding(body))
            if text.startswith("\ufeff"):
                text = text[1:]
        except UnicodeDecodeError as exc:
            if is_json(declared) or usable(http_content_type_encoding(declared)) is None:
                raise self._useless(f"it is no JSON, which is UTF-8 ({exc}). Its bytes are in 'content'") from exc
            text = self.text
        try:
            return json.loads(text)
        except (ValueError, RecursionError) as exc:
            raise self._useless(f"it is no JSON ({exc})") from exc

    def html(self) -> html.HtmlElement:
        """The document, as lxml reads it; it knows the address that redirects led to.

        Raises:
            FetchError: there is no page, or it is empty.
        """
        found = document(self.text, self.entry.final_url)
        if found is None:
            raise self._useless("it is empty")
        return found

    def _useless(self, why: str) -> FetchError:
        return FetchError(f"No use in {self.entry.url}: {why}", url=self.entry.url, status=self.status)

    @property
    def fetched(self) -> datetime.datetime:
        """When the page came, in local time."""
        return datetime.datetime.fromtimestamp(self.entry.fetched)

    @property
    def final_url(self) -> str:
        """Where redirects led, without what is secret in it."""
        return self.entry.final_url

    @property
    def hash(self) -> str:
        """SHA-256 of the content, in hexadecimal."""
        return self.entry.hash.hex()


def error_of(entry: Entry, *, told: str, tries: int, kept: bool) -> FetchError:
    """The error for a page that cannot be had.

    Args:
        entry: the failure, as it is kept.
        told: what went wrong; nothing where the status says it.
        tries: how often somebody was asked.
        kept: whether it was so when it was kept.
    """
    status = entry.status
    what = told or f"HTTP status {status}"
    often = f", {tries} times" if tries > 1 else ""
    if kept:
        do = " (kept in the request cache: clear it there to ask again)"
    else:
        hint = _TO_DO.get(status, "It is in trouble: try again later" if 500 <= status < 600 else "")
        do = f". {hint}" if hint else ""
    kind = _KINDS.get(status, FetchError)
    message = _CONTROL.sub(lambda found: f"%{ord(found[0]):02X}", f"No page from {entry.url}: {what}{often}{do}")
    return kind(message, url=entry.url, status=status, tries=tries)


def told_by(entry: Entry) -> str:
    """What went wrong, of a failure that was kept."""
    if entry.status >= ERROR_OFFLINE or entry.status == ERROR_XPATH_NOT_FOUND:
        return (entry.body or b"").decode("utf-8", "replace")
    return ""
