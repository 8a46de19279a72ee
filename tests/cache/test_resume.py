"""A download is resumed only if the server proves that it still has the same version; its encoding is decoded."""

from __future__ import annotations

import gzip
import json
import sys
import zlib
from collections.abc import Callable
from email.utils import formatdate
from pathlib import Path

import brotli
import pytest

from ozelot.cache.download import download
from ozelot.cache.rate_limit import Timer
from ozelot.errors import FetchError
from tests.cache.server import FILE, Handler, Server, serving

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd

OLD = formatdate(1_700_000_000, usegmt=True)
NEW = formatdate(1_700_000_500, usegmt=True)
CUT = len(FILE) // 3


@pytest.fixture
def path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(Timer, "sleep", lambda _timer, _seconds: None)  # between two tries
    return tmp_path / "file.bin"


def cut_then(
    server: Server, first: dict[str, str], then: Callable[[Handler, int | None], None], *, chunked: bool = False
) -> str:
    """A file of which the first request gets a third; the others are answered by ``then``, with the requested begin."""

    def answer(handler: Handler, number: int) -> None:
        if number > 1:
            requested = handler.headers.get("Range")
            then(handler, None if requested is None else int(requested.removeprefix("bytes=").rstrip("-")))
            return
        handler.send_response(200)
        handler.send_header(
            "Transfer-Encoding" if chunked else "Content-Length", "chunked" if chunked else str(len(FILE))
        )
        for name, value in first.items():
            handler.send_header(name, value)
        handler.end_headers()
        handler.close_connection = True
        handler.wfile.write(b"%x\r\n%s\r\n" % (CUT, FILE[:CUT]) if chunked else FILE[:CUT])

    server.pages["/file"] = answer
    return server("/file")


def part(handler: Handler, begin: int, total: str | None = None, body: bytes | None = None, **headers: str) -> None:
    body = FILE[begin:] if body is None else body
    total = str(len(FILE)) if total is None else total
    handler.answer(206, body, Content_Range=f"bytes {begin}-{begin + len(body) - 1}/{total}", **headers)


def ranges(server: Server) -> list[str | None]:
    return [headers.get("range") for headers in server.headers]


RESUME = f"bytes={CUT}-"


@pytest.mark.parametrize(
    ("first", "if_range"),
    [
        ({"ETag": '"1"'}, '"1"'),
        ({"ETag": '"1"', "Last-Modified": OLD}, '"1"'),
        ({"Last-Modified": OLD}, OLD),
    ],
)
def test_strong_validator_and_equal_size_resume(
    path: Path, server: Server, first: dict[str, str], if_range: str
) -> None:
    url = cut_then(server, first, lambda handler, begin: part(handler, begin or 0, None, None, **first))
    download(url, path)
    assert path.read_bytes() == FILE
    assert ranges(server) == [None, RESUME]
    assert server.headers[1]["if-range"] == if_range


@pytest.mark.parametrize(
    "first",
    [
        {},
        {"ETag": 'W/"1"'},
        {"ETag": 'W/"1"', "Last-Modified": OLD},  # RFC 9110, 13.1.5: no date where there is an ETag
        {"ETag": "no-quotes"},
        {"Last-Modified": "yesterday"},
        {"Last-Modified": formatdate(4_000_000_000, usegmt=True)},  # not older than the answer: it may change again
    ],
)
def test_without_a_strong_validator_the_download_restarts(path: Path, server: Server, first: dict[str, str]) -> None:
    url = cut_then(server, first, lambda handler, begin: handler.answer(200, FILE[begin or 0 :]))
    download(url, path)
    assert path.read_bytes() == FILE
    assert ranges(server) == [None, None]


def test_unknown_size_restarts(path: Path, server: Server) -> None:
    url = cut_then(server, {"ETag": '"1"'}, lambda handler, _: handler.answer(200, FILE), chunked=True)
    download(url, path)
    assert path.read_bytes() == FILE
    assert ranges(server) == [None, None]


OTHER = bytes(reversed(FILE))


