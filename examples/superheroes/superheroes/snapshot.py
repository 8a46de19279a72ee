"""Every page that the pipeline asks the wiki for, built from the sample in `snapshot/`."""

import json
from collections import defaultdict
from collections.abc import Iterator, Sequence

from superheroes import snapshot_pages as html
from superheroes import snapshot_tables as tables
from superheroes.wiki import category_url, page_url

# Listed by the wiki, and deleted since: no wiki is free of these.
GONE_CHARACTERS = ("Amadeus Cho (Earth-616)", "Norrin Radd (Earth-121698)")
GONE_MOVIE = "Man-Thing (film)"

_ARTICLE, _TEMPLATE, _CATEGORY = 0, 10, 14  # MediaWiki's numbers of namespaces
_PIECES = 3


def pages(wiki_url: str) -> Iterator[tuple[str, str]]:
    """Yields the address and the text of each page, as the wiki at `wiki_url` would answer."""
    universes, characters, movies = tables.universes(), tables.characters(), tables.movies()
    yield from _category(wiki_url, "Realities", [universe.url_title for universe in universes])
    titles = sorted([*GONE_CHARACTERS, *(character.title for character in characters)])
    yield from _category(wiki_url, "Characters", titles)
    for universe in universes:
        yield page_url(wiki_url, universe.url_title), html.universe_page(universe)
    for character in characters:
        yield page_url(wiki_url, character.title), html.character_page(character)
    gone = tables.MovieRow(GONE_MOVIE, imdb_id="", year="2005", release_date="", budget="")
    listed = sorted([*movies, gone], key=lambda movie: movie.year)
    yield page_url(wiki_url, "Marvel Films"), html.films_page(listed)
    casts = defaultdict(list)
    for appearance in tables.appearances():
        casts[appearance.movie].append(appearance)
    for movie in movies:
        yield page_url(wiki_url, movie.title), html.film_page(movie, casts[movie.title])


def gone(wiki_url: str) -> Iterator[str]:
    """Yields the addresses that the pipeline asks for and the wiki answers with 404 Not Found."""
    for title in (*GONE_CHARACTERS, GONE_MOVIE):
        yield page_url(wiki_url, title)


def _category(wiki_url: str, category: str, titles: Sequence[str]) -> Iterator[tuple[str, str]]:
    """The answers of the wiki's API that list a category's members, in pieces.

    A member has its namespace: besides the articles there are a template and a category of the same kind.
    """
    members = [
        (_TEMPLATE, f"Template:{category}"),
        *((_ARTICLE, title) for title in titles),
        (_CATEGORY, f"Category:{category} by Name"),
    ]
    size = -(-len(members) // _PIECES)
    token = None
    for start in range(0, len(members), size):
        answer: dict[str, object] = {"batchcomplete": ""}
        address = category_url(wiki_url, category, token)
        piece = members[start : start + size]
        if start + size < len(members):
            _, following = members[start + size]
            token = f"page|{following.upper().encode().hex().upper()}|{1000 + start + size}"
            answer["continue"] = {"cmcontinue": token, "continue": "-||"}
        answer["query"] = {
            "categorymembers": [
                {"pageid": 1000 + start + place, "ns": namespace, "title": title}
                for place, (namespace, title) in enumerate(piece)
            ]
        }
        yield address, json.dumps(answer, ensure_ascii=False)
