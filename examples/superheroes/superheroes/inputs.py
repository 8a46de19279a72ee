"""The input files: tables of two columns that matter, a key and a number."""

import csv
import logging
import math
from pathlib import Path

from ozelot.errors import ConfigError
from ozelot.etl import tasks

log = logging.getLogger("ozelot.superheroes")

FOLDER = Path(__file__).parents[1] / "input"


class ConsumerPriceIndexFile(tasks.InputFileTask):
    """The U.S. consumer price index, annual averages for all urban consumers (1982 to 1984 are 100)."""

    input_file = FOLDER / "consumer_price_index.csv"

    def load(self) -> dict[int, float]:
        """The index by year, of one year at least.

        Raises:
            ConfigError: if there is none in the file.
        """
        numbers = _numbers(self.input_file, key="year", number="cpi")
        index = {int(year): cpi for year, cpi in numbers.items() if year.isdecimal() and cpi > 0}
        if not index:
            raise ConfigError(f"{self.input_file} holds no index: it wants the columns year and cpi")
        return index


class IMDBMovieRatings(tasks.InputFileTask):
    """Ratings of films on IMDb."""

    input_file = FOLDER / "imdb_ratings.csv"

    def load(self) -> dict[str, float]:
        """The rating, of 10, by the identifier of the film on IMDb."""
        ratings = _numbers(self.input_file, key="imdb_id", number="rating")
        return {imdb_id: rating for imdb_id, rating in ratings.items() if 1 <= rating <= 10}


def _numbers(path: Path, *, key: str, number: str) -> dict[str, float]:
    """The numbers of a CSV file by their keys; rows without a number are logged and left out."""
    numbers: dict[str, float] = {}
    with path.open(encoding="utf-8-sig", newline="") as file:
        for row in csv.DictReader(file):
            try:
                value = float(row[number])
            except (KeyError, TypeError, ValueError):
                value = math.nan
            if math.isfinite(value) and row.get(key):
                numbers[row[key].strip()] = value
            else:
                log.warning("%s: no %s in %s", path.name, number, row)
    return numbers
