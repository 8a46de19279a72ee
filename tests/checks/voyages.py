"""Ships and their voyages: a data model to check, with rows that are as they should be."""

from __future__ import annotations

import datetime
from typing import Any

import sqlalchemy as sa
from sqlalchemy import ForeignKey, String
from sqlalchemy.orm import Mapped, mapped_column

from ozelot.checks import row_count
from ozelot.client import Client
from ozelot.etl import tasks
from ozelot.orm import bulk
from ozelot.orm.base import Base
from tests.tables import create_tables

NOW = datetime.datetime(2026, 5, 4, 12, tzinfo=datetime.UTC)


class Ship(Base):
    __tablename__ = "checks_ship"

    name: Mapped[str] = mapped_column(String(100))
    password: Mapped[str | None] = mapped_column(String(100))


class Liner(Ship):
    __tablename__ = "checks_liner"

    id: Mapped[int] = mapped_column(ForeignKey("checks_ship.id"), primary_key=True)
    decks: Mapped[int]


class Voyage(Base):
    __tablename__ = "checks_voyage"

    code: Mapped[str | None] = mapped_column(String(100))
    miles: Mapped[float | None] = mapped_column(sa.Double)
    kind: Mapped[str | None] = mapped_column(String(20))
    sailed: Mapped[datetime.datetime | None]
    day: Mapped[datetime.date | None]
    arrived: Mapped[datetime.datetime | None]
    ship_id: Mapped[int | None] = mapped_column(ForeignKey("checks_ship.id"))
    best_before_id: Mapped[int | None] = mapped_column(index=False)  # a foreign key that no database enforces


MORNING = NOW.replace(tzinfo=None, hour=6)
GOOD: list[dict[str, Any]] = [
    {
        "code": f"V-{number:03}",
        "miles": 10.0 * number,
        "kind": "freight" if number % 2 else "mail",
        "sailed": MORNING - datetime.timedelta(days=number),
        "day": (MORNING - datetime.timedelta(days=number)).date(),
        "arrived": MORNING,
        "ship_id": 1 + number % 2,
    }
    for number in range(1, 21)
]
EMPTY: dict[str, Any] = {"code": None}


def filled(db: Client, *voyages: dict[str, Any]) -> None:
    """Create the tables, and put two ships and these voyages there."""
    create_tables(db, Ship, Liner, Voyage)
    with db.transaction() as session:
        session.add_all([Ship(id=1, name="Ada"), Ship(id=2, name="Grace")])
        session.flush()
        bulk.load(session, Voyage, list(voyages))


# Plain asserts, where pytest does not rewrite them.


class WithMessage(tasks.ORMTestTask):
    def run(self) -> None:
        assert self.session.scalar(sa.select(Ship.id)), "no ships"


class WithoutMessage(tasks.ORMTestTask):
    def run(self) -> None:
        count = self.session.query(Ship).count()
        assert count == 3


class BothKinds(tasks.ORMTestTask):
    checks = [row_count(Ship, 0)]

    def run(self) -> None:
        assert self.session.query(Ship).count() == 0
