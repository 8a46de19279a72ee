"""A pipeline whose root stands on rows that it does not refer to."""

from __future__ import annotations

import luigi
from sqlalchemy import String
from sqlalchemy.orm import Mapped, mapped_column

from ozelot.etl import tasks
from ozelot.orm.base import Base


class Attic(Base):
    name: Mapped[str] = mapped_column(String(20))


class AtticCount(Base):
    number: Mapped[int]


class LoadAttic(tasks.ORMTask):
    creates = [Attic]

    def run(self) -> None:
        self.session.add(Attic(name="lamp"))


class CountAttic(tasks.ORMTask):
    creates = [AtticCount]

    def requires(self) -> list[luigi.Task]:
        return [LoadAttic()]

    def run(self) -> None:
        self.session.add(AtticCount(number=self.session.query(Attic).count()))


class CountElsewhere(tasks.ORMTask):
    """Of another pipeline, with rows that cannot be told from those of that one."""

    creates = [AtticCount]

    def run(self) -> None:
        self.session.add(AtticCount(number=0))
