"""What is asked for, how often, and what is kept of it; on a web that is not there."""

from __future__ import annotations

import datetime
import threading
from pathlib import Path

import pytest

from ozelot.cache import Answer, Request, RequestCache, Unreachable
from ozelot.cache.rate_limit import Timer
from ozelot.errors import ConfigError, Disallowed, FetchError, NotInCache
from ozelot.testing import FakeWeb

URL = "https://wiki.example/Thor"


class Clock:
    """Tells the time that it is told."""

    def __init__(self) -> None:
        self.time = datetime.datetime(2026, 1, 1)

    def __call__(self) -> datetime.datetime:
        return self.time

    def passes(self, **time: float) -> None:
        self.time += datetime.timedelta(**time)


def test_params_headers_method_and_body_say_which_page_is_meant(tmp_path: Path) -> None:
    def told(request: Request) -> Answer:
        return Answer(200, f"{request.method} {request} {request.headers.get('X-Part')} {request.body.decode()}")

    web = FakeWeb({URL: told, f"{URL}?a=1&b=x+y&b=2": told})
    with web.cache(tmp_path / "cache.db") as cache:
        for _ in range(2):
            assert cache.get(URL) == f"GET {URL} None "
            assert cache.get(URL, params={"a": 1, "b": ["x y", 2], "c": None}) == f"GET {URL}?a=1&b=x+y&b=2 None "
            assert cache.get(URL, headers={"X-Part": "2"}) == f"GET {URL} 2 "
            assert cache.get(URL, method="put", data="text") == f"PUT {URL} None text"
            assert cache.get(URL, data={"a": "1"}) == f"POST {URL} None a=1"
            assert cache.get(URL, json={"a": 1}) == f'POST {URL} None {{"a": 1}}'
    assert len(web.asked) == 6
    assert web.asked[-1].headers["Content-Type"] == "application/json"


def test_has_timestamp_and_clear_mean_the_same_request_as_get(tmp_path: Path) -> None:
    web = FakeWeb({URL: "post"})
    with web.cache(tmp_path / "cache.db") as cache:
        cache.get(URL, json=[1])
        assert (cache.has(URL), cache.has(URL, json=[1]), cache.has(URL, json=[2])) == (False, True, False)
        assert cache.get_timestamp(URL, json=[1]) is not None
        cache.clear(URL, json=[1])
        assert not cache.has(URL, json=[1])


def test_data_and_json_do_not_go_together(tmp_path: Path) -> None:
    with FakeWeb().cache(tmp_path / "cache.db") as cache, pytest.raises(ConfigError, match="either 'data' or 'json'"):
        cache.get(URL, data="x", json="x")


def test_page_tells_where_redirects_led_and_keeps_it(tmp_path: Path) -> None:
    web = FakeWeb(
        {
            "http://a.example/": Answer(301, "", {"Location": "https://a.example/"}),
            "https://a.example/": Answer(302, "", {"location": "//b.example/page"}),
            "https://b.example/page": "text",
        }
    )
    with web.cache(tmp_path / "cache.db") as cache:
        for _ in range(2):
            page = cache.get_page("http://a.example/")
            assert page.text == "text"
            assert page.final_url == "https://b.example/page"
            assert [tuple(step) for step in page.entry.redirects] == [
                (301, "http://a.example/"),
                (302, "https://a.example/"),
            ]


@pytest.mark.parametrize(("status", "then"), [(301, "GET "), (302, "GET "), (303, "GET "), (307, "POST x")])
def test_redirect_repeats_what_was_sent_where_it_says_so(tmp_path: Path, status: int, then: str) -> None:
    web = FakeWeb(
        {
            "http://a.example/": Answer(status, "", {"location": "/b"}),
            "http://a.example/b": lambda request: Answer(200, f"{request.method} {request.body.decode()}"),
        }
    )
    with web.cache(tmp_path / "cache.db") as cache:
        assert cache.get("http://a.example/", data="x") == then


