"""A pipeline with all that Luigi knows: a file, parameters, requirements found while running, wrappers, a failure.

Importable by Luigi's own command. Each row says which process loaded it, through which connection of the database.
"""

from __future__ import annotations

import os
from collections.abc import Collection, Generator
from pathlib import Path
from typing import Any

import luigi
from sqlalchemy import ForeignKey, String, func, select, text
from sqlalchemy.orm import Mapped, Session, mapped_column

from ozelot.etl import tasks
from ozelot.orm.base import Base
from ozelot.orm.run import TaskOwned
from tests.race import gate

#: Names the folder in which tasks wait until as many as meet there run at the same moment.
MEET = "OZELOT_TEST_MEET"

MEETING = 3  # tasks
COUNTED = [0, 1, 2, 3, 100, 101, 102]  # days, and then what is required late
_CONNECTION = {"postgresql": "SELECT pg_backend_pid()", "mysql": "SELECT CONNECTION_ID()"}


class Province(Base):
    name: Mapped[str] = mapped_column(String(100))
    visits: Mapped[int | None]


class Visit(TaskOwned, Base):
    province_id: Mapped[int] = mapped_column(ForeignKey("province.id"))
    number: Mapped[int]
    process: Mapped[int]
    connection: Mapped[int]


MODELS = [Province, Visit]


def connection_of(session: Session) -> int:
    """The number that the server gave to the connection; 0 on SQLite."""
    query = _CONNECTION.get(session.get_bind().dialect.name)
    return 0 if query is None else int(session.scalar(text(query)) or 0)


class ProvincesFile(tasks.InputFileTask):
    input_file = Path("provinces.txt")

    def load(self) -> list[str]:
        return self.input_file.read_text().split()


class LoadProvinces(tasks.ORMTask):
    creates = [Province]

    def requires(self) -> Any:
        return [ProvincesFile()]

    def run(self) -> None:
        self.session.add_all(Province(name=name) for name in ProvincesFile().load())


class _LoadVisits(tasks.ORMTask):
    """Adds some visits to the first provinces."""

    creates: Collection[Any] = [Visit]
    number: int = luigi.IntParameter()

    def requires(self) -> Any:
        return [LoadProvinces()]

    def run(self) -> None:
        for province in self.session.scalars(select(Province).order_by(Province.name)).all():
            self.session.add(
                Visit(
                    province_id=province.id,
                    number=self.number,
                    process=os.getpid(),
                    connection=connection_of(self.session),
                )
            )


class LoadDay(_LoadVisits):
    """A task with a parameter."""


class LoadWithOthers(_LoadVisits):
    """One of several tasks of which each runs in a process of its own, where they are told to meet."""

    def run(self) -> None:
        if MEET in os.environ:
            folder = Path(os.environ[MEET])
            (folder / f"met.{os.getpid()}").touch()
            gate.until(lambda: len(list(folder.glob("met.*"))) >= MEETING, "others to meet")
        super().run()


class LoadLate(_LoadVisits):
    """Required by nobody who would have said so beforehand."""


class CountVisits(tasks.ORMTask):
    """Finds out while it runs what it requires, twice."""

    updates = [Province.visits]

    def requires(self) -> Any:
        return [LoadProvinces(), *(LoadDay(number=number) for number in COUNTED[:4])]

    def run(self) -> Generator[Any, Any, None]:
        yield [LoadLate(number=number) for number in COUNTED[4:6]]
        yield LoadLate(number=COUNTED[6])
        for province in self.session.scalars(select(Province)).all():
            own = Visit.province_id == province.id, Visit.number.in_(COUNTED)
            province.visits = self.session.scalar(select(func.count()).select_from(Visit).where(*own))


class CheckVisits(tasks.ORMTestTask):
    def requires(self) -> Any:
        return [CountVisits()]

    def run(self) -> None:
        assert set(self.session.scalars(select(Province.visits))) == {len(COUNTED)}


class Days(tasks.ORMWrapperTask):
    def requires(self) -> Any:
        return [LoadDay(number=number) for number in range(10)]


class Whole(tasks.ORMWrapperTask):
    """A wrapper of a wrapper and all else that succeeds."""

    def requires(self) -> Any:
        return [CheckVisits(), Days(), *(LoadWithOthers(number=20 + number) for number in range(MEETING))]


class Fails(tasks.ORMTask):
    """Comes as far as its rows."""

    creates: Collection[Any] = [Visit]

    def requires(self) -> Any:
        return [LoadProvinces()]

    def run(self) -> None:
        province = self.session.scalars(select(Province)).first()
        self.session.add(Visit(province_id=province.id if province else None, number=0, process=0, connection=0))
        self.session.flush()
        raise ValueError("no more visits")


class OnFailure(tasks.ORMWrapperTask):
    def requires(self) -> Any:
        return [Fails()]


class WholeButOne(tasks.ORMWrapperTask):
    def requires(self) -> Any:
        return [OnFailure(), Whole()]


gate.come()
