"""What is on a wiki page: its text, its links and its infobox, however badly it is written."""

import functools
from collections.abc import Callable
from typing import TypeAlias, TypeVar
from urllib.parse import unquote

from lxml import etree

from superheroes.text import clean, says_nothing

T = TypeVar("T")
Element: TypeAlias = etree._Element

_BREAK = "\u2028"  # between the lines of a text; line ends in HTML mean nothing
_BLOCKS = ("br", "dd", "div", "dt", "li", "ol", "p", "td", "tr", "ul")
_NO_ARTICLES = {
    "category", "file", "forum", "help", "image", "mediawiki", "media", "message wall", "module",
    "special", "talk", "template", "user", "user blog", "user talk",
}  # fmt: skip


def read(text: str) -> Element:
    """The page as a tree, without comments, scripts, styles and footnote marks; an empty one if it is none."""
    # Not that of lxml.html, which looks up a class of its own for each element that is touched.
    parser = etree.HTMLParser(encoding="utf-8", remove_comments=True, remove_pis=True)
    try:
        page = etree.fromstring(text.encode("utf-8", errors="replace"), parser)
    except etree.XMLSyntaxError:
        page = None
    if page is None:
        return etree.fromstring("<html><body></body></html>")
    for element in list(page.iter("script", "style", "sup")):
        if element.tag == "sup" and "reference" not in (element.get("class") or ""):
            if (element.text or "").strip().isdigit():  # 10<sup>21</sup> is not 1021
                element.text = f"^{element.text}"
        else:
            _drop(element)
    for element in page.iter(*_BLOCKS):
        element.text = _BREAK + (element.text or "")
        element.tail = _BREAK + (element.tail or "")
    return page


def _drop(element: Element) -> None:
    """Take an element out of the page, but not the text behind it."""
    parent, before, behind = element.getparent(), element.getprevious(), element.tail or ""
    if parent is None:
        return
    if before is None:
        parent.text = (parent.text or "") + behind
    else:
        before.tail = (before.tail or "") + behind
    parent.remove(element)


def text_of(element: Element) -> str:
    """The text of an element in one line, with `; ` where it had line breaks, paragraphs or list items."""
    text = "".join(element.itertext())
    if _BREAK not in text:
        return clean(text).strip(" ,;")
    lines = (clean(line).strip(" ,;") for line in text.split(_BREAK))
    return "; ".join(line for line in lines if line)


def having(css_class: str) -> str:
    """The XPath condition for an element to have a CSS class."""
    return f"contains(concat(' ', normalize-space(@class), ' '), ' {css_class} ')"


def title_of(href: str) -> str | None:
    """The title of the wiki page that a link leads to, `None` for links to anything else.

    >>> title_of("/wiki/Iron_Man_(film)#Cast"), title_of("/wiki/File:Iron_Man.jpg"), title_of("#cite_note-1")
    ('Iron Man (film)', None, None)
    """
    path = href.strip().partition("#")[0].partition("?")[0]
    if not path.startswith("/wiki/"):
        return None
    title = clean(unquote(path.removeprefix("/wiki/")).replace("_", " "))
    namespace, colon, _ = title.partition(":")
    if not title or (colon and namespace.strip().casefold() in _NO_ARTICLES):
        return None
    return title[0].upper() + title[1:]


_LINKS = etree.XPath(".//a/@href")


def linked_titles(element: Element) -> list[str]:
    """The titles of the wiki pages that an element links to, each once, in their order."""
    titles = (title_of(href) for href in _LINKS(element))
    return list(dict.fromkeys(title for title in titles if title))


_ITEMS = etree.XPath(f"//div[{having('pi-data')}]")
_LABELS = etree.XPath(f".//*[{having('pi-data-label')}]")
_VALUES = etree.XPath(f".//*[{having('pi-data-value')}]")


class Infobox:
    """The labelled facts of a page, which also notes those asked for that are missing or odd.

    Attributes:
        missing: The labels of facts that the page does not have.
        odd: The labels and texts of facts that are not understood.
    """

    def __init__(self, page: Element) -> None:
        self.missing: list[str] = []
        self.odd: list[str] = []
        self._values: dict[str, Element] = {}
        self._texts: dict[Element, str] = {}
        for item in _ITEMS(page):
            labels, values = _LABELS(item), _VALUES(item)
            if labels and values:
                self.add(text_of(labels[0]), values[0])

    def add(self, label: str, value: Element) -> None:
        """Note a fact that stands somewhere else; of several with one label the first counts."""
        self._values.setdefault(_key(label), value)

    def words(self, label: str) -> str | None:
        """The text of a fact."""
        return self.fact(label, lambda value: self._text(value) or None)

    def amount(self, label: str, understand: Callable[[str], T | None]) -> T | None:
        """What a function makes of the text of a fact."""
        return self.fact(label, lambda value: understand(self._text(value)))

    def fact(self, label: str, understand: Callable[[Element], T | None], *, default: T | None = None) -> T | None:
        """What a function makes of the element that holds a fact, the default where the page does not say."""
        value = self._values.get(_key(label))
        if value is None and default is None:
            self.missing.append(label)
        if value is None or says_nothing(self._text(value)):
            return default
        result = understand(value)
        if result is None:
            self.odd.append(f"{label} {self._text(value)[:60]!r}")
        return result

    def _text(self, value: Element) -> str:
        if value not in self._texts:
            self._texts[value] = text_of(value)
        return self._texts[value]


@functools.lru_cache(maxsize=1000)
def _key(label: str) -> str:
    """The label without what editors vary: `Release Date(s):` and `Release date` are one."""
    return label.rstrip(" :").casefold().removesuffix("(s)").rstrip("s")