def test_secrets_are_not_sent_to_another_server(tmp_path: Path) -> None:
    web = FakeWeb({URL: Answer(302, "", {"location": "https://b.example/"}), "https://b.example/": "text"})
    with web.cache(tmp_path / "cache.db") as cache:
        cache.get(URL, headers={"Authorization": "Bearer geheim", "X-Api-Key": "geheim", "Accept": "text/html"})
    assert web.asked[0].headers["Authorization"] == "Bearer geheim"
    assert {"Authorization", "X-Api-Key"}.isdisjoint(web.asked[1].headers)
    assert web.asked[1].headers["Accept"] == "text/html"


def test_page_older_than_max_age_is_asked_for_again_only_if_it_has_changed(tmp_path: Path) -> None:
    clock = Clock()
    web = FakeWeb({URL: Answer(200, "old", {"ETag": '"1"', "Last-Modified": "Thu, 01 Jan 2026 00:00:00 GMT"})})
    with web.cache(tmp_path / "cache.db", clock=clock) as cache:
        assert cache.get(URL, max_age=60) == "old"
        clock.passes(seconds=60)
        assert cache.get(URL, max_age=60) == "old"
        assert len(web.asked) == 1
        clock.passes(seconds=1)
        page = cache.get_page(URL, max_age=datetime.timedelta(minutes=1))
        assert (page.text, page.from_cache) == ("old", False)
        assert web.asked[1].headers["If-None-Match"] == '"1"'
        assert web.asked[1].headers["If-Modified-Since"] == "Thu, 01 Jan 2026 00:00:00 GMT"
        assert cache.get(URL, max_age=60) == "old"  # it was confirmed just now
        assert len(web.asked) == 2
        assert cache.get_timestamp(URL) == datetime.datetime(2026, 1, 1)
        web.pages[URL] = Answer(200, "new", {"ETag": '"2"'})
        clock.passes(hours=1)
        assert cache.get(URL) == "old"
        assert cache.get(URL, max_age=0) == "new"
        assert cache.get(URL) == "new"


def test_part_of_a_page_is_confirmed_as_the_page_is(tmp_path: Path) -> None:
    clock = Clock()
    web = FakeWeb({URL: Answer(200, "<p>a</p><p>b</p>", {"ETag": '"1"'})})
    with web.cache(tmp_path / "cache.db", clock=clock) as cache:
        for _ in range(2):
            assert cache.get(URL, xpath="//p", max_age=1) == "<p>a</p>"
            clock.passes(hours=1)
    assert [request.headers.get("If-None-Match") for request in web.asked] == [None, '"1"']


def test_refresh_asks_for_all_of_it(tmp_path: Path) -> None:
    web = FakeWeb({URL: [Answer(200, "old", {"ETag": '"1"'}), Answer(200, "new", {"ETag": '"1"'})]})
    with web.cache(tmp_path / "cache.db") as cache:
        assert cache.get(URL) == "old"
        assert cache.get(URL, refresh=True) == "new"
        assert cache.get(URL) == "new"


def test_failure_never_takes_the_place_of_a_page(tmp_path: Path) -> None:
    web = FakeWeb({URL: ["page", 404]})
    with web.cache(tmp_path / "cache.db") as cache:
        cache.get(URL)
        with pytest.raises(FetchError, match="HTTP status 404"):
            cache.get(URL, refresh=True, store_on_error=True)
        assert cache.get(URL) == "page"


def test_kept_failure_is_seen_by_has_timestamp_and_clear(tmp_path: Path) -> None:
    clock = Clock()
    web = FakeWeb({URL: [Unreachable("no network", again=False), "page"]})
    with web.cache(tmp_path / "cache.db", clock=clock) as cache:
        for hint in ("no network. Check the address", r"no network \(kept in the request cache"):
            with pytest.raises(FetchError, match=hint) as caught:
                cache.get(URL, store_on_error=True)
            assert caught.value.status == 999
        assert cache.has(URL)
        assert cache.get_timestamp(URL) == clock.time
        cache.clear(URL)
        assert cache.get(URL) == "page"