@pytest.mark.parametrize(
    ("first", "total", "then"),
    [
        ({"ETag": '"1"'}, None, {"ETag": '"2"'}),
        ({"ETag": '"1"'}, None, {"ETag": 'W/"1"'}),
        ({"ETag": '"1"'}, None, {}),
        ({"ETag": '"1"'}, str(len(FILE) + 1), {"ETag": '"1"'}),
        ({"ETag": '"1"'}, "*", {"ETag": '"1"'}),
        ({"ETag": '"1"'}, None, {"ETag": '"1"', "Content-Encoding": "gzip"}),
        ({"Last-Modified": OLD}, None, {"Last-Modified": NEW}),
        ({"Last-Modified": OLD}, "7", {"Last-Modified": OLD}),
    ],
)
def test_part_of_another_version_restarts(
    path: Path, server: Server, first: dict[str, str], total: str | None, then: dict[str, str]
) -> None:
    def answer(handler: Handler, begin: int | None) -> None:
        if begin is None:
            handler.answer(200, OTHER)
        else:
            part(handler, begin, total, OTHER[begin:], **then)

    download(cut_then(server, first, answer), path)
    assert path.read_bytes() == OTHER
    assert ranges(server) == [None, RESUME, None]


@pytest.mark.parametrize("content_range", [f"bytes 0-9/{len(FILE)}", "bytes", "items 1-2/3", f"bytes {CUT + 1}-/9", ""])
def test_another_part_than_requested_restarts(path: Path, server: Server, content_range: str) -> None:
    def answer(handler: Handler, begin: int | None) -> None:
        if begin is None:
            handler.answer(200, FILE)
        else:
            handler.answer(206, FILE[begin:], Content_Range=content_range, ETag='"1"')

    download(cut_then(server, {"ETag": '"1"'}, answer), path)
    assert path.read_bytes() == FILE


def test_part_that_ends_early_is_resumed_again(path: Path, server: Server) -> None:
    def answer(handler: Handler, begin: int | None) -> None:
        assert begin is not None
        part(handler, begin, body=FILE[begin : begin + CUT], ETag='"1"')

    download(cut_then(server, {"ETag": '"1"'}, answer), path)
    assert path.read_bytes() == FILE
    assert len(server.paths) == 4


def test_416_restarts(path: Path, server: Server) -> None:
    url = cut_then(server, {"ETag": '"1"'}, lambda handler, begin: handler.answer(200 if begin is None else 416, FILE))
    download(url, path)
    assert path.read_bytes() == FILE


def test_part_of_another_address_is_not_resumed(path: Path, server: Server) -> None:
    cut_then(server, {"ETag": '"1"'}, lambda handler, _: handler.answer(404))
    with pytest.raises(FetchError, match=r"HTTP status 404\. What came so far stays"):
        download(server("/file"), path)
    server.pages["/other"] = lambda handler, _: handler.answer(200, OTHER, ETag='"1"')
    download(server("/other"), path)
    assert path.read_bytes() == OTHER
    assert server.headers[-1].get("range") is None


def test_secret_in_the_address_is_not_written_beside_the_file(path: Path, server: Server) -> None:
    server.pages["/file?token=geheim"] = lambda handler, _: handler.begin(Content_Length="9", ETag='"1"')
    with pytest.raises(FetchError):
        download(server("/file?token=geheim"), path)
    note = path.with_name("file.bin.part.json").read_text()
    assert "geheim" not in note
    assert json.loads(note)["total"] == 9


@pytest.mark.parametrize("content_range", [f"bytes 0-99/{len(FILE)}", f"bytes 0-{len(FILE) - 1}/{len(FILE)}", "*"])
def test_unrequested_part_is_an_error(path: Path, server: Server, content_range: str) -> None:
    server.pages["/file"] = lambda handler, _: handler.answer(206, FILE[:100], Content_Range=content_range)
    with pytest.raises(FetchError, match=r"sent a part of it \(HTTP status 206\), but all of it was requested"):
        download(server("/file"), path)
    assert list(path.parent.iterdir()) == []
    assert server.paths == ["/file"]


@pytest.mark.parametrize("status", [202, 204, 205, 226])
def test_good_status_without_the_file_is_an_error(path: Path, server: Server, status: int) -> None:
    server.pages["/file"] = lambda handler, _: handler.answer(status, b"" if status in (204, 205) else b"wait")
    with pytest.raises(FetchError, match=f"HTTP status {status}"):
        download(server("/file"), path)
    assert not path.exists()


def deflated(body: bytes) -> bytes:
    packing = zlib.compressobj(wbits=-zlib.MAX_WBITS)
    return packing.compress(body) + packing.flush()


LARGE = FILE * 12 + bytes(3_000_000)  # several pieces, and a part that packs well


