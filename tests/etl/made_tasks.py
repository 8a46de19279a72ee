"""Tasks of classes that a test makes on the spot."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from ozelot.etl import tasks


def made_task(name: str, run: Callable[[tasks.ORMTask], object], **attributes: Any) -> tasks.ORMTask:
    """A task of a class of its own, which does what a function does."""
    made = type(name, (tasks.ORMTask,), {"run": lambda self: run(self) and None, **attributes})
    found: tasks.ORMTask = made()
    return found


def loading_task(name: str, rows: Callable[[tasks.ORMTask], Any], *models: Any, requires: Any = ()) -> tasks.ORMTask:
    """A task of a class of its own, which adds the rows of some models that a function returns."""
    return made_task(
        name, lambda self: self.session.add_all(rows(self) or []), creates=models, requires=lambda self: requires
    )


def run_once(body: Callable[[tasks.ORMTask], object]) -> None:
    """Run a task that does what a function does, and may write to any table."""
    made_task("Once", body, creates=(), strict_writes=False).run()
