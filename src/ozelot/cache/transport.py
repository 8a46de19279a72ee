"""One request to the web and its answer, whole or in part, within a time and a size.

Redirects, retries and limits are left to who calls this (:mod:`ozelot.cache.retry`).
"""

from __future__ import annotations

import contextlib
import http.client
import io
import logging
import re
import socket
import threading
import time
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple
from urllib.parse import urlsplit

import requests
from requests.adapters import HTTPAdapter
from requests.structures import CaseInsensitiveDict
from requests.utils import select_proxy
from urllib3 import HTTPConnectionPool, HTTPSConnectionPool, PoolManager
from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.exceptions import HTTPError

from ozelot.cache.decompression import ACCEPTED, BrokenBody, too_long, unpacked
from ozelot.cache.rate_limit import SLICE, check_stopped
from ozelot.cache.redirects import checked_addresses, target_of
from ozelot.cache.request import Answer, Request, TooLong, Unreachable, is_good
from ozelot.redaction import masked

_CONNECT = 10.0  # seconds
_SILENCE = 60.0  # seconds between two pieces of an answer
_PIECE = 65536  # bytes
_DRAIN = 1.0  # seconds to read the body of a redirect, which nobody needs, so that its connection can be used again


class _Allowed(threading.local):
    """Until when the request under way in a thread may take."""

    until = float("inf")


_allowed = _Allowed()


class _Watched(io.RawIOBase):
    """What a socket receives, for as long as a request may take.

    The time-outs of a socket are for each piece. A server that sends a byte a second would never meet one.
    """

    def __init__(self, sock: socket.socket) -> None:
        self._socket = sock
        self._file = sock.makefile("rb", buffering=0)  # keeps the socket open for as long as this is

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        silent_at = time.monotonic() + _SILENCE
        while True:
            check_stopped()
            now = time.monotonic()
            if now >= _allowed.until:
                raise TimeoutError("it takes longer than 'timeout' allows")
            if now >= silent_at:
                raise TimeoutError(f"nothing came for {_SILENCE:.0f} s")
            self._socket.settimeout(min(SLICE, _allowed.until - now))
            with contextlib.suppress(TimeoutError):
                return self._socket.recv_into(buffer)

    def close(self) -> None:
        self._file.close()
        super().close()


class _Source:
    """A socket, as far as a response needs it."""

    def __init__(self, sock: socket.socket) -> None:
        self._socket = sock

    def makefile(self, *_: Any, **__: Any) -> io.BufferedReader:
        return io.BufferedReader(_Watched(self._socket), _PIECE)


class _Response(http.client.HTTPResponse):
    def __init__(self, sock: Any, *args: Any, **kwargs: Any) -> None:
        super().__init__(_Source(sock), *args, **kwargs)  # type: ignore[arg-type]


class _Connection(HTTPConnection):
    response_class = _Response


class _SecureConnection(HTTPSConnection):
    response_class = _Response


class _Checked(HTTPConnection):
    """Connects only to addresses that are not local.

    It connects to the very address that was checked: a name that is looked up twice may lead elsewhere then.
    """

    def _new_conn(self) -> socket.socket:
        name = self._dns_host
        try:
            addresses = checked_addresses(name, self.port or self.default_port)
        except OSError:
            return super()._new_conn()  # fails in the same way, with the error that urllib3 makes of it
        try:
            for number, address in enumerate(addresses, 1):
                self._dns_host = address
                try:
                    return super()._new_conn()
                except HTTPError:
                    if number == len(addresses):
                        raise
        finally:
            self._dns_host = name
        raise OSError(f"{name} has no address")


class _CheckedConnection(_Checked, _Connection):
    pass


class _CheckedSecureConnection(_Checked, _SecureConnection):
    pass


class _Pool(HTTPConnectionPool):
    ConnectionCls = _Connection


class _SecurePool(HTTPSConnectionPool):
    ConnectionCls = _SecureConnection


class _CheckedPool(HTTPConnectionPool):
    ConnectionCls = _CheckedConnection


class _CheckedSecurePool(HTTPSConnectionPool):
    ConnectionCls = _CheckedSecureConnection


