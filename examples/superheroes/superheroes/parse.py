"""Facts from the pages of the wiki: text in, facts out, nothing else.

A fact that is missing, or that is not understood, is `None`, and the facts say so in `missing` and `odd`.
"""

import json
import re
from dataclasses import dataclass

from lxml import etree

from superheroes import amounts
from superheroes.page import Element, Infobox, having, linked_titles, read, text_of, title_of

_EARTH = re.compile(r"\bEarth-[\w.-]*\w")
_UNIVERSE = re.compile(r"\s*\(Earth-[^()]*\)$")
_NAMES_UNIVERSE = re.compile(r"\((Earth-[^()]+)\)$")
_FILM = re.compile(r"\s*\([^()]*film\)$")
_TABLES = etree.XPath(f"//table[.//td[{having('pi-data-value')}]]")
_TABLE_VALUES = etree.XPath(f".//td[{having('pi-data-value')}]")
_TABLE_LABELS = etree.XPath(".//th")
_LINKS_TO_APPEARANCES = etree.XPath("//a[contains(@href, '/Appearances')]")

_FIRST_LABEL = "Featured Characters"


@dataclass(frozen=True)
class Listing:
    """A piece of a category's list of members, and what to ask for the next piece with."""

    titles: tuple[str, ...]
    continue_from: str | None


@dataclass(frozen=True)
class CharacterFacts:
    """What the page of a character says: height in m, weight in kg."""

    universe: str | None
    place_of_birth: str | None
    real_name: str | None
    occupation: str | None
    gender: str | None
    height: float | None
    weight: float | None
    number_of_appearances: int | None
    first_appearance_year: int | None
    missing: tuple[str, ...]
    odd: tuple[str, ...]


@dataclass(frozen=True)
class MovieFacts:
    """What the page of a film says: budget in dollars of its time."""

    year: int | None
    budget: int | None
    imdb_id: str | None
    missing: tuple[str, ...]
    odd: tuple[str, ...]


@dataclass(frozen=True)
class Appearance:
    """A link from a film to a page that may be a character's, and the label above it."""

    title: str
    appearance_type: str


def category_members(answer: str) -> Listing:
    """The pages in a piece of a category's list, without categories, files and talk pages in it.

    Raises:
        ValueError: if this is no list of members: an error of the wiki, or a page put in its place.
    """
    try:
        data = json.loads(answer)
        members = data["query"]["categorymembers"]
        titles = tuple(member["title"] for member in members if member.get("ns") == 0 and member.get("title"))
        following = data.get("continue", {}).get("cmcontinue")
    except (ValueError, LookupError, TypeError, AttributeError) as exc:
        raise ValueError(f"The wiki answered with no list of members, but: {answer[:80]!r}") from exc
    return Listing(titles, following)


def name_of(title: str) -> str:
    """The name in the title of a page, without the universe or the word `film`.

    >>> name_of("Peter Parker (Earth-616)"), name_of("Fantastic Four (2005 film)")
    ('Peter Parker', 'Fantastic Four')
    """
    return _FILM.sub("", _UNIVERSE.sub("", title)) or title


def universe_of(title: str) -> str | None:
    """The universe that the title of a character ends in.

    >>> universe_of("Peter Parker (Earth-616)"), universe_of("Ultron (Prototype)")
    ('Earth-616', None)
    """
    found = _NAMES_UNIVERSE.search(title)
    return found[1].strip() if found else None


def character(text: str, title: str) -> CharacterFacts:
    """The facts on the page of a character."""
    page = read(text)
    box = Infobox(page)
    _add_tables(box, page)
    _add_appearances(box, page)
    return CharacterFacts(
        universe=box.fact("Universe", _universe, default=universe_of(title)),
        place_of_birth=box.fact("Place of Birth", lambda value: next(iter(linked_titles(value)), None)),
        real_name=box.words("Real Name"),
        occupation=box.words("Occupation"),
        gender=box.words("Gender"),
        height=box.amount("Height", amounts.height),
        weight=box.amount("Weight", amounts.weight),
        number_of_appearances=box.amount("Appearances", amounts.appearances),
        first_appearance_year=box.amount("First Appearance", amounts.issue_year),
        missing=tuple(box.missing),
        odd=tuple(box.odd),
    )


def film_titles(text: str) -> list[str]:
    """The titles of the films that a page links to, each once."""
    return [title for title in linked_titles(read(text)) if title.endswith("film)")]


def movie(text: str) -> MovieFacts:
    """The facts on the page of a film."""
    page = read(text)
    box = Infobox(page)
    year = box.amount("Release Date(s)", amounts.release_year)
    budget = box.amount("Budget", amounts.dollars)
    imdb = (re.search(r"imdb\.com/title/(tt\d+)", href) for href in page.xpath("//a/@href"))
    imdb_id = next((found[1] for found in imdb if found), None)
    missing = box.missing if imdb_id else [*box.missing, "link to IMDb"]
    return MovieFacts(year, budget, imdb_id, tuple(missing), tuple(box.odd))


def movie_appearances(text: str) -> list[Appearance]:
    """The characters and villains that the page of a film lists, each once under each label.

    Of every list item, nested ones included, the first link counts: what follows it is a comment. A first list without
    a label names the featured characters.
    """
    found: dict[tuple[str, str], Appearance] = {}
    label = ""
    for element in _appearances_section(read(text)):
        if element.tag == "p":
            label = label or _label(element)
            continue
        if element.tag != "li":
            label = _label(element) or label
            continue
        label = label or _FIRST_LABEL
        if re.search(r"characters?\b|villains?\b", label, re.IGNORECASE):
            title = _title_of_item(element)
            if title:
                found.setdefault((title, label.casefold()), Appearance(title, label))
    return list(found.values())


def _appearances_section(page: Element) -> list[Element]:
    """The labels and list items between the heading `Appearances` and the next heading of its level."""
    section = []
    for heading in page.xpath("(//h2[.//span[@id='Appearances'] or @id='Appearances'])[1]"):
        for element in heading.xpath(
            "following::*[self::h2 or self::h3 or self::b or self::dt or self::p or self::li]"
        ):
            if element.tag == "h2":
                break
            # Bold words in a list item are no label.
            if element.tag == "li" or not element.xpath("ancestor::li"):
                section.append(element)
    return section


def _label(element: Element) -> str:
    return text_of(element).rstrip(" :")[:100]


def _title_of_item(item: Element) -> str | None:
    own_links = item.xpath(".//a[count(ancestor::li) = $depth]/@href", depth=len(item.xpath("ancestor-or-self::li")))
    return next((title for title in map(title_of, own_links) if title), None)


def _universe(value: Element) -> str | None:
    text = text_of(value)
    earth = _EARTH.search(text)
    return earth[0] if earth else text


def _add_tables(box: Infobox, page: Element) -> None:
    """Add the facts that stand in tables: the labels in `th`, the values in `td`, in the same order."""
    for table in _TABLES(page):
        values = _TABLE_VALUES(table)
        for place, label in enumerate(_TABLE_LABELS(table)):
            box.add(text_of(label), values[min(place, len(values) - 1)])


def _add_appearances(box: Infobox, page: Element) -> None:
    """Add the link to the list of appearances, of several the first that states a number."""
    for link in sorted(_LINKS_TO_APPEARANCES(page), key=_how_vague):
        box.add("Appearances", link)


def _how_vague(link: Element) -> int:
    number = amounts.appearances(text_of(link))
    return 2 if number is None else 1 if number == 1 else 0
