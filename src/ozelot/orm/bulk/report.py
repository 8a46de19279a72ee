"""What came of a load."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from ozelot.orm.shown import shown


@dataclass(frozen=True)
class LoadReport:
    """What came of a load.

    Attributes:
        table: the table that was filled; of a derived model its own.
        rows: how many rows came in.
        written: how many of them are in the table now.
        skipped: how many are not, by the reference whose key was not found.
        set_to_null: how many have NULL in place of a key that was not found, by reference.
        not_found: the first few keys that were not found, by reference.
        seconds: how long it took, what the input took to be made included.
    """

    table: str
    rows: int
    written: int
    skipped: Mapping[str, int] = field(default_factory=dict)
    set_to_null: Mapping[str, int] = field(default_factory=dict)
    not_found: Mapping[str, tuple[Any, ...]] = field(default_factory=dict)
    seconds: float = 0.0

    def __str__(self) -> str:
        told = [f"{self.written:,} of {self.rows:,} rows into {self.table}"]
        told += [f"{number:,} skipped ({self._why(name)})" for name, number in self.skipped.items()]
        told += [f"{number:,} with NULL ({self._why(name)})" for name, number in self.set_to_null.items()]
        return f"{', '.join(told)}, {self.seconds:.2f} s"

    @property
    def left_out(self) -> dict[str, int]:
        """What did not get into the table as it came, in words, and how often."""
        aside = {f"{self.table} skipped ({name})": number for name, number in self.skipped.items()}
        return aside | {f"{self.table} with NULL ({name})": number for name, number in self.set_to_null.items()}

    def _why(self, name: str) -> str:
        return f"{name} not found, such as {', '.join(shown(name, key) for key in self.not_found.get(name, ()))}"
