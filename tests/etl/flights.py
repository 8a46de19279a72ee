"""Flights, journeys and vessels: rows that know their run, also in the tables of derived models."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

import luigi
import sqlalchemy as sa
from sqlalchemy import ForeignKey, String
from sqlalchemy.orm import Mapped, mapped_column

from ozelot.etl import tasks
from ozelot.orm.base import Base
from ozelot.orm.run import TaskOwned


class Flight(TaskOwned, Base):
    month: Mapped[int]
    carrier: Mapped[str] = mapped_column(String(10))


class Delay(Base):
    flight_id: Mapped[int] = mapped_column(ForeignKey("flight.id"))


class Journey(TaskOwned, Base):
    """Joined inheritance, shared by tasks."""

    kind: Mapped[str] = mapped_column(String(20))
    __mapper_args__ = {"polymorphic_on": "kind", "polymorphic_identity": "journey"}


class Cruise(Journey):
    id: Mapped[int] = mapped_column(ForeignKey("journey.id"), primary_key=True)
    ship: Mapped[str] = mapped_column(String(20))
    __mapper_args__ = {"polymorphic_identity": "cruise"}


class Vessel(Base):
    """A base table of rows that do not know their run; those of the derived one do."""


class Ferry(TaskOwned, Vessel):
    id: Mapped[int] = mapped_column(ForeignKey("vessel.id"), primary_key=True)
    n: Mapped[int]


class Tug(TaskOwned, Vessel):
    id: Mapped[int] = mapped_column(ForeignKey("vessel.id"), primary_key=True)
    n: Mapped[int]


class LoadFerries(tasks.ORMTask):
    creates: Collection[Any] = [Ferry]
    n: int = luigi.IntParameter()

    def run(self) -> None:
        self.session.add_all([Ferry(n=self.n), Ferry(n=self.n)])


class LoadMonth(tasks.ORMTask):
    creates: Collection[Any] = [Flight]
    month: int = luigi.IntParameter()

    def run(self) -> None:
        self.session.add(Flight(month=self.month, carrier="ORM"))
        self.session.flush()
        self.session.execute(sa.insert(Flight), [{"month": self.month, "carrier": "bulk"}] * 2)
        with self.client.engine.begin() as connection:
            connection.execute(sa.insert(Flight.__table__), {"month": self.month, "carrier": "Core"})  # type: ignore[arg-type]
            source = sa.select(sa.literal(self.month), sa.literal("select"))
            connection.execute(sa.insert(Flight.__table__).from_select(["month", "carrier"], source))  # type: ignore[arg-type]


class LoadYear(tasks.ORMWrapperTask):
    def requires(self) -> Any:
        return [LoadMonth(month=month) for month in (1, 2, 3)]


class LoadJourneys(tasks.ORMTask):
    creates: Collection[Any] = [Journey, Cruise]
    n: int = luigi.IntParameter()

    def run(self) -> None:
        self.session.add_all([Journey(), Cruise(ship=f"ship {self.n}")])
