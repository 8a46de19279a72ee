"""What runners race for: tasks in three layers, of which it is known beforehand what they load.

Each layer reads the rows of the one before, so that a task that ran too early, or twice, shows in the amounts.
"""

from __future__ import annotations

import os
import time
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import luigi
from sqlalchemy import ForeignKey, func, select
from sqlalchemy.orm import Mapped, mapped_column

from ozelot.etl import tasks
from ozelot.orm.base import Base
from ozelot.orm.run import TaskOwned
from tests.race import gate

#: Names the folder in which the runner that comes first to LoadDoomed says so, and waits to be killed.
DOOM = "OZELOT_TEST_DOOM"

ROWS = 3  # of each source
_SLOW = 0.3  # seconds that the first of the sources takes


class Source(TaskOwned, Base):
    number: Mapped[int]
    amount: Mapped[int]


class Part(TaskOwned, Base):
    number: Mapped[int]
    source_id: Mapped[int] = mapped_column(ForeignKey("source.id"))
    amount: Mapped[int]


class Total(TaskOwned, Base):
    number: Mapped[int]
    parts: Mapped[int]
    amount: Mapped[int]


@dataclass(frozen=True)
class Size:
    """How many tasks there are of each class, where there are so many in all, the root included."""

    tasks: int

    @property
    def totals(self) -> int:
        return (self.tasks - 2) // 9  # so that there is one source more than parts, or more

    @property
    def parts(self) -> int:
        return 4 * self.totals

    @property
    def sources(self) -> int:
        return self.tasks - 1 - self.totals - self.parts


class LoadSource(tasks.ORMTask):
    creates: Collection[Any] = [Source]
    number: int = luigi.IntParameter()

    def run(self) -> None:
        if self.number == 0:
            time.sleep(_SLOW)
        self.session.add_all(Source(number=self.number, amount=10 * self.number + row) for row in range(ROWS))


class LoadParts(tasks.ORMTask):
    creates: Collection[Any] = [Part]
    number: int = luigi.IntParameter()

    def requires(self) -> Any:
        return [LoadSource(number=self.number), LoadSource(number=self.number + 1)]

    def run(self) -> None:
        own = Source.number.in_([self.number, self.number + 1])
        for source in self.session.scalars(select(Source).where(own)).all():
            self.session.add(Part(number=self.number, source_id=source.id, amount=source.amount + self.number))


class LoadTotal(tasks.ORMTask):
    creates: Collection[Any] = [Total]
    number: int = luigi.IntParameter()

    def requires(self) -> Any:
        return [LoadParts(number=4 * self.number + n) for n in range(4)]

    def run(self) -> None:
        own = Part.number.in_(range(4 * self.number, 4 * self.number + 4))
        parts, amount = self.session.execute(select(func.count(), func.sum(Part.amount)).where(own)).one()
        self.session.add(Total(number=self.number, parts=parts, amount=amount))


class All(tasks.ORMWrapperTask):
    tasks: int = luigi.IntParameter(default=200)

    def requires(self) -> Any:
        size = Size(self.tasks)
        totals = [LoadTotal(number=number) for number in range(size.totals)]
        return totals + [LoadSource(number=number) for number in range(size.parts, size.sources)]


class LoadDoomed(tasks.ORMTask):
    """Its first runner comes as far as its rows, and no further."""

    creates: Collection[Any] = [Source]

    def run(self) -> None:
        self.session.add_all(Source(number=0, amount=row) for row in range(ROWS))
        self.session.flush()
        if DOOM in os.environ:
            try:
                with (Path(os.environ[DOOM]) / "doomed").open("x") as first:
                    first.write(f"{os.getpid()}\n")
            except FileExistsError:
                return
            gate.until(lambda: False, "being killed")


class LoadRemains(tasks.ORMTask):
    creates: Collection[Any] = [Part]
    number: int = luigi.IntParameter()

    def requires(self) -> Any:
        return [LoadDoomed()]

    def run(self) -> None:
        for source in self.session.scalars(select(Source)).all():
            self.session.add(Part(number=self.number, source_id=source.id, amount=source.amount))


class Survivors(tasks.ORMWrapperTask):
    """All of it waits for one task."""

    def requires(self) -> Any:
        if DOOM in os.environ:
            (Path(os.environ[DOOM]) / f"looked.{os.getpid()}").touch()
        return [LoadRemains(number=number) for number in range(5)]


gate.come()
