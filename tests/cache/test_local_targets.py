"""``refuse_local``: no address, name or redirect leads to this machine or its link."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from ozelot.cache import ERROR_LOCAL_TARGET, Answer, RequestCache
from ozelot.cache.download import download
from ozelot.cache.redirects import is_local
from ozelot.cache.transport import Web
from ozelot.errors import FetchError, LocalTargetRefused
from ozelot.testing import FakeWeb
from tests.cache.hurried import Hurried
from tests.cache.server import Server

PUBLIC = "http://wiki.example/"
METADATA = "http://169.254.169.254/latest/meta-data/"


@pytest.fixture
def guarded(tmp_path: Path) -> Iterator[RequestCache]:
    with RequestCache(tmp_path / "cache.db", timer=Hurried(), refuse_local=True) as cache:
        yield cache


def resolve(monkeypatch: pytest.MonkeyPatch, names: dict[str, list[str]]) -> list[str]:
    """Let names resolve to these addresses, as a hostile DNS server would; gives the names looked up."""
    real, looked_up = socket.getaddrinfo, []

    def getaddrinfo(host: Any, port: Any, *args: Any, **kwargs: Any) -> Any:
        looked_up.append(str(host))
        return [one for name in names.get(str(host), [host]) for one in real(name, port, *args, **kwargs)]

    monkeypatch.setattr(socket, "getaddrinfo", getaddrinfo)
    return looked_up


@pytest.mark.parametrize(
    "host",
    [
        "127.0.0.1",
        "127.1",
        "127.255.255.254",
        "2130706433",
        "0x7f000001",
        "0x7f.1",
        "0177.0.0.1",
        "0.0.0.0",
        "0",
        "localhost",
        "LOCALHOST.",
        "a.localhost",
        "[::1]",
        "[::]",
        "[::ffff:127.0.0.1]",
        "[::ffff:7f00:1]",
        "[::127.0.0.1]",
        "[64:ff9b::127.0.0.1]",
        "[2002:7f00:1::]",
        "169.254.169.254",
        "2852039166",
        "[fe80::1]",
        "[::ffff:169.254.169.254]",
        "user:password@127.0.0.1",
        "wiki.example@127.0.0.1",
    ],
)
def test_address_of_this_machine_is_refused_in_any_spelling(guarded: RequestCache, server: Server, host: str) -> None:
    port = server.server_address[1]
    with pytest.raises(LocalTargetRefused, match="refuse_local excludes this machine and its link") as caught:
        guarded.get(f"http://{host}:{port}/page")
    assert (caught.value.status, "\n" in str(caught.value)) == (ERROR_LOCAL_TARGET, False)
    assert server.paths == []


@pytest.mark.parametrize("addresses", [["127.0.0.1"], ["::1"], ["192.0.2.1", "127.0.0.1"], ["::ffff:127.0.0.1"]])
def test_name_that_resolves_to_this_machine_is_refused(
    guarded: RequestCache, server: Server, monkeypatch: pytest.MonkeyPatch, addresses: list[str]
) -> None:
    resolve(monkeypatch, {"rebound.example": addresses})
    with pytest.raises(LocalTargetRefused, match=r"rebound\.example is \S*1: refuse_local"):
        guarded.get(f"http://rebound.example:{server.server_address[1]}/page")
    assert server.paths == []


def test_address_that_was_checked_is_the_one_that_is_used(
    guarded: RequestCache, server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A name whose second lookup leads to this machine: it is looked up once."""
    real, looked_up = socket.getaddrinfo, []

    def getaddrinfo(host: Any, port: Any, *args: Any, **kwargs: Any) -> Any:
        looked_up.append(str(host))
        name = host if host != "twice.example" else "127.0.0.1" if looked_up.count("twice.example") > 1 else "192.0.2.1"
        return real(name, port, *args, **kwargs)

    monkeypatch.setattr(socket, "getaddrinfo", getaddrinfo)
    monkeypatch.setattr(
        "ozelot.cache.transport._CONNECT", 0.2
    )  # nothing answers at 192.0.2.1, which is for documentation
    with RequestCache(guarded.path, timer=Hurried(), tries=1, refuse_local=True) as cache, pytest.raises(FetchError):
        cache.get(f"http://twice.example:{server.server_address[1]}/page")
    assert server.paths == []
    assert looked_up[:2] == ["twice.example", "192.0.2.1"]


