"""A real server for the tests, which misbehaves as told by the path, and notes when it was asked for what."""

from __future__ import annotations

import gzip
import socket
import ssl
import struct
import sys
import threading
import time
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import brotli

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd

CERTIFICATE = Path(__file__).parent / "localhost.pem"
PAGE = "<html><body><p>Köln</p></body></html>".encode() * 50


class Handler(BaseHTTPRequestHandler):
    """One connection."""

    protocol_version = "HTTP/1.1"
    server: Server

    def do_GET(self) -> None:
        with self.server.lock:
            self.server.asked.append((time.monotonic(), self.path))
            self.server.headers.append({name.lower(): value for name, value in self.headers.items()})
            number = sum(path == self.path for _, path in self.server.asked)
        name = self.path.strip("/").partition("/")[0].partition("?")[0]
        (self.server.pages.get(self.path) or BEHAVIOURS[name])(self, number)

    do_POST = do_GET  # noqa: N815 - as the library spells it

    def answer(self, status: int, body: bytes = b"", **headers: str) -> None:
        self.send_response(status)
        for name, value in {"Content_Length": str(len(body)), **headers}.items():
            self.send_header(name.replace("_", "-"), value)
        self.end_headers()
        self.wfile.write(body)

    def send(self, head: bytes, body: bytes = b"") -> None:
        """Answer with exactly these bytes; the status line and the headers are separated by line feeds."""
        self.close_connection = True
        self.wfile.write(head.replace(b"\n", b"\r\n") + b"\r\n\r\n" + body)

    def begin(self, **headers: str) -> None:
        self.send_response(200)
        for name, value in headers.items():
            self.send_header(name.replace("_", "-"), value)
        self.end_headers()
        self.close_connection = True

    def log_message(self, format: str, *args: object) -> None:
        pass


def reset(handler: Handler, _number: int) -> None:
    handler.begin(Content_Length="100000")
    handler.wfile.write(b"x" * 5000)
    handler.wfile.flush()
    handler.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    handler.connection.close()


def cut(handler: Handler, _number: int) -> None:
    handler.begin(Content_Length="100000")
    handler.wfile.write(b"x" * 5000)


def endless(handler: Handler, _number: int) -> None:
    handler.begin()
    while not handler.server.ended.is_set():
        handler.wfile.write(b"x" * 65536)


def drip(handler: Handler, _number: int) -> None:
    handler.begin(Content_Length="100000")
    while not handler.server.ended.wait(0.05):
        handler.wfile.write(b"x")


def drip_headers(handler: Handler, _number: int) -> None:
    handler.wfile.write(b"HTTP/1.1 200 OK\r\nX-Long: ")
    while not handler.server.ended.wait(0.05):
        handler.wfile.write(b"x")


def broken_off(pack: Callable[[bytes], bytes], name: str) -> Callable[[Handler, int], None]:
    return lambda handler, _: handler.answer(200, pack(PAGE)[:-12], Content_Encoding=name)


def loop(handler: Handler, _number: int) -> None:
    handler.answer(301, Location=handler.path)


def busy(handler: Handler, number: int) -> None:
    if number == 1:
        handler.answer(429, b"slow down", Retry_After="1")
    else:
        handler.answer(200, PAGE)


def busy_and_silent(handler: Handler, number: int) -> None:
    handler.answer(429 if number == 1 else 200, PAGE)


def tagged(handler: Handler, _number: int) -> None:
    if handler.headers.get("If-None-Match") == '"1"':
        handler.answer(304)
    else:
        handler.answer(200, PAGE, ETag='"1"')


FILE = bytes(range(256)) * 2000


