"""Rows and runs, as the oracle keeps them."""

from __future__ import annotations

from dataclasses import dataclass

RUNNING, DONE, FAILED, ABORTED, CLEARED = "running", "done", "failed", "aborted", "cleared"


@dataclass(frozen=True)
class Row:
    """A row of a model, in all its tables; ``run`` made it, None: somebody by hand."""

    name: str
    model: str
    values: dict[str, int | None]
    refs: dict[str, str | None]
    run: int | None


@dataclass(frozen=True)
class Recorded:
    """A run: of which task, what became of it, how many rows it recorded, and the runs that it was built on.

    ``was_lost``: it was recorded when a marker without a run was removed; nothing is known but that there was one.
    """

    label: str
    state: str = RUNNING
    counts: dict[str, int] | None = None
    built_on: frozenset[int] = frozenset()
    was_lost: bool = False
