"""Clients that send half a request, or none, or read no answer: others are answered, and the log stays short."""

from __future__ import annotations

import asyncio
import http.client
import logging
import re
import resource
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest

from ozelot.client import Client
from ozelot.orm.base import Base
from ozelot.ui import connections

FILES = 400  # that the server may open
MOST = 100  # connections that it keeps, then
MANY = 450
HALF = b"GET / HTTP/1.1\r\nHost: 127.0.0.1\r\n"


class Server:
    """The command ``ozelot ui``, in a process that may open few files."""

    def __init__(self, process: subprocess.Popen[str], port: int) -> None:
        self.process = process
        self.port = port

    def connect(self, sent: bytes = b"") -> socket.socket:
        connection = socket.create_connection(("127.0.0.1", self.port), timeout=30)
        connection.sendall(sent)
        return connection

    def ask(self, path: str = "/tasks") -> int:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=30)
        connection.request("GET", path)
        code = connection.getresponse().status
        connection.close()
        return code

    def open_files(self) -> int:
        return len(list(Path(f"/proc/{self.process.pid}/fd").iterdir()))

    def stop(self) -> str:
        """Stop it as Ctrl-C does, and return what it logged."""
        self.process.send_signal(signal.SIGINT)
        _, logged = self.process.communicate(timeout=60)
        assert self.process.returncode == 0
        return logged


@pytest.fixture
def server(sqlite_db: Client) -> Iterator[Server]:
    Base.create_all(sqlite_db)
    sqlite_db.engine.dispose()
    command = [sys.executable, "-m", "ozelot", "ui", "--port", "0", "--database", str(sqlite_db.url)]
    with subprocess.Popen(
        ["sh", "-c", f'ulimit -n {FILES}; exec "$@"', "sh", *command],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        try:
            assert process.stdout is not None
            opened = re.fullmatch(r"Open http://127.0.0.1:(\d+)/\n", process.stdout.readline())
            assert opened is not None
            yield Server(process, int(opened[1]))
        finally:
            process.kill()


@contextmanager
def many(server: Server, sent: bytes) -> Iterator[list[socket.socket]]:
    """Many connections, each of which sent so much and no more."""
    with ExitStack() as stack:
        yield [stack.enter_context(server.connect(sent)) for _ in range(MANY)]


def is_closed(connection: socket.socket) -> bool:
    """Whether the server closed the connection, once it has had the time to."""
    try:
        return connection.recv(1) == b""
    except ConnectionError:
        return True


@pytest.mark.parametrize(
    "sent",
    [
        b"",
        HALF,
        b"GET /tasks HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: 1000000\r\n\r\nx",
        b"GET /tasks HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n" + HALF,
        b"nonsense\r\n\r\n",
    ],
    ids=["nothing", "half", "half a body", "one and a half", "nonsense"],
)
def test_others_are_answered_while_many_requests_do_not_arrive(server: Server, sent: bytes) -> None:
    with many(server, sent):
        assert [server.ask() for _ in range(5)] == [200] * 5
        assert server.open_files() < FILES
    assert server.ask() == 200
    logged = server.stop()
    assert len(logged) < 1_000
    assert "out of system resource" not in logged


def test_a_request_that_does_not_arrive_in_time_is_given_up(server: Server) -> None:
    with server.connect(HALF) as half, server.connect() as nothing:
        assert is_closed(half)
        assert is_closed(nothing)
    assert server.stop() == ""


def test_a_client_that_sends_byte_by_byte_is_given_up(server: Server) -> None:
    with server.connect() as slow:
        slow.settimeout(0.5)
        for sent in range(100):
            try:
                slow.sendall(HALF[sent : sent + 1] or b"x")
                assert slow.recv(1) == b""
                break
            except TimeoutError:
                continue
            except ConnectionError:
                break
        else:
            pytest.fail("the server waited for longer than 50 s")
    assert server.stop() == ""


def test_where_all_connections_are_in_use_a_new_one_is_refused(server: Server) -> None:
    stream = b"GET /events HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n"
    with many(server, stream) as streams:
        answers = [connection.recv(100).partition(b"\r\n")[0] for connection in streams[: MOST // 2]]
        assert answers == [b"HTTP/1.1 200 OK"] * (MOST // 2)
        assert server.ask() == 200  # streams take half of all connections at most
        assert server.open_files() < FILES
    assert len(server.stop()) < 1_000


def test_messages_that_are_repeated_are_counted(caplog: pytest.LogCaptureFixture) -> None:
    repeated = connections.Repeated()
    logger = logging.getLogger("asyncio")
    logger.addFilter(repeated)
    try:
        for number in range(1_000):
            logger.error("it failed\nsocket %d", number)
            logger.error(f"kind {number}")
        asyncio.run(repeated.report())
    finally:
        logger.removeFilter(repeated)
    said = [record.getMessage() for record in caplog.records]
    assert len(said) < 50
    assert "it failed (repeated 999 times within 60 s)" in said


@pytest.mark.parametrize(("files", "most"), [(400, 100), (256, 16), (1024, 724), (100_000, 1_000), (-1, 1_000)])
def test_connections_are_limited_by_the_files_that_may_be_open(
    monkeypatch: pytest.MonkeyPatch, files: int, most: int
) -> None:
    limit = resource.RLIM_INFINITY if files == -1 else files
    monkeypatch.setattr(resource, "getrlimit", lambda _: (limit, limit))
    assert connections.most_connections() == most
