"""Where a redirect leads, and what is sent there: as in the Fetch and URL standards of the WHATWG."""

from __future__ import annotations

import re
from collections.abc import Mapping
from urllib.parse import urljoin, urlsplit

from ozelot.cache.request import Request
from ozelot.cache.secrets import is_secret_header

_REDIRECTS = (301, 302, 303, 307, 308)
_OF_A_BODY = {"content-encoding", "content-language", "content-location", "content-length", "content-type"}


def target_of(status: int, headers: Mapping[str, str]) -> str | None:
    """The header Location of a redirect; None where an answer is none.

    Args:
        status: the HTTP status.
        headers: by lower-case name.
    """
    return headers.get("location", "").strip() or None if status in _REDIRECTS else None


def redirected(request: Request, status: int, target: str) -> Request:
    """The request that a redirect asks for.

    Raises:
        ValueError: the target is not an address.
    """
    url = urljoin(request, _with_slashes(target))
    if not urlsplit(url).fragment and (fragment := urlsplit(request).fragment):
        url = f"{url.rstrip('#')}#{fragment}"
    elsewhere = not _same_server(request, url)
    becomes_get = request.method == "POST" if status in (301, 302) else status == 303 and request.method != "HEAD"
    headers = {
        name: value
        for name, value in request.headers.items()
        if not (becomes_get and name.lower() in _OF_A_BODY) and not (elsewhere and is_secret_header(name))
    }
    return Request(url, "GET", headers) if becomes_get else Request(url, request.method, headers, request.body)


def _with_slashes(target: str) -> str:
    """A target as browsers read it: a backslash is a slash, and any number of slashes stands before a server."""
    path = re.match("[^?#]*", target)
    assert path is not None
    slashes = path[0].replace("\\", "/")
    return re.sub(r"^(https?:)?/{2,}", r"\1//", slashes, flags=re.IGNORECASE) + target[path.end() :]


def _same_server(one: str, other: str) -> bool:
    """Whether secrets for the one may be sent to the other: the same host and port, or from http to https there."""
    a, b = urlsplit(one), urlsplit(other)
    if a.hostname != b.hostname:
        return False
    return (a.scheme, a.port) == (b.scheme, b.port) or (
        (a.scheme, b.scheme) == ("http", "https") and a.port in (None, 80) and b.port in (None, 443)
    )
