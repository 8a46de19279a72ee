"""Keepers of a page in a time that a test lets pass."""

from __future__ import annotations

from ozelot.ui.snapshot import Keeper


class Clock:
    """Time that passes when it is told to."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


def read_to_its_end(keeper: Keeper) -> None:
    """Wait until a keeper has read what it began to read."""
    if keeper._reader is not None:
        keeper._reader.join()


def settle(keeper: Keeper, clock: Clock) -> None:
    """Let all be read."""
    clock.now += 1000
    keeper.pipeline  # noqa: B018 - looks, and begins to read
    read_to_its_end(keeper)
