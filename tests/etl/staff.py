"""Units and employees: the classic case of one table that refers to another, in the styles of 1.0 and 0.2.

Importable by processes that tests start and kill: see :mod:`tests.etl.staff_processes`.
"""

from __future__ import annotations

import os
import signal
from collections.abc import Collection, Generator
from typing import Any

import luigi
import sqlalchemy as sa
from sqlalchemy import ForeignKey, String, event
from sqlalchemy.orm import Mapped, mapped_column

from ozelot import client
from ozelot.client import Client
from ozelot.etl import tasks
from ozelot.orm.base import Base
from ozelot.orm.target import ORMTargetMarker


class Unit(Base):
    name: Mapped[str] = mapped_column(String(100))


class Employee(Base):
    name: Mapped[str] = mapped_column(String(100))
    unit_id: Mapped[int] = mapped_column(ForeignKey("unit.id"))


#: What is in the table once a task that loads units has run.
THREE = ["unit 0", "unit 1", "unit 2"]


class LoadUnits(tasks.ORMTask):
    creates = [Unit]

    def run(self) -> None:
        self.session.add_all(Unit(name=f"unit {n}") for n in range(3))


class LoadEmployees(tasks.ORMTask):
    creates = [Employee]

    def requires(self) -> Any:
        return [LoadUnits()]

    def run(self) -> None:
        for unit in self.session.scalars(sa.select(Unit)).all():
            self.session.add_all(Employee(name=f"employee {n}", unit_id=unit.id) for n in range(4))


class LoadStaff(tasks.ORMWrapperTask):
    def requires(self) -> Any:
        return [LoadUnits(), LoadEmployees()]


class LoadUnitsAsIn02(tasks.ORMObjectCreatorMixin, tasks.ORMTask):
    """Written for 0.2: sessions of its own, committed half-way, and done() at the end."""

    object_classes = [Unit]

    def run(self) -> None:
        session = client.get_client().create_session()
        session.add(Unit(name="unit 0"))
        session.commit()
        session.close()
        self.session.add(Unit(name="unit 1"))
        self.session.commit()
        self.session.add(Unit(name="unit 2"))
        self.done()


class LoadUnitsMarkedFirst(LoadUnitsAsIn02):
    """Written for 0.2: begins by removing a marker that may be there."""

    def run(self) -> None:
        self.mark_incomplete()
        self.session.add_all(Unit(name=f"unit {n}") for n in range(3))
        self.done()


class LoadUnitsByGenerator(tasks.ORMTask):
    """Yields a requirement in the middle of its work."""

    creates: Collection[type[Base]] = [Unit]

    def run(self) -> Generator[Any, Any, None]:
        self.session.add(Unit(name="unit 0"))
        self.session.flush()
        yield [Note(text="first")]
        self.session.add(Unit(name="unit 1"))
        yield [Note(text="second"), Note(text="third")]
        self.session.add(Unit(name="unit 2"))


class Note(tasks.ORMTask):
    """A task with a parameter and no rows."""

    text: str = luigi.Parameter()
    creates = ()

    def run(self) -> None:
        pass


class LoadUnitsAndDie(tasks.ORMTask):
    """Is killed at one of its edges: 'row' after the last row, 'commit' just before it, 'after' just after it."""

    creates = [Unit]
    edge: str = luigi.Parameter(significant=False)

    def run(self) -> None:
        self.session.add_all(Unit(name=f"unit {n}") for n in range(3))
        self.session.flush()
        if self.edge == "row":
            die()
        if self.edge == "commit":
            event.listen(self.client.engine, "commit", lambda _connection: die())


def die() -> None:
    """Kill this process."""
    os.kill(os.getpid(), signal.SIGKILL)


def units(db: Client) -> list[str]:
    """The names in the table, read through a connection of its own."""
    engine = sa.create_engine(db.url)
    try:
        with engine.connect() as connection:
            return sorted(connection.scalars(sa.select(Unit.name)))
    finally:
        engine.dispose()


def markers(db: Client) -> list[str]:
    """The names of the tasks that are marked complete, read in the same way."""
    engine = sa.create_engine(db.url)
    try:
        with engine.connect() as connection:
            return sorted(name or "" for name in connection.scalars(sa.select(ORMTargetMarker.name)))
    finally:
        engine.dispose()
