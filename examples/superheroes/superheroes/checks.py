"""Consistency checks on what was loaded, run as tasks."""

from collections import Counter
from collections.abc import Sequence

import luigi
from sqlalchemy import select

from ozelot import config
from ozelot.etl import tasks
from superheroes.models import Character, Movie, MovieAppearance, Universe
from superheroes.pipeline import (
    InflationAdjustMovieBudgets,
    LoadCharacters,
    LoadMovieAppearances,
    LoadMovies,
    LoadUniverses,
)


class Tests(tasks.ORMWrapperTask):
    """All checks."""

    def requires(self) -> list[luigi.Task]:
        """Every check."""
        return [TestUniverses(), TestCharacters(), TestMovies(), TestMovieAppearances()]


class TestUniverses(tasks.ORMTestTask):
    """There are universes, each once."""

    def requires(self) -> list[luigi.Task]:
        """What is checked."""
        return [LoadUniverses()]

    def run(self) -> None:
        """Check them."""
        names = self.session.scalars(select(Universe.name)).all()
        assert names, "no universes"
        assert all(names), "a universe has no name"
        assert not _repeated(names), f"universes that are there twice: {_repeated(names)}"


class TestCharacters(tasks.ORMTestTask):
    """There are characters, each once, in the universes that were asked for, with possible measures."""

    def requires(self) -> list[luigi.Task]:
        """What is checked."""
        return [LoadCharacters()]

    def run(self) -> None:
        """Check them."""
        characters = self.session.execute(
            select(
                Character.url,
                Character.height,
                Character.weight,
                Character.number_of_appearances,
                Character.first_appearance_year,
                Universe.name,
            ).outerjoin(Character.universe)
        ).all()
        assert characters, "no characters"
        repeated = _repeated([row.url for row in characters])
        assert not repeated, f"characters that are there twice: {repeated}"
        for url, height, weight, appearances, year, universe in characters:
            assert height is None or height > 0, f"height {height} of {url}"
            assert weight is None or weight > 0, f"weight {weight} of {url}"
            assert appearances is None or appearances > 0, f"{appearances} appearances of {url}"
            assert year is None or 1900 <= year < 2100, f"first appearance in {year} of {url}"
            if config.UNIVERSES is not None and universe is not None:
                assert universe in config.UNIVERSES, f"{url} is of {universe}, which was not asked for"


class TestMovies(tasks.ORMTestTask):
    """There are films, each once, with possible facts; an adjusted budget only where there is one to adjust."""

    def requires(self) -> list[luigi.Task]:
        """What is checked."""
        return [LoadMovies(), InflationAdjustMovieBudgets()]

    def run(self) -> None:
        """Check them."""
        movies = self.session.scalars(select(Movie)).all()
        assert movies, "no films"
        repeated = _repeated([movie.url for movie in movies])
        assert not repeated, f"films that are there twice: {repeated}"
        for movie in movies:
            assert movie.year is None or 1900 <= movie.year < 2100, f"year {movie.year} of {movie.url}"
            assert movie.budget is None or movie.budget > 0, f"budget {movie.budget} of {movie.url}"
            assert movie.imdb_rating is None or 1 <= movie.imdb_rating <= 10, f"rating of {movie.url}"
            adjusted = movie.budget_inflation_adjusted
            assert adjusted is None or (movie.budget and movie.year), f"adjusted budget of {movie.url}"


class TestMovieAppearances(tasks.ORMTestTask):
    """There are appearances, each once, with a label; a choice of universes may have none."""

    def requires(self) -> list[luigi.Task]:
        """What is checked."""
        return [LoadMovieAppearances()]

    def run(self) -> None:
        """Check them."""
        appearances = self.session.execute(
            select(MovieAppearance.movie_id, MovieAppearance.character_id, MovieAppearance.appearance_type)
        ).all()
        assert appearances or config.UNIVERSES is not None, "no character appears in any film"
        assert len(set(appearances)) == len(appearances), "an appearance is there twice"
        assert all(appearance.appearance_type for appearance in appearances), "an appearance has no type"


def _repeated(values: Sequence[str]) -> list[str]:
    return sorted(value for value, times in Counter(values).items() if times > 1)