class _Adapter(HTTPAdapter):
    def __init__(self, *, refuse_local: bool) -> None:
        self._refuse_local = refuse_local
        # As many connections are kept as there are threads; what is beyond that is opened and closed.
        super().__init__(pool_connections=64, pool_maxsize=64)

    def init_poolmanager(self, *args: Any, **kwargs: Any) -> None:
        super().init_poolmanager(*args, **kwargs)
        if self._refuse_local:
            self.poolmanager.pool_classes_by_scheme = {"http": _CheckedPool, "https": _CheckedSecurePool}
        else:
            _use_watched(self.poolmanager)

    def proxy_manager_for(self, *args: Any, **kwargs: Any) -> Any:
        manager = super().proxy_manager_for(*args, **kwargs)
        _use_watched(manager)
        return manager


def _use_watched(manager: PoolManager) -> None:
    manager.pool_classes_by_scheme = {"http": _Pool, "https": _SecurePool}


class _Masking(logging.Filter):
    """urllib3 logs each address at DEBUG, as it is."""

    def filter(self, record: logging.LogRecord) -> bool:
        if isinstance(record.args, tuple):
            record.args = tuple(masked(value) if isinstance(value, str) else value for value in record.args)
        return True


class Web:
    """The web, by the library requests. Any number of threads may ask at once.

    Args:
        timeout: seconds that one request may take, from its first byte to its last.
        max_bytes: of a body, after decompression.
        refuse_local: whether to refuse servers that are this machine or on its link.
    """

    def __init__(self, *, timeout: float, max_bytes: int, refuse_local: bool = False) -> None:
        self._timeout = timeout
        self._max_bytes = max_bytes
        self._session = requests.Session()
        self._session.headers["Accept-Encoding"] = ACCEPTED
        self._refuse_local = refuse_local
        self._adapter = _Adapter(refuse_local=refuse_local)
        logger = logging.getLogger("urllib3.connectionpool")
        if not any(isinstance(found, _Masking) for found in logger.filters):
            logger.addFilter(_Masking())

    def __call__(self, request: Request) -> Answer:
        """Ask.

        Raises:
            Unreachable: there is no whole answer.
        """
        with self.sent(request) as response:
            headers = headers_of(response)
            if target_of(response.status_code, headers) is not None:
                _drain(response, headers)
                return Answer(response.status_code, b"", headers)
            return Answer(response.status_code, self._read(response, headers), headers)

    @contextlib.contextmanager
    def sent(self, request: Request) -> Iterator[requests.Response]:
        """Ask, and leave it to the block to read the body.

        Raises:
            Unreachable: there is no whole answer.
        """
        try:
            headers = CaseInsensitiveDict(request.headers)
            asked = requests.Request(request.method, str(request), data=request.body or None, headers=headers)
            prepared = self._session.prepare_request(asked)
            if prepared.url is None or not prepared.url.lower().startswith(("http://", "https://")):
                raise Unreachable("an address begins with http:// or https://", again=False, sent=False)
            settings: Any = self._session.merge_environment_settings(prepared.url, {}, True, None, None)
        except (requests.RequestException, ValueError) as exc:
            raise Unreachable(f"{type(exc).__name__}: {exc}", again=False, sent=False) from exc
        if self._refuse_local:
            self._check_behind_proxy(prepared.url, settings["proxies"])
        _allowed.until = time.monotonic() + self._timeout
        response = None
        try:
            response = self._adapter.send(prepared, timeout=(_CONNECT, _SILENCE), **settings)
            yield response
        except (requests.RequestException, HTTPError, ValueError, OSError, http.client.HTTPException) as exc:
            raise _unreachable(exc) from exc
        finally:
            if response is not None:
                response.close()

    def _check_behind_proxy(self, url: str, proxies: Any) -> None:
        """Check a server that a proxy connects to; a name that only the proxy can resolve is left to it."""
        if select_proxy(url, proxies) is not None:
            parts = urlsplit(url)
            with contextlib.suppress(OSError):
                checked_addresses(parts.hostname or "", parts.port or 80)

    def _read(self, response: requests.Response, headers: Mapping[str, str]) -> bytes:
        body = b""
        try:
            body = self._packed(response, headers)
            return unpacked(body, headers.get("content-encoding", ""), self._max_bytes)
        except (TooLong, BrokenBody):
            if is_good(response.status_code):
                raise
            return body  # the status says what is wrong: there is no page to lose

    def _packed(self, response: requests.Response, headers: Mapping[str, str]) -> bytes:
        announced = headers.get("content-length", "")
        if announced.isdecimal() and int(announced) > self._max_bytes:
            raise too_long(self._max_bytes)
        pieces: list[bytes] = []
        size = 0
        for piece in response.raw.stream(_PIECE, decode_content=False):
            pieces.append(piece)
            size += len(piece)
            if size > self._max_bytes:
                raise too_long(self._max_bytes)
        return b"".join(pieces)

    def close(self) -> None:
        """Close all connections."""
        self._adapter.close()


