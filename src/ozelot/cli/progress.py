"""Showing a run while it goes on: live at a terminal, a line now and then elsewhere, or an event a line as JSON."""

from __future__ import annotations

import json
import sys
import time
from collections import Counter
from collections.abc import Mapping
from types import TracebackType
from typing import Any, Self

import luigi

from ozelot.cli.output import how_many, listed, say, visible
from ozelot.cli.status import task_as_json
from ozelot.engine import Event, Kind, RunResult
from ozelot.formatting import added, amounts, duration, task_text

#: How often a line says how far a run is, where there is no terminal.
_EVERY = 5.0  # seconds

#: Characters of the reason that the line of a failure has: the summary has all of it.
_REASON = 80

#: Tasks that a terminal shows one by one while they run.
_SHOWN = 5


def shown(label: str) -> str:
    """A task on a screen."""
    return visible(task_text(label))


class Display:
    """Shows what is worth a line that stays: failures, and what else is to be known; by itself all of ``--quiet``.

    Attributes:
        total: how many tasks there are.
        complete: how many of them are complete.
        running: since when each task runs, in the seconds of ``time.monotonic``.
        rows: how many rows were written so far.
        tasks: the tasks that are known, by label.
    """

    def __init__(self) -> None:
        self.total = 0
        self.complete = 0
        self.complete_before = 0
        self.running: dict[str, float] = {}
        self.rows = 0
        self.tasks: Mapping[str, luigi.Task] = {}
        self.began = time.monotonic()

    def __call__(self, event: Event) -> None:
        """Take note of an event, and show it."""
        self.total, self.complete = event.total, event.complete
        if event.kind is Kind.PLANNED:
            self.began, self.complete_before = time.monotonic(), event.complete
        elif event.kind is Kind.STARTED:
            self.running[event.label] = time.monotonic()
        elif event.label:
            self.running.pop(event.label, None)
        self.rows += sum(number or 0 for what, number in event.rows.items() if "." not in what)
        self.show(event)

    def show(self, event: Event) -> None:
        """Show an event."""
        if line := line_of(event):
            self.say(line)

    def say(self, line: str) -> None:
        """Print a line that stays."""
        say(line)

    def how_far(self) -> str:
        """How far the run is, in one line."""
        parts = [f"{self.complete:,} of {how_many(self.total, 'task')}"]
        seconds = max(time.monotonic() - self.began, 1e-9)
        if self.running:
            parts.append(f"running {listed(self.ages(), limit=2)}")
        if self.rows:
            parts.append(f"{self.rows / seconds:,.0f} rows a second")
        if (left := self.time_to_go()) is not None:
            parts.append(f"about {duration(left)} to go")
        return ", ".join(parts)

    def ages(self) -> list[str]:
        """What runs, longest first, and for how long."""
        now = time.monotonic()
        return [f"{shown(label)} {duration(now - since)}" for label, since in self.running.items()]

    def time_to_go(self) -> float | None:
        """Seconds, if the rest takes as long a task as what ran so far; None where too little ran to tell."""
        ran = self.complete - self.complete_before
        seconds = time.monotonic() - self.began
        if ran < 3 or seconds < 2:
            return None
        return seconds / ran * (self.total - self.complete)

    def sum_up(self, result: RunResult) -> None:
        """Say what came of the run."""
        show_result(result)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, exc: BaseException | None, tb: TracebackType | None) -> None:
        """Leave the screen as it is to stay."""


def line_of(event: Event) -> str:
    """The line that an event is worth; empty for most."""
    if event.kind is Kind.FAILED:
        took = f"  {duration(event.seconds)}" if event.seconds else ""
        return f"failed   {shown(event.label)}{took}  {_short(visible(event.text))}"
    if event.kind is Kind.RETRY:
        return f"again    {shown(event.label)}  in {duration(event.seconds)}  {visible(event.text)}"
    if event.kind is Kind.WAITING:
        return f"waiting  {shown(event.label)}  another runner is at it"
    if event.kind is Kind.STOPPING:
        return "Stopping: waiting for running tasks to finish. Press Ctrl-C again to end them now"
    return visible(event.text) if event.kind is Kind.MESSAGE else ""


def _short(reason: str) -> str:
    if len(reason) <= _REASON:
        return reason
    begin = reason[:_REASON]
    return f"{begin.rpartition(' ')[0] or begin} ..."


class Lines(Display):
    """Says how far the run is every few seconds."""

    def __init__(self) -> None:
        super().__init__()
        self._said = time.monotonic()

    def show(self, event: Event) -> None:
        """Show an event, or how far the run is."""
        super().show(event)
        if time.monotonic() - self._said > _EVERY:
            self._said = time.monotonic()
            self.say(self.how_far())


