"""Consistency checks on what was loaded, run as tasks."""

import luigi
from sqlalchemy import or_, select

from ozelot import config
from ozelot.checks import between, holds, no_rows, row_count, unique
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

    checks = [row_count(Universe), holds(Universe.name != ""), unique(Universe.name)]

    def requires(self) -> list[luigi.Task]:
        """What is checked."""
        return [LoadUniverses()]


class TestCharacters(tasks.ORMTestTask):
    """There are characters, each once, in the universes that were asked for, with possible measures."""

    checks = [
        row_count(Character),
        unique(Character.url),
        holds(Character.height > 0),
        holds(Character.weight > 0),
        between(Character.number_of_appearances, 1),
        between(Character.first_appearance_year, 1900, 2099),
    ]

    def requires(self) -> list[luigi.Task]:
        """What is checked."""
        return [LoadCharacters()]

    def run(self) -> None:
        """Check the universes, where a choice of them was asked for."""
        if config.UNIVERSES is not None:
            names = select(Character.url, Universe.name).join(Character.universe)
            others = names.where(Universe.name.not_in(config.UNIVERSES))
            self.check(no_rows(others, name="characters of universes that were not asked for"))


class TestMovies(tasks.ORMTestTask):
    """There are films, each once, with possible facts; an adjusted budget only where there is one to adjust."""

    checks = [
        row_count(Movie),
        unique(Movie.url),
        between(Movie.year, 1900, 2099),
        between(Movie.budget, 1),
        between(Movie.imdb_rating, 1, 10),
        holds(
            or_(Movie.budget_inflation_adjusted.is_(None), Movie.budget.is_not(None) & Movie.year.is_not(None)),
            name="adjusted budgets have a budget and a year",
        ),
    ]

    def requires(self) -> list[luigi.Task]:
        """What is checked."""
        return [LoadMovies(), InflationAdjustMovieBudgets()]


class TestMovieAppearances(tasks.ORMTestTask):
    """There are appearances, each once, with a label; a choice of universes may have none."""

    checks = [
        row_count(MovieAppearance, lambda: 1 if config.UNIVERSES is None else 0),
        unique(MovieAppearance.movie_id, MovieAppearance.character_id, MovieAppearance.appearance_type),
        holds(MovieAppearance.appearance_type != ""),
    ]

    def requires(self) -> list[luigi.Task]:
        """What is checked."""
        return [LoadMovieAppearances()]
