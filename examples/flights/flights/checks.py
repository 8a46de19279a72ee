"""Consistency checks on what was loaded, run as tasks."""

import luigi
from sqlalchemy import exists, extract, func, or_, select

from flights.models import Airport, Flight, Weather
from flights.pipeline import STRONGEST_WIND, DeriveSpeeds, LoadAirports, LoadFlights, LoadWeather, all_flights
from ozelot import config
from ozelot.checks import between, holds, no_rows, one_of, references, unique
from ozelot.client import get_client
from ozelot.etl import tasks
from ozelot.orm.run import Run

NEW_YORK = ["EWR", "JFK", "LGA"]
FASTEST = 800  # mph, with the wind behind


class Tests(tasks.ORMWrapperTask):
    """All checks."""

    def requires(self) -> list[luigi.Task]:
        """Every check."""
        return [TestAirports(), TestWeather(), TestFlights(), TestSpeeds()]


class TestAirports(tasks.ORMTestTask):
    """Airports lie on Earth."""

    checks = [between(Airport.latitude, -90, 90), between(Airport.longitude, -180, 180)]

    def requires(self) -> list[luigi.Task]:
        """What is checked."""
        return [LoadAirports()]


class TestWeather(tasks.ORMTestTask):
    """The weather is that of the three airports of New York, within what can be."""

    checks = [
        one_of(Weather.origin, NEW_YORK),
        no_rows(
            select(Airport.faa).where(Airport.faa.in_(NEW_YORK), ~exists().where(Weather.origin == Airport.faa)),
            name="airports without weather",
        ),
        no_rows(
            select(Weather.id, Weather.origin, Airport.faa).join(Weather.airport).where(Airport.faa != Weather.origin),
            name="weather that belongs to another airport than it says",
        ),
        between(Weather.wind_speed, high=STRONGEST_WIND),
    ]

    def requires(self) -> list[luigi.Task]:
        """What is checked."""
        return [LoadWeather()]


class TestFlights(tasks.ORMTestTask):
    """Flights leave New York, once each, in the month of the task that loaded them, with the weather of their hour."""

    checks = [
        no_rows(
            select(Flight.id, Airport.faa).join(Flight.origin).where(Airport.faa.not_in(NEW_YORK)),
            name="flights from elsewhere",
        ),
        unique(Flight.scheduled, Flight.number, Flight.airline_id, Flight.origin_id),
        no_rows(
            select(Flight.id, Flight.scheduled, Weather.hour, Weather.origin)
            .join(Flight.weather)
            .where(
                or_(
                    Weather.airport_id != Flight.origin_id,
                    func.date(Weather.hour) != func.date(Flight.scheduled),
                    extract("hour", Weather.hour) != extract("hour", Flight.scheduled),
                )
            ),
            name="flights with the weather of another hour or airport",
        ),
        references(Flight.destination_id, at_least=0.95, severity="warn"),
        references(Flight.plane_id, at_least=0.8, severity="warn"),
        references(Flight.weather_id, at_least=0.95, severity="warn"),
    ]

    def requires(self) -> list[luigi.Task]:
        """What is checked."""
        return all_flights()

    def run(self) -> None:
        """Check the months, which are those of New York: time zones are for pandas."""
        query = select(Flight.id, Flight.scheduled, Run.params).join(Run, Flight.run_id == Run.id)
        flights = get_client().frame(query)
        local = flights["scheduled"].dt.tz_localize("UTC").dt.tz_convert("America/New_York").dt.month
        expected = {LoadFlights(month=month).get_param_string(): month for month in config.MONTHS}
        astray = flights[flights["params"].map(expected) != local]
        assert astray.empty, f"flights in the month of another: {astray}"


class TestSpeeds(tasks.ORMTestTask):
    """A speed is there for each flight that arrived, and no plane flies faster than planes do."""

    checks = [
        holds(Flight.speed < FASTEST),
        holds(Flight.speed.is_(None) == Flight.air_time.is_(None), name="a speed is there where a time in the air is"),
    ]

    def requires(self) -> list[luigi.Task]:
        """What is checked."""
        return [DeriveSpeeds()]
