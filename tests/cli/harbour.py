"""A pipeline whose classes get other names, once there is a file 'renamed'."""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path
from typing import Any

import luigi
from sqlalchemy import String, select
from sqlalchemy.orm import Mapped, mapped_column

from ozelot.etl import tasks
from ozelot.orm.base import Base
from ozelot.orm.run import TaskOwned


class Port(Base):
    name: Mapped[str] = mapped_column(String(20))
    depth: Mapped[int | None]


class Wreck(TaskOwned, Base):
    name: Mapped[str] = mapped_column(String(20))


def now(before: type[luigi.Task], after: type[luigi.Task]) -> Any:
    return after if Path("renamed").exists() else before


class LoadPorts(tasks.ORMTask):
    creates: Collection[Any] = [Port]

    def run(self) -> None:
        self.session.add_all([Port(name="Emden"), Port(name="Bremen")])


class LoadHarbours(LoadPorts): ...


class LoadOtherPorts(LoadPorts): ...


class MeasurePorts(tasks.ORMTask):
    updates = [Port.depth]

    def requires(self) -> Any:
        return [now(LoadPorts, LoadHarbours)()]

    def run(self) -> None:
        for port in self.session.scalars(select(Port)):
            port.depth = 12


class MeasureHarbours(MeasurePorts): ...


class LoadWrecks(tasks.ORMTask):
    creates: Collection[Any] = [Wreck]
    year: int = luigi.IntParameter()

    def run(self) -> None:
        self.session.add(Wreck(name=f"wreck of {self.year}"))


class LoadHulks(LoadWrecks): ...


class LoadAll(tasks.ORMWrapperTask):
    def requires(self) -> Any:
        wrecks = now(LoadWrecks, LoadHulks)
        return [now(MeasurePorts, MeasureHarbours)(), wrecks(year=2021), wrecks(year=2022)]


class Before:
    class LoadRafts(tasks.ORMTask):
        creates = [Wreck]

        def run(self) -> None:
            self.session.add(Wreck(name="raft"))


class After:
    class LoadRafts(LoadWrecks): ...
