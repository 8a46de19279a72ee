"""The text of a page, and the node at an xpath."""

from __future__ import annotations

from lxml import etree, html
from w3lib.encoding import read_bom, to_unicode

from ozelot.errors import ConfigError


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