def test_post_is_not_repeated_where_the_server_may_have_acted(tmp_path: Path) -> None:
    web = FakeWeb({URL: [Unreachable("reset"), "page"], f"{URL}/2": [503, "page"], f"{URL}/3": [500, "page"]})
    with web.cache(tmp_path / "cache.db") as cache:
        with pytest.raises(FetchError, match="reset"):
            cache.get(URL, data="x")
        assert cache.get(f"{URL}/2", data="x") == "page"
        with pytest.raises(FetchError, match="500"):
            cache.get(f"{URL}/3", data="x")
    assert [request.rpartition("/")[2] for request in web.asked] == ["Thor", "2", "2", "3"]


def test_retry_after_as_a_date_counts_and_nonsense_does_not(tmp_path: Path) -> None:
    far = "Fri, 01 Jan 2100 00:00:00 GMT"
    web = FakeWeb(
        {URL: Answer(503, "", {"Retry-After": far}), f"{URL}/2": [Answer(503, "", {"Retry-After": "?"}), "x"]}
    )
    with web.cache(tmp_path / "cache.db") as cache:
        assert cache.get(f"{URL}/2") == "x"
        with pytest.raises(FetchError, match="left alone for") as caught:
            cache.get(URL)
    assert (caught.value.status, caught.value.tries) == (503, 1)


def test_rate_limit_is_for_each_server(tmp_path: Path) -> None:
    web = FakeWeb({f"https://{host}.example/{number}": "x" for host in "ab" for number in range(3)})
    with web.cache(tmp_path / "cache.db") as cache:
        begin = web.timer.now()
        for number in range(3):
            for host in "ab":
                cache.get(f"https://{host}.example/{number}", rate_limit=10)
        assert 20 <= web.timer.now() - begin < 21


def test_server_with_a_limit_never_sees_more(tmp_path: Path) -> None:
    urls = [f"https://a.example/{number}" for number in range(50)]
    web = FakeWeb(dict.fromkeys(urls, "x"), limits={"a.example": 20}, latency={"a.example": 0.05})
    with web.cache(tmp_path / "cache.db") as cache:
        for url in urls:
            cache.get(url, rate_limit=0.05)
        assert not web.refused
        begin = web.timer.now()
        for url in urls:
            cache.get(url, refresh=True)
        assert web.refused["a.example"] > 0  # without a limit of one's own, the server's is met, and honoured
        assert web.timer.now() - begin > 1


