"""The tasks that fill the data model."""

import logging

import luigi
import polars as pl
from sqlalchemy import Double, cast, update

from flights.inputs import AirlinesFile, AirportsFile, FlightsFile, PlanesFile, WeatherFile
from flights.models import Airline, Airport, Flight, Plane, Weather
from ozelot import config
from ozelot.etl import tasks

log = logging.getLogger("ozelot.flights")

STRONGEST_WIND = 250  # mph; stronger ones were never measured on the ground


class LoadEverything(tasks.ORMWrapperTask):
    """The data model, filled."""

    def requires(self) -> list[luigi.Task]:
        """The flights, which require the rest, and what is derived from them."""
        return [*all_flights(), DeriveSpeeds()]


class LoadAirlines(tasks.ORMTask):
    """Airlines."""

    creates = [Airline]

    def requires(self) -> list[luigi.Task]:
        """The file."""
        return [AirlinesFile()]

    def run(self) -> None:
        """Load them."""
        self.load(Airline, AirlinesFile().load())


class LoadAirports(tasks.ORMTask):
    """Airports."""

    creates = [Airport]

    def requires(self) -> list[luigi.Task]:
        """The file."""
        return [AirportsFile()]

    def run(self) -> None:
        """Load them."""
        self.load(Airport, AirportsFile().load())


class LoadPlanes(tasks.ORMTask):
    """Planes."""

    creates = [Plane]

    def requires(self) -> list[luigi.Task]:
        """The file."""
        return [PlanesFile()]

    def run(self) -> None:
        """Load them."""
        self.load(Plane, PlanesFile().load())


class LoadWeather(tasks.ORMTask):
    """The weather at the airports that flights leave from."""

    creates = [Weather]

    def requires(self) -> list[luigi.Task]:
        """The file, and the airports."""
        return [WeatherFile(), LoadAirports()]

    def run(self) -> None:
        """Load it, without wind that cannot have been."""
        weather = WeatherFile().load()
        storms = weather.filter(pl.col("wind_speed") > STRONGEST_WIND)
        for storm in storms.iter_rows(named=True):
            log.warning("No wind has %.0f mph: %s, %s", storm["wind_speed"], storm["origin"], storm["hour"])
        possible = pl.when(pl.col("wind_speed") <= STRONGEST_WIND).then("wind_speed")
        self.load(Weather, weather.with_columns(wind_speed=possible), refs={"airport": Airport.faa})


class LoadFlights(tasks.ORMTask):
    """The flights of one month; all months share the table."""

    creates = [Flight]
    month: int = luigi.IntParameter()

    def requires(self) -> list[luigi.Task]:
        """The file, and all that flights refer to."""
        return [FlightsFile(), LoadAirlines(), LoadAirports(), LoadPlanes(), LoadWeather()]

    def run(self) -> None:
        """Load them. Planes that nobody registered, airports that are not listed, hours with no weather are NULL."""
        report = self.load(
            Flight,
            FlightsFile().of_month(self.month),
            refs={
                "airline": Airline.carrier,
                "origin": Airport.faa,
                "destination": Airport.faa,
                "tail_number": Plane.tail_number,
                ("origin", "hour"): (Weather.origin, Weather.hour),
            },
            missing={"destination": "null", "tail_number": "null", ("origin", "hour"): "null"},
        )
        log.info("%s", report)


class DeriveSpeeds(tasks.ORMTask):
    """What follows from the facts of a flight: its speed, and how much of its delay it made up."""

    updates = [Flight.made_up, Flight.speed]

    def requires(self) -> list[luigi.Task]:
        """All flights."""
        return all_flights()

    def run(self) -> None:
        """Set both, where the facts are known."""
        self.session.execute(
            update(Flight).values(
                made_up=Flight.departure_delay - Flight.arrival_delay,
                speed=cast(Flight.distance * 60, Double) / Flight.air_time,
            )
        )


def all_flights() -> list[luigi.Task]:
    """The task of each month that is asked for."""
    return [LoadFlights(month=month) for month in config.MONTHS]
