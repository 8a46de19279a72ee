"""Consistency checks on what was loaded, run as tasks."""

import luigi
from sqlalchemy import func, select

from flights.models import Airport, Flight, Weather
from flights.pipeline import STRONGEST_WIND, DeriveSpeeds, LoadAirports, LoadFlights, LoadWeather, all_flights
from ozelot import config
from ozelot.client import get_client
from ozelot.etl import tasks
from ozelot.orm.run import Run

NEW_YORK = {"EWR", "JFK", "LGA"}
FASTEST = 800  # mph, with the wind behind


class Tests(tasks.ORMWrapperTask):
    """All checks."""

    def requires(self) -> list[luigi.Task]:
        """Every check."""
        return [TestAirports(), TestWeather(), TestFlights(), TestSpeeds()]


class TestAirports(tasks.ORMTestTask):
    """Airports lie on Earth."""

    def requires(self) -> list[luigi.Task]:
        """What is checked."""
        return [LoadAirports()]

    def run(self) -> None:
        """Check them."""
        away = select(Airport.faa).where(~Airport.latitude.between(-90, 90) | ~Airport.longitude.between(-180, 180))
        assert not (found := self.session.scalars(away).all()), f"airports beyond the Earth: {found}"


class TestWeather(tasks.ORMTestTask):
    """The weather is that of the three airports of New York, within what can be."""

    def requires(self) -> list[luigi.Task]:
        """What is checked."""
        return [LoadWeather()]

    def run(self) -> None:
        """Check it."""
        origins = set(self.session.scalars(select(Weather.origin).distinct()))
        assert origins == NEW_YORK, f"weather of {origins}"
        of_another = (
            select(func.count()).select_from(Weather).join(Weather.airport).where(Airport.faa != Weather.origin)
        )
        assert self.session.scalar(of_another) == 0, "weather that belongs to another airport than it says"
        strongest = self.session.scalar(select(func.max(Weather.wind_speed))) or 0
        assert strongest <= STRONGEST_WIND, f"wind of {strongest} mph"


class TestFlights(tasks.ORMTestTask):
    """Flights leave New York, once each, in the month of the task that loaded them, with the weather of their hour."""

    def requires(self) -> list[luigi.Task]:
        """What is checked."""
        return all_flights()

    def run(self) -> None:
        """Check them."""
        query = (
            select(
                Flight.scheduled,
                Flight.number,
                Flight.airline_id,
                Airport.faa,
                Run.params,
                Weather.hour,
                Weather.origin,
            )
            .join(Flight.origin)
            .join(Run, Flight.run_id == Run.id)
            .outerjoin(Flight.weather)
        )
        flights = get_client().frame(query)
        assert set(flights["faa"]) <= NEW_YORK, f"flights from {set(flights['faa']) - NEW_YORK}"
        twice = flights.duplicated(["scheduled", "number", "airline_id", "faa"])
        assert not twice.any(), f"flights that are there twice: {flights[twice]}"
        local = flights["scheduled"].dt.tz_localize("UTC").dt.tz_convert("America/New_York").dt.month
        expected = {LoadFlights(month=month).get_param_string(): month for month in config.MONTHS}
        astray = flights[flights["params"].map(expected) != local]
        assert astray.empty, f"flights in the month of another: {astray}"
        known = flights[flights["hour"].notna()]
        other = known[(known["hour"] != known["scheduled"].dt.floor("h")) | (known["origin"] != known["faa"])]
        assert other.empty, f"flights with the weather of another hour or airport: {other}"


class TestSpeeds(tasks.ORMTestTask):
    """A speed is there for each flight that arrived, and no plane flies faster than planes do."""

    def requires(self) -> list[luigi.Task]:
        """What is checked."""
        return [DeriveSpeeds()]

    def run(self) -> None:
        """Check them."""
        fastest = self.session.scalar(select(func.max(Flight.speed))) or 0
        assert fastest < FASTEST, f"a flight at {fastest} mph"
        without = Flight.speed.is_(None) != Flight.air_time.is_(None)
        assert not self.session.scalars(select(Flight.id).where(without).limit(5)).all(), "speeds are missing"
