"""Consistency checks on many rows, beside one full scan of their table.

    python benchmarks/checks.py [--rows 1000000] [--databases sqlite postgresql mariadb] [--repeat 5]

Seconds by the clock, medians, taking turns; the server's work is in them. All checks pass.

count      SELECT count(*), for which a database may read less than the table
scan       one full scan: the maximum of each column, so that every value is read once
checks     20 checks that count, in one pass
of scan    that beside the scan
one by one the same 20, each in a pass of its own
+ matches  20 checks and a regular expression on one column
unique     unique() of a column that has no index, which sorts or hashes it
"""

from __future__ import annotations

import argparse
import datetime
import logging
import statistics
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from typing import Any

import sqlalchemy as sa
from measure import machine, state_of
from sqlalchemy import Double, String
from sqlalchemy.orm import Mapped, Session, mapped_column

from ozelot.checks import (
    Check,
    between,
    checked,
    fraction,
    fresh,
    holds,
    matches,
    not_null,
    one_of,
    references,
    row_count,
    unique,
)
from ozelot.client import Client
from ozelot.orm import bulk
from ozelot.orm.base import Base

BEGIN = datetime.datetime(2013, 1, 1)
CARRIERS = ["AA", "B6", "DL", "UA"]
ORIGINS = ["EWR", "JFK", "LGA"]
STATES = ["landed", "cancelled", "diverted"]


class Trip(Base):
    """A flight as in the example of that name, with the names in the place of references."""

    number: Mapped[int]
    scheduled: Mapped[datetime.datetime]
    delay: Mapped[int | None]
    air_time: Mapped[int | None]
    distance: Mapped[float] = mapped_column(Double)
    carrier: Mapped[str] = mapped_column(String(2))
    tail: Mapped[str | None] = mapped_column(String(6))
    origin: Mapped[str] = mapped_column(String(3))
    destination: Mapped[str | None] = mapped_column(String(3))
    state: Mapped[str] = mapped_column(String(10))


CHECKS: list[Check] = [
    row_count(Trip, 1),
    not_null(Trip.scheduled),
    not_null(Trip.carrier),
    not_null(Trip.origin),
    not_null(Trip.destination),
    not_null(Trip.state),
    not_null(Trip.distance),
    between(Trip.number, 1, 9999),
    between(Trip.delay, -120, 2000),
    between(Trip.air_time, 10, 900),
    between(Trip.distance, 10, 6000),
    between(Trip.scheduled, BEGIN, datetime.datetime(2014, 1, 1)),
    one_of(Trip.carrier, CARRIERS),
    one_of(Trip.origin, ORIGINS),
    one_of(Trip.state, STATES),
    fraction(Trip.delay < 60, at_least=0.05),
    references(Trip.tail, at_least=0.9),
    fresh(Trip.scheduled, datetime.timedelta(days=100_000)),
    holds(Trip.origin != Trip.destination),
    holds(Trip.distance > Trip.air_time),
]


def rows(number: int) -> Iterator[dict[str, Any]]:
    """Flights that pass all checks, spread out so that no column is sorted."""
    for n in range(number):
        spread = n * 7_919 % 1_000_003
        yield {
            "number": 1 + spread % 9_000,
            "scheduled": BEGIN + datetime.timedelta(seconds=spread * 31),
            "delay": None if n % 40 == 0 else spread % 1_000 - 60,
            "air_time": None if n % 40 == 0 else 20 + spread % 600,
            "distance": 1_000.5 + spread % 4_000,
            "carrier": CARRIERS[spread % 4],
            "tail": None if n % 50 == 0 else f"N{10_000 + spread % 4_000}",
            "origin": ORIGINS[spread % 3],
            "destination": ("BOS", "LAX", "MIA", "ORD", "SFO")[spread % 5],
            "state": STATES[0 if spread % 50 else 1 + spread % 2],
        }


def ways(session: Session) -> dict[str, Callable[[], Any]]:
    """What is measured, by name."""
    columns = Trip.__table__.columns
    return {
        "count": lambda: session.execute(sa.select(sa.func.count()).select_from(Trip)).all(),
        "scan": lambda: session.execute(sa.select(*map(sa.func.max, columns))).all(),
        "checks": lambda: checked(session, CHECKS),
        "one by one": lambda: [checked(session, [check]) for check in CHECKS],
        "+ matches": lambda: checked(session, [*CHECKS, matches(Trip.tail, "^N[0-9]+$")]),
        "unique": lambda: checked(session, [unique(Trip.id, Trip.distance)]),
    }


def measure(client: Client, number: int, repeat: int) -> dict[str, float]:
    """The median seconds of each way."""
    with client.engine.begin() as connection:
        Base.metadata.create_all(connection, tables=[Base.metadata.tables["trip"]])
    with client.transaction() as session:
        bulk.load(session, Trip, rows(number))
    takes = defaultdict(list)
    with client.create_session() as session:
        if session.connection().dialect.name == "postgresql":
            session.execute(sa.text("ANALYZE trip"))
        for _ in range(repeat):
            for name, act in ways(session).items():
                begin = time.perf_counter()
                act()
                takes[name].append(time.perf_counter() - begin)
    return {name: statistics.median(each) for name, each in takes.items()}


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--databases", nargs="+", default=["sqlite", "postgresql", "mariadb"])
    parser.add_argument("--repeat", type=int, default=5)
    asked = parser.parse_args()
    logging.getLogger("ozelot").setLevel(logging.ERROR)
    print(machine(["sqlalchemy"]))
    print(f"{len(CHECKS)} checks on {asked.rows:,} rows of 10 columns and an id; medians of {asked.repeat}")
    names = ["count", "scan", "checks", "of scan", "one by one", "+ matches", "unique"]
    print(f"{'':10} " + " ".join(f"{name:>10}" for name in names))
    for kind in asked.databases:
        with state_of("ozelot", kind) as (folder, *url):
            client = Client(connection_string=url[1] if url else f"sqlite:///{folder}/checks.db")
            found = measure(client, asked.rows, asked.repeat)
            client.engine.dispose()
        found["of scan"] = found["checks"] / found["scan"]
        print(f"{kind:10} " + " ".join(f"{found[name]:10.2f}" for name in names), flush=True)


if __name__ == "__main__":
    main()
