"""The sample: large enough, without contradictions, and in the format of the wiki's pages."""

import csv
import json
from pathlib import Path
from urllib.parse import quote, unquote

import pytest
from lxml import html

from superheroes import snapshot
from superheroes import snapshot_tables as tables
from superheroes.wiki import category_url, page_url

WIKI = "https://wiki.example"
INPUT = Path(__file__).parents[1] / "input"


@pytest.fixture(scope="module")
def pages() -> dict[str, str]:
    return dict(snapshot.pages(WIKI))


def read(path: Path) -> list[dict[str, str]]:
    with path.open(encoding="utf-8", newline="") as lines:
        return list(csv.DictReader(lines))


def facts(tree: html.HtmlElement) -> dict[str, str]:
    return {
        str(fact.findtext("h3")): fact.xpath("string(div)").strip()
        for fact in tree.xpath("//aside//div[contains(concat(' ', @class, ' '), ' pi-data ')]")
    }


def test_sample_is_as_large_as_promised() -> None:
    assert len(tables.universes()) >= 22
    assert len(tables.characters()) >= 130
    assert len(tables.movies()) >= 42
    known = {character.title for character in tables.characters()}
    assert sum(row.character in known for row in tables.appearances()) >= 300


def test_forty_films_have_year_budget_and_rating() -> None:
    rated = {row["imdb_id"] for row in read(INPUT / "imdb_ratings.csv") if row["rating"]}
    whole = [film for film in tables.movies() if film.year and film.budget and film.imdb_id in rated]
    assert len(whole) >= 40


def test_no_key_occurs_twice() -> None:
    for keys in (
        [row.name for row in tables.universes()],
        [row.title for row in tables.characters()],
        [row.title for row in tables.movies()],
        [row.imdb_id for row in tables.movies()],
        [(row.movie, row.character) for row in tables.appearances()],
        [row["imdb_id"] for row in read(INPUT / "imdb_ratings.csv")],
        [row["year"] for row in read(INPUT / "consumer_price_index.csv")],
    ):
        assert len(keys) == len(set(keys))


def test_rows_refer_to_rows_that_exist() -> None:
    universes = {row.name for row in tables.universes()}
    assert {row.universe for row in tables.characters()} <= universes
    assert {row.movie for row in tables.appearances()} <= {row.title for row in tables.movies()}
    assert {row.imdb_id for row in tables.movies()} == {row["imdb_id"] for row in read(INPUT / "imdb_ratings.csv")}


def test_consumer_price_index_has_every_year() -> None:
    index = {int(row["year"]): float(row["cpi"]) for row in read(INPUT / "consumer_price_index.csv")}
    assert list(index) == list(range(1913, 2025))
    assert (index[1913], index[1983], index[2023], index[2024]) == (9.9, 99.6, 304.702, 313.689)
    assert all(0.85 < index[year + 1] / index[year] < 1.2 for year in range(1913, 2024))


def test_addresses_are_unique_and_gone_pages_have_none(pages: dict[str, str]) -> None:
    addresses = [address for address, _ in snapshot.pages(WIKI)]
    assert len(addresses) == len(set(addresses))
    gone = list(snapshot.gone(WIKI))
    assert 2 <= len(gone) <= 3
    assert not set(gone) & set(pages)


def test_two_builds_are_the_same(pages: dict[str, str]) -> None:
    assert dict(snapshot.pages(WIKI)) == pages


@pytest.mark.parametrize("category", ["Realities", "Characters"])
def test_category_is_listed_in_pieces(pages: dict[str, str], category: str) -> None:
    first = category_url(WIKI, category)
    assert first == (
        f"{WIKI}/api.php?action=query&list=categorymembers&cmtitle=Category:{category}&cmlimit=500&format=json"
    )
    address, members, pieces = first, [], 0
    while address:
        answer = json.loads(pages[address])
        pieces += 1
        members += answer["query"]["categorymembers"]
        follow = answer.get("continue")
        address = f"{first}&cmcontinue={quote(follow['cmcontinue'], safe='')}" if follow else ""
    assert pieces >= 2
    assert {member["ns"] for member in members} == {0, 10, 14}
    assert len({member["pageid"] for member in members}) == len(members)
    listed = {member["title"] for member in members if member["ns"] == 0}
    if category == "Realities":
        assert listed == {row.url_title for row in tables.universes()}
    else:
        assert listed == {row.title for row in tables.characters()} | set(snapshot.GONE_CHARACTERS)


def test_character_pages_say_what_the_table_says(pages: dict[str, str]) -> None:
    for row in tables.characters():
        tree = html.document_fromstring(pages[page_url(WIKI, row.title)])
        shown = facts(tree)
        assert shown["Universe"] == row.universe
        for label, text in (
            ("Real Name", row.real_name),
            ("Occupation", row.occupation),
            ("Gender", row.gender),
            ("Height", row.height),
            ("Weight", row.weight),
            ("Place of Birth", row.place_of_birth),
        ):
            assert shown.get(label, "").removesuffix("[1]") == text
        [cell] = tree.xpath("//table[.//th[text()='First Appearance']]//td[contains(@class, 'pi-data-value')]")
        assert cell.text_content() == f"{row.first_issue} ({row.first_month}, {row.first_year})"
        [counted] = tree.xpath("//a[contains(@href, '/Appearances')]")
        expected = "Appearances" if row.appearances == "1" else f"{int(row.appearances):,} appearances"
        assert counted.text_content() == expected


def test_list_of_films_links_every_film_more_than_once(pages: dict[str, str]) -> None:
    tree = html.document_fromstring(pages[page_url(WIKI, "Marvel Films")])
    links = [href for href in tree.xpath("//a/@href") if href.endswith("film)")]
    expected = {page_url("", row.title) for row in tables.movies()} | {page_url("", snapshot.GONE_MOVIE)}
    assert set(links) == expected
    assert len(links) == 2 * len(expected)


def test_film_pages_have_facts_and_cast(pages: dict[str, str]) -> None:
    for film in tables.movies():
        tree = html.document_fromstring(pages[page_url(WIKI, film.title)])
        shown = facts(tree)
        assert shown["Release Date(s)"] == film.release_date
        assert shown.get("Budget", "") == film.budget
        assert tree.xpath("//a[contains(@href, 'imdb.com/title/')]/@href") == [
            f"https://www.imdb.com/title/{film.imdb_id}/"
        ]
        [heading] = tree.xpath("//h2[span/@id='Appearances']")
        cast: set[tuple[str, str]] = set()
        kind = ""
        for element in heading.itersiblings():
            if element.tag == "h2":
                break
            if element.tag == "p":
                kind = element.text_content().strip().rstrip(":")
            else:
                cast |= {(unquote(href), kind) for href in element.xpath(".//a/@href")}
        for row in tables.appearances():
            if row.movie == film.title:
                assert (unquote(page_url("", row.character)), row.appearance_type) in cast


def test_pages_hold_the_mess_of_a_real_wiki(pages: dict[str, str]) -> None:
    everything = "\n".join(pages.values())
    assert "<b>Locations:</b>" in everything
    assert "Unknown" in everything
    assert "Variable" in everything
    assert any(not film.budget for film in tables.movies())
    assert any(film.release_date == "Never released" for film in tables.movies())
    known = {row.title for row in tables.characters()}
    assert any(row.character not in known for row in tables.appearances())
    assert any(row.appearances == "1" for row in tables.characters())
    assert "</a>\n<ul>\n<li>" in everything  # a list within a list
    titles = "Deadpool & Wolverine (film)"
    assert "Deadpool &amp; Wolverine" in pages[page_url(WIKI, titles)]
