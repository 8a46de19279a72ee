"""The run under way in an open transaction, and what is to be recorded of it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any


@dataclass
class UnderWay:
    """A run under way; where a task runs others within its own ``run()``, the innermost one.

    Attributes:
        owner: the task whose ``run()`` it is; None: no task runs.
        run_id: the id of that run.
        reserved: keys of the markers that are written when that ``run()`` ends, those of outer ones included.
        inside: the ids of the runs of other tasks that took place within it.
        notes: what loads left out, in words, and how often.
        checks: what came of checks: the name of each, whether it holds, what was expected, and found.
        inherited: names of the tables of derived models that the task creates, and of their base tables.
        pages: the web pages that it read: by key, the key of the address, the address, the hash (or status).
    """

    owner: object = None
    run_id: int | None = None
    reserved: frozenset[str] = frozenset()
    inside: list[int] = field(default_factory=list)
    notes: dict[str, int] = field(default_factory=dict)
    checks: list[dict[str, Any]] = field(default_factory=list)
    inherited: frozenset[str] = frozenset()
    pages: dict[bytes, tuple[bytes, str, str]] = field(default_factory=dict)

    def note(self, notes: Mapping[str, int]) -> None:
        """Add to what loads left out."""
        for what, number in notes.items():
            self.notes[what] = self.notes.get(what, 0) + number
