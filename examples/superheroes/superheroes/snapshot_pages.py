"""The sample's facts as wiki pages: HTML like that of a real wiki, with its mess.

The mess is the same each time: what depends on chance is drawn from the checksum of the page's title.
"""

from collections.abc import Iterable, Sequence
from html import escape
from itertools import groupby
from zlib import crc32

from superheroes.snapshot_tables import AppearanceRow, CharacterRow, MovieRow, UniverseRow
from superheroes.wiki import page_url

_REFERENCE = '<sup id="cite_ref-1" class="reference"><a href="#cite_note-1">[1]</a></sup>'


def link(title: str, text: str | None = None) -> str:
    """A link within the wiki, shown as `text` or as the page's title.

    MediaWiki escapes apostrophes in its links, though not in the address that it shows.
    """
    address = page_url("", title).replace("'", "%27")
    return f'<a href="{escape(address)}" title="{escape(title)}">{escape(text or title)}</a>'


def article(title: str, body: str) -> str:
    """A whole page: what a wiki puts around every article."""
    return f"""<!DOCTYPE html>
<html class="client-nojs" lang="en" dir="ltr">
<head>
<meta charset="UTF-8">
<title>{escape(title)} | Marvel Database | Fandom</title>
</head>
<body class="mediawiki ltr ns-0 ns-subject">
<header><nav class="fandom-community-header__local-navigation"><ul>
<li>{link("Marvel Database")}</li><li>{link("Category:Characters", "Characters")}</li>
<li>{link("Marvel Films", "Films")}</li><li>{link("Multiverse")}</li>
</ul></nav></header>
<main class="page__main">
<h1 class="page-header__title" id="firstHeading"><span class="mw-page-title-main">{escape(title)}</span></h1>
<div id="mw-content-text" class="mw-body-content"><div class="mw-parser-output">
{body}
</div></div>
</main>
<footer><ul><li>{link("Marvel Database:About", "About")}</li><li>{link("Stan Lee", "In memoriam")}</li></ul>
<p>Built from a sample; see the README of the snapshot.</p></footer>
</body>
</html>
"""


def universe_page(universe: UniverseRow) -> str:
    """The page of a reality."""
    box = _infobox(universe.name, [_fact("Official Name", escape(universe.name))])
    return article(universe.url_title, f"{box}\n<p><b>{escape(universe.name)}</b> is a reality.</p>")


def character_page(character: CharacterRow) -> str:
    """The page of a character: an infobox, where any fact may be missing."""
    noted = _REFERENCE if _chance(character.title, 7) else ""
    facts = [
        _fact("Current Alias", escape(character.name)),
        _fact("Real Name", escape(character.real_name) + noted) if character.real_name else "",
        _fact("Universe", link(character.universe)),
        _fact("Gender", escape(character.gender)),
        _fact("Height", escape(character.height)),
        _fact("Weight", escape(character.weight) + noted) if character.weight else "",
        _fact("Occupation", escape(character.occupation)),
        _fact("Place of Birth", _places(character.place_of_birth)),
        _first_appearance(character),
    ]
    body = f"""{_infobox(character.name, facts)}
<p><b>{escape(character.name)}</b> belongs to {link(character.universe)}.{noted}</p>
{_appearances_link(character)}
<h2><span class="mw-headline" id="Links_and_References">Links and References</span></h2>
<ol class="references"><li id="cite_note-1">{link("Glossary:Handbook", "Handbook")} p. 1</li></ol>"""
    return article(character.title, body)


def films_page(movies: Iterable[MovieRow]) -> str:
    """The list of all films: a table a decade, each film linked twice."""
    tables = []
    for decade, group in groupby(movies, key=lambda movie: movie.year[:3]):
        rows = "\n".join(_film_row(movie) for movie in group)
        tables.append(f'<h2><span class="mw-headline">{decade}0s</span></h2>\n<table>\n{rows}\n</table>')
    return article("Marvel Films", "\n".join(tables))


