"""What the database says about delays, in one page of plots that a browser opens and that asks no host for anything."""

from pathlib import Path

import pandas as pd
from sqlalchemy import func, select

from flights.models import Airline, Airport, Flight, Weather
from flights.plots import page
from ozelot.client import Client


def analyze(client: Client, out_dir: Path) -> list[Path]:
    """Write the page to a folder, and say which files these are."""
    out_dir.mkdir(parents=True, exist_ok=True)
    written = out_dir / "flights.html"
    written.write_text(page(read_flights(client), read_destinations(client)), encoding="utf-8")
    return [written]


def read_flights(client: Client) -> pd.DataFrame:
    """A line a flight: when it was to leave by the clocks of New York, its delays, its airline, the weather."""
    query = (
        select(
            Flight.scheduled,
            Flight.departure_delay,
            Flight.arrival_delay,
            Flight.made_up,
            Flight.distance,
            Airline.name.label("airline"),
            Weather.visibility,
            Weather.precipitation,
        )
        .join(Flight.airline)
        .outerjoin(Flight.weather)
    )
    flights = client.frame(query)
    local = flights["scheduled"].dt.tz_localize("UTC").dt.tz_convert("America/New_York")
    return flights.assign(month=local.dt.month, hour=local.dt.hour).drop(columns="scheduled")


def read_destinations(client: Client) -> pd.DataFrame:
    """A line an airport that is listed and that flights go to: how many, and how late they are."""
    query = (
        select(
            Airport.faa,
            Airport.name,
            Airport.latitude,
            Airport.longitude,
            func.count().label("flights"),
            (func.sum(Flight.arrival_delay) * 1.0 / func.count(Flight.arrival_delay)).label("delay"),
        )
        .join(Flight, Flight.destination_id == Airport.id)
        .group_by(Airport.id, Airport.faa, Airport.name, Airport.latitude, Airport.longitude)
        .order_by(Airport.faa)
    )
    return client.frame(query).astype({"delay": "float64"})
