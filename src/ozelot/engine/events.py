"""What a run tells while it goes on, and what came of it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from ozelot.state.runs import Counts


class Kind(StrEnum):
    """What an event is about."""

    PLANNED = "planned"  # what there is to run
    STARTED = "started"
    DONE = "done"
    ELSEWHERE = "done elsewhere"  # by another runner
    WAITING = "waiting"  # another runner is at it
    PAUSED = "paused"  # it asked for requirements while it ran
    RETRY = "retry"
    FAILED = "failed"
    MESSAGE = "message"  # of the task, or of the run
    STOPPING = "stopping"  # Ctrl-C: no more tasks are begun
    TICK = "tick"  # a second has passed


@dataclass(frozen=True)
class Event:
    """Something that happened in a run.

    Attributes:
        kind: what.
        label: to which task.
        seconds: how long it took, or until it is tried again.
        rows: how many rows of each table it made, and ``table.column``: how many values it set; None: unknown.
        notes: what its loads left out, in words, and how often.
        text: the error in one line, or a message.
        total: how many tasks there are.
        complete: how many of them are complete.
    """

    kind: Kind
    label: str = ""
    seconds: float | None = None
    rows: Counts = field(default_factory=dict)
    notes: Mapping[str, int] = field(default_factory=dict)
    text: str = ""
    total: int = 0
    complete: int = 0

    def as_json(self) -> dict[str, Any]:
        """The event for a program that reads it: what is not known is left out."""
        told = {"event": self.kind.value, "task": self.label, "seconds": self.seconds, "rows": self.rows}
        told |= {"notes": dict(self.notes), "text": self.text, "total": self.total, "complete": self.complete}
        return {name: value for name, value in told.items() if value not in ("", None, {})}


Progress = Callable[[Event], None]


@dataclass(frozen=True)
class Ran:
    """A task that ran.

    Attributes:
        seconds: how long it took.
        rows: how many rows of each table it made, and ``table.column``: how many values it set; None: unknown.
        notes: what its loads left out, in words, and how often: rows that were skipped, or that got NULL.
    """

    seconds: float
    rows: Counts
    notes: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True)
class Failure:
    """A task that failed.

    Attributes:
        reason: the error in one line.
        traceback: where in the code it came from.
        exception: the error itself, where it could travel from the process where it was raised.
        seconds: how long the task ran.
        is_complete: whether only ``on_success()`` failed, after the commit: the task is complete, and in ``ran``.
    """

    reason: str
    traceback: str = ""
    exception: BaseException | None = None
    seconds: float = 0.0
    is_complete: bool = False


@dataclass
class RunResult:
    """What came of a run.

    Attributes:
        ran: the tasks that ran well, by label, in the order in which they ended.
        complete: labels of tasks that were complete before.
        elsewhere: labels of tasks that another runner did meanwhile.
        failed: the tasks that failed, or whose ``on_success()`` did, by label.
        not_reached: labels of tasks that did not run, and what they waited for: the label of a task that failed,
            or the empty text where the run was stopped.
        rolled_back: labels of tasks that ran well, in one transaction with others that did not, and so were undone.
        seconds: how long all took.
    """

    ran: dict[str, Ran] = field(default_factory=dict)
    complete: list[str] = field(default_factory=list)
    elsewhere: list[str] = field(default_factory=list)
    failed: dict[str, Failure] = field(default_factory=dict)
    not_reached: dict[str, str] = field(default_factory=dict)
    rolled_back: list[str] = field(default_factory=list)
    seconds: float = 0.0

    @property
    def ok(self) -> bool:
        """Whether all is complete, and nothing failed."""
        return not (self.failed or self.not_reached or self.rolled_back)
