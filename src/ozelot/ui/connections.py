"""What a connection may cost: how many are open, how long a request may take to arrive, and what is logged about it.

Anybody who reaches the port can open connections, also without the token. uvicorn has no time limit for a request that
arrives byte by byte, and asyncio logs each ``accept()`` that fails for want of a file descriptor, with a traceback.
"""

from __future__ import annotations

import asyncio
import logging
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import h11
import uvicorn
from uvicorn.protocols.http.h11_impl import H11Protocol

try:
    import resource
except ImportError:  # not on Windows
    resource = None  # type: ignore[assignment]

_REQUEST_SECONDS = 10.0  # for a request to arrive
_READ_SECONDS = 30.0  # for a client to read what it asked for, where it does not fit into buffers
_MOST = 1_000
_FEWEST = 16
_RESERVED = 300  # file descriptors: 40 threads with an SQLite database each, and connections about to be closed
_AT_ONCE = 32  # connections that are accepted before any is looked at
_REPORT_SECONDS = 60
_KINDS = 20  # of messages in that time

_REFUSED = (
    b"HTTP/1.1 503 Service Unavailable\r\nContent-Type: text/plain; charset=utf-8\r\nConnection: close\r\n"
    b"Content-Length: 52\r\n\r\nToo many requests are running. Try again in a while\n"
)
_LOGGERS = ("asyncio", "uvicorn.error", "ozelot.ui.app", "ozelot.ui.snapshot")


class Connection(H11Protocol):
    """One client. It is closed where its request does not arrive in time, or it does not read the answer.

    Where too many connections are open, the one that has kept the server waiting for longest is closed for a new one.
    """

    _until: asyncio.TimerHandle | None = None
    _until_read: asyncio.TimerHandle | None = None
    _since = 0.0

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Make room for the connection."""
        super().connection_made(transport)
        self._expect_request()
        most = self.limit_concurrency
        if most is None or len(self.connections) < most:
            return
        others: Any = self.connections - {self}
        waiting = [other for other in others if isinstance(other, Connection) and other.is_waiting]
        if waiting:
            min(waiting, key=lambda other: other._since).drop()
        else:
            transport.write(_REFUSED)
            self.drop(politely=True)

    @property
    def is_waiting(self) -> bool:
        """Whether no request of this client is being answered."""
        return self.cycle is None or self.cycle.response_complete

    def drop(self, *, politely: bool = False) -> None:
        """Close the connection; its place is free at once."""
        self.connections.discard(self)
        if politely:
            self.transport.close()
        else:
            self.transport.abort()

    def connection_lost(self, exc: Exception | None) -> None:
        """Forget the connection."""
        for timer in (self._until, self._until_read):
            if timer is not None:
                timer.cancel()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Read a part of a request."""
        super().data_received(data)
        if self.conn.their_state in (h11.IDLE, h11.SEND_BODY):
            self._expect_request()
        elif self._until is not None:
            self._until.cancel()
            self._until = None

    def _expect_request(self) -> None:
        if self._until is None:
            self._since = self.loop.time()
            self._until = self.loop.call_later(_REQUEST_SECONDS, self.drop)

    def on_response_complete(self) -> None:
        """Wait for the next request."""
        self._since = self.loop.time()
        super().on_response_complete()

    def timeout_keep_alive_handler(self) -> None:
        """Close an idle connection, also where the client has not read all of the last answer."""
        self.drop()

    def pause_writing(self) -> None:
        """Limit how long the client takes to read."""
        super().pause_writing()
        self._until_read = self.loop.call_later(_READ_SECONDS, self.drop)

    def resume_writing(self) -> None:
        """Go on."""
        super().resume_writing()
        if self._until_read is not None:
            self._until_read.cancel()


class Repeated(logging.Filter):
    """Lets each kind of message through once in a minute, and counts the others."""

    def __init__(self) -> None:
        super().__init__()
        self._lock = threading.Lock()
        self._counts: dict[tuple[str, str], tuple[str, int]] = {}

    def filter(self, record: logging.LogRecord) -> bool:
        """Whether this is the first of its kind."""
        key = record.name, str(record.msg).partition("\n")[0]
        with self._lock:
            if key not in self._counts and len(self._counts) >= _KINDS:
                key = record.name, "Other messages"
            text, count = self._counts.get(key, (record.getMessage().partition("\n")[0], 0))
            self._counts[key] = text, count + 1
        return count == 0

    async def report(self) -> None:
        """Log how often each message was repeated, and begin to count again."""
        with self._lock:
            counts, self._counts = self._counts, {}
        for (name, _), (text, count) in counts.items():
            if count > 1:
                logger = logging.getLogger(name)
                told = f"{text} (repeated {count - 1:,} times within {_REPORT_SECONDS} s)"
                logger.callHandlers(logger.makeRecord(name, logging.WARNING, __file__, 0, told, (), None))


def most_connections() -> int:
    """How many connections may be open, by the number of files that this process may open."""
    if resource is None:
        return _MOST
    files, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return max(_FEWEST, _MOST if files == resource.RLIM_INFINITY else min(_MOST, files - _RESERVED))


@contextmanager
def bounded_server(app: Any, most: int) -> Iterator[uvicorn.Server]:
    """A server that keeps to the limits, and a log that stays short while it runs.

    Args:
        app: the application.
        most: how many connections may be open.
    """
    repeated = Repeated()
    config = uvicorn.Config(
        app,
        http=Connection,
        limit_concurrency=most + 1,
        backlog=_AT_ONCE,
        callback_notify=repeated.report,
        timeout_notify=_REPORT_SECONDS,
        log_level="warning",
        access_log=False,
        server_header=False,
        proxy_headers=False,
        ws="none",
        timeout_graceful_shutdown=5,
    )
    for name in _LOGGERS:
        logging.getLogger(name).addFilter(repeated)
    try:
        yield uvicorn.Server(config)
    finally:
        asyncio.run(repeated.report())
        for name in _LOGGERS:
            logging.getLogger(name).removeFilter(repeated)
