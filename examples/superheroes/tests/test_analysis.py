"""The analysis: files to look at, which say what the database says and run nothing that it holds."""

import csv
import json
import logging
import re
from collections.abc import Iterator
from html import unescape
from pathlib import Path

import networkx as nx
import openpyxl  # type: ignore[import-untyped]
import pandas as pd
import pytest
from lxml import html

from ozelot.client import Client
from ozelot.orm.base import Base
from superheroes import analysis
from superheroes.analysis_layout import positions
from superheroes.analysis_network import network
from superheroes.models import Character, Movie, MovieAppearance, Place, Universe

EVIL = "</script><script>alert('evil')</script><b>&"
FORMULA = "=1+1"


@pytest.fixture
def client(tmp_path: Path) -> Iterator[Client]:
    client = Client(connection_string=f"sqlite:///{tmp_path / 'marvel.db'}")
    Base.create_all(client)
    yield client
    client.engine.dispose()


@pytest.fixture
def filled(client: Client) -> Client:
    with client.transaction() as session:
        earth, queens = Universe(name="Earth-616", url="u"), Place(name="Queens", url="q")
        spider = Character(
            name="Peter Parker",
            url="a",
            real_name="Peter Benjamin Parker",
            gender="Male",
            height=1.78,
            weight=76.0,
            number_of_appearances=4620,
            first_appearance_year=1962,
            universe=earth,
            place_of_birth=queens,
        )
        giant = Character(name="Fin Fang Foom", url="b", height=9.75, weight=18144.0, first_appearance_year=1961)
        evil = Character(name=EVIL, url="c", real_name=FORMULA, occupation="a\x07b", number_of_appearances=7)
        film = Movie(name="Spider-Man", url="d", year=2002, budget=139, budget_inflation_adjusted=242, imdb_rating=7.4)
        other = Movie(name=EVIL, url="e")
        session.add_all([spider, giant, evil, film, other])
        for movie, character in ((film, spider), (film, evil), (other, evil)):
            session.add(MovieAppearance(movie=movie, character=character, appearance_type="Villains"))
        session.add(MovieAppearance(movie=film, character=spider, appearance_type="Other Characters"))
    return client


def documents(page: str) -> str:
    """The data of the plots in a page, as the browser reads it."""
    found = html.document_fromstring(page).xpath("//script[@type='application/json']/text()")
    return json.dumps([json.loads(unescape(text)) for text in found], ensure_ascii=False)


def test_four_files_are_written_and_named(filled: Client, tmp_path: Path) -> None:
    files = analysis.analyze(filled, tmp_path / "deep" / "out")
    assert [file.name for file in files] == ["characters.csv", "characters.xlsx", "plots.html", "network.html"]
    assert all(file.is_file() for file in files)


def test_table_has_whole_numbers_and_empty_fields(filled: Client, tmp_path: Path) -> None:
    analysis.analyze(filled, tmp_path)
    with (tmp_path / "characters.csv").open(encoding="utf-8", newline="") as lines:
        rows = {row["name"]: row for row in csv.DictReader(lines)}
    assert list(rows) == ["Peter Parker", EVIL, "Fin Fang Foom"]
    spider, giant = rows["Peter Parker"], rows["Fin Fang Foom"]
    assert (spider["universe"], spider["place_of_birth"], spider["films"]) == ("Earth-616", "Queens", "1")
    assert (spider["first_appearance_year"], spider["number_of_appearances"]) == ("1962", "4620")
    assert (giant["universe"], giant["number_of_appearances"], giant["films"]) == ("", "", "0")
    assert rows[EVIL]["films"] == "2"