def film_page(movie: MovieRow, cast: Sequence[AppearanceRow]) -> str:
    """The page of a film, with the lists of who appears in it."""
    name = movie.title.rpartition(" (")[0]
    facts = [_fact("Release Date(s)", escape(movie.release_date)), _fact("Budget", escape(movie.budget))]
    body = f"""{_infobox(name, facts)}
<p><b><i>{escape(name)}</i></b> is a film in the {link("Marvel Films", "list of films")}.</p>
<h2><span class="mw-headline" id="Plot">Plot</span></h2>
<p>With {link("Stan Lee")} and others.</p>
<h2><span class="mw-headline" id="Appearances">Appearances</span>{_edit(movie.title)}</h2>
{_cast_lists(cast)}
<p><b>Locations:</b></p>
<ul><li>{link("Earth")}<ul><li>{link("New York City")}</li></ul></li><li>{_a_place_that_is_a_character(cast)}</li></ul>
<h2><span class="mw-headline" id="Notes">Notes</span>{_edit(movie.title)}</h2>
<p><b>Characters left out:</b></p>
<ul><li>{link("Peter Parker (Earth-616)")} was never meant to be in it.</li></ul>
<h2><span class="mw-headline" id="External_Links">External Links</span></h2>
<ul><li><a class="external text" rel="nofollow" href="https://www.imdb.com/title/{escape(movie.imdb_id)}/">\
<i>{escape(name)}</i> at the IMDb</a></li></ul>"""
    return article(movie.title, body)


def _infobox(heading: str, facts: Iterable[str]) -> str:
    return (
        '<aside role="region" class="portable-infobox pi-background pi-border-color pi-layout-default">\n'
        f'<h2 class="pi-item pi-item-spacing pi-title">{escape(heading)}</h2>\n'
        + "\n".join(fact for fact in facts if fact)
        + "\n</aside>"
    )


def _fact(label: str, value: str) -> str:
    """A line of the infobox, nothing where there is no value; `value` is HTML already."""
    if not value:
        return ""
    return (
        f'<div class="pi-item pi-data pi-item-spacing pi-border-color" data-source="{escape(label)}">\n'
        f'\t<h3 class="pi-data-label pi-secondary-font">{escape(label)}</h3>\n'
        f'\t<div class="pi-data-value pi-font">{value}</div>\n</div>'
    )


def _places(text: str) -> str:
    if text in ("", "Unknown"):
        return text
    return ", ".join(link(place) for place in text.split(", "))


def _first_appearance(character: CharacterRow) -> str:
    if not character.first_issue:
        return ""
    return (
        '<table class="pi-horizontal-group">\n<thead><tr><th class="pi-horizontal-group-item pi-data-label">'
        "First Appearance</th></tr></thead>\n"
        '<tbody><tr><td class="pi-horizontal-group-item pi-data-value pi-font"><i>'
        f"{link(character.first_issue)}</i> ({character.first_month}, {character.first_year})"
        "</td></tr></tbody>\n</table>"
    )


def _appearances_link(character: CharacterRow) -> str:
    if not character.appearances:
        return ""
    count = int(character.appearances)
    text = "Appearances" if count == 1 else f"{count:,} appearances"
    return f"<ul><li>{link(f'Category:{character.title}/Appearances', text)}</li></ul>"


def _film_row(movie: MovieRow) -> str:
    poster = f'<a href="{escape(page_url("", movie.title))}" class="image"><img alt="" src="data:,"></a>'
    gallery = link(f"{movie.title}/Gallery", "Gallery")
    return f"<tr><td>{poster}</td><td>{link(movie.title)}</td><td>{movie.year}</td><td>{gallery}</td></tr>"


def _cast_lists(cast: Sequence[AppearanceRow]) -> str:
    groups = groupby(cast, key=lambda row: row.appearance_type)
    return "\n".join(
        f"<p><b>{escape(kind)}:</b>\n</p>\n{_cast_list([row.character for row in rows])}" for kind, rows in groups
    )


def _cast_list(titles: Sequence[str]) -> str:
    """The list under one heading. Long ones begin with a team; some name the first character twice."""
    items = [_cast_item(title) for title in titles]
    if len(items) > 4:
        items[:3] = [f"<li>{link('Heroes (Team)', 'Heroes')}\n<ul>\n" + "\n".join(items[:3]) + "\n</ul></li>"]
    if _chance(titles[0], 3):
        items.append(f"<li>{link(titles[0])} (in a flashback)</li>")
    return "<ul>\n" + "\n".join([*items, "<li>Some passers-by</li>"]) + "\n</ul>"


def _cast_item(title: str) -> str:
    remark = f" <small>(see {link('Glossary:Cameo', 'cameo')})</small>" if _chance(title, 5) else ""
    return f"<li>{link(title, title.rpartition(' (')[0])}{remark}{_REFERENCE}</li>"


def _a_place_that_is_a_character(cast: Sequence[AppearanceRow]) -> str:
    """A living planet is a place too: a link here says nothing of who appears."""
    here = [row.character for row in cast if row.character.startswith("Ego ")]
    return link(here[0]) if here else link("Space")


def _edit(title: str) -> str:
    address = escape(f"{page_url('', title)}?action=edit&section=2")
    return f'<span class="mw-editsection">[<a href="{address}">edit</a>]</span>'


def _chance(title: str, one_in: int) -> bool:
    return crc32(title.encode()) % one_in == 0
