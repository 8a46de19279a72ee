"""Units and their employees: a data model, its pipeline, and a check."""

from pathlib import Path

import pandas as pd
from sqlalchemy import ForeignKey, String, func, select
from sqlalchemy.orm import Mapped, mapped_column, relationship

from ozelot.etl import tasks
from ozelot.orm.base import Base

FOLDER = Path(__file__).parent / "input"


class Unit(Base):
    name: Mapped[str] = mapped_column(String(100), unique=True)
    city: Mapped[str] = mapped_column(String(100))


class Employee(Base):
    name: Mapped[str] = mapped_column(String(100))
    salary: Mapped[int | None]
    unit_id: Mapped[int] = mapped_column(ForeignKey("unit.id"))
    unit: Mapped[Unit] = relationship()


class LoadUnits(tasks.ORMTask):
    creates = [Unit]

    def run(self) -> None:
        self.load(Unit, pd.read_csv(FOLDER / "units.csv"))


class LoadEmployees(tasks.ORMTask):
    creates = [Employee]

    def requires(self) -> list[tasks.ORMTask]:
        return [LoadUnits()]

    def run(self) -> None:
        self.load(Employee, pd.read_csv(FOLDER / "employees.csv"), refs={"unit": Unit.name})


class TestEmployees(tasks.ORMTestTask):
    def requires(self) -> list[tasks.ORMTask]:
        return [LoadEmployees()]

    def run(self) -> None:
        lowest = self.session.scalar(select(func.min(Employee.salary)))
        assert lowest is not None and lowest > 0, f"a salary of {lowest}"


class LoadEverything(tasks.ORMWrapperTask):
    def requires(self) -> list[tasks.ORMTask]:
        return [LoadUnits(), LoadEmployees(), TestEmployees()]