@pytest.mark.parametrize(
    ("encoding", "body"),
    [
        ("gzip", gzip.compress(LARGE)),
        ("GZIP", gzip.compress(LARGE)),
        ("x-gzip", gzip.compress(LARGE[:70_000]) + gzip.compress(LARGE[70_000:])),
        ("gzip", gzip.compress(LARGE) + b"what gzip ignores"),
        ("deflate", zlib.compress(LARGE)),
        ("deflate", deflated(LARGE)),
        ("br", brotli.compress(LARGE, quality=3)),
        ("zstd", zstd.compress(LARGE[:70_000]) + zstd.compress(LARGE[70_000:])),
        ("gzip, br", brotli.compress(gzip.compress(LARGE), quality=1)),
        ("identity", LARGE),
        ("utf-8", LARGE),
        ("none", LARGE),
        ("aws-chunked", LARGE),
        ("", LARGE),
    ],
)
def test_content_encoding_is_decoded(path: Path, server: Server, encoding: str, body: bytes) -> None:
    server.pages["/file"] = lambda handler, _: handler.answer(200, body, Content_Encoding=encoding)
    download(server("/file"), path)
    assert path.read_bytes() == LARGE
    assert sorted(found.name for found in path.parent.iterdir()) == ["file.bin", "file.bin.fetched.json"]


@pytest.mark.parametrize("encoding", ["gzip", "deflate", "br", "zstd"])
def test_empty_file_is_not_compressed(path: Path, server: Server, encoding: str) -> None:
    server.pages["/file"] = lambda handler, _: handler.answer(200, b"", Content_Encoding=encoding)
    download(server("/file"), path)
    assert path.read_bytes() == b""


def test_compressed_answer_is_resumed_before_it_is_decoded(path: Path, server: Server) -> None:
    packed = gzip.compress(FILE, 0)
    tags = {"ETag": '"1"', "Content_Encoding": "gzip"}

    def answer(handler: Handler, number: int) -> None:
        if number == 1:
            handler.begin(Content_Length=str(len(packed)), **tags)
            handler.wfile.write(packed[:CUT])
        else:
            begin = int(handler.headers["Range"].removeprefix("bytes=").rstrip("-"))
            part(handler, begin, str(len(packed)), packed[begin:], ETag='"1"')

    server.pages["/file"] = answer
    download(server("/file"), path)
    assert path.read_bytes() == FILE
    assert ranges(server) == [None, RESUME]


@pytest.mark.parametrize(
    ("encoding", "body"),
    [
        ("gzip", FILE),
        ("gzip", gzip.compress(FILE)[:-5]),
        ("br", brotli.compress(FILE)[:-5]),
        ("zstd", zstd.compress(FILE)[:-5]),
        ("deflate", zlib.compress(FILE)[:-5]),
        ("klingon", FILE),
    ],
)
def test_file_that_is_not_what_its_encoding_says_is_an_error(
    path: Path, server: Server, encoding: str, body: bytes
) -> None:
    server.pages["/file"] = lambda handler, _: handler.answer(200, body, ETag='"1"', Content_Encoding=encoding)
    with pytest.raises(FetchError, match=r"or breaks off|which nobody asked for"):
        download(server("/file"), path)
    assert list(path.parent.iterdir()) == []


@pytest.mark.parametrize(
    ("name", "content_type"), [("file.csv.gz", "text/csv"), ("file.tgz", "text/csv"), ("file.bin", "application/gzip")]
)
def test_file_that_is_compressed_by_name_or_type_stays_so(
    path: Path, server: Server, name: str, content_type: str
) -> None:
    packed = gzip.compress(FILE)
    server.pages["/file"] = lambda handler, _: handler.answer(
        200, packed, Content_Encoding="gzip", Content_Type=content_type
    )
    download(server("/file"), path.with_name(name))
    assert path.with_name(name).read_bytes() == packed


def test_redirect_is_followed_and_resumed_where_it_leads(path: Path, server: Server) -> None:
    cut_then(server, {"ETag": '"1"'}, lambda handler, begin: part(handler, begin or 0, ETag='"1"'))
    with serving() as front:
        front.pages["/latest"] = lambda handler, number: handler.send(
            b"HTTP/1.1 301 Moved\nContent-Encoding: gzip\nContent-Length: 4\nLocation: "
            + server(f"/file?signature={number}").encode(),
            b"gone",
        )
        server.pages["/file?signature=1"] = server.pages["/file"]
        server.pages["/file?signature=2"] = lambda handler, _: server.pages["/file"](handler, 2)
        download(front("/latest"), path)
    assert path.read_bytes() == FILE
    assert ranges(server) == [None, RESUME]
