"""What is wrong with the rows of a load, as one line that names columns, rows and remedies."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from ozelot.errors import LoadError
from ozelot.orm.shown import shown_with_type
from ozelot.value_reasons import Reason

_NAMED = 5  # rows of a column
_ENDING = "Nothing was loaded; rows count from 0"


@dataclass(frozen=True)
class Fault:
    """A value that does not fit.

    Attributes:
        position: of its row in the input.
        value: the value as it was given.
        reason: why it does not fit.
    """

    position: int
    value: Any
    reason: Reason


@dataclass
class _Group:
    """Faults of one kind in one column."""

    named: list[Fault] = field(default_factory=list)
    number: int = 0


class Misfits(Exception):
    """Rows that do not fit, by column.

    Args:
        where: ``Model.attribute``.
        expects: what that takes.
        faults: those of its values.
    """

    def __init__(self, where: str = "", expects: str = "", faults: Sequence[Fault] = ()) -> None:
        super().__init__(where)
        self._groups: dict[tuple[str, str, str], _Group] = {}
        for fault in faults:
            group = self._groups.setdefault((where, fault.reason.expects or expects, fault.reason.remedy), _Group())
            group.number += 1
            if group.number <= _NAMED:
                group.named.append(fault)

    def add(self, other: Misfits) -> None:
        """Add those of rows that come later, or of another column."""
        for key, more in other._groups.items():
            group = self._groups.setdefault(key, _Group())
            group.named += more.named[: _NAMED - len(group.named)]
            group.number += more.number

    @property
    def sentences(self) -> list[str]:
        """A sentence on each column, and one on what to do, without their periods."""
        found = []
        for (where, expects, remedy), group in self._groups.items():
            rows = ", ".join(_row(where, fault) for fault in group.named)
            if others := group.number - len(group.named):
                rows += f", and {others:,} more {'row does' if others == 1 else 'rows do'} not fit"
            found += [f"{where} expects {expects}; {rows}", *([remedy] if remedy else [])]
        return found

    @property
    def error(self) -> LoadError:
        """The error for all of them."""
        return failed(self.sentences)

    def __bool__(self) -> bool:
        return bool(self._groups)


def failed(sentences: Sequence[str]) -> LoadError:
    """The error of a load that left nothing in the database."""
    return LoadError(". ".join([*sentences, _ENDING]))


def _row(where: str, fault: Fault) -> str:
    detail = f" ({fault.reason.detail})" if fault.reason.detail else ""
    return f"row {fault.position} has {shown_with_type(where, fault.value)}{detail}"
