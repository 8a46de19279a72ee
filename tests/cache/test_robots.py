"""robots.txt, for the address that is asked for and for every address that a redirect leads to."""

from __future__ import annotations

from pathlib import Path

import pytest

from ozelot.cache import ERROR_DISALLOWED, Answer, RequestCache
from ozelot.errors import Disallowed, FetchError
from ozelot.testing import FakeWeb
from tests.cache.hurried import Hurried
from tests.cache.server import Handler, Server, serving

RULES = b"User-agent: *\nDisallow: /private\n"


def redirect(server: Server, path: str, target: str, status: int = 302) -> None:
    def answer(handler: Handler, _number: int) -> None:
        handler.answer(status, Location=target)

    server.pages[path] = answer


def rules(server: Server, body: bytes, status: int = 200) -> None:
    def answer(handler: Handler, _number: int) -> None:
        handler.answer(status, body)

    server.pages["/robots.txt"] = answer


@pytest.fixture
def polite(tmp_path: Path) -> RequestCache:
    return RequestCache(tmp_path / "polite.db", timer=Hurried(), robots=True)


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_target_on_the_same_server_is_checked(polite: RequestCache, server: Server, status: int) -> None:
    rules(server, RULES)
    redirect(server, "/go", "/private/x", status)
    with polite, pytest.raises(Disallowed, match=r"the robots\.txt of the server forbids it") as caught:
        polite.get(server("/go"))
    assert caught.value.status == ERROR_DISALLOWED
    assert server.paths == ["/robots.txt", "/go"]


def test_target_on_another_server_is_checked_by_its_own_rules(polite: RequestCache, server: Server) -> None:
    rules(server, b"")
    with serving() as other, polite:
        rules(other, RULES)
        redirect(server, "/go", other("/private/x"))
        redirect(server, "/fine", other("/page"))
        with pytest.raises(Disallowed):
            polite.get(server("/go"))
        assert "Köln" in polite.get(server("/fine"))
        assert other.paths == ["/robots.txt", "/page"]


def test_every_target_of_a_chain_is_checked(polite: RequestCache, server: Server) -> None:
    rules(server, RULES)
    redirect(server, "/one", "/two")
    redirect(server, "/two", "/private/three")
    redirect(server, "/private/three", "/page")
    with polite, pytest.raises(Disallowed):
        polite.get(server("/one"))
    assert server.paths == ["/robots.txt", "/one", "/two"]


def test_many_pages_go_on_where_one_is_disallowed(polite: RequestCache, server: Server) -> None:
    rules(server, RULES)
    redirect(server, "/go", "/private/x")
    with polite:
        pages = {
            p.url: p for p in polite.get_many([server(path) for path in ("/go", "/page/1", "/private", "/page/2")])
        }
    assert sorted(url.removeprefix(server.base) for url, found in pages.items() if found.error is None) == [
        "/page/1",
        "/page/2",
    ]


def test_many_pages_go_on_where_the_rules_of_one_server_cannot_be_had(polite: RequestCache, server: Server) -> None:
    rules(server, b"")
    with serving() as other, polite:
        rules(other, b"", 500)
        urls = [server("/page/1"), other("/page"), server("/page/2")]
        pages = {found.url: found for found in polite.get_many(urls)}
        assert {url for url, found in pages.items() if found.error is None} == {urls[0], urls[2]}
        with pytest.raises(FetchError, match=r"it is unknown what robots\.txt allows") as caught:
            _ = pages[urls[1]].text
        assert caught.value.status == 500
        assert set(other.paths) == {"/robots.txt"}


def test_rules_may_be_anywhere(polite: RequestCache, server: Server) -> None:
    server.pages["/rules/private"] = lambda handler, _: handler.answer(200, b"User-agent: *\nDisallow: /page/2\n")
    redirect(server, "/robots.txt", "/rules/private")
    with polite:
        assert "Köln" in polite.get(server("/page/1"))
        with pytest.raises(Disallowed):
            polite.get(server("/page/2"))


def test_file_of_the_same_name_elsewhere_is_a_page_like_any_other(polite: RequestCache, server: Server) -> None:
    rules(server, RULES)
    with polite, pytest.raises(Disallowed):
        polite.get(server("/private/robots.txt"))
    assert server.paths == ["/robots.txt"]


def test_delay_that_the_target_asks_for_is_kept(tmp_path: Path) -> None:
    web = FakeWeb(
        {
            "https://a.example/robots.txt": "",
            "https://b.example/robots.txt": "User-agent: *\nCrawl-delay: 7",
            **{f"https://a.example/{n}": Answer(302, "", {"Location": f"https://b.example/{n}"}) for n in range(3)},
            **{f"https://b.example/{n}": "page" for n in range(3)},
        }
    )
    with web.cache(tmp_path / "cache.db", robots=True) as cache:
        begin = web.timer.now()
        for number in range(3):
            cache.get(f"https://a.example/{number}")
        assert web.timer.now() - begin >= 14


def test_without_robots_nobody_is_asked_for_rules(cache: RequestCache, server: Server) -> None:
    rules(server, RULES)
    redirect(server, "/go", "/private/x")
    server.pages["/private/x"] = lambda handler, _: handler.answer(200, b"page")
    assert cache.get(server("/go")) == "page"
    assert server.paths == ["/go", "/private/x"]
