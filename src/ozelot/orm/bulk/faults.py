"""Bad rows in words."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from ozelot.errors import LoadError
from ozelot.orm.shown import shown

_NAMED = 5  # rows


def bad_rows(where: str, faults: Sequence[tuple[int, str, Any]]) -> LoadError:
    """The error for rows that do not fit.

    Args:
        where: ``Model.attribute``.
        faults: position in the input, what is wrong, and the value, of each bad row; the first few are named.
    """
    by_reason: dict[str, list[str]] = {}
    for position, reason, value in faults[:_NAMED]:
        by_reason.setdefault(reason, []).append(f"row {position} ({shown(where, value)})")
    told = "; ".join(f"{reason} in {', '.join(rows)}" for reason, rows in by_reason.items())
    more = f" and {len(faults) - _NAMED:,} more" if len(faults) > _NAMED else ""
    return LoadError(f"{where}: {told}{more}. Rows are counted from 0; nothing of this load is in the database")