def headers_of(response: requests.Response) -> dict[str, str]:
    """The headers by lower-case name.

    Raises:
        Unreachable: the server names several targets of a redirect.
    """
    headers = {name.lower(): value for name, value in response.headers.items()}
    if "location" in headers:
        targets = dict.fromkeys(response.raw.headers.getlist("location"))
        if len(targets) > 1:
            raise Unreachable(f"the server redirects to {len(targets)} addresses at once", again=False)
        headers["location"] = _text_of_header(next(iter(targets), headers["location"]))
    return headers


def _text_of_header(value: str) -> str:
    """A header that Python decoded as Latin-1: browsers read it as UTF-8, and send back other bytes as they are."""
    raw = value.encode("latin-1", "replace")
    try:
        return raw.decode("utf-8")
    except UnicodeDecodeError:
        return "".join(chr(byte) if byte < 0x80 else f"%{byte:02X}" for byte in raw)


def _drain(response: requests.Response, headers: Mapping[str, str]) -> None:
    """Read the body of a redirect, where it is short; what is wrong with it does not matter."""
    length = headers.get("content-length", "")
    if length.isdecimal() and int(length) <= _PIECE:
        _allowed.until = min(_allowed.until, time.monotonic() + _DRAIN)
        with contextlib.suppress(HTTPError, OSError, ValueError, http.client.HTTPException):
            response.raw.read(_PIECE, decode_content=False)


def _unreachable(exc: Exception) -> Unreachable:
    innermost: BaseException = exc
    seen = {id(exc)}
    while (inner := getattr(innermost, "reason", None) or innermost.__cause__ or innermost.__context__) is not None:
        if not isinstance(inner, BaseException) or id(inner) in seen:
            break
        seen.add(id(inner))
        innermost = inner
    said = str(innermost).strip() or type(innermost).__name__
    certificate = "CERTIFICATE_VERIFY_FAILED" in said or isinstance(exc, requests.exceptions.SSLError)
    never_sent = isinstance(exc, requests.exceptions.ConnectTimeout) or "refused" in said
    wrong = isinstance(exc, requests.exceptions.InvalidURL) or isinstance(innermost, UnicodeError)
    return Unreachable(f"{type(exc).__name__}: {said}", again=not (certificate or wrong), sent=not never_sent)


PARTIAL_CONTENT = 206


class ContentRange(NamedTuple):
    """A part, in bytes: the first and the last, and the size of the whole content; None where the server omits it."""

    first: int
    last: int
    total: int | None


def content_range(header: str | None) -> ContentRange | None:
    """The header ``Content-Range``; None where it is missing or makes no sense."""
    found = re.fullmatch(r"\s*bytes\s+(\d{1,18})-(\d{1,18})/(\d{1,18}|\*)\s*", header or "", re.IGNORECASE | re.ASCII)
    if found is None:
        return None
    parts = ContentRange(int(found[1]), int(found[2]), None if found[3] == "*" else int(found[3]))
    is_valid = parts.first <= parts.last and (parts.total is None or parts.last < parts.total)
    return parts if is_valid else None


def check_partial(request: Request, answer: Answer) -> None:
    """Check that a partial answer is what was requested.

    Raises:
        Unreachable: all of the page was requested, or another part.
    """
    if answer.status != PARTIAL_CONTENT:
        return
    requested = next((value for name, value in request.headers.items() if name.lower() == "range"), None)
    if requested is None:
        raise Unreachable("the server sent a part of it (HTTP status 206), but all of it was requested", again=False)
    one = re.fullmatch(r"\s*bytes\s*=\s*(\d{1,18})-(\d{0,18})\s*", requested, re.ASCII)
    sent = next((value for name, value in answer.headers.items() if name.lower() == "content-range"), None)
    if one is not None:
        found = content_range(sent)
        last = int(one[2]) if one[2] else None
        if found is None or found.first != int(one[1]) or (last is not None and found.last > last):
            raise Unreachable(f"the server sent the part {sent!r}, but {requested!r} was requested", again=False)
