"""The pipeline: from the pages of the wiki, and two input files, to the data model.

Tasks that wait for the wiki do so before they touch the database, which stays free for others meanwhile.
"""

import logging
from collections.abc import Callable, Iterable, Sequence
from typing import TypeVar

import luigi
from sqlalchemy import select

from ozelot import config
from ozelot.etl import tasks
from superheroes import fetch, parse
from superheroes.inputs import ConsumerPriceIndexFile, IMDBMovieRatings
from superheroes.models import Character, Movie, MovieAppearance, Place, Universe

_T = TypeVar("_T")

log = logging.getLogger("ozelot.superheroes")
facts_log = logging.getLogger("ozelot.superheroes.facts")


class LoadEverything(tasks.ORMWrapperTask):
    """All data."""

    def requires(self) -> list[luigi.Task]:
        """Everything that loads."""
        return [LoadCharacters(), LoadMovies(), LoadMovieAppearances(), InflationAdjustMovieBudgets()]


class LoadUniverses(tasks.ORMTask):
    """Universes, from the members of `Category:Realities`."""

    creates = [Universe]

    def run(self) -> None:
        """Load them."""
        titles = fetch.category_members("Realities")
        self.session.add_all(Universe(name=title, url=fetch.url_of(title)) for title in titles)
        log.info("Universes: %d", len(titles))


class LoadCharacters(tasks.ORMTask):
    """Characters, from the members of `Category:Characters`, and the places where they were born."""

    creates = [Character, Place]

    def requires(self) -> list[luigi.Task]:
        """The universes that characters refer to."""
        return [LoadUniverses()]

    def run(self) -> None:
        """Load those of the universes in `config.UNIVERSES`."""
        # A title that names no universe says nothing; its page decides.
        titles = [
            title
            for title in fetch.category_members("Characters")
            if (universe := parse.universe_of(title)) is None or _is_wanted(universe)
        ]
        read = _parsed(titles, parse.character)
        found = [(title, facts) for title, facts in read if _is_wanted(facts.universe)]
        universes = set(self.session.scalars(select(Universe.name)))
        places = sorted({facts.place_of_birth for _, facts in found if facts.place_of_birth})
        self.load(Place, [{"name": name, "url": fetch.url_of(name)} for name in places])
        rows = []
        for title, facts in found:
            _log_doubts(title, facts.missing, facts.odd)
            if facts.universe is not None and facts.universe not in universes:
                log.warning("%s: no universe %r is known", title, facts.universe)
            rows.append(
                {
                    "name": parse.name_of(title),
                    "url": fetch.url_of(title),
                    "real_name": facts.real_name,
                    "occupation": facts.occupation,
                    "gender": facts.gender,
                    "height": facts.height,
                    "weight": facts.weight,
                    "number_of_appearances": facts.number_of_appearances,
                    "first_appearance_year": facts.first_appearance_year,
                    "universe": facts.universe,
                    "place_of_birth": facts.place_of_birth and fetch.url_of(facts.place_of_birth),
                }
            )
        refs = {"universe": Universe.name, "place_of_birth": Place.url}
        self.load(Character, rows, refs=refs, missing={"universe": "null", "place_of_birth": "null"})
        log.info("Characters: %d, places: %d", len(found), len(places))


class LoadMovies(tasks.ORMTask):
    """Films, from the pages that `Marvel_Films` links to, with ratings from a file."""

    creates = [Movie]

    def requires(self) -> list[luigi.Task]:
        """The ratings; the characters for what comes after, so that films are there for known characters only."""
        return [LoadCharacters(), IMDBMovieRatings()]

    def run(self) -> None:
        """Load them."""
        ratings = IMDBMovieRatings().load()
        titles = parse.film_titles(fetch.index(fetch.url_of("Marvel Films")))
        found = _parsed(titles, lambda page, _title: parse.movie(page))
        for title, facts in found:
            rating = ratings.get(facts.imdb_id or "")
            unrated = [f"rating of {facts.imdb_id}"] if facts.imdb_id and rating is None else []
            _log_doubts(title, [*facts.missing, *unrated], facts.odd)
            self.session.add(
                Movie(
                    name=parse.name_of(title),
                    url=fetch.url_of(title),
                    year=facts.year,
                    budget=facts.budget,
                    imdb_rating=rating,
                )
            )
        log.info("Movies: %d", len(found))


class LoadMovieAppearances(tasks.ORMTask):
    """Who appears in which film, from the films' pages."""

    creates = [MovieAppearance]

    def requires(self) -> list[luigi.Task]:
        """Both ends of the relation."""
        return [LoadCharacters(), LoadMovies()]

    def run(self) -> None:
        """Load the appearances of known characters."""
        movies = dict(self.session.execute(select(Movie.url, Movie.id)).all())
        pages = dict(fetch.pages(movies))
        characters = dict(self.session.execute(select(Character.url, Character.id)).all())
        loaded, others = 0, 0
        for url, movie_id in movies.items():
            for found in parse.movie_appearances(pages.get(url, "")):
                character_id = characters.get(fetch.url_of(found.title))
                if character_id is None:
                    others += 1
                    continue
                self.session.add(
                    MovieAppearance(movie_id=movie_id, character_id=character_id, appearance_type=found.appearance_type)
                )
                loaded += 1
        log.info("Movie appearances: %d; of characters that are not loaded: %d", loaded, others)


class InflationAdjustMovieBudgets(tasks.ORMTask):
    """Budgets of films in dollars of the last year for which the consumer price index is known.

    Adjusted budget = budget * index of the last year / index of the film's year, in whole dollars.
    """

    updates = [Movie.budget_inflation_adjusted]

    def requires(self) -> list[luigi.Task]:
        """The films and the index."""
        return [LoadMovies(), ConsumerPriceIndexFile()]

    def run(self) -> None:
        """Adjust every budget whose year has an index."""
        index = ConsumerPriceIndexFile().load()
        last = max(index)
        with_budget = select(Movie).where(Movie.budget.is_not(None), Movie.year.is_not(None))
        for movie in self.session.scalars(with_budget).all():
            if movie.budget is None or movie.year not in index:
                log.warning("%s: no consumer price index for %s", movie.name, movie.year)
            else:
                movie.budget_inflation_adjusted = round(movie.budget * index[last] / index[movie.year])
        log.info("Budgets adjusted to dollars of %d", last)


def _parsed(titles: Iterable[str], parse_page: Callable[[str, str], _T]) -> list[tuple[str, _T]]:
    """What is on the pages that are there, by their titles, in that order whatever the order in which they come."""
    titles_of = {fetch.url_of(title): title for title in titles}
    facts = {url: parse_page(page, titles_of[url]) for url, page in fetch.pages(titles_of)}
    return [(title, facts[url]) for url, title in titles_of.items() if url in facts]


def _is_wanted(universe: str | None) -> bool:
    return config.UNIVERSES is None or universe in config.UNIVERSES


def _log_doubts(title: str, missing: Sequence[str], odd: Sequence[str]) -> None:
    if missing:
        facts_log.info("%s: no %s", title, ", no ".join(missing))
    if odd:
        facts_log.warning("%s: not understood: %s", title, ", ".join(odd))
