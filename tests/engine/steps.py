"""Steps of graphs that the tests draw: what each requires, and what it does when it runs."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import luigi
import sqlalchemy as sa
from sqlalchemy import String
from sqlalchemy.orm import Mapped, mapped_column

from ozelot.client import Client
from ozelot.etl import tasks
from ozelot.orm.base import Base
from ozelot.orm.run import TaskOwned

PATIENCE = 30.0  # seconds that a test waits for what has to come


class EStep(TaskOwned, Base):
    name: Mapped[str] = mapped_column(String(100))
    rating: Mapped[int | None]


@dataclass
class Drawing:
    """A graph by the names of its steps.

    Attributes:
        requires: the names that each step requires.
        acts: what a step does before it adds its row; what it returns, where it is a generator, is yielded from.
        began: the names of the steps in the order in which their ``run()`` was called.
    """

    requires: dict[str, list[str]] = field(default_factory=dict)
    acts: dict[str, Callable[[Any], Any]] = field(default_factory=dict)
    began: list[str] = field(default_factory=list)

    def clear(self) -> None:
        self.requires.clear()
        self.acts.clear()
        self.began.clear()


#: What the test at hand has drawn; threads of a run look here.
drawn = Drawing()


@contextmanager
def empty_drawing() -> Iterator[None]:
    """Begin with no steps, and leave none behind."""
    luigi.task_register.Register.clear_instance_cache()
    drawn.clear()
    yield
    drawn.clear()


class Step(tasks.ORMTask):
    """Adds one row."""

    creates = [EStep]
    name: str = luigi.Parameter()

    def requires(self) -> Any:
        return [type(self)(name=name) for name in drawn.requires.get(self.name, ())]

    def run(self) -> Any:
        drawn.began.append(self.name)
        if (act := drawn.acts.get(self.name)) is not None:
            act(self)
        self.session.add(EStep(name=self.name))


class LateStep(tasks.ORMTask):
    """Adds one row, and asks for requirements before: ``drawn.acts`` gives the generator."""

    creates = [EStep]
    name: str = luigi.Parameter()

    def run(self) -> Any:
        drawn.began.append(self.name)
        yield from drawn.acts[self.name](self)
        self.session.add(EStep(name=self.name))


def label(name: str, cls: type[tasks.ORMTask] = Step) -> str:
    return f"{cls.__name__} {{'name': '{name}'}}"


def chain(length: int) -> Step:
    """Steps 0 to ``length - 1``, each of which requires the one before; returns the last."""
    for number in range(1, length):
        drawn.requires[str(number)] = [str(number - 1)]
    return Step(name=str(length - 1))


def rows(db: Client) -> list[str]:
    """The names of the steps whose rows are there, in alphabetical order."""
    with db.engine.connect() as connection:
        return sorted(connection.scalars(sa.select(EStep.name)))


def asks(*wanted: Any) -> Callable[[Any], Any]:
    """What a :class:`LateStep` does that yields these, one after another."""
    return lambda step: (one for one in wanted)


def fail(step: Any) -> None:
    raise ValueError(f"no {step.name}")


def wait_for(event: threading.Event) -> None:
    assert event.wait(PATIENCE), "what was waited for did not come"
