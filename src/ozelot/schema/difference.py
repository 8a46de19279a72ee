"""A difference between models and database, as data and in words."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any


class Kind(StrEnum):
    """What differs. Missing is what models have and the database has not; extra is the other way round."""

    TABLE_MISSING = "table missing"
    TABLE_EXTRA = "table extra"
    COLUMN_MISSING = "column missing"
    COLUMN_EXTRA = "column extra"
    TYPE = "type"
    NULLABLE = "nullability"
    DEFAULT = "server default"
    PRIMARY_KEY = "primary key"
    FOREIGN_KEY_MISSING = "foreign key missing"
    FOREIGN_KEY_EXTRA = "foreign key extra"
    UNIQUE_MISSING = "unique constraint missing"
    UNIQUE_EXTRA = "unique constraint extra"
    INDEX_MISSING = "index missing"
    INDEX_EXTRA = "index extra"


class Takes(StrEnum):
    """What applying a difference takes."""

    IN_PLACE = "in place, data kept"
    REBUILD = "the table must be rebuilt: --rebuild"
    DROP = "drops data: --drop"
    REBUILD_AND_DROP = "the table must be rebuilt: --rebuild --drop"

    @property
    def rebuilds(self) -> bool:
        """Whether tables are made anew, and their rows loaded again."""
        return self in (Takes.REBUILD, Takes.REBUILD_AND_DROP)

    @property
    def drops(self) -> bool:
        """Whether something goes that no task would load again."""
        return self in (Takes.DROP, Takes.REBUILD_AND_DROP)


@dataclass(frozen=True)
class Difference:
    """One thing in which models and database differ.

    Attributes:
        kind: what it is about.
        table: the full name of the table.
        column: the column; of keys, constraints and indexes, their columns.
        words: what differs, for a reader.
        takes: what applying it takes.
        tasks: names of the tasks that fill what it touches.
        why: why it cannot be applied in place, where that needs to be said.
        item: what to create, drop or alter: an object of SQLAlchemy, reflected where it is extra.
    """

    kind: Kind
    table: str
    column: str | None
    words: str
    takes: Takes
    tasks: tuple[str, ...] = ()
    why: str = ""
    item: Any = field(default=None, repr=False, compare=False)

    @property
    def takes_in_words(self) -> str:
        """What applying it takes, and why."""
        return f"{self.takes}{f' ({self.why})' if self.why else ''}"

    def as_data(self) -> dict[str, Any]:
        """What ``--json`` prints."""
        return {
            "kind": str(self.kind),
            "table": self.table,
            "column": self.column,
            "words": self.words,
            "takes": self.takes.name.lower().replace("_", " "),
            "why": self.why,
            "tasks": list(self.tasks),
        }