def test_offline_a_miss_is_an_error_that_names_the_url(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    web = FakeWeb({URL: "page"})
    with web.cache(tmp_path / "cache.db") as cache:
        cache.get(URL)
        monkeypatch.setenv("OZELOT_OFFLINE", "1")
        assert cache.get(URL) == "page"
        with pytest.raises(
            NotInCache, match=rf"No page from {URL}/2: it is not in the request cache \S*cache\.db, and"
        ):
            cache.get(f"{URL}/2", store_on_error=True)
        with pytest.raises(NotInCache, match="OFFLINE"):
            cache.get(URL, refresh=True)
        assert not cache.has(f"{URL}/2")
    none = r"there is no request cache \S*page\.db \(REQUEST_CACHE_PATH says where\)"
    with web.cache(tmp_path / "page.db") as cache, pytest.raises(NotInCache, match=none):
        cache.get(URL)
    assert len(web.asked) == 1


def test_robots_txt_is_honoured_on_request(tmp_path: Path) -> None:
    site = "https://wiki.example"
    rules = "User-agent: *\nDisallow: /private\nDisallow: /*?edit=\nCrawl-delay: 5"
    web = FakeWeb({f"{site}/robots.txt": rules, f"{site}/a": "a", f"{site}/b": "b", f"{site}/private/x": "x"})
    with web.cache(tmp_path / "cache.db", robots=True) as cache:
        assert cache.get(f"{site}/a") == "a"
        begin = web.timer.now()
        assert cache.get(f"{site}/b") == "b"
        assert web.timer.now() - begin >= 5
        for path in ("/private/x", "/a?edit=1"):
            with pytest.raises(Disallowed, match=r"the robots\.txt of the server forbids it"):
                cache.get(site + path)
    assert sorted(set(web.asked)) == [f"{site}/a", f"{site}/b", f"{site}/robots.txt"]
    with web.cache(tmp_path / "other.db") as cache:
        assert cache.get(f"{site}/private/x") == "x"


@pytest.mark.parametrize(("status", "allowed"), [(404, True), (500, False)])
def test_robots_txt_that_is_not_there_allows_all_and_one_that_cannot_be_had_nothing(
    tmp_path: Path, status: int, allowed: bool
) -> None:
    web = FakeWeb({"https://wiki.example/robots.txt": status, URL: "page"})
    with web.cache(tmp_path / "cache.db", robots=True) as cache:
        if allowed:
            assert cache.get(URL) == "page"
        else:
            with pytest.raises(FetchError, match=r"robots\.txt: HTTP status 500"):
                cache.get(URL)


def test_user_agent_names_the_pipeline_and_can_be_set(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    web = FakeWeb({URL: "page"})
    with web.cache(tmp_path / "cache.db") as cache:
        cache.get(URL, refresh=True)
        monkeypatch.setenv("OZELOT_PIPELINE", "superheroes.pipeline:LoadEverything")
        cache.get(URL, refresh=True)
        monkeypatch.setenv("OZELOT_USER_AGENT", "heroes (me@example.org)")
        cache.get(URL, refresh=True)
        cache.get(URL, refresh=True, headers={"User-Agent": "mine"})
    told = [request.headers["User-Agent"] for request in web.asked]
    assert told[0].startswith("ozelot/")
    assert told[1].startswith("superheroes (ozelot/")
    assert told[2:] == ["heroes (me@example.org)", "mine"]


def test_json_and_html_are_read_and_what_is_neither_is_an_error(tmp_path: Path) -> None:
    page = "<html><head><meta charset=latin-1></head><body><a href='/x'>Zoë</a></body></html>"
    web = FakeWeb({URL: page, f"{URL}/json": '{"name": "Zoë"}', f"{URL}/empty": ""})
    with web.cache(tmp_path / "cache.db") as cache:
        assert cache.get_json(f"{URL}/json") == {"name": "Zoë"}
        document = cache.get_html(URL)
        document.make_links_absolute()
        assert document.xpath("//a/@href") == ["https://wiki.example/x"]
        assert document.xpath("//a/text()") == ["Zoë"]
        with pytest.raises(FetchError, match=f"No use in {URL}: it is no JSON"):
            cache.get_json(URL)
        with pytest.raises(FetchError, match="it is empty"):
            cache.get_html(f"{URL}/empty")


def test_threads_that_want_the_same_page_share_what_came(tmp_path: Path) -> None:
    together = threading.Barrier(8)
    web = FakeWeb({URL: "page"}, latency={"wiki.example": 0.1}, timer=Timer())
    texts: list[str] = []
    with web.cache(tmp_path / "cache.db") as cache:

        def ask() -> None:
            together.wait()
            texts.append(cache.get(URL))

        threads = [threading.Thread(target=ask) for _ in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert texts == ["page"] * 8
    assert len(web.asked) == 1


def test_error_of_the_program_itself_is_not_hidden(tmp_path: Path) -> None:
    def broken(_request: Request) -> Answer:
        raise ZeroDivisionError

    with RequestCache(tmp_path / "cache.db", fetch=broken) as cache:
        with pytest.raises(ZeroDivisionError):
            cache.get(URL)
        with pytest.raises(ZeroDivisionError):
            list(cache.get_many([URL]))
