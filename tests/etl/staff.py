"""Units and employees: the classic case of one table that refers to another, in the styles of 1.0 and 0.2.

Importable by worker processes, which tests start and kill.
"""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Collection, Generator
from pathlib import Path
from typing import Any

import luigi
from sqlalchemy import ForeignKey, String, event, select
from sqlalchemy.orm import Mapped, mapped_column

from ozelot import client
from ozelot.etl import tasks
from ozelot.orm.base import Base


class Unit(Base):
    name: Mapped[str] = mapped_column(String(100))


class Employee(Base):
    name: Mapped[str] = mapped_column(String(100))
    unit_id: Mapped[int] = mapped_column(ForeignKey("unit.id"))


class LoadUnits(tasks.ORMTask):
    creates = [Unit]

    def run(self) -> None:
        self.session.add_all(Unit(name=f"unit {n}") for n in range(3))


class LoadEmployees(tasks.ORMTask):
    creates = [Employee]

    def requires(self) -> Any:
        return [LoadUnits()]

    def run(self) -> None:
        for unit in self.session.scalars(select(Unit)).all():
            self.session.add_all(Employee(name=f"employee {n}", unit_id=unit.id) for n in range(4))


class LoadStaff(tasks.ORMWrapperTask):
    def requires(self) -> Any:
        return [LoadUnits(), LoadEmployees()]


class LoadUnitsAsIn02(tasks.ORMObjectCreatorMixin, tasks.ORMTask):
    """Written for 0.2: sessions of its own, committed half-way, and done() at the end."""

    object_classes = [Unit]

    def run(self) -> None:
        session = client.get_client().create_session()
        session.add(Unit(name="unit 0"))
        session.commit()
        session.close()
        self.session.add(Unit(name="unit 1"))
        self.session.commit()
        self.session.add(Unit(name="unit 2"))
        self.done()


class LoadUnitsMarkedFirst(LoadUnitsAsIn02):
    """Written for 0.2: begins by removing a marker that may be there."""

    def run(self) -> None:
        self.mark_incomplete()
        self.session.add_all(Unit(name=f"unit {n}") for n in range(3))
        self.done()


class LoadUnitsByGenerator(tasks.ORMTask):
    """Yields a requirement in the middle of its work."""

    creates: Collection[type[Base]] = [Unit]

    def run(self) -> Generator[Any, Any, None]:
        self.session.add(Unit(name="unit 0"))
        self.session.flush()
        yield [Note(text="first")]
        self.session.add(Unit(name="unit 1"))
        yield [Note(text="second"), Note(text="third")]
        self.session.add(Unit(name="unit 2"))


class Note(tasks.ORMTask):
    """A task with a parameter and no rows."""

    text: str = luigi.Parameter()
    creates = ()

    def run(self) -> None:
        pass


class LoadUnitsAndDie(tasks.ORMTask):
    """Is killed at one of its edges: 'row' after the last row, 'commit' just before it, 'after' just after it."""

    creates = [Unit]
    edge: str = luigi.Parameter(significant=False)

    def run(self) -> None:
        self.session.add_all(Unit(name=f"unit {n}") for n in range(3))
        self.session.flush()
        if self.edge == "row":
            _die()
        if self.edge == "commit":
            event.listen(self.client.engine, "commit", lambda _connection: _die())


def _die() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def wait_for(path: Path, seconds: float = 30.0) -> None:
    """Wait until a file is there."""
    end = time.monotonic() + seconds
    while not path.exists():
        if time.monotonic() > end:
            raise TimeoutError(path)
        time.sleep(0.005)


def worker(url: str, task_class: str, params: dict[str, str], gate: str) -> None:
    """What a worker process does: wait for the gate, then run one task with Luigi."""
    client.set_client(client.Client(connection_string=url))
    task = globals()[task_class](**params)
    if gate:
        Path(f"{gate}.{os.getpid()}").touch()
        wait_for(Path(gate))
    done = task.build()
    if params.get("edge") == "after":
        _die()
    raise SystemExit(0 if done else 1)


def fork(number: int) -> None:
    """Go on in so many processes; this one ends when all of these have, with 0 if all of them did.

    As many interpreters that import all of it would take longer than what they are to do.
    """
    children = []
    for _ in range(number):
        if not (child := os.fork()):
            return
        children.append(child)
    codes = [os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) for child in children]
    raise SystemExit(f"Exit codes: {codes}" if any(codes) else 0)


if __name__ == "__main__":
    import json
    import sys

    if (number := int(sys.argv[5])) > 1:
        fork(number)
    worker(sys.argv[1], sys.argv[2], json.loads(sys.argv[3]), sys.argv[4])