def test_redirect_to_this_machine_is_refused(tmp_path: Path) -> None:
    web = FakeWeb({PUBLIC: Answer(302, "", {"Location": METADATA}), METADATA: "secret"})
    with web.cache(tmp_path / "cache.db", refuse_local=True) as cache:
        with pytest.raises(LocalTargetRefused):
            cache.get(PUBLIC)
        (page,) = cache.get_many([PUBLIC])
        assert isinstance(page.error, LocalTargetRefused)
        assert not cache.has(PUBLIC)
    assert web.asked == [PUBLIC] * 2


def test_redirect_on_a_real_connection_is_refused(
    guarded: RequestCache, server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The first address is let through, as if it were public; the check is that of the connection for the second."""
    monkeypatch.setattr("ozelot.cache.redirects.is_local", lambda address: address == "127.0.0.2")
    server.pages["/go"] = lambda handler, _: handler.answer(302, Location=server("/page").replace("0.0.1", "0.0.2"))
    with pytest.raises(LocalTargetRefused, match=r"127\.0\.0\.2"):
        guarded.get(server("/go"))
    assert server.paths == ["/go"]
    assert "Köln" in guarded.get(server("/page"))


def test_server_that_is_not_local_is_reached_by_its_name(
    guarded: RequestCache, server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("ozelot.cache.redirects.is_local", lambda _address: False)
    resolve(monkeypatch, {"wiki.example": ["127.0.0.1"]})
    port = server.server_address[1]
    assert "Köln" in guarded.get(f"http://wiki.example:{port}/page")
    assert server.headers[0]["host"] == f"wiki.example:{port}"


def test_name_that_does_not_resolve_is_an_error_like_any_other(guarded: RequestCache) -> None:
    with pytest.raises(FetchError) as caught:
        guarded.get("http://nowhere.invalid/")
    assert not isinstance(caught.value, LocalTargetRefused)
    assert "\n" not in str(caught.value)


def test_proxy_on_this_machine_may_be_used_but_not_to_reach_it(
    guarded: RequestCache, server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("http_proxy", server.base)
    monkeypatch.setenv("no_proxy", "")
    server.pages["http://198.51.100.1/page"] = lambda handler, _: handler.answer(200, b"by proxy")
    assert guarded.get("http://198.51.100.1/page") == "by proxy"
    with pytest.raises(LocalTargetRefused):
        guarded.get(METADATA)
    assert server.paths == ["http://198.51.100.1/page"]


def test_download_refuses_as_the_cache_does(tmp_path: Path, server: Server) -> None:
    with pytest.raises(LocalTargetRefused, match=r"No file from .*refuse_local"):
        download(server("/file/whole"), tmp_path / "file.bin", refuse_local=True)
    assert list(tmp_path.iterdir()) == []
    assert server.paths == []
    download(server("/file/whole"), tmp_path / "file.bin")


def test_without_the_option_this_machine_is_a_server_like_any_other(cache: RequestCache, server: Server) -> None:
    assert "Köln" in cache.get(server("/page"))
    Web(timeout=1, max_bytes=1).close()


@pytest.mark.parametrize(
    "address", ["192.0.2.1", "10.0.0.1", "192.168.1.1", "2001:db8::1", "fd00::1", "::ffff:192.0.2.1", "8.8.8.8"]
)
def test_address_elsewhere_is_not_local(address: str) -> None:
    assert not is_local(address)
