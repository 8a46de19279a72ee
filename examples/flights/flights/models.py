"""The data model: airlines, airports, planes, the weather, and flights that refer to all of them."""

from datetime import datetime

from sqlalchemy import Double, ForeignKey, String, UniqueConstraint
from sqlalchemy.orm import Mapped, mapped_column, relationship

from ozelot.orm.base import Base
from ozelot.orm.run import TaskOwned


class Airline(Base):
    """An airline."""

    carrier: Mapped[str] = mapped_column(String(2), unique=True)
    name: Mapped[str] = mapped_column(String(50))


class Airport(Base):
    """An airport of the United States; the list has not all that flights go to."""

    faa: Mapped[str] = mapped_column(String(3), unique=True)
    name: Mapped[str] = mapped_column(String(60))
    latitude: Mapped[float] = mapped_column(Double)
    longitude: Mapped[float] = mapped_column(Double)
    altitude: Mapped[int]  # feet
    time_zone: Mapped[str | None] = mapped_column(String(30))


class Plane(Base):
    """A plane, as it is registered; of most airlines' planes, not of all."""

    tail_number: Mapped[str] = mapped_column(String(6), unique=True)
    year: Mapped[int | None]
    type: Mapped[str] = mapped_column(String(30))
    manufacturer: Mapped[str] = mapped_column(String(40))
    model: Mapped[str] = mapped_column(String(30))
    engines: Mapped[int]
    seats: Mapped[int]
    engine: Mapped[str] = mapped_column(String(20))


class Weather(Base):
    """What was measured at an airport in one hour."""

    origin: Mapped[str] = mapped_column(String(3))
    hour: Mapped[datetime]  # UTC, at its beginning
    airport_id: Mapped[int] = mapped_column(ForeignKey("airport.id"))
    temperature: Mapped[float | None] = mapped_column(Double)  # °F
    humidity: Mapped[float | None] = mapped_column(Double)  # %
    wind_speed: Mapped[float | None] = mapped_column(Double)  # mph
    precipitation: Mapped[float] = mapped_column(Double)  # inches
    pressure: Mapped[float | None] = mapped_column(Double)  # millibars
    visibility: Mapped[float] = mapped_column(Double)  # miles
    airport: Mapped[Airport] = relationship()
    __table_args__ = (UniqueConstraint("origin", "hour"),)


class Flight(TaskOwned, Base):
    """A flight that was planned; where it was cancelled, delays and the time in the air are NULL."""

    number: Mapped[int]
    scheduled: Mapped[datetime]  # departure, UTC
    departure_delay: Mapped[int | None]  # minutes; below zero: early
    arrival_delay: Mapped[int | None]
    air_time: Mapped[int | None]  # minutes
    distance: Mapped[int]  # miles
    tail_number: Mapped[str | None] = mapped_column(String(6))
    airline_id: Mapped[int] = mapped_column(ForeignKey("airline.id"))
    origin_id: Mapped[int] = mapped_column(ForeignKey("airport.id"))
    destination_code: Mapped[str] = mapped_column(String(3))
    destination_id: Mapped[int | None] = mapped_column(ForeignKey("airport.id"))
    plane_id: Mapped[int | None] = mapped_column(ForeignKey("plane.id"))
    weather_id: Mapped[int | None] = mapped_column(ForeignKey("weather.id"))
    # Derived, by a task of their own:
    made_up: Mapped[int | None]  # minutes of the delay that were made up on the way
    speed: Mapped[float | None] = mapped_column(Double)  # mph

    airline: Mapped[Airline] = relationship()
    origin: Mapped[Airport] = relationship(foreign_keys=[origin_id])
    destination: Mapped[Airport | None] = relationship(foreign_keys=[destination_id])
    plane: Mapped[Plane | None] = relationship()
    weather: Mapped[Weather | None] = relationship()


ALL: list[type[Base]] = [Airline, Airport, Plane, Weather, Flight]
