"""Tables at a terminal: columns that fit it, in which only texts are broken, and those between words.

States, times and numbers are never broken. What finds no room as a column goes below its row.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import NamedTuple

from rich.cells import cell_len
from rich.console import Console
from rich.text import Text

_STYLES = {"complete": "green", "incomplete": "red", "rows missing": "red", "complete on incomplete": "yellow"}
_STYLES |= {"stale": "yellow", "complete on stale": "yellow"}
_STYLES |= {"done": "green", "failed": "red", "aborted": "red", "running": "cyan"}
_LONGEST_CELL = 300  # characters that a terminal is given of one value
_LONGEST_NAME = 30  # words of the first column up to this length are not broken
_LONGEST_WORD = 20  # nor are those of others up to this one, and texts as short
_ROOM_FOR_LONG = 30  # what a long text has to have, to be a column
_BETWEEN = 2
_INDENT = 4


class _Column(NamedTuple):
    heading: str
    cells: list[str]
    right: bool
    place: int

    @property
    def widest(self) -> int:
        return max(map(cell_len, [self.heading, *self.cells]))

    @property
    def is_text(self) -> bool:
        """Whether it may be broken between words; states, times and numbers may not."""
        return not (self.right or self.heading in ("state", "took") or self.heading.endswith("(UTC)"))

    @property
    def least(self) -> int:
        """The width at which it breaks no word, and nothing at all where that is short, or no text."""
        if not self.is_text or self.widest <= _LONGEST_WORD:
            return self.widest
        word = max(cell_len(word) for cell in (self.heading, *self.cells) for word in cell.split())
        return min(word, _LONGEST_WORD if self.place else _LONGEST_NAME)


def show(
    headings: Sequence[str],
    rows: Sequence[Sequence[str]],
    *,
    right: Collection[str] = (),
    long: str = "",
    cut: bool = False,
) -> None:
    """Print a table.

    Args:
        headings: of the columns.
        rows: their cells, each in one line.
        right: headings of the columns that are numbers.
        long: heading of the last column, where it holds long texts.
        cut: show one line of such a text.
    """
    console = Console(markup=False, emoji=False, highlight=False)
    inline = [
        _Column(heading, [_shortened(row[place]) for row in rows], heading in right, place)
        for place, heading in enumerate(headings)
    ]
    below = _not_fitting(inline, console.width, long)
    widths = _widths(inline, console.width)
    for line in _lines(console, [Text(column.heading, style="bold") for column in inline], inline, widths):
        console.print(line, soft_wrap=True)
    for number in range(len(rows)):
        cells = [column.cells[number] for column in inline]
        if cut and inline[-1].heading == long:
            cells[-1] = _cut(cells[-1], widths[-1])
        styled = [Text(cell, style=_STYLES.get(cell, "")) for cell in cells]
        for line in _lines(console, styled, inline, widths):
            console.print(line, soft_wrap=True)
        room = max(console.width - _INDENT, 1)
        for column in below:
            if text := column.cells[number]:
                is_long = column.heading == long
                text = text if is_long else f"{column.heading}: {text}"
                for line in Text(_cut(text, room) if is_long and cut else text).wrap(console, room, overflow="fold"):
                    console.print(Text(" " * _INDENT) + line, soft_wrap=True)


def _shortened(cell: str) -> str:
    return cell if len(cell) <= _LONGEST_CELL else f"{cell[:_LONGEST_CELL]}..."


def _room(columns: Sequence[_Column], width: int) -> int:
    return width - _BETWEEN * (len(columns) - 1)


def _not_fitting(columns: list[_Column], width: int, long: str) -> list[_Column]:
    """Take out of columns what is to be told below the rows: long texts first, then other texts but the first."""
    if sum(column.widest for column in columns) <= _room(columns, width):
        return []
    taken = []
    left = _room(columns, width) - sum(column.widest for column in columns[:-1])
    if len(columns) > 1 and columns[-1].heading == long and left < _ROOM_FOR_LONG:
        taken.append(columns.pop())
    while sum(column.least for column in columns) > _room(columns, width):
        texts = [column for column in columns[1:] if column.is_text]
        if not texts:
            break
        columns.remove(texts[-1])
        taken.insert(0, texts[-1])
    return taken


def _widths(columns: Sequence[_Column], width: int) -> list[int]:
    widths = [column.least for column in columns]
    spare = max(_room(columns, width) - sum(widths), 0)
    wanted = [column.widest - column.least for column in columns]
    for done, place in enumerate(sorted(range(len(columns)), key=wanted.__getitem__)):  # the others share what is left
        more = min(wanted[place], spare // (len(columns) - done))
        widths[place] += more
        spare -= more
    return widths


def _cut(text: str, width: int) -> str:
    """The beginning of a text, in one line that ends with ``...`` where something is missing."""
    if cell_len(text) <= width:
        return text
    begin = Text(text)
    begin.truncate(max(width - 3, 0))
    return f"{begin.plain}..."


def _lines(console: Console, cells: Sequence[Text], columns: Sequence[_Column], widths: Sequence[int]) -> list[Text]:
    """The lines of one row."""
    wrapped = [cell.wrap(console, width, overflow="fold") for cell, width in zip(cells, widths, strict=True)]
    found = []
    for number in range(max(map(len, wrapped))):
        line = Text()
        for column, width, lines in zip(columns, widths, wrapped, strict=True):
            part = lines[number] if number < len(lines) else Text()
            part.rstrip()
            part.align("right" if column.right else "left", width)
            line += part + " " * _BETWEEN
        line.rstrip()
        found.append(line)
    return found