class JsonLines(Display):
    """One JSON object a line for each event, and one for the result; for a program to read."""

    def __init__(self) -> None:
        super().__init__()
        self._out = sys.stdout  # what the pipeline prints goes elsewhere

    def _task(self, label: str) -> dict[str, Any]:
        return task_as_json(label, self.tasks.get(label))

    def say(self, line: str) -> None:
        """Print a line."""
        print(line, file=self._out, flush=True)

    def show(self, event: Event) -> None:
        """Print an event."""
        if event.kind is not Kind.TICK:
            told = event.as_json()
            if event.label:
                told = {"event": told.pop("event"), **self._task(event.label), **told}
            self.say(json.dumps(told))

    def sum_up(self, result: RunResult) -> None:
        """Print the result."""
        ran = [
            {**self._task(label), **({"notes": dict(found.notes)} if found.notes else {})}
            for label, found in result.ran.items()
        ]
        told: dict[str, Any] = {"event": "ended", "ran": ran, "elsewhere": [*map(self._task, result.elsewhere)]}
        told["complete"] = len(result.complete)
        told["failed"] = [{**self._task(label), "error": found.reason} for label, found in result.failed.items()]
        told["not_reached"] = [
            {**self._task(label), "because_of": self._task(cause) if cause else None}
            for label, cause in result.not_reached.items()
        ]
        if result.rolled_back:
            told["rolled_back"] = [*map(self._task, result.rolled_back)]
        self.say(json.dumps({**told, "seconds": round(result.seconds, 3)}))


class Live(Display):
    """A bar, and below it what runs now, and for how long."""

    def __init__(self) -> None:
        super().__init__()
        from rich.console import Console
        from rich.live import Live as RichLive

        self._live = RichLive(
            get_renderable=self._drawn,
            console=Console(markup=False, emoji=False, highlight=False),
            transient=True,
            refresh_per_second=8,
            redirect_stderr=sys.stderr.isatty(),  # log lines go above the bar, those to a file into the file
        )

    def say(self, line: str) -> None:
        """Print a line above the bar."""
        self._live.console.print(line)

    def _drawn(self) -> Any:
        from rich.console import Group
        from rich.progress_bar import ProgressBar
        from rich.table import Table
        from rich.text import Text

        head = Table.grid(padding=(0, 1))
        left = self.time_to_go()
        told = [f"{self.complete:,}/{self.total:,} tasks", duration(time.monotonic() - self.began)]
        told += [f"{self.rows / max(time.monotonic() - self.began, 1e-9):,.0f} rows/s"] if self.rows else []
        told += [f"{duration(left)} to go"] if left is not None else []
        bar = ProgressBar(total=max(self.total, 1), completed=self.complete, width=20)
        head.add_row(Text(told[0]), bar, Text("  ".join(told[1:])))
        ages = self.ages()
        lines = [Text(f"  {age}", no_wrap=True, overflow="ellipsis") for age in ages[:_SHOWN]]
        more = [Text(f"  and {len(ages) - _SHOWN:,} more")] if len(ages) > _SHOWN else []
        return Group(head, *lines, *more)

    def __enter__(self) -> Self:
        self._live.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, exc: BaseException | None, tb: TracebackType | None) -> None:
        self._live.stop()


def display(*, quiet: bool, as_json: bool) -> Display:
    """The way to show a run that suits where it is shown."""
    if as_json:
        return JsonLines()
    if quiet:
        return Display()
    return Live() if sys.stdout.isatty() else Lines()


def show_result(result: RunResult) -> None:
    """Say what ran, what failed, and what to look at first."""
    if result.ran:
        ran = listed([task_text(label) for label in result.ran])
        say(f"Ran {len(result.ran):,} in {duration(result.seconds)}: {ran}")
    if leaving := [label for label, ran in result.ran.items() if ran.notes]:
        left_out = amounts(added(result.ran[label].notes for label in leaving))
        say(f"Left out: {visible(left_out)}, by {listed([task_text(label) for label in leaving])}")
    if result.elsewhere:
        ran = listed([task_text(label) for label in result.elsewhere])
        say(f"Ran elsewhere, by another runner: {len(result.elsewhere):,}: {ran}")
    if result.complete:
        say(f"Complete already: {len(result.complete):,}")
    if result.failed:
        say(f"Failed: {len(result.failed):,}")
    waiting = Counter(cause for cause in result.not_reached.values() if cause in result.failed)
    for label in sorted(result.failed, key=lambda label: -waiting[label]):  # what to look at first comes first
        say(f"  {shown(label)}: {visible(result.failed[label].reason)}")
    if len(result.failed) > 1 and waiting:
        (first, number), *_ = waiting.most_common(1)
        say(f"Look at {shown(first)} first: not reached for that: {how_many(number, 'task')}")
    if result.rolled_back:
        names = listed([task_text(label) for label in result.rolled_back])
        say(f"Ran, and rolled back: {len(result.rolled_back):,}: {names}")
    if result.not_reached:
        names = listed([task_text(label) for label in result.not_reached])
        say(f"Not reached: {len(result.not_reached):,}: {names}")
