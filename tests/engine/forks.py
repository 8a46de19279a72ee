"""A program whose tasks fork: the child ends in different ways, and the parent keeps its exit code."""

from __future__ import annotations

import os
import sys
import warnings
from collections.abc import Callable, Iterator
from typing import Any

import luigi
import sqlalchemy as sa
from sqlalchemy.orm import Mapped

import ozelot
from ozelot import client
from ozelot.engine import run_again
from ozelot.etl import tasks
from ozelot.etl.completion import clear_plan
from ozelot.orm.base import Base

warnings.filterwarnings("ignore", ".*is multi-threaded, use of fork", DeprecationWarning)


class EFork(Base):
    code: Mapped[int]


class Child(Exception):
    pass


def raises() -> None:
    raise Child("of the child")


def writes() -> None:
    with client.get_client().engine.begin() as connection:
        connection.execute(sa.insert(EFork).values(code=99))
    sys.exit(5)


ENDS: dict[str, tuple[Callable[[], object], int]] = {
    "exit": (sys.exit, 0),
    "exit 3": (lambda: sys.exit(3), 3),
    "exit text": (lambda: sys.exit("of the child"), 1),
    "raise": (raises, 1),
    "return": (lambda: None, 0),
    "_exit": (lambda: os._exit(4), 4),
    "write": (writes, 5),
}


def fork(how: str) -> int | None:
    """The exit code of a child; None: this is the child, which is to return."""
    if child := os.fork():
        return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    print("in the child")
    ENDS[how][0]()
    return None


class Forks(tasks.ORMTask):
    creates = [EFork]
    how: str = luigi.Parameter()

    def run(self) -> None:
        self.session.add(EFork(code=100))
        self.session.flush()
        if (code := fork(self.how)) is not None:
            self.session.add(EFork(code=code))


class ForksLate(tasks.ORMTask):
    creates = [EFork]
    how: str = luigi.Parameter()

    def run(self) -> Iterator[Any]:
        yield []
        self.session.add(EFork(code=100))
        if (code := fork(self.how)) is not None:
            self.session.add(EFork(code=code))


class ForksOutside(luigi.Task):
    how: str = luigi.Parameter()

    def run(self) -> None:
        code = fork(self.how)
        if code is not None:
            with client.get_client().engine.begin() as connection:
                connection.execute(sa.insert(EFork), [{"code": 100}, {"code": code}])

    def complete(self) -> bool:
        with client.get_client().engine.connect() as connection:
            return bool(connection.scalar(sa.select(sa.func.count()).select_from(EFork)))


def main(kind: str, way: str, how: str) -> None:
    database = client.get_client()
    Base.metadata.drop_all(database.engine)
    Base.create_all(database)
    task = {"orm": Forks, "generator": ForksLate, "luigi": ForksOutside}[kind](how=how)
    if way == "build":
        assert luigi.build([task], local_scheduler=True, log_level="ERROR")
    elif way == "atomic":
        assert run_again(clear_plan(task, [task]), [task], atomic=True).ok
    else:
        result = ozelot.run(task, **({"executor": way} if way == "process" else {"workers": 2}))
        assert result.ok, result.failed
    with database.engine.connect() as connection:
        codes = sorted(connection.scalars(sa.select(EFork.code)))
    expected = [100, ENDS[how][1], *([99] if how == "write" else [])]
    assert codes == sorted(expected), codes
    print("parent ended well")
