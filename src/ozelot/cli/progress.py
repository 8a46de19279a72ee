"""Showing a run while it goes on: live at a terminal, line by line elsewhere."""

from __future__ import annotations

import sys
import time
from types import TracebackType
from typing import Self

import luigi

from ozelot.cli.output import duration, say, task_text, visible
from ozelot.etl.declared import is_orm_task
from ozelot.etl.identity import task_label
from ozelot.etl.status import why_not_there
from ozelot.orm.run import reason_of


class Recorder:
    """Remembers what ran, and how it ended.

    Attributes:
        ran: labels of tasks that ended well, in that order.
        failed: what went wrong, by label.
        began: labels of tasks that began.
    """

    def __init__(self, total: int, complete: int) -> None:
        self.total = total
        self.complete = complete
        self.ran: dict[str, float] = {}
        self.failed: dict[str, str] = {}
        self.began: dict[str, float] = {}

    def started(self, task: luigi.Task) -> None:
        """A task begins."""
        label = task_label(task)
        self.began[label] = time.monotonic()
        self.show_start(label)

    def ended(self, task: luigi.Task, error: object = None) -> None:
        """A task ended well, or with an error."""
        label = task_label(task)
        took = time.monotonic() - self.began.get(label, time.monotonic())
        if error is None and not is_orm_task(task) and not task.complete():
            self.failed[label] = visible(why_not_there(task))  # as an input file does, that nobody provided
        elif error is None:
            self.ran[label] = took
            self.failed.pop(label, None)
        else:
            self.failed[label] = _told(error)
        self.show_end(label, took)

    def show_start(self, label: str) -> None:
        """Show that a task begins."""
        say(f"running  {shown(label)}")

    def show_end(self, label: str, took: float) -> None:
        """Show that a task ended."""
        if label not in self.failed:
            say(f"done     {shown(label)}  {duration(took)}")
        elif label in self.began:
            say(f"failed   {shown(label)}  {duration(took)}  {self.failed[label]}")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, exc: BaseException | None, tb: TracebackType | None) -> None:
        """Leave the screen as it is to stay."""


def _told(error: object) -> str:
    if isinstance(error, BaseException):
        lines = str(error).strip().splitlines()
        return f"{type(error).__name__}: {visible(lines[0])}" if lines else type(error).__name__
    return visible(reason_of(str(error))) or "no reason is known"


def shown(label: str) -> str:
    """A task on a screen."""
    return visible(task_text(label))


class LiveRecorder(Recorder):
    """Shows a bar, what runs now, and for how long, in one line; failures are lines that stay."""

    def __init__(self, total: int, complete: int) -> None:
        super().__init__(total, complete)
        from rich.console import Console
        from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
        from rich.table import Column

        what = TextColumn("{task.description}", markup=False, table_column=Column(ratio=1, no_wrap=True))
        self._progress = Progress(
            MofNCompleteColumn(),
            TextColumn("tasks"),
            BarColumn(bar_width=20),
            TimeElapsedColumn(),
            what,
            console=Console(markup=False, emoji=False, highlight=False),
            transient=True,
            expand=True,
            redirect_stderr=sys.stderr.isatty(),  # log lines go above the bar, those to a file into the file
        )
        self._bar = self._progress.add_task("", total=total, completed=complete)

    def show_start(self, label: str) -> None:
        """Name it behind the bar."""
        self._progress.update(self._bar, description=shown(label))

    def show_end(self, label: str, took: float) -> None:
        """Move the bar."""
        if label in self.failed:
            if label in self.began:
                self._progress.console.print(f"failed   {shown(label)}  {duration(took)}  {self.failed[label]}")
            return
        done = self.complete + len(self.ran)
        self._progress.update(self._bar, completed=done, total=max(done, self.total), description="")

    def __enter__(self) -> Self:
        self._progress.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, exc: BaseException | None, tb: TracebackType | None) -> None:
        self._progress.stop()


def recorder(total: int, complete: int) -> Recorder:
    """The way to show a run that suits where it is shown."""
    return LiveRecorder(total, complete) if sys.stdout.isatty() else Recorder(total, complete)
