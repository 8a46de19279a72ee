"""The text of a page: its character encoding, by its kind, and the node at an xpath.

HTML follows the WHATWG HTML standard, XML its appendix F and RFC 7303, JSON RFC 8259. A charset that the body declares
counts for HTML and XML alone: in JSON or CSV, the same characters are data.
"""

from __future__ import annotations

import codecs
import json
import re
from typing import NamedTuple

from lxml import etree, html
from w3lib.encoding import (
    html_body_declared_encoding,
    http_content_type_encoding,
    read_bom,
    resolve_encoding,
    to_unicode,
)

from ozelot.errors import ConfigError

_JSON = re.compile(r"(?:.+[+.-])?(?:nd)?json(?:l|5|lines|-seq)?")
_SNIFFED = {"", "unknown/unknown", "application/unknown", "*/*"}  # what browsers take for no Content-Type
_HTML_BEGINS = re.compile(
    rb"\s*<(?:!--|(?:!doctype html|html|head|body|script|iframe|h1|div|font|table|a|style|title|b|br|p|meta)[\s>])",
    re.IGNORECASE,
)
_XML_DECLARATION = re.compile(rb"\s*<\?xml\s[^>]*?\bencoding\s*=\s*[\"']([\w.:-]+)[\"']")
_BEGIN = 1024  # bytes in which a declaration counts
#: Encodings of Python that no browser knows: they would change ASCII text, such as "\\u00e9" or "+ADw-".
_NOT_OF_WEB = {"charmap", "idna", "punycode", "raw-unicode-escape", "undefined", "unicode-escape", "utf-7"}


class Charset(NamedTuple):
    """An encoding, by its name in Python, and whether it is only a guess."""

    name: str
    is_guess: bool


def charset_of(content_type: str | None, body: bytes) -> Charset:
    """The encoding of a page.

    For JSON, UTF-8, 16 or 32, whatever is declared. For other types: the byte order mark, the charset of the header,
    for HTML and XML what the body declares, UTF-8 where it fits, and otherwise a guess.

    Args:
        content_type: the header; None: HTML and XML are recognized by how they begin, as in browsers.
        body: without compression.
    """
    kind = _kind(content_type, body)
    if kind == "json":
        return Charset(json_encoding(body), is_guess=False)
    mark, _ = read_bom(body)
    declared = mark or usable(http_content_type_encoding(content_type))
    if declared is None and kind == "html":
        declared = _of_ascii(html_body_declared_encoding(body))
    elif declared is None and kind == "xml":
        declared = _declared_by_xml(body)
    if declared is not None:
        return Charset(declared, is_guess=False)
    wide = _wide(body)
    if wide is None:
        try:
            body.decode("utf-8")
        except UnicodeDecodeError:
            return Charset("cp1252", is_guess=True)  # what browsers take western pages for
    return Charset(wide or "utf-8", is_guess=wide is not None)


def is_text(content_type: str | None) -> bool:
    """Whether a header says that the body is text of some kind, so that its encoding matters."""
    essence = _essence(content_type)
    return essence.startswith("text/") or essence.endswith(("/xml", "+xml", "/csv", "javascript"))


def is_json(content_type: str | None) -> bool:
    """Whether a header says that the body is JSON, or lines of JSON."""
    return _JSON.fullmatch(_essence(content_type).partition("/")[2]) is not None


def json_encoding(body: bytes) -> str:
    """UTF-8, 16 or 32: what JSON is encoded in, by its first bytes."""
    mark, _ = read_bom(body)
    return mark or codecs.lookup(json.detect_encoding(body)).name


def usable(name: str | None) -> str | None:
    """A declared encoding by its name in Python; None where it is unknown, or no encoding of text."""
    try:
        found = codecs.lookup(name or "")
    except (LookupError, ValueError):
        return None
    # bytes.decode() looks at the same flag
    return found.name if found._is_text_encoding and found.name not in _NOT_OF_WEB else None


