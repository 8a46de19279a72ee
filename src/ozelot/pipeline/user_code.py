"""Calling a task's own ``requires()`` and ``complete()``; an error of a user's code is reported with its place."""

from __future__ import annotations

import inspect
import sys
import sysconfig
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import luigi
from luigi.task import DynamicRequirements
from sqlalchemy.exc import DBAPIError

from ozelot.errors import OzelotError, TaskBroken
from ozelot.pipeline.marker_target import task_label

_OWN = str(Path(__file__).parents[1])
_LIBRARIES = (sys.prefix, *(sysconfig.get_path(kind) for kind in ("stdlib", "purelib", "platlib")))


def get_requirements(task: luigi.Task) -> list[luigi.Task]:
    """What a task requires directly.

    Raises:
        TaskBroken: its ``requires()`` raised an error, or gives something that is no task.
    """
    with _told(task, "requires"):
        found = list(task.deps())
    for one in found:
        if not isinstance(one, luigi.Task):
            raise TaskBroken(f"{type(task).__name__}.requires() gives {_what(one)}")
    return found


def is_complete(task: luigi.Task) -> bool:
    """What ``complete()`` of a task says.

    Raises:
        TaskBroken: it, or ``output()`` or ``requires()`` within, raised an error.
    """
    with _told(task, "complete"):
        return bool(task.complete())


def outputs(task: luigi.Task) -> list[Any]:
    """What ``output()`` of a task gives, in a list.

    Raises:
        TaskBroken: it raised an error.
    """
    with _told(task, "output"):
        return list(luigi.task.flatten(task.output()))


def cause(exc: Exception) -> Exception:
    """What a task raised itself, for those who look at its class and its traceback."""
    return exc.__cause__ if isinstance(exc, TaskBroken) and isinstance(exc.__cause__, Exception) else exc


def place(exc: BaseException) -> tuple[str, int]:
    """File and line of the innermost line that is not of a library."""
    frames = [frame for frame in traceback.extract_tb(exc.__traceback__) if "<frozen" not in frame.filename]
    own = [frame for frame in frames if not is_of_library(frame.filename)]
    chosen = (own or frames)[-1]
    return chosen.filename, chosen.lineno or 0


def is_of_library(file: str) -> bool:
    """Whether a file is none of the user's."""
    return file.startswith(_LIBRARIES) or Path(file).is_relative_to(_OWN)


def shown(file: str) -> Path:
    """The path of a file as messages show it: relative where it is in the working directory."""
    path = Path(file)
    return path.relative_to(Path.cwd()) if path.is_relative_to(Path.cwd()) else path


@contextmanager
def _told(task: luigi.Task, method: str) -> Iterator[None]:
    """Tell an error of a task's method; one method may call another one."""
    try:
        yield
    except (OzelotError, DBAPIError):  # which say themselves what is wrong
        raise
    except Exception as exc:  # whatever a user's code may raise
        names = [frame.name for frame in traceback.extract_tb(exc.__traceback__)]
        inner = next((name for name in reversed(names) if name in ("output", "requires", "complete")), method)
        file, line = place(exc)
        said = next(iter(str(exc).splitlines()), "")
        told = f"{type(exc).__name__}: {said}" if said else type(exc).__name__
        raise TaskBroken(f"{type(task).__name__}.{inner}(): {told} ({shown(file)}, line {line})") from exc


def _what(one: object) -> str:
    if not (inspect.isclass(one) and issubclass(one, luigi.Task)):
        return f"{one!r}, which is no task: let it give tasks, as in [LoadUnits()]"
    unset = [name for name, parameter in one.get_params() if not parameter.has_task_value(one.get_task_family(), name)]
    values = ", ".join(f"{name}=..." for name in unset)
    return f"{one.__name__}, a class: write {one.__name__}({values})"


@dataclass(slots=True)
class LateRequirements:
    """What the ``run()`` of one task has requested.

    Attributes:
        complete: the labels of requirements that were found complete; they are not looked for again before the end.
        last: the labels that the last start waited for.
        requested: the labels that this start has requested so far.
    """

    complete: set[str] = field(default_factory=set)
    last: set[str] = field(default_factory=set)
    requested: set[str] = field(default_factory=set)

    @property
    def repeats(self) -> bool:
        """Whether this start has requested again what the last one waited for."""
        return self.last <= self.requested

    def is_complete(self, requirements: DynamicRequirements) -> bool:
        """Whether requirements that are yielded now are complete."""
        tasks = requirements.flat_requirements
        if not all(isinstance(task, luigi.Task) for task in tasks):
            return bool(requirements.complete())
        labels = [task_label(task) for task in tasks]
        self.requested.update(labels)
        if requirements.custom_complete is not None:
            return bool(requirements.complete())
        if not self.complete.issuperset(labels):
            if not requirements.complete():
                return False
            self.complete.update(labels)
        return True
