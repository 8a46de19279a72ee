import logging
from collections.abc import Iterator
from pathlib import Path

import luigi
import pytest
from sqlalchemy import func, select

import project_config
from ozelot import cache, client, config
from ozelot.etl import tasks
from ozelot.orm.base import Base
from ozelot.orm.target import ORMTargetMarker
from ozelot.testing import temporary_client
from superheroes import checks, inputs, models, pipeline, snapshot, snapshot_tables
from superheroes.models import Character, Movie, MovieAppearance, Place, Universe
from superheroes.wiki import category_url, page_url

WIKI = "https://wiki.example"


@pytest.fixture
def settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, object]:
    here = vars(config)
    for name, value in vars(project_config).items():
        if name.isupper():
            monkeypatch.setitem(here, name, value)
    monkeypatch.setitem(here, "REQUEST_CACHE_PATH", str(tmp_path / "cache.db"))
    monkeypatch.setitem(here, "WIKI_URL", f"{WIKI}/")
    return here


@pytest.fixture
def store(settings: dict[str, object], tmp_path: Path) -> Iterator[cache.RequestCache]:
    """An empty request cache, and an empty database."""
    cache.reset_request_cache()
    with temporary_client(tmp_path):
        yield cache.get_request_cache()
    cache.reset_request_cache()


@pytest.fixture
def wiki(store: cache.RequestCache) -> cache.RequestCache:
    """The request cache, filled with the snapshot."""
    for url, body in snapshot.pages(WIKI):
        store.put(url, body)
    for url in snapshot.gone(WIKI):
        store.put(url, "", status_code=404)
    return store


def build(*roots: luigi.Task) -> bool:
    return bool(luigi.build(roots, local_scheduler=True, workers=1, log_level="ERROR"))


def count(model: type[Base]) -> int:
    with client.get_client().transaction() as session:
        return session.scalar(select(func.count()).select_from(model)) or 0


