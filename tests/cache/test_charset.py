"""The encoding of a page depends on its kind: what the body of one declares is data in another."""

from __future__ import annotations

import json
import logging
from pathlib import Path

import pytest

from ozelot.cache import Answer, RequestCache
from ozelot.cache.encoding import charset_of
from ozelot.errors import FetchError
from ozelot.testing import FakeWeb
from tests.cache.server import Server

URL = "https://wiki.example/page"
META = "<meta charset=iso-8859-1>"


def page(tmp_path: Path, body: bytes, content_type: str | None) -> str:
    """The text of a page, the second time from the file."""
    headers = {} if content_type is None else {"Content-Type": content_type}
    with FakeWeb({URL: Answer(200, body, headers)}).cache(tmp_path / "cache.db") as cache:
        text = cache.get(URL)
        assert cache.get(URL) == text
    return text


def json_of(tmp_path: Path, body: bytes, content_type: str | None) -> object:
    headers = {} if content_type is None else {"Content-Type": content_type}
    with FakeWeb({URL: Answer(200, body, headers)}).cache(tmp_path / "cache.db") as cache:
        return cache.get_json(URL)


JSON_TYPES = [
    "application/json",
    "application/json; charset=iso-8859-1",
    'APPLICATION/JSON;charset="latin1"',
    "text/json",
    "application/geo+json",
    "application/problem+json; charset=utf-16",
    "application/vnd.api+json",
    "application/x-json",
    "text/html",
    "text/plain",
    None,
]


@pytest.mark.parametrize("content_type", JSON_TYPES)
def test_json_is_utf_8_16_or_32_whatever_is_declared(tmp_path: Path, content_type: str | None) -> None:
    headers = {} if content_type is None else {"Content-Type": content_type}
    encodings = ["utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-16-be", "utf-32", "utf-32-le", "utf-32-be"]
    documents: list[object] = [{"html": META, "city": "Zürich"}, "東京", 1, [], "😀", ["Ā"]]
    web = FakeWeb()
    with web.cache(tmp_path / "cache.db") as cache:
        for encoding in encodings:
            for document in documents:
                body = json.dumps(document, ensure_ascii=False).encode(encoding)
                web.pages[URL] = Answer(200, body, headers)
                assert cache.get_json(URL, refresh=True) == document, encoding
                assert cache.get_json(URL) == document, encoding


@pytest.mark.parametrize("content_type", ["application/json", "application/json; charset=iso-8859-1", None])
def test_json_in_another_encoding_is_an_error_and_no_other_text(tmp_path: Path, content_type: str | None) -> None:
    with pytest.raises(FetchError, match=r"it is no JSON, which is UTF-8 \(.*0xfc.*\)\. Its bytes are in 'content'"):
        json_of(tmp_path, '{"city": "Zürich"}'.encode("latin-1"), content_type)


def test_json_of_another_type_may_declare_its_charset_in_the_header(tmp_path: Path) -> None:
    body = '{"city": "Москва"}'.encode("cp1251")
    assert json_of(tmp_path, body, "text/html; charset=windows-1251") == {"city": "Москва"}


@pytest.mark.parametrize("content_type", ["application/x-ndjson", "application/jsonl", "application/json-seq"])
def test_lines_of_json_are_json(tmp_path: Path, content_type: str) -> None:
    text = f'{{"html": "{META}", "city": "Zürich"}}\n' * 2
    assert page(tmp_path, text.encode(), content_type) == text


TEXT_TYPES = [
    "text/plain",
    "text/csv",
    "text/csv; header=present",
    'text/csv; filename="x; charset=latin-1"',
    "text/tab-separated-values",
    "text/markdown",
    "text/css",
    "text/javascript",
    "application/csv",
    "application/octet-stream",
    "application/x-unknown",
]
DECLARING = [
    f"name,html\nZürich,{META}\n",
    f"{META}\nZürich\n",
    '<?xml version="1.0" encoding="iso-8859-1"?>\nZürich\n',
    '<html><meta http-equiv="Content-Type" content="text/html; charset=windows-1251">Zürich',
]


@pytest.mark.parametrize("content_type", TEXT_TYPES)
@pytest.mark.parametrize("text", DECLARING)
def test_charset_in_the_body_of_text_is_data(tmp_path: Path, content_type: str, text: str) -> None:
    assert page(tmp_path, text.encode(), content_type) == text


@pytest.mark.parametrize(
    ("text", "encoding", "content_type"),
    [
        (f"Zürich;{META}", "latin-1", "text/csv; charset=iso-8859-1"),
        ("Łódź;1", "cp1250", "text/csv; charset=windows-1250"),
        ("東京,1", "cp932", "text/csv;charset=Shift_JIS"),
        ("Москва", "koi8-r", 'text/plain; charset="KOI8-R"'),
        ("東京", "euc_jp", "text/plain; CHARSET=euc-jp"),
        ("Zürich", "utf-8", "text/csv; charset=utf-8"),
        ("Zürich", "utf-8-sig", "text/csv; charset=iso-8859-1"),  # the mark is stronger, as in browsers
        ("Zürich", "utf-16", "text/csv"),
        ("a,b\nZürich,1\n", "utf-16-le", "text/csv"),
        ("a,b\n東京,1 東京\n\n", "utf-16-be", "text/csv"),
        ("Zürich", "cp1252", "text/csv"),
        ("Zürich", "utf-8", "text/csv; charset=klingon"),
        (r"C:\u00e9 +ADw-", "utf-8", "text/csv; charset=utf-7"),
        (r"C:\u00e9 +ADw-", "utf-8", "text/csv; charset=unicode_escape"),
        (r"C:\u00e9 +ADw-", "utf-8", "text/csv; charset=raw_unicode_escape"),
        ("abc-xyz", "utf-8", "text/csv; charset=punycode"),
        ("abc", "utf-8", "text/csv; charset=rot13"),
        ("", "utf-8", "text/csv"),
    ],
)
def test_text_is_read_by_its_header_then_as_utf_8_then_by_detection(
    tmp_path: Path, text: str, encoding: str, content_type: str
) -> None:
    assert page(tmp_path, text.encode(encoding), content_type) == text


