"""Redirects are followed as browsers follow them, and what is wrong with their bodies does not matter."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from ozelot.cache import ERROR_CONNECTION_ERROR, Answer, Request, RequestCache
from ozelot.errors import FetchError
from ozelot.testing import FakeWeb
from tests.cache.server import PAGE, Handler, Server

A = "http://a.example/x/y?z=1"


def location(server: Server, path: str, target: bytes, more: bytes = b"", body: bytes = b"", status: int = 302) -> None:
    head = b"HTTP/1.1 %d Moved\nContent-Length: %d%s\nLocation: %s" % (status, len(body), more, target)
    server.pages[path] = lambda handler, _number: handler.send(head, body)


def echo(handler: Handler, _number: int) -> None:
    handler.answer(200, handler.path.encode())


@pytest.mark.parametrize(
    ("target", "requested"),
    [
        ("/Zürich".encode(), "/Z%C3%BCrich"),
        ("/Хабаровск/Å…".encode(), "/%D0%A5%D0%B0%D0%B1%D0%B0%D1%80%D0%BE%D0%B2%D1%81%D0%BA/%C3%85%E2%80%A6"),
        ("/page?q=東京&r=1".encode(), "/page?q=%E6%9D%B1%E4%BA%AC&r=1"),
        ("/Zürich".encode("latin-1"), "/Z%FCrich"),
        (b"/Z%C3%BCrich", "/Z%C3%BCrich"),
        (b"/a%2Fb%20c?d=%26", "/a%2Fb%20c?d=%26"),
        (b"/a b", "/a%20b"),
        (b"  /page  ", "/page"),
        (rb"\page\x", "/page/x"),
        (b"page", "/page"),
        (b"?q=1", "/go?q=1"),
        (b"/page#Teil", "/page"),
    ],
)
def test_target_is_read_as_in_browsers(cache: RequestCache, server: Server, target: bytes, requested: str) -> None:
    location(server, "/go", target)
    server.pages[requested] = echo
    assert cache.get(server("/go")) == requested


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
@pytest.mark.parametrize("encoding", [b"gzip", b"br", b"zstd", b"deflate", b"klingon", b"utf-8"])
def test_false_content_encoding_of_a_redirect_does_not_matter(
    cache: RequestCache, server: Server, status: int, encoding: bytes
) -> None:
    location(server, "/go", b"/page", b"\nContent-Encoding: " + encoding, b"moved", status)
    assert cache.get_page(server("/go")).content == PAGE
    assert server.paths == ["/go", "/page"]


def test_body_of_a_redirect_that_does_not_end_is_not_awaited(cache: RequestCache, server: Server) -> None:
    def dripping(handler: Handler, _number: int) -> None:
        handler.send(b"HTTP/1.1 301 Moved\nContent-Length: 1000\nLocation: /page")
        while not handler.server.ended.wait(0.05):
            handler.wfile.write(b"x")

    def endless(handler: Handler, _number: int) -> None:
        handler.send(b"HTTP/1.1 301 Moved\nLocation: /page")
        while not handler.server.ended.is_set():
            handler.wfile.write(b"x" * 65536)

    def cut(handler: Handler, _number: int) -> None:
        handler.send(b"HTTP/1.1 301 Moved\nContent-Length: 1000\nLocation: /page", b"x")

    server.pages |= {"/dripping": dripping, "/endless": endless, "/cut": cut}
    for path in ("/dripping", "/endless", "/cut"):
        begin = time.monotonic()
        assert cache.get_page(server(path)).content == PAGE
        assert time.monotonic() - begin < 5


def test_connection_is_used_again_after_a_redirect(cache: RequestCache, server: Server) -> None:
    ports: list[int] = []

    def note(handler: Handler, number: int) -> None:
        ports.append(handler.client_address[1])
        handler.answer(302, b"moved", Location=f"/go/{len(ports)}") if len(ports) < 4 else handler.answer(200, b"end")

    server.pages |= {"/go": note, **{f"/go/{number}": note for number in range(5)}}
    assert cache.get(server("/go")) == "end"
    assert len(set(ports)) == 1


@pytest.mark.parametrize("encoding", ["utf-8", "UTF-8", "none", "None", "identity", "", "binary", "iso-8859-1", "8bit"])
def test_name_that_is_no_compression_is_ignored(cache: RequestCache, server: Server, encoding: str) -> None:
    server.pages["/odd"] = lambda handler, _: handler.answer(200, PAGE, Content_Encoding=encoding)
    assert cache.get_page(server("/odd")).content == PAGE


@pytest.mark.parametrize("status", [400, 403, 404, 410, 451])
def test_status_counts_more_than_a_false_content_encoding(cache: RequestCache, server: Server, status: int) -> None:
    server.pages["/odd"] = lambda handler, _: handler.answer(status, b"no gzip", Content_Encoding="gzip")
    with pytest.raises(FetchError, match=f"HTTP status {status}"):
        cache.get(server("/odd"))
    assert server.paths == ["/odd"]


def test_several_targets_are_an_error_unless_they_are_the_same(cache: RequestCache, server: Server) -> None:
    location(server, "/two", b"/page\nLocation: /page/2")
    location(server, "/same", b"/page\nLocation: /page")
    with pytest.raises(FetchError, match="redirects to 2 addresses at once"):
        cache.get(server("/two"))
    assert cache.get_page(server("/same")).content == PAGE


@pytest.mark.parametrize("status", [300, 304, 305])
def test_other_status_is_not_followed(cache: RequestCache, server: Server, status: int) -> None:
    location(server, "/go", b"/page", status=status)
    with pytest.raises(FetchError, match=f"HTTP status {status}"):
        cache.get(server("/go"))


def test_redirect_without_a_target_is_a_failure(cache: RequestCache, server: Server) -> None:
    location(server, "/go", b"")
    with pytest.raises(FetchError, match="HTTP status 302"):
        cache.get(server("/go"))
    assert server.paths == ["/go"]


@pytest.mark.parametrize("target", ["http://[broken", "http://", "http://a.example:port/", "mailto:a@b.example"])
def test_target_that_is_no_address_is_one_line(cache: RequestCache, server: Server, target: str) -> None:
    location(server, "/go", target.encode())
    with pytest.raises(FetchError) as caught:
        cache.get(server("/go"))
    assert caught.value.status == ERROR_CONNECTION_ERROR
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("target", "url"),
    [
        ("http:///b.example/p", "http://b.example/p"),
        ("///b.example/p", "http://b.example/p"),
        (r"\\b.example\p", "http://b.example/p"),
        (r"/p?a=\b#\c", r"http://a.example/p?a=\b#\c"),
        ("../p", "http://a.example/p"),
        ("HTTP://B.example/p", "http://B.example/p"),
        ("/p#part", "http://a.example/p#part"),
    ],
)
def test_target_is_an_address_as_browsers_read_it(tmp_path: Path, target: str, url: str) -> None:
    web = FakeWeb({A: Answer(302, "", {"Location": target}), url: "text"})
    with web.cache(tmp_path / "cache.db") as cache:
        assert cache.get_page(A).final_url == url


def test_fragment_is_kept_where_the_target_has_none(tmp_path: Path) -> None:
    web = FakeWeb({f"{A}#here": Answer(302, "", {"Location": "/p"}), "http://a.example/p#here": "text"})
    with web.cache(tmp_path / "cache.db") as cache:
        assert cache.get_page(f"{A}#here").final_url == "http://a.example/p#here"


@pytest.mark.parametrize(
    ("method", "status", "then"),
    [
        ("POST", 301, "GET "),
        ("POST", 302, "GET "),
        ("POST", 303, "GET "),
        ("POST", 307, "POST x"),
        ("POST", 308, "POST x"),
        ("PUT", 301, "PUT x"),
        ("PUT", 302, "PUT x"),
        ("PUT", 303, "GET "),
        ("PATCH", 302, "PATCH x"),
        ("DELETE", 302, "DELETE x"),
        ("DELETE", 303, "GET "),
        ("HEAD", 303, "HEAD x"),
    ],
)
def test_only_post_becomes_get_unless_the_status_says_so(tmp_path: Path, method: str, status: int, then: str) -> None:
    web = FakeWeb(
        {
            A: Answer(status, "", {"Location": "/p"}),
            "http://a.example/p": lambda request: Answer(200, f"{request.method} {request.body.decode()}"),
        }
    )
    with web.cache(tmp_path / "cache.db") as cache:
        assert cache.get(A, method=method, data="x", headers={"Content-Type": "text/x", "Accept": "text/y"}) == then
    assert ("Content-Type" in web.asked[1].headers) == (then.endswith("x"))
    assert web.asked[1].headers["Accept"] == "text/y"


def test_only_the_address_that_gave_the_validator_is_asked_with_it(tmp_path: Path) -> None:
    old = Answer(200, "old", {"ETag": '"1"', "Last-Modified": "Thu, 01 Jan 2026 00:00:00 GMT"})
    web = FakeWeb({A: Answer(302, "", {"Location": "/old"}), "http://a.example/old": old})
    web.pages["http://a.example/new"] = Answer(200, "new", {"ETag": '"1"'})  # the same tag, of another page
    with web.cache(tmp_path / "cache.db") as cache:
        assert cache.get(A) == "old"
        assert cache.get(A, max_age=-1) == "old"
        conditions = [request.headers.get("If-None-Match") for request in web.asked]
        assert conditions == [None, None, None, '"1"']
        web.pages[A] = Answer(302, "", {"Location": "/new"})
        assert cache.get(A, max_age=-1) == "new"


def test_unrequested_304_is_an_error(tmp_path: Path) -> None:
    web = FakeWeb({A: ["page", Answer(304, b"")]})
    with web.cache(tmp_path / "cache.db") as cache:
        cache.get(A)
        with pytest.raises(FetchError, match="HTTP status 304"):
            cache.get(A, refresh=True)
        assert cache.get(A) == "page"


def test_unrequested_part_is_an_error_and_is_not_kept(cache: RequestCache, server: Server) -> None:
    server.pages["/part"] = lambda handler, _: handler.answer(206, PAGE[:100], Content_Range=f"bytes 0-99/{len(PAGE)}")
    with pytest.raises(FetchError, match=r"sent a part of it \(HTTP status 206\), but all of it was requested"):
        cache.get(server("/part"), store_on_error=False)
    assert not cache.has(server("/part"))
    assert server.paths == ["/part"]


def test_requested_part_is_a_page_of_its_own_if_it_is_the_part_requested(cache: RequestCache, server: Server) -> None:
    def part(handler: Handler, _number: int) -> None:
        handler.answer(206, b"0123456789", Content_Range="bytes 10-19/100")

    server.pages["/part"] = part
    assert cache.get(server("/part"), headers={"Range": "bytes=10-19"}) == "0123456789"
    assert cache.get(server("/part"), headers={"range": "bytes=10-99"}) == "0123456789"
    for other in ("bytes=0-9", "bytes=10-14", "bytes=20-"):
        with pytest.raises(FetchError, match=f"sent the part 'bytes 10-19/100', but '{other}' was requested"):
            cache.get(server("/part"), headers={"Range": other})


@pytest.mark.parametrize("method", ["GET", "POST", "PUT"])
def test_408_is_retried_as_the_server_has_not_seen_the_request(tmp_path: Path, method: str) -> None:
    web = FakeWeb({A: [408, 408, "page"]})
    with web.cache(tmp_path / "cache.db") as cache:
        assert cache.get(A, method=method) == "page"
    assert len(web.asked) == 3


def test_408_that_stays_is_an_error(tmp_path: Path) -> None:
    with FakeWeb({A: 408}).cache(tmp_path / "cache.db") as cache:
        with pytest.raises(FetchError, match=r"HTTP status 408, 4 times\. It is in trouble") as caught:
            cache.get(A)
        assert (caught.value.status, caught.value.tries) == (408, 4)


def test_request_that_leads_nowhere_is_not_sent(tmp_path: Path) -> None:
    asked: list[Request] = []

    def fetch(request: Request) -> Answer:
        asked.append(request)
        return Answer(301, "", {"Location": "http://[broken"})

    with RequestCache(tmp_path / "cache.db", fetch=fetch) as cache, pytest.raises(FetchError, match="no address"):
        cache.get(A)
    assert asked == [A]
