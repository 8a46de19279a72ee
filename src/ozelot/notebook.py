"""Tables as notebooks show them."""

from __future__ import annotations

import html
from collections.abc import Iterable, Sequence

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