@pytest.mark.parametrize(
    ("text", "encoding", "content_type"),
    [
        ("<meta charset=windows-1251><p>Привет</p>", "cp1251", "text/html"),
        ("<!-- <meta charset=iso-8859-1> --><meta charset=utf-8><p>Zürich", "utf-8", "text/html"),
        ("<meta charset=windows-1251><p>Zürich", "utf-8", "text/html; charset=utf-8"),
        ("<meta charset=utf-16><p>Zürich", "utf-8", "text/html"),
        ('<?xml version="1.0" encoding="utf-16"?><p>Zürich</p>', "utf-8", "application/xml"),
        ('<?xml version="1.0" encoding="windows-1251"?><p>Привет</p>', "cp1251", "application/rss+xml"),
        ('<?xml version="1.0" encoding="windows-1251"?><p>Привет</p>', "cp1251", "text/xml"),
        ('<?xml version="1.0" encoding="cp1252"?><p>Zürich</p>', "utf-8", "text/xml; charset=utf-8"),
        ('<?xml version="1.0"?><p>Zürich</p>', "utf-16-le", "text/xml"),
        ('<?xml version="1.0"?><p>Zürich</p>', "utf-16-be", "application/xhtml+xml"),
        (f"<rss><description><![CDATA[{META}Zürich]]></description></rss>", "utf-8", "application/rss+xml"),
        (f"<p>{META}Zürich</p>", "utf-8", "application/xhtml+xml"),
        ("<!doctype html><meta charset=windows-1251><p>Привет", "cp1251", None),
        ("<html><head><meta charset=windows-1251></head>Привет", "cp1251", ""),
        ('<?xml version="1.0" encoding="windows-1251"?><p>Привет</p>', "cp1251", None),
        (f"name,html\nZürich,{META}\n", "utf-8", None),
        (f'{{"html": "{META}Zürich"}}', "utf-8", None),
        ("<meta charset=utf-7><p>Zürich", "utf-8", "text/html"),
    ],
)
def test_html_and_xml_may_declare_their_charset(
    tmp_path: Path, text: str, encoding: str, content_type: str | None
) -> None:
    assert page(tmp_path, text.encode(encoding), content_type) == text


def test_bytes_that_are_put_are_read_as_a_page_without_a_header(tmp_path: Path) -> None:
    with FakeWeb().cache(tmp_path / "cache.db") as cache:
        cache.put(URL, f'{{"html": "{META}", "city": "Zürich"}}'.encode())
        assert cache.get_json(URL)["city"] == "Zürich"
        cache.put(URL, "<html><meta charset=windows-1251>Привет".encode("cp1251"))
        assert "Привет" in cache.get(URL)


def test_guess_is_reported_once_for_each_server(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    body = "Zürich".encode("cp1252")
    web = FakeWeb({f"{URL}{number}": Answer(200, body, {"Content-Type": "text/csv"}) for number in range(3)})
    with web.cache(tmp_path / "cache.db") as cache, caplog.at_level(logging.WARNING):
        assert [cache.get(f"{URL}{number}") for number in range(3)] == ["Zürich"] * 3
    (message,) = [record.getMessage() for record in caplog.records]
    assert message == (
        f"{URL}0 is not UTF-8 and declares no charset: read as cp1252. If that is wrong, decode its 'content'"
    )


@pytest.mark.parametrize("content_type", ["image/png", "application/zip", "application/octet-stream"])
def test_bytes_of_no_text_are_returned_as_they_are_without_a_warning(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, content_type: str
) -> None:
    body = bytes(range(256)) * 40 + b"<meta charset=utf-16>"
    web = FakeWeb({URL: Answer(200, body, {"Content-Type": content_type})})
    with web.cache(tmp_path / "cache.db") as cache, caplog.at_level(logging.WARNING):
        assert cache.get_page(URL).content == body
    assert caplog.records == []


def test_text_with_a_zero_byte_stays_utf_8() -> None:
    assert charset_of("text/plain", b"Z\xc3\xbcrich\0\n and more of it, in ASCII").name == "utf-8"


def test_json_from_a_real_server(cache: RequestCache, server: Server) -> None:
    document = {"html": META, "city": "Zürich"}
    body = json.dumps(document, ensure_ascii=False).encode()
    server.pages["/api"] = lambda handler, _: handler.answer(200, body, Content_Type="application/json")
    assert [cache.get_json(server("/api")) for _ in range(2)] == [document] * 2
