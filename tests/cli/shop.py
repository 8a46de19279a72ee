"""A pipeline to command: shelves, goods of each year, and what fails on demand."""

from __future__ import annotations

import logging
from collections.abc import Collection
from pathlib import Path
from typing import Any

import luigi
from sqlalchemy import ForeignKey, String
from sqlalchemy.orm import Mapped, mapped_column

from ozelot.etl import tasks
from ozelot.orm.base import Base
from ozelot.orm.run import TaskOwned


class Shelf(Base):
    name: Mapped[str] = mapped_column(String(100))
    height: Mapped[int | None] = mapped_column()


class Good(TaskOwned, Base):
    name: Mapped[str] = mapped_column(String(100))
    shelf_id: Mapped[int] = mapped_column(ForeignKey("shelf.id"))


class LoadShelves(tasks.ORMTask):
    creates = [Shelf]

    def run(self) -> None:
        self.session.add_all(Shelf(id=n, name=f"shelf {n}") for n in (1, 2))


class MeasureShelves(tasks.ORMTask):
    updates = [Shelf.height]

    def requires(self) -> Any:
        return [LoadShelves()]

    def run(self) -> None:
        self.session.query(Shelf).update({Shelf.height: 3})


class InspectShelves(tasks.ORMTask):
    creates = ()

    def requires(self) -> Any:
        return [LoadShelves()]

    def run(self) -> None:
        pass


class LoadGoods(tasks.ORMTask):
    creates: Collection[Any] = [Good]
    year: int = luigi.IntParameter()

    def requires(self) -> Any:
        return [LoadShelves()]

    def run(self) -> None:
        if Path("out of stock").exists():
            raise RuntimeError("no goods [red]\nout of\x1b[31m stock")
        self.session.add(Good(name=f"good of {self.year}", shelf_id=1))


class LoadShop(tasks.ORMWrapperTask):
    years: int = luigi.IntParameter(default=2)

    def requires(self) -> Any:
        return [MeasureShelves(), *(LoadGoods(year=2020 + n) for n in range(self.years))]


class Restock(tasks.ORMTask):
    """Finds what it requires while it runs."""

    creates = ()

    def run(self) -> Any:
        yield LoadGoods(year=1999)


class Stuck(tasks.ORMTask):
    """Runs until it is interrupted, and says when it begins."""

    creates = ()

    def run(self) -> None:
        import time

        Path("stuck").touch()
        while not Path("go on").exists():
            time.sleep(0.01)


class AfterStuck(tasks.ORMTask):
    """Has to wait for that."""

    creates = ()

    def requires(self) -> list[luigi.Task]:
        return [Stuck()]

    def run(self) -> None: ...


class Odd(tasks.ORMTask):
    """Of a name that a terminal must not be given as it is."""

    text: str = luigi.Parameter(default="[bold]\x1b]0;title\x07\n" + "x" * 500)
    creates = ()

    def run(self) -> None:
        print("printed by the task")


class Talking(tasks.ORMTask):
    """Prints where nobody expects it."""

    creates = ()

    def requires(self) -> Any:
        print("printed by requires()")
        return []

    def run(self) -> None:
        pass


class Both(tasks.ORMTask):
    """Has two parameters that have to be given."""

    left: int = luigi.IntParameter()
    right: int = luigi.IntParameter()
    creates = ()

    def run(self) -> None: ...


class Pair(tasks.ORMWrapperTask):
    left: int = luigi.IntParameter()

    def requires(self) -> Any:
        return [Both(left=0, right=0)]


class Warned(tasks.ORMTask):
    """Has something to say."""

    creates = ()

    def run(self) -> None:
        logging.getLogger("ozelot.shop").info("as usual")
        logging.getLogger("ozelot.shop").warning("something is odd")


class Wordy(tasks.ORMTask):
    """Fails with a long story."""

    creates = ()

    def run(self) -> None:
        raise RuntimeError(f"too {'many ' * 40}words")


class NeedsFile(tasks.ORMTask):
    creates = ()
    plain: bool = luigi.BoolParameter(default=False)

    def requires(self) -> Any:
        return [Plain() if self.plain else PriceFile()]  # type: ignore[no-untyped-call]

    def run(self) -> None:
        pass


class PriceFile(tasks.InputFileTask):
    input_file = "prices.csv"


class Plain(luigi.Task):
    """No ORM task, and with no luck."""

    def output(self) -> Any:
        return luigi.LocalTarget("nowhere")

    def run(self) -> None:
        raise OSError("no such market")