def messages(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [record.getMessage() for record in caplog.records]


def put_lists(store: cache.RequestCache, *, realities: str = "[]", characters: str = "[]", films: str = "") -> None:
    store.put(category_url(WIKI, "Realities"), f'{{"query": {{"categorymembers": {realities}}}}}')
    store.put(category_url(WIKI, "Characters"), f'{{"query": {{"categorymembers": {characters}}}}}')
    store.put(page_url(WIKI, "Marvel Films"), films)


def test_everything_in_the_snapshot_is_loaded_and_passes_the_checks(wiki: cache.RequestCache) -> None:
    assert build(pipeline.LoadEverything(), checks.Tests())
    assert count(Universe) == len(snapshot_tables.universes())
    assert count(Character) == len(snapshot_tables.characters())
    assert count(Movie) == len(snapshot_tables.movies())
    known = {character.title for character in snapshot_tables.characters()}
    assert count(MovieAppearance) == sum(row.character in known for row in snapshot_tables.appearances())
    assert count(Place) > 0


def test_facts_and_relations_are_those_of_the_pages(wiki: cache.RequestCache) -> None:
    build(pipeline.LoadEverything())
    with client.get_client().transaction() as session:
        stark = session.scalars(select(Character).where(Character.url.endswith("/Anthony_Stark_(Earth-616)"))).one()
        assert stark.universe is not None
        assert stark.place_of_birth is not None
        assert (stark.name, stark.universe.name, stark.place_of_birth.name) == ("Anthony Stark", "Earth-616", "Sofia")
        assert (stark.height, stark.weight, stark.first_appearance_year) == (1.8542, 102.06, 1963)
        film = session.scalars(select(Movie).where(Movie.name == "Iron Man")).one()
        assert (film.year, film.budget, film.imdb_rating) == (2008, 140_000_000, 7.9)
        cast = {(row.character.url.rpartition("/")[2], row.appearance_type) for row in film.movie_appearances}
        assert ("Anthony_Stark_(Earth-199999)", "Featured Characters") in cast
        assert ("Obadiah_Stane_(Earth-199999)", "Villains") in cast


def test_budgets_are_in_dollars_of_the_last_year_of_the_index(
    wiki: cache.RequestCache, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    index = tmp_path / "cpi.csv"
    index.write_text("year,cpi\n2008,100\n2010,\nsoon,7\n2024,150\n2020,999\n", encoding="utf-8")
    monkeypatch.setattr(inputs.ConsumerPriceIndexFile, "input_file", index)
    assert build(pipeline.LoadEverything())
    with client.get_client().transaction() as session:
        movies = session.scalars(select(Movie)).all()
        adjusted = {movie.year for movie in movies if movie.budget_inflation_adjusted is not None}
        assert adjusted <= {2008, 2020, 2024}
        iron_man = next(movie for movie in movies if movie.name == "Iron Man")
        assert iron_man.budget_inflation_adjusted == 210_000_000


def test_the_documented_session_comes_out_to_the_letter(
    wiki: cache.RequestCache, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, logger="ozelot")
    models.reinitialize()
    assert build(pipeline.LoadCharacters())
    caplog.clear()
    assert not tasks.check_completion(pipeline.LoadEverything())
    assert messages(caplog) == [
        "Task incomplete: LoadMovies {}",
        "Task incomplete: LoadMovieAppearances {}",
        "Task incomplete: InflationAdjustMovieBudgets {}",
        "Task incomplete: LoadEverything {}",
        "Task completion checking, summary:\n{'Complete tasks': 4, 'Incomplete tasks': 4}",
    ]
    assert build(pipeline.LoadEverything())
    assert tasks.check_completion(pipeline.LoadEverything(), return_stats=True) == (True, {"Complete tasks": 8})
    pipeline.LoadMovies().mark_incomplete()
    caplog.clear()
    complete, stats = tasks.check_completion(pipeline.LoadEverything(), clear=True, return_stats=True)
    assert not complete
    assert stats == {"Complete tasks": 4, "Incomplete tasks": 4, "Cleared": 4}
    assert [message for message in messages(caplog) if message.startswith("Task ")][:4] == [
        "Task incomplete: LoadMovies {}",
        "Task complete but requirements incomplete: LoadMovieAppearances {}",
        "Task complete but requirements incomplete: InflationAdjustMovieBudgets {}",
        "Task complete but requirements incomplete: LoadEverything {}",
    ]
    cleared = [message for message in messages(caplog) if message.startswith("Cleared")]
    assert cleared[0] == "Cleared task: LoadEverything {}"
    assert cleared[-1] == "Cleared task: LoadMovies {}"
    assert (count(Movie), count(MovieAppearance)) == (0, 0)
    assert count(Character) > 0
    assert build(pipeline.LoadEverything())
    assert count(Movie) == len(snapshot_tables.movies())


def test_reinitialize_forgets_rows_and_markers(wiki: cache.RequestCache) -> None:
    build(pipeline.LoadUniverses())
    models.reinitialize()
    assert (count(Universe), count(ORMTargetMarker)) == (0, 0)


def test_only_characters_of_the_chosen_universes_are_loaded(
    wiki: cache.RequestCache, settings: dict[str, object], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(settings, "UNIVERSES", frozenset({"Earth-1610"}))
    assert build(pipeline.LoadEverything(), checks.Tests())
    with client.get_client().transaction() as session:
        names = session.scalars(select(Universe.name).join(Universe.characters).distinct()).all()
    assert names == ["Earth-1610"]
    assert count(Universe) == len(snapshot_tables.universes())


def test_a_page_outvotes_its_title_on_the_universe(
    store: cache.RequestCache, settings: dict[str, object], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(settings, "UNIVERSES", frozenset({"Earth-1"}))
    put_lists(store, characters='[{"ns": 0, "title": "A"}, {"ns": 0, "title": "B"}, {"ns": 0, "title": "C (Earth-2)"}]')
    label = "<div class='pi-data'><b class='pi-data-label'>Universe</b><i class='pi-data-value'>Earth-1</i></div>"
    store.put(page_url(WIKI, "A"), label)
    store.put(page_url(WIKI, "B"), "no universe, and so none that was asked for")
    assert build(pipeline.LoadCharacters())  # C's page is not even asked for: it is not in the cache
    with client.get_client().transaction() as session:
        assert session.scalars(select(Character.name)).all() == ["A"]


def test_gone_and_mangled_pages_are_logged_and_do_not_stop_the_pipeline(
    store: cache.RequestCache, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, logger="ozelot")
    members = ", ".join(f'{{"ns": 0, "title": "{title}"}}' for title in ("Odd", "Gone", "Odd", "Empty (Earth-9)"))
    films = '<a href="/wiki/M_(film)">M</a><a href="/wiki/Lost_(film)">Lost</a>'
    put_lists(store, realities='[{"ns": 0, "title": "Earth-1"}]', characters=f"[{members}]", films=films)
    store.put(page_url(WIKI, "Odd"), "<div class=pi-data><b class=pi-data-label>Height<p class=pi-data-value>tall")
    store.put(page_url(WIKI, "Empty (Earth-9)"), "")
    store.put(page_url(WIKI, "Gone"), "", status_code=404)
    store.put(page_url(WIKI, "Lost (film)"), "", status_code=410)
    store.put(page_url(WIKI, "M (film)"), "<h2><span id=Appearances></h2><b>Villains<ul><li><a href=/wiki/Odd>x")
    assert build(pipeline.LoadEverything())
    assert (count(Character), count(Movie), count(MovieAppearance)) == (2, 1, 1)
    said = messages(caplog)
    assert f"Page gone, skipped: {page_url(WIKI, 'Gone')}" in said
    assert f"Page gone, skipped: {page_url(WIKI, 'Lost (film)')}" in said
    assert "Odd: not understood: Height 'tall'" in said
    assert "Empty (Earth-9): no universe 'Earth-9' is known" in said
    assert any(line.startswith("M (film): no Release Date(s), no Budget") for line in said)


def test_a_wiki_that_fails_leaves_the_task_incomplete_rather_than_pages_out(store: cache.RequestCache) -> None:
    put_lists(store, characters='[{"ns": 0, "title": "A"}]')
    store.put(page_url(WIKI, "A"), "", status_code=503)
    assert not build(pipeline.LoadCharacters())
    assert count(Character) == 0
    assert not pipeline.LoadCharacters().complete()


@pytest.mark.parametrize("answer", ["<html>blocked</html>", '{"query": {}}'])
def test_a_list_that_makes_no_sense_stops_the_pipeline(store: cache.RequestCache, answer: str) -> None:
    store.put(category_url(WIKI, "Realities"), answer)
    assert not build(pipeline.LoadUniverses())
    assert not pipeline.LoadUniverses().complete()


def test_a_list_in_a_circle_ends(store: cache.RequestCache) -> None:
    answer = '{"continue": {"cmcontinue": "x"}, "query": {"categorymembers": []}}'
    store.put(category_url(WIKI, "Realities"), answer)
    store.put(category_url(WIKI, "Realities", "x"), answer)
    assert not build(pipeline.LoadUniverses())


def test_checks_fail_on_what_cannot_be(wiki: cache.RequestCache) -> None:
    assert build(pipeline.LoadEverything())
    with client.get_client().transaction() as session:
        session.scalars(select(Character).limit(1)).one().height = -1
    assert not build(checks.Tests())
    assert not checks.TestCharacters().complete()
    assert checks.TestMovies().complete()
