"""Numbers, times and names as text for people, and tables for notebooks."""

from __future__ import annotations

import datetime
import html
from collections.abc import Iterable, Mapping, Sequence


def task_text(label: str) -> str:
    """A task as one would type it: no braces where it has no parameters."""
    return label.removesuffix(" {}")


def amounts(counts: Mapping[str, int | None], *, zeros: bool = False) -> str:
    """``12 employee, 3 unit``: how many of what, with a question mark for an unknown number.

    Args:
        counts: the numbers; None: unknown.
        zeros: also name what there are none of.
    """
    return ", ".join(
        f"? {name}" if number is None else f"{number:,} {name}"
        for name, number in sorted(counts.items())
        if number != 0 or zeros
    )


def added(counts: Iterable[Mapping[str, int | None]]) -> dict[str, int | None]:
    """The sums of counts by name; an unknown number makes its sum unknown."""
    total: dict[str, int | None] = {}
    for each in counts:
        for name, number in each.items():
            before = total.get(name, 0)
            total[name] = None if number is None or before is None else before + number
    return total


def duration(seconds: float | None) -> str:
    """``0.05 s``, ``2 min 03 s``, ``1 h 02 min``."""
    if seconds is None:
        return ""
    if seconds < 60:
        return f"{seconds:.2f} s" if seconds < 10 else f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes_left = divmod(minutes, 60)
    return f"{hours} h {minutes_left:02} min" if hours else f"{minutes} min {rest:02} s"


def moment(when: datetime.datetime | None) -> str:
    """A time to the second, in UTC as it is stored."""
    return f"{when:%Y-%m-%d %H:%M:%S}" if when else ""


_MOST = 200  # rows


def table(headings: Sequence[str], rows: Sequence[Iterable[object]], below: str = "") -> str:
    """HTML of a table, all of it text; of many rows the first, and how many more there are.

    Args:
        headings: of its columns.
        rows: their cells.
        below: a line below it.
    """
    lines = ["<table>", _row("th", headings), *(_row("td", row) for row in rows[:_MOST]), "</table>"]
    if len(rows) > _MOST:
        lines.append(f"<p>and {len(rows) - _MOST:,} more</p>")
    if below:
        lines.append(f"<p>{html.escape(below)}</p>")
    return "\n".join(lines)


def _row(kind: str, cells: Iterable[object]) -> str:
    inner = "".join(f'<{kind} style="text-align: left">{html.escape(str(cell))}</{kind}>' for cell in cells)
    return f"<tr>{inner}</tr>"
