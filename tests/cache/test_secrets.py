"""Secrets in addresses and headers: never logged, never told, and in no file in clear text."""

from __future__ import annotations

import logging
import traceback
from pathlib import Path

import pytest

from ozelot.cache import Answer, RequestCache, Unreachable
from ozelot.errors import FetchError
from ozelot.redaction import masked
from ozelot.testing import FakeWeb
from tests.cache.server import Server

SECRET = "s3cr3t!x"
QUOTED = "s3cr3t%21x"


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        (f"https://x/?token={QUOTED}&q=Thor", "https://x/?token=[hidden]&q=Thor"),
        (f"https://x/?q=Thor&api_key={QUOTED}#top", "https://x/?q=Thor&api_key=[hidden]#top"),
        (f"https://x/?access_token={QUOTED}", "https://x/?access_token=[hidden]"),
        (f"https://x/?X-Amz-Signature={QUOTED}&X-Amz-Date=1", "https://x/?X-Amz-Signature=[hidden]&X-Amz-Date=1"),
        (f"https://x/?userPassword={QUOTED}", "https://x/?userPassword=[hidden]"),
        (f"https://x/#access_token={QUOTED}", "https://x/#access_token=[hidden]"),
        (f"https://me:{QUOTED}@x/page", "https://[hidden]@x/page"),
        ("https://x/?monkey=1&author=Lee&tokens_max=5&page=2", "https://x/?monkey=1&author=Lee&tokens_max=5&page=2"),
        ("https://x/a@b?q=a=b", "https://x/a@b?q=a=b"),
    ],
)
def test_address_is_shown_without_what_is_secret(url: str, shown: str) -> None:
    assert masked(url) == shown


def everything(path: Path) -> bytes:
    return b"".join(file.read_bytes() for file in path.iterdir() if file.is_file())


def test_secrets_are_nowhere_but_in_the_request(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, server: Server
) -> None:
    caplog.set_level(logging.DEBUG)
    page = server(f"/moved?token={QUOTED}")
    with RequestCache(tmp_path / "cache.db", tries=1) as cache:
        for _ in range(2):
            found = cache.get_page(page, headers={"Authorization": f"Bearer {SECRET}"})
            assert found.final_url == server("/page?token=[hidden]")
        for url in (server(f"/gone?api_key={QUOTED}"), f"http://127.0.0.1:1/?token={QUOTED}"):
            for _ in range(2):
                with pytest.raises(FetchError) as caught:
                    cache.get(url, store_on_error=True)
                assert "[hidden]" in caught.value.url
                told = "".join(traceback.format_exception(caught.value.with_traceback(None)))
                assert "s3cr3t" not in told
    assert server.paths[0] == f"/moved?token={QUOTED}"
    assert server.headers[0]["authorization"] == f"Bearer {SECRET}"
    assert "s3cr3t" not in caplog.text and "geheim" not in caplog.text
    assert "Request cache hit" in caplog.text
    assert b"s3cr3t" not in everything(tmp_path) and b"geheim" not in everything(tmp_path)


def test_other_secrets_mean_other_pages(tmp_path: Path) -> None:
    web = FakeWeb({f"https://x/?token={name}": name for name in ("mine", "yours")})
    with web.cache(tmp_path / "cache.db") as cache:
        for _ in range(2):
            assert cache.get("https://x/?token=mine") == "mine"
            assert cache.get("https://x/?token=yours") == "yours"
    assert len(web.asked) == 2


def test_what_a_server_says_is_told_without_what_it_repeats(tmp_path: Path) -> None:
    url = f"https://x/?token={QUOTED}"
    web = FakeWeb(
        {
            url: Unreachable(f"cannot connect with {SECRET} to {url}", again=False),
            f"{url}&q=1": Answer(200, "text", {"Link": f"<{url}&page=2>; rel=next", "Set-Cookie": f"id={SECRET}"}),
        }
    )
    with web.cache(tmp_path / "cache.db") as cache:
        with pytest.raises(FetchError, match=r"cannot connect with \[hidden\] to https://x/\?token=\[hidden\]"):
            cache.get(url, store_on_error=True)
        assert cache.get_page(f"{url}&q=1").entry.headers == {"link": "<https://x/?token=[hidden]&page=2>; rel=next"}
    assert b"s3cr3t" not in everything(tmp_path)