def file(handler: Handler, number: int) -> None:
    """A file that breaks off the first two times."""
    tag = f'"{handler.server.version}"'
    wanted = handler.headers.get("Range", "")
    begin = 0
    if wanted and handler.headers.get("If-Range") == tag:
        begin = int(wanted.removeprefix("bytes=").rstrip("-"))
    body = FILE[begin:]
    handler.send_response(206 if begin else 200)
    handler.send_header("ETag", tag)
    handler.send_header("Content-Length", str(len(body)))
    if begin:
        handler.send_header("Content-Range", f"bytes {begin}-{len(FILE) - 1}/{len(FILE)}")
    handler.end_headers()
    handler.close_connection = True
    handler.wfile.write(body if number > 2 or "whole" in handler.path else body[: len(body) // 3])


def echo(handler: Handler, _number: int) -> None:
    body = handler.rfile.read(int(handler.headers.get("Content-Length", "0")))
    handler.answer(200, f"{handler.command} {handler.path} ".encode() + body)


def late(handler: Handler, _number: int) -> None:
    handler.server.ended.wait(0.05)
    handler.answer(200, PAGE)


BEHAVIOURS: dict[str, Callable[[Handler, int], None]] = {
    "page": lambda handler, _: handler.answer(200, PAGE, Content_Type="text/html; charset=utf-8"),
    "reset": reset,
    "cut": cut,
    "endless": endless,
    "drip": drip,
    "drip_headers": drip_headers,
    "too_short": lambda handler, _: handler.answer(200, PAGE, Content_Length=str(len(PAGE) - 10), Connection="close"),
    "no_gzip": lambda handler, _: handler.answer(200, PAGE, Content_Encoding="gzip"),
    "broken_gzip": lambda handler, _: handler.answer(
        200, gzip.compress(PAGE)[:-20] + b"nonsense and more!!!", Content_Encoding="gzip"
    ),
    "half_gzip": broken_off(gzip.compress, "gzip"),
    "half_br": broken_off(brotli.compress, "br"),
    "half_zstd": broken_off(zstd.compress, "zstd"),
    "half_deflate": broken_off(zlib.compress, "deflate"),
    "deflate": lambda handler, _: handler.answer(200, zlib.compress(PAGE), Content_Encoding="deflate"),
    "twice": lambda handler, _: handler.answer(200, brotli.compress(gzip.compress(PAGE)), Content_Encoding="gzip, br"),
    "rot13": lambda handler, _: handler.answer(200, PAGE, Content_Encoding="rot13"),
    "loop": loop,
    "busy": busy,
    "busy_and_silent": busy_and_silent,
    "busy_for_hours": lambda handler, _: handler.answer(429, b"", Retry_After="7200"),
    "empty": lambda handler, _: handler.answer(200),
    "cp1251": lambda handler, _: handler.answer(
        200, "<meta charset=windows-1251><p>Привет</p>".encode("cp1251"), Content_Type="text/html"
    ),
    "bytes": lambda handler, _: handler.answer(200, bytes(range(256)) * 4, Content_Type="text/html; charset=hex"),
    "large": lambda handler, _: handler.answer(200, b"0123456789abcdef" * (50_000_000 // 16)),
    "gzip": lambda handler, _: handler.answer(200, gzip.compress(PAGE), Content_Encoding="gzip"),
    "br": lambda handler, _: handler.answer(200, brotli.compress(PAGE), Content_Encoding="br"),
    "zstd": lambda handler, _: handler.answer(200, zstd.compress(PAGE), Content_Encoding="zstd"),
    "bomb": lambda handler, _: handler.answer(200, gzip.compress(bytes(30_000_000)), Content_Encoding="gzip"),
    "moved": lambda handler, _: handler.answer(302, Location="/page?token=geheim"),
    "to_file": lambda handler, _: handler.answer(302, Location="file:///etc/passwd"),
    "tagged": tagged,
    "file": file,
    "echo": echo,
    "late": late,
    "gone": lambda handler, _: handler.answer(404, b"no such page"),
    "in_trouble": lambda handler, number: handler.answer(500 if number < 3 else 200, PAGE),
    "robots.txt": lambda handler, _: handler.answer(200, b"User-agent: *\nDisallow: /gone\nDisallow: /*?x="),
}


class Server(ThreadingHTTPServer):
    """The server.

    Attributes:
        asked: when it was asked for which path.
        headers: of each of these requests.
        ended: no test wants it any more.
        version: of its file.
        pages: what to do, by path; before the behaviors above.
    """

    daemon_threads = False
    request_queue_size = 128

    def __init__(self, *, secure: bool = False) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.lock = threading.Lock()
        self.asked: list[tuple[float, str]] = []
        self.headers: list[dict[str, str]] = []
        self.ended = threading.Event()
        self.version = 1
        self.pages: dict[str, Callable[[Handler, int], None]] = {}
        self.base = f"{'https' if secure else 'http'}://127.0.0.1:{self.server_address[1]}"
        if secure:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(CERTIFICATE)
            self.socket = context.wrap_socket(self.socket, server_side=True, do_handshake_on_connect=False)

    def __call__(self, path: str) -> str:
        return self.base + path

    @property
    def paths(self) -> list[str]:
        return [path for _, path in self.asked]

    def most_in_a_second(self) -> int:
        times = sorted(when for when, _ in self.asked)
        return max(sum(begin <= when < begin + 1 for when in times) for begin in times)

    def handle_error(self, request: object, client_address: object) -> None:
        pass  # that clients hang up is what many tests are about


@contextmanager
def serving(*, secure: bool = False) -> Iterator[Server]:
    """A server that runs until the block ends."""
    server = Server(secure=secure)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    try:
        yield server
    finally:
        server.ended.set()
        server.shutdown()
        thread.join()
        server.server_close()
