"""A pipeline of the shape of the superheroes example: eight tasks, of which two are input files."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import luigi
from sqlalchemy import ForeignKey, String, select
from sqlalchemy.orm import Mapped, mapped_column

from ozelot.client import Client
from ozelot.etl import tasks
from ozelot.orm.base import Base
from tests.tables import count_rows_each


class HUniverse(Base):
    name: Mapped[str] = mapped_column(String(100))


class HCharacter(Base):
    name: Mapped[str] = mapped_column(String(100))
    universe_id: Mapped[int] = mapped_column(ForeignKey("huniverse.id"))


class HMovie(Base):
    name: Mapped[str] = mapped_column(String(100))
    budget: Mapped[float | None] = mapped_column()
    budget_inflation_adjusted: Mapped[float | None] = mapped_column()


class HMovieAppearance(Base):
    movie_id: Mapped[int] = mapped_column(ForeignKey("hmovie.id"))
    character_id: Mapped[int] = mapped_column(ForeignKey("hcharacter.id"))


TABLES = [HUniverse, HCharacter, HMovie, HMovieAppearance]
#: The number of rows of each once all is loaded.
FULL = {"HUniverse": 1, "HCharacter": 10, "HMovie": 5, "HMovieAppearance": 50}


class ConsumerPriceIndexFile(tasks.InputFileTask):
    input_file = Path("cpi.csv")


class IMDBMovieRatings(tasks.InputFileTask):
    input_file = Path("ratings.csv")


class LoadUniverses(tasks.ORMTask):
    creates = [HUniverse]

    def run(self) -> None:
        self.session.add(HUniverse(name="Earth-616"))


class LoadCharacters(tasks.ORMTask):
    creates = [HCharacter]

    def requires(self) -> Any:
        return [LoadUniverses()]

    def run(self) -> None:
        universe = self.session.scalars(select(HUniverse)).one()
        self.session.add_all(HCharacter(name=f"hero {n}", universe_id=universe.id) for n in range(10))


class LoadMovies(tasks.ORMTask):
    creates = [HMovie]

    def requires(self) -> Any:
        return [LoadCharacters(), IMDBMovieRatings()]

    def run(self) -> None:
        self.session.add_all(HMovie(name=f"film {n}", budget=1e6 * n) for n in range(5))


class LoadMovieAppearances(tasks.ORMTask):
    creates = [HMovieAppearance]

    def requires(self) -> Any:
        return [LoadCharacters(), LoadMovies()]

    def run(self) -> None:
        for movie in self.session.scalars(select(HMovie.id)).all():
            for character in self.session.scalars(select(HCharacter.id)).all():
                self.session.add(HMovieAppearance(movie_id=movie, character_id=character))


class InflationAdjustMovieBudgets(tasks.ORMTask):
    updates = [HMovie.budget_inflation_adjusted]

    def requires(self) -> Any:
        return [LoadMovies(), ConsumerPriceIndexFile()]

    def run(self) -> None:
        for movie in self.session.scalars(select(HMovie)):
            movie.budget_inflation_adjusted = (movie.budget or 0) * 2


class LoadEverything(tasks.ORMWrapperTask):
    def requires(self) -> Any:
        return [LoadCharacters(), LoadMovies(), LoadMovieAppearances(), InflationAdjustMovieBudgets()]


def write_inputs() -> None:
    """Write the input files into the current folder."""
    Path("cpi.csv").write_text("year,cpi\n")
    Path("ratings.csv").write_text("id,rating\n")


def build(*roots: luigi.Task, **options: Any) -> bool:
    return bool(luigi.build(list(roots), local_scheduler=True, log_level="WARNING", **options))


def counts(db: Client) -> dict[str, int]:
    """The number of rows of each model."""
    return dict(zip(FULL, count_rows_each(db, *TABLES), strict=True))
