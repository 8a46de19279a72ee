"""The tasks that fill the data model."""

from __future__ import annotations

import csv
from pathlib import Path

import luigi

from ozelot.checks import between, row_count, unique
from ozelot.etl import tasks
from project_name.models import City, Country

INPUT = Path(__file__).resolve().parents[1] / "input"


class CountriesFile(tasks.InputFileTask):
    """The file of all countries."""

    input_file = INPUT / "countries.csv"

    def load(self) -> list[dict[str, str]]:
        """A row a country."""
        return rows(self.input_file)


class CitiesFile(tasks.InputFileTask):
    """The file of all cities."""

    input_file = INPUT / "cities.csv"

    def load(self) -> list[dict[str, str | int | None]]:
        """A row a city, with its population as a number."""
        return [{**row, "population": number(row["population"])} for row in rows(self.input_file)]


class LoadCountries(tasks.ORMTask):
    """Countries."""

    creates = [Country]

    def requires(self) -> list[luigi.Task]:
        """The file."""
        return [CountriesFile()]

    def run(self) -> None:
        """Load them."""
        self.load(Country, CountriesFile().load())


class LoadCities(tasks.ORMTask):
    """Cities, each in its country."""

    creates = [City]

    def requires(self) -> list[luigi.Task]:
        """The file, and the countries that it refers to."""
        return [CitiesFile(), LoadCountries()]

    def run(self) -> None:
        """Load them. A country that is not known is an error; see `missing=` for what else it could be."""
        self.load(City, CitiesFile().load(), refs={"country": Country.code})


class CheckCities(tasks.ORMTestTask):
    """What must be true of all cities."""

    checks = [row_count(City), unique(City.name, City.country_id), between(City.population, 1, 50_000_000)]

    def requires(self) -> list[luigi.Task]:
        """What is checked."""
        return [LoadCities()]


class LoadEverything(tasks.ORMWrapperTask):
    """The data model, filled and checked."""

    def requires(self) -> list[luigi.Task]:
        """All tasks."""
        return [LoadCountries(), LoadCities(), CheckCities()]


def rows(path: Path) -> list[dict[str, str]]:
    """The rows of a file, by the names in its first line."""
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def number(text: str) -> int | None:
    """A number as the files write it, such as `2,006,000`; None where there is none."""
    return int(text.replace(",", "")) if text else None
