"""Tasks that load one value each, and what one of them does meanwhile to the file of its SQLite database."""

from __future__ import annotations

import os
import shutil
import sqlite3
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import luigi
from sqlalchemy.orm import Mapped

from ozelot.etl import tasks
from ozelot.orm.base import Base
from ozelot.orm.run import TaskOwned

NUMBER = 6  # tasks


class OwnValue(TaskOwned, Base):
    n: Mapped[int]


def another_process_opens(path: Path) -> None:
    """What any tool may do at any time: open the database, read, and close it."""
    code = "import sqlite3, sys; sqlite3.connect(sys.argv[1]).execute('SELECT count(*) FROM ownvalue').fetchall()"
    subprocess.run([sys.executable, "-c", code, path], check=True, timeout=60)


def read_all(path: Path) -> None:
    path.read_bytes()


def copy_it(path: Path) -> None:
    shutil.copy(path, "copy.db")


def open_and_close(path: Path) -> None:
    os.close(os.open(path, os.O_RDONLY))


def read_by_link(path: Path) -> None:
    Path("link.db").symlink_to(path)
    Path("link.db").read_bytes()


def do_nothing(_: Path) -> None:
    pass


def back_it_up(path: Path) -> None:
    source, target = sqlite3.connect(path), sqlite3.connect("backup.db")
    source.backup(target)
    source.close()
    target.close()


def rename(path: Path) -> None:
    path.rename("renamed.db")


def delete(path: Path) -> None:
    path.unlink()


def delete_all(path: Path) -> None:
    for file in path.parent.glob(f"{path.name}*"):
        file.unlink()


def replace(path: Path) -> None:
    back_it_up(path)
    Path("backup.db").replace(path)


HARMLESS = {what.__name__: what for what in (do_nothing, back_it_up)}
RELEASE = {what.__name__: what for what in (read_all, copy_it, open_and_close, read_by_link)}
REMOVE = {what.__name__: what for what in (rename, delete, delete_all, replace)}
#: Names what one of the tasks is to do; in the current folder.
WISH = Path("wish")


class LoadOwn(tasks.ORMTask):
    creates = [OwnValue]
    number: Any = luigi.IntParameter()

    def requires(self) -> Any:
        return [LoadOwn(number=self.number - 1)] if self.number else []

    def run(self) -> None:
        self.load(OwnValue, [{"n": self.number}])
        if self.number == 2 and WISH.exists():
            what: Callable[[Path], None] = (HARMLESS | RELEASE | REMOVE)[WISH.read_text()]
            WISH.unlink()
            path = Path(str(self.client.url.database))
            what(path)
            if what.__name__ not in REMOVE:
                another_process_opens(path)


class LoadFree(LoadOwn):
    """The same, in any order."""

    def requires(self) -> Any:
        return []


def all_tasks(cls: type[LoadOwn] = LoadOwn) -> list[luigi.Task]:
    return [cls(number=number) for number in range(NUMBER)]


class Waits(tasks.ORMTask):
    """Runs until a line comes in, when run in a process of its own."""

    creates = [OwnValue]

    def run(self) -> None:
        print("running", flush=True)
        sys.stdin.readline()
        self.load(OwnValue, [{"n": 1}])