def test_excel_holds_text_as_text(filled: Client, tmp_path: Path) -> None:
    analysis.analyze(filled, tmp_path)
    sheet = openpyxl.load_workbook(tmp_path / "characters.xlsx")["characters"]
    head = [cell.value for cell in sheet[1]]
    rows = {row[0].value: dict(zip(head, row, strict=True)) for row in sheet.iter_rows(min_row=2)}
    formula = rows[EVIL]["real_name"]
    assert (formula.value, formula.data_type) == (FORMULA, "s")
    assert rows[EVIL]["occupation"].value == "ab"
    assert rows["Peter Parker"]["height"].value == 1.78


@pytest.mark.parametrize("name", ["plots.html", "network.html"])
def test_page_asks_no_host_and_runs_no_name(filled: Client, tmp_path: Path, name: str) -> None:
    analysis.analyze(filled, tmp_path)
    page = (tmp_path / name).read_text(encoding="utf-8")
    assert not re.search(r"<(script|link|img|iframe)[^>]+(src|href)\s*=\s*[\"']?(https?:)?//", page)
    assert EVIL not in page
    assert "alert('evil')</script>" not in page
    assert json.dumps(EVIL, ensure_ascii=False)[1:-1] in documents(page)


def test_plots_show_what_they_promise(filled: Client, tmp_path: Path) -> None:
    analysis.analyze(filled, tmp_path)
    shown = documents((tmp_path / "plots.html").read_text(encoding="utf-8"))
    for title in (
        "Characters by the decade of their first appearance",
        "Height and weight (1 taller than 3.5 m left out)",
        "Most appearances, in comics and on screen",
        "Characters in most films",
        "What a budget buys",
        "Films a year",
    ):
        assert title in shown


def test_empty_database_gives_empty_pages(client: Client, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING):
        files = analysis.analyze(client, tmp_path / "out")
    assert all(file.stat().st_size for file in files)
    assert not caplog.records


def test_browser_library_finds_nothing_wrong(filled: Client, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING):
        analysis.analyze(filled, tmp_path)
    assert not caplog.records


def test_network_links_films_and_characters_once(filled: Client) -> None:
    graph = network(analysis.read_characters(filled), analysis.read_movies(filled), analysis.read_appearances(filled))
    kinds = sorted(data["kind"] for _, data in graph.nodes(data=True))
    assert kinds == ["character", "character", "film", "film"]
    assert graph.number_of_edges() == 3
    assert all(graph.nodes[one]["kind"] != graph.nodes[other]["kind"] for one, other in graph.edges)
    assert "Peter Parker (Earth-616)" in {data["name"] for _, data in graph.nodes(data=True)}


def test_large_network_keeps_what_has_most_links() -> None:
    links = [(movie, character) for movie in range(200) for character in range(movie, movie + 3)]
    links += [(movie, 7) for movie in range(300)]
    graph = network(
        pd.DataFrame({"id": range(500), "name": "someone", "universe": None}),
        pd.DataFrame({"id": range(300), "name": "film", "year": None}),
        pd.DataFrame(links, columns=["movie_id", "character_id"]),
    )
    assert len(graph) < 500
    assert graph.degree["c7"] == 150
    assert not any(graph.has_node(f"m{movie}") for movie in range(200, 300))


def test_boxes_do_not_overlap_and_stay_where_they_are() -> None:
    graph: nx.Graph[str] = nx.Graph()
    edges = [(f"film {number % 7}", f"character {number}") for number in range(40)]
    graph.add_edges_from([*edges, ("film 0", "character 1"), ("film 1", "character 2"), ("film 2", "character 3")])
    boxes = {node: (80.0, 40.0) if node.startswith("film") else (20.0, 20.0) for node in graph}
    places = positions(graph, boxes)
    assert places == positions(graph, boxes)
    nodes = sorted(graph)
    for number, one in enumerate(nodes):
        for other in nodes[number + 1 :]:
            apart = [abs(a - b) for a, b in zip(places[one], places[other], strict=True)]
            room = [(a + b) / 2 for a, b in zip(boxes[one], boxes[other], strict=True)]
            assert apart[0] > room[0] - 3 or apart[1] > room[1] - 3
