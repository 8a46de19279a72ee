"""What every peer is asked to do: the same graph, the same work, state in the same folder."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

SHAPES = ("wide", "deep", "layered")
LAYERS = 10


@dataclass
class Job:
    """Steps, numbered from 0, each with those that it requires.

    Attributes:
        shape: wide: `size` steps under one root; deep: a chain of `size` steps; layered: ten layers with `size` steps
            in all, each requiring three of the layer before, under one root.
        size: how many steps, without the root of the wide and the layered shape.
        folder: where state is kept.
        database: the URL for peers that keep their state in a database server.
        workers: how many steps at a time, for peers that are asked.
        processes: whether each worker is a process.
        die_at: the process ends abruptly, as if it was killed, when this many steps ran.
    """

    shape: str
    size: int
    folder: Path
    database: str
    workers: int = 1
    processes: bool = False
    die_at: int | None = None
    ran: list[int] = field(default_factory=list)

    def step(self, n: int) -> None:
        """The work of one step; it counts, so that a measurement of something that did not run is noticed."""
        if len(self.ran) == self.die_at:
            os._exit(9)
        self.ran.append(n)

    @property
    def total(self) -> int:
        return self.size if self.shape == "deep" else self.size + 1

    @property
    def root(self) -> int:
        return self.total - 1

    def requires(self, n: int) -> Sequence[int]:
        """The steps that this one requires; all have lower numbers."""
        if self.shape == "deep":
            return (n - 1,) if n else ()
        if self.shape == "wide":
            return range(self.size) if n == self.root else ()
        width = max(self.size // LAYERS, 1)
        if n == self.root:
            return range(self.size - width, self.size)
        layer, place = divmod(n, width)
        if layer == 0:
            return ()
        before = (layer - 1) * width
        return sorted({before + place, before + (7 * place + 1) % width, before + (13 * place + 5) % width})