def _essence(content_type: str | None) -> str:
    return re.split("[;,]", content_type or "")[0].strip().lower()


def _kind(content_type: str | None, body: bytes) -> str:
    essence = _essence(content_type)
    if is_json(essence):
        return "json"
    if essence == "text/html":
        return "html"
    if essence.endswith(("/xml", "+xml")):
        return "xml"
    if "/" not in essence or essence in _SNIFFED:
        return "xml" if body.lstrip()[:5] == b"<?xml" else "html" if _HTML_BEGINS.match(body[:_BEGIN]) else "text"
    return "text"


def _declared_by_xml(body: bytes) -> str | None:
    found = _XML_DECLARATION.match(body[:_BEGIN])
    if found is not None:
        return _of_ascii(resolve_encoding(found[1].decode("ascii")))
    begins = {b"<\0?\0": "utf-16-le", b"\0<\0?": "utf-16-be", b"<\0\0\0": "utf-32-le", b"\0\0\0<": "utf-32-be"}
    return begins.get(body[:4])


def _of_ascii(name: str | None) -> str | None:
    """What a declaration means that could be read as ASCII: one that claims UTF-16 or 32 is in UTF-8."""
    found = usable(name)
    return "utf-8" if found is not None and found.startswith(("utf-16", "utf-32")) else found


def _wide(body: bytes) -> str | None:
    """UTF-16 or 32 without a byte order mark: text of any language has line ends or spaces, with their zeros."""
    begin = body[:4096]
    zeros = begin[0::2].count(0), begin[1::2].count(0)
    if len(body) % 2 or sum(zeros) * (8 if len(begin) < 64 else 40) < len(begin):
        return None
    utf_16 = ["utf-16-le"] if not zeros[0] else ["utf-16-be"] if not zeros[1] else []
    for name in ("utf-32-le", "utf-32-be", *utf_16):
        try:
            text = body.decode(name)
        except UnicodeDecodeError:
            continue
        if not re.search(r"[\0-\x08\x0e-\x1f\ue000-\uf8ff\ufffe\uffff]", text):
            common = sum(character < "\u3000" for character in text[:2048])
            if name.startswith("utf-32") or 2 * common > len(text[:2048]):
                return name
    return None


def text_of(body: bytes, encoding: str) -> str:
    """The text of a page; what its encoding does not know is shown as in browsers, as U+FFFD."""
    found, mark = read_bom(body)
    if mark is not None and found == encoding:
        body = body[len(mark) :]
    return to_unicode(body, encoding)


def compiled(xpath: str) -> etree.XPath:
    """An xpath.

    Raises:
        ConfigError: it is none.
    """
    try:
        return etree.XPath(xpath)
    except etree.XPathError as exc:
        raise ConfigError(f"Not an xpath: {xpath!r} ({exc})") from exc


def document(page: str, url: str) -> html.HtmlElement | None:
    """A page as lxml reads it; None where it is empty."""
    # As bytes: a text that declares an encoding of its own is refused by lxml.
    parser = html.HTMLParser(encoding="utf-8")
    try:
        return html.document_fromstring(page.encode("utf-8", "replace"), parser=parser, base_url=url)
    except etree.ParserError:
        return None


def first_node(page: str, xpath: str) -> str | None:
    """The first node at an xpath, as HTML; None where there is none.

    Raises:
        ConfigError: it is no xpath, or uses what is not there.
    """
    parser = html.HTMLParser(encoding="utf-8")
    try:
        found = compiled(xpath)(html.fromstring(page.encode("utf-8", "replace"), parser=parser))
    except etree.XPathError as exc:
        raise ConfigError(f"Not an xpath: {xpath!r} ({exc})") from exc
    except etree.ParserError:  # an empty page
        return None
    if not isinstance(found, list) or not found:
        return None
    node = found[0]
    is_element = isinstance(node, html.HtmlElement)
    return html.tostring(node, encoding="unicode", with_tail=False) if is_element else str(node)
