"""Whatever a server sends: what a hit returns equals what the miss returned."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ozelot.cache import Answer, RequestCache
from ozelot.cache.page import Page
from ozelot.errors import FetchError
from ozelot.testing import FakeWeb

pytestmark = pytest.mark.slow

ENCODINGS = ["utf-8", "latin-1", "utf-16", "utf-7", "hex", "idna", "shift_jis", "gb18030", "big5", "undefined", "x", ""]
TYPES = st.one_of(
    st.text(max_size=30),
    st.builds("text/html; charset={}".format, st.sampled_from(ENCODINGS)),
    st.builds('application/xml; charset="{}"'.format, st.text(max_size=8)),
)
HEADERS = st.dictionaries(
    st.sampled_from(["Content-Type", "ETag", "Last-Modified", "Link", "Location", "X-Other", "Retry-After"]), TYPES
)
MARKS = [b"", b"\xef\xbb\xbf", b"\xff\xfe", b"\xfe\xff", b"\x00\x00\xfe\xff", b"\x80"]
BODIES = st.builds(
    lambda mark, declared, rest: mark + declared + rest,
    st.sampled_from(MARKS),
    st.one_of(
        st.just(b""),
        st.sampled_from([f'<meta charset="{name}">'.encode() for name in ENCODINGS]),
        st.sampled_from([f"<?xml version='1.0' encoding='{name}'?>".encode() for name in ENCODINGS]),
    ),
    st.one_of(st.binary(max_size=300), st.text(max_size=200).map(lambda text: text.encode("utf-8", "replace"))),
)
STATUS = st.one_of(st.just(200), st.sampled_from([201, 204, 206, 301, 304, 404, 410, 429, 500, 503, 0, -1, 99, 2000]))
URL = "https://wiki.example/"


def outcome(cache: RequestCache, xpath: str | None) -> tuple[object, ...]:
    try:
        page: Page = cache.get_page(URL, xpath=xpath, store_on_error=True)
    except FetchError as exc:
        return "error", exc.status, exc.url
    headers: Mapping[str, str] = page.entry.headers
    return "page", page.text, page.content, page.status, page.final_url, dict(headers), page.hash


@settings(max_examples=80, deadline=None)
@given(status=STATUS, headers=HEADERS, body=BODIES, xpath=st.sampled_from([None, "//p", "//meta/@charset"]))
def test_hit_equals_the_miss_whatever_came(
    status: int, headers: dict[str, str], body: bytes, xpath: str | None
) -> None:
    with tempfile.TemporaryDirectory() as folder:
        web = FakeWeb({URL: [Answer(status, body, headers), 404]})
        path = Path(folder) / "cache.db"
        with web.cache(path, tries=1) as cache:
            miss = outcome(cache, xpath)
            hit = outcome(cache, xpath)
        with RequestCache(path) as cache:
            again = outcome(cache, xpath)
    assert miss == hit == again
