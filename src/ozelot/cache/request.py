"""What is asked for, with its options, and what is answered."""

from __future__ import annotations

import datetime
import hashlib
import json as json_module
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple, Self, TypedDict
from urllib.parse import urlencode, urlsplit

from ozelot.errors import ConfigError
from ozelot.redaction import masked, secrets_of

#: In place of an HTTP status: there was no connection, or no whole answer.
ERROR_CONNECTION_ERROR = 999
#: In place of an HTTP status: the page has no node at the xpath.
ERROR_XPATH_NOT_FOUND = 998
#: In place of an HTTP status: the answer is longer than ``max_bytes``.
ERROR_TOO_LARGE = 997
#: In place of an HTTP status: the ``robots.txt`` of the server forbids it.
ERROR_DISALLOWED = 996
#: In place of an HTTP status: the page is not kept, and nobody may be asked.
ERROR_OFFLINE = 995
#: In place of an HTTP status: the server is this machine or on its link, and the cache was told to refuse these.
ERROR_LOCAL_TARGET = 994


class Request(str):
    """What is asked for: the address, as text, with the rest as attributes.

    Attributes:
        method: such as ``GET``.
        headers: those that the caller gave.
        body: what is sent along.
    """

    __slots__ = ("body", "headers", "method")

    method: str
    headers: dict[str, str]
    body: bytes

    def __new__(
        cls, url: str, method: str = "GET", headers: Mapping[str, str] | None = None, body: bytes = b""
    ) -> Self:
        """Make one."""
        made = super().__new__(cls, url)
        made.method = method
        made.headers = dict(headers) if headers else {}
        made.body = body
        return made

    def __getnewargs__(self) -> tuple[Any, ...]:
        return str(self), self.method, self.headers, self.body

    @classmethod
    def of(
        cls,
        url: str,
        *,
        params: Mapping[str, Any] | Sequence[tuple[str, Any]] | None = None,
        headers: Mapping[str, str] | None = None,
        method: str | None = None,
        data: Mapping[str, Any] | str | bytes | None = None,
        json: Any = None,
    ) -> Self:
        """As :meth:`ozelot.cache.RequestCache.get` takes it.

        Raises:
            ConfigError: ``data`` and ``json`` are both given.
        """
        if params:
            items = params.items() if isinstance(params, Mapping) else params
            address, mark, fragment = url.partition("#")
            query = urlencode([(name, value) for name, value in items if value is not None], doseq=True)
            joint = "" if not query or address.endswith(("?", "&")) else "&" if "?" in address else "?"
            url = f"{address}{joint}{query}{mark}{fragment}"
        if data is None and json is None:
            return cls(url, method.upper() if method else "GET", headers)
        if data is not None and json is not None:
            raise ConfigError("A request has either 'data' or 'json', not both")
        given = {} if headers is None else dict(headers)
        kind = None
        if json is not None:
            body, kind = json_module.dumps(json).encode(), "application/json"
        elif isinstance(data, Mapping):
            body, kind = urlencode(data, doseq=True).encode(), "application/x-www-form-urlencoded"
        else:
            body = data.encode() if isinstance(data, str) else data or b""
        if kind and "content-type" not in {name.lower() for name in given}:
            given["Content-Type"] = kind
        return cls(url, method.upper() if method else "POST", given, body)

    @property
    def shown(self) -> str:
        """The address, without what is secret in it."""
        return masked(self)

    @property
    def secrets(self) -> set[str]:
        """What must not be shown of it."""
        return secrets_of(self, self.headers)

    @property
    def host(self) -> str:
        """The server, with its port where the address names one."""
        return urlsplit(self).netloc.rpartition("@")[2].lower()

    def key(self, xpath: str | None = None) -> bytes:
        """What its answer, or the node at an xpath in it, is kept under: SHA-256, from which no secret can be read."""
        parts = [self.method, str(self), "" if xpath is None else f"/{xpath}"]
        if self.headers or self.body:
            parts += sorted(f"{name.lower()}: {value}" for name, value in self.headers.items())
            parts.append(hashlib.sha256(self.body).hexdigest())
        text = "".join([f"{len(part)}:{part}" for part in parts])
        return hashlib.sha256(text.encode("utf-8", "surrogatepass")).digest()


def key_of_address(url: str) -> bytes:
    """What all that was asked of one address has in common, whatever its method, headers, and xpath."""
    return hashlib.sha256(url.encode("utf-8", "surrogatepass")).digest()


class Answer(NamedTuple):
    """What a server answered to one request, before any redirect is followed.

    Attributes:
        status: the HTTP status, or one of the codes above.
        body: text or bytes; with such a code, what went wrong.
        headers: by lower-case name.
    """

    status: int
    body: str | bytes
    headers: Mapping[str, str] = {}

    @property
    def is_good(self) -> bool:
        """Whether there is a page."""
        return is_good(self.status)


def is_good(status: int) -> bool:
    """Whether a status says that there is a page."""
    return 200 <= status < 300


class Unreachable(Exception):
    """There was no answer, or no whole one.

    Attributes:
        status: the code to tell in place of an HTTP status.
        again: whether it may be otherwise in a moment.
        sent: whether the server may have acted on it.
    """

    status = ERROR_CONNECTION_ERROR

    def __init__(self, message: str, *, again: bool = True, sent: bool = True) -> None:
        super().__init__(message)
        self.again = again
        self.sent = sent


class LocalTarget(Unreachable):
    """The server is this machine or on its link, and the cache was told to refuse these."""

    status = ERROR_LOCAL_TARGET

    def __init__(self, host: str, address: str) -> None:
        super().__init__(
            f"{host} is {address}: refuse_local excludes this machine and its link", again=False, sent=False
        )


class TooLong(Unreachable):
    """The body is longer than it may be."""

    status = ERROR_TOO_LARGE


Age = float | datetime.timedelta


class Asked(TypedDict, total=False):
    """What says which page is meant, next to its address; as for the library requests."""

    params: Mapping[str, Any] | Sequence[tuple[str, Any]] | None
    headers: Mapping[str, str] | None
    method: str | None
    data: Mapping[str, Any] | str | bytes | None
    json: Any


class More(Asked, total=False):
    """What else :meth:`RequestCache.get` takes."""

    max_age: Age | None
    refresh: bool
    stale_if_error: bool


class Options(More, total=False):
    """What :meth:`RequestCache.get_page` takes."""

    store_on_error: bool
    xpath: str | None
    rate_limit: float | None
    log_hits: bool
    log_misses: bool


class Job(NamedTuple):
    """One page that somebody wants, as :meth:`RequestCache.get_page` was told."""

    request: Request
    xpath: str | None = None
    store_on_error: bool = False
    max_age: float | None = None
    refresh: bool = False
    every: float | None = None
    at_once: int | None = None
    stale_if_error: bool = False


def seconds(age: Age | None) -> float | None:
    """An age in seconds."""
    return age.total_seconds() if isinstance(age, datetime.timedelta) else age
