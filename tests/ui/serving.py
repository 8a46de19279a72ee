"""The status page, served for tests on a port of this machine."""

from __future__ import annotations

import http.client
import socket
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import NamedTuple

import luigi
import lxml.html
import uvicorn

from ozelot.client import Client
from ozelot.ui.app import make_app
from ozelot.ui.read_only_client import make_read_only
from ozelot.ui.snapshot import Keeper


class Answer(NamedTuple):
    """What the server said."""

    code: int
    headers: Mapping[str, str]
    text: str


class Served:
    """A page that is served.

    Attributes:
        keeper: what it knows.
        port: where.
    """

    def __init__(self, keeper: Keeper, port: int) -> None:
        self.keeper = keeper
        self.port = port

    @property
    def address(self) -> str:
        """Where a browser finds it."""
        return f"http://127.0.0.1:{self.port}"

    def ask(self, path: str, method: str = "GET", headers: Mapping[str, str] | None = None) -> Answer:
        """Ask for a path as it is, with headers in place of those that would be sent."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=30)
        try:
            connection.putrequest(method, path, skip_host="Host" in (headers or {}), skip_accept_encoding=True)
            for name, value in (headers or {}).items():
                connection.putheader(name, value)
            connection.endheaders()
            answer = connection.getresponse()
            return Answer(
                answer.status,
                {name.lower(): value for name, value in answer.getheaders()},
                answer.read().decode(),
            )
        finally:
            connection.close()


@contextmanager
def served(
    url: str,
    root: luigi.Task | None,
    *,
    host: str = "127.0.0.1",
    token: str | None = None,
    most_streams: int = 500,
) -> Iterator[Served]:
    """Serve the page of a pipeline, or, without a root, of a database alone.

    Args:
        url: of the database. The client that tasks use must be another one: that of the page only reads.
        root: the root of the pipeline.
        host: where it says that it listens.
        token: what has to be known.
        most_streams: how many clients may receive updates at the same time.
    """
    database = Client(connection_string=url)
    make_read_only(database, 5)
    keeper = Keeper(database, root)
    with socket.create_server(("127.0.0.1", 0)) as listening:
        app = make_app(
            keeper, host=host, token=token, is_stopping=lambda: server.should_exit, most_streams=most_streams
        )
        server = uvicorn.Server(uvicorn.Config(app, log_level="warning", timeout_graceful_shutdown=10))
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listening]})
        thread.start()
        try:
            yield Served(keeper, listening.getsockname()[1])
        finally:
            server.should_exit = True
            thread.join()
            database.engine.dispose()


def text_of(html: str) -> str:
    """What a reader sees of a page, in one line."""
    main = lxml.html.fromstring(html).find(".//main")
    assert main is not None
    return " ".join(" ".join(main.itertext()).split())


def look_at(page: Served, path: str) -> str:
    """What a reader sees at a path of a page that is served."""
    answer = page.ask(path)
    assert answer.code == 200, text_of(answer.text)
    return text_of(answer.text)
