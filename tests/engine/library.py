"""A library to load: foreign keys, a column that is updated, rows of several tasks in one table.

What goes wrong in which task is said by a file in the working folder, named for the task (see :func:`happens`).
"""

from __future__ import annotations

import os
import signal
import sys
import time
from pathlib import Path
from typing import Any

import luigi
import sqlalchemy as sa
from sqlalchemy import ForeignKey, String
from sqlalchemy.orm import Mapped, mapped_column

import ozelot
from ozelot.client import Client
from ozelot.engine import RunResult, run_again
from ozelot.etl import tasks
from ozelot.etl.completion import clear_plan
from ozelot.orm.base import Base
from ozelot.orm.run import TaskOwned
from tests import tables

AUTHORS, BOOKS = 3, 4


class Author(Base):
    name: Mapped[str] = mapped_column(String(100))
    rating: Mapped[int | None] = mapped_column()


class Book(TaskOwned, Base):
    name: Mapped[str] = mapped_column(String(100))
    version: Mapped[str] = mapped_column(String(100))
    author_id: Mapped[int] = mapped_column(ForeignKey("author.id"))


class Review(Base):
    stars: Mapped[int] = mapped_column()
    book_id: Mapped[int] = mapped_column(ForeignKey("book.id"))


def create_tables(database: Client) -> None:
    """The empty tables of the library, and no others."""
    tables.create_tables(database, Author, Book, Review)


class Unpicklable(Exception):
    def __init__(self, one: str, two: object) -> None:
        super().__init__(f"{one}, which no other process can have")
        self.two = two


def wish(name: str) -> str:
    """What the test wants to happen in a task."""
    path = Path(f"wish {name}")
    return path.read_text() if path.exists() else ""


def happens(name: str) -> None:
    """Do what the file "wish" of a task says; each process that comes by leaves a line in "came by"."""
    with Path(f"came by {name}").open("a") as log:
        log.write(f"{os.getpid()}\n")
    what = wish(name)
    if what.endswith(" once"):
        Path(f"wish {name}").unlink()
    if what.startswith("die"):
        os.kill(os.getpid(), signal.SIGKILL)
    if what in ("fail", "fail once"):
        raise RuntimeError(f"no {name} today")
    if what == "exit":
        sys.exit(0)
    if what == "fail oddly":
        raise Unpicklable("an error", lambda: 0)
    while what == "wait" and wish(name) == "wait":
        time.sleep(0.01)


class LoadAuthors(tasks.ORMTask):
    creates = [Author]

    def run(self) -> None:
        self.session.add_all(Author(id=n, name=f"author {n}") for n in range(1, AUTHORS + 1))
        self.session.flush()
        happens("LoadAuthors")


class RateAuthors(tasks.ORMTask):
    updates = [Author.rating]

    def requires(self) -> Any:
        return [LoadAuthors()]

    def run(self) -> None:
        self.session.execute(sa.update(Author).where(Author.id < AUTHORS).values(rating=len(wish("version")) + 1))
        happens("RateAuthors")


class LoadBooks(tasks.ORMTask):
    creates = [Book]
    year: int = luigi.IntParameter()

    def requires(self) -> Any:
        return [LoadAuthors()]

    def run(self) -> None:
        for n in range(BOOKS):
            name = f"book {n} of {self.year}"
            self.session.add(Book(name=name, version=wish("version"), author_id=1 + n % AUTHORS))
        self.session.flush()
        happens(f"LoadBooks {self.year}")


class LoadReviews(tasks.ORMTask):
    creates = [Review]

    def requires(self) -> Any:
        return [LoadBooks(year=year) for year in (1990, 1991)]

    def run(self) -> None:
        for (book,) in self.session.execute(sa.select(Book.id).where(~Book.name.endswith("1992"))).all():
            self.session.add(Review(stars=5 if wish("version") else 1, book_id=book))
        self.session.flush()
        happens("LoadReviews")


class LoadLibrary(tasks.ORMWrapperTask):
    def requires(self) -> Any:
        return [RateAuthors(), LoadReviews(), LoadBooks(year=1992)]


class Forever(tasks.ORMTask):
    """Writes, and never ends."""

    creates = [Book]
    number: int = luigi.IntParameter(default=0)

    def requires(self) -> Any:
        return [LoadAuthors()]

    def run(self) -> None:
        self.session.add(Book(name="half", version="", author_id=1))
        self.session.flush()
        Path("forever").touch()
        while True:
            time.sleep(0.01)


class Patient(Forever):
    """May take as long as it likes, whatever the run says."""

    worker_timeout = 0

    def run(self) -> None:
        time.sleep(1.5)


class Impatient(Forever):
    """Has a limit of its own."""

    worker_timeout = 1


class CommitThenFail(tasks.ORMTask):
    """Commits rows of its own, and fails: nothing of it may stay."""

    creates = [Author]
    number: int = luigi.IntParameter()

    def run(self) -> None:
        self.session.add(Author(name=f"author {self.number}"))
        self.session.commit()
        raise RuntimeError("nothing of it may stay")


class Small(tasks.ORMTask):
    """One of many."""

    creates = ()
    number: int = luigi.IntParameter()

    def run(self) -> None:
        if self.number % 10 == 5:
            happens(f"Small {self.number}")


class Stubborn(Small):
    """Has another try, soon."""

    retry_count = 2
    retry_seconds = 0.1


class Many(tasks.ORMWrapperTask):
    number: int = luigi.IntParameter(default=60)

    def requires(self) -> Any:
        return [Small(number=n) for n in range(self.number)]


class Link(tasks.ORMTask):
    """One of a chain."""

    creates = ()
    number: int = luigi.IntParameter()

    def requires(self) -> Any:
        return [Link(number=self.number - 1)] if self.number else []

    def run(self) -> None:
        happens(f"Link {self.number}")


PIPELINE = "tests.engine.library:LoadLibrary"
LIBRARY = [
    "LoadAuthors {}",
    "RateAuthors {}",
    *(f"LoadBooks {{'year': '{year}'}}" for year in (1990, 1991, 1992)),
    "LoadReviews {}",
    "LoadLibrary {}",
]


def load_once(database: Client) -> None:
    """Load all of the library; what is loaded from now on is of another version."""
    create_tables(database)
    assert ozelot.run(LoadLibrary()).ok
    Path("wish version").write_text("v2")
    for log in Path.cwd().glob("came by *"):
        log.unlink()


def load_all_again() -> RunResult:
    """Clear the library and load it in one transaction."""
    roots = [LoadAuthors()]
    return run_again(clear_plan(LoadLibrary(), roots), roots, atomic=True)
