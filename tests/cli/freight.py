"""A pipeline with parameters of many types, whose loads leave rows out."""

from __future__ import annotations

import datetime
import enum
from typing import Any

import luigi
from luigi.parameter import ParameterVisibility
from sqlalchemy import ForeignKey, String
from sqlalchemy.orm import Mapped, mapped_column

from ozelot.etl import tasks
from ozelot.orm.base import Base


class Depot(Base):
    __tablename__ = "freight_depot"

    code: Mapped[str] = mapped_column(String(10))


class Crate(Base):
    __tablename__ = "freight_crate"

    name: Mapped[str] = mapped_column(String(10))
    depot_id: Mapped[int | None] = mapped_column(ForeignKey("freight_depot.id"))


class Mode(enum.Enum):
    RAIL = 1
    ROAD = 2


class LoadDepots(tasks.ORMTask):
    creates = [Depot]

    def run(self) -> None:
        self.session.add(Depot(code="A"))


class LoadCrates(tasks.ORMTask):
    creates = [Crate]
    day: datetime.date = luigi.DateParameter()
    count: int = luigi.IntParameter()
    share: float = luigi.FloatParameter()
    is_fast: bool = luigi.BoolParameter()
    modes: Any = luigi.EnumListParameter(enum=Mode)
    options: Any = luigi.DictParameter()
    note: str | None = luigi.OptionalParameter()
    password: str = luigi.Parameter(default="hunter2", visibility=ParameterVisibility.PRIVATE)
    host: str = luigi.Parameter(default="localhost", visibility=ParameterVisibility.HIDDEN)

    def requires(self) -> Any:
        return [LoadDepots()]

    def run(self) -> None:
        rows = [{"name": str(n), "depot_id": "A" if n % 3 else "B"} for n in range(self.count)]
        self.load(Crate, rows, refs={"depot_id": Depot.code}, missing="skip")


class LoadFreight(tasks.ORMWrapperTask):
    def requires(self) -> Any:
        return [
            LoadCrates(
                day=datetime.date(2026, 5, 4),
                count=6,
                share=0.5,
                is_fast=True,
                modes=(Mode.RAIL,),
                options={"a": [1, None]},
                note=None,
            )
        ]


class LoadBroken(tasks.ORMTask):
    creates = ()

    def requires(self) -> Any:
        raise RuntimeError("no requirements today")
