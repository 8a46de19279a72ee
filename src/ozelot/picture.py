"""What a diagram shows, apart from how it is written: boxes and arrows, as DOT or as Mermaid."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field

from ozelot import diagram


@dataclass(frozen=True)
class Box:
    """A box of a diagram.

    Attributes:
        title: what stands at its top.
        rows: what stands below, in cells.
        style: how it looks: ``rounded``, ``bold``, ``dotted``, ...; see Graphviz.
        color: that of its border, as ``#rrggbb``.
        level: which row of the diagram it is in, where these are kept.
    """

    title: str
    rows: tuple[tuple[str, ...], ...] = ()
    style: tuple[str, ...] = ()
    color: str | None = None
    level: int = 0


@dataclass(frozen=True)
class Picture:
    """Boxes, and arrows between them.

    Attributes:
        name: what is drawn, as a word.
        boxes: the boxes, by any key.
        arrows: from, to, and what stands at the arrow.
        horizontal: laid out from left to right instead of from top to bottom.
        are_tables: boxes with lines between title and cells.
        keeps_levels: boxes of one level stand beside each other.
    """

    name: str
    boxes: dict[str, Box] = field(default_factory=dict)
    arrows: Sequence[tuple[str, str, str]] = ()
    horizontal: bool = False
    are_tables: bool = False
    keeps_levels: bool = False

    def dot(self) -> str:
        """The picture for Graphviz."""
        ids = self._ids()
        lines = [f"digraph {self.name} {{", f"rankdir={'LR' if self.horizontal else 'TB'};"]
        shape = "plain" if self.are_tables else "box"
        lines.append(f'node [shape={shape}, fontname="Helvetica"]; edge [color="#607080"];')
        for key, box in self.boxes.items():
            text = diagram.table_label(box.title, box.rows, border=self.are_tables)
            look = "" if self.are_tables else f', style="{",".join(box.style)}"'
            look += f', color="{box.color}"' if box.color else ""
            lines.append(f"{ids[key]} [label={text}{look}];")
        for start, end, text in self.arrows:
            label = f' [label={diagram.quoted(text)}, fontname="Helvetica", fontsize=9]' if text else ""
            lines.append(f"{ids[start]} -> {ids[end]}{label};")
        lines += [f"{{rank=same; {'; '.join(ids[key] for key in keys)};}}" for keys in self._levels().values()]
        return "\n".join([*lines, "}"])

    def _repr_svg_(self) -> str | None:
        return diagram.svg(self.dot())

    def mermaid(self) -> str:
        """The picture for Mermaid, which draws it where a README is shown."""
        ids = self._ids()
        lines = [f"flowchart {'LR' if self.horizontal else 'TB'}"]
        levels = self._levels() or {0: list(self.boxes)}
        for level, keys in levels.items():
            if self.keeps_levels:
                lines.append(f'subgraph level{level} [" "]')
            for key in keys:
                box = self.boxes[key]
                rows = [f"<b>{_text(box.title)}</b>", *(" ".join(_text(cell) for cell in row) for row in box.rows)]
                opening, closing = ("(", ")") if "rounded" in box.style else ("[", "]")
                lines.append(f'{ids[key]}{opening}"{"<br/>".join(rows)}"{closing}')
            if self.keeps_levels:
                lines.append("end")
        for start, end, text in self.arrows:
            label = f'|"{_text(text)}"| ' if text else ""
            lines.append(f"{ids[start]} --> {label}{ids[end]}")
        for key, box in self.boxes.items():
            looks = [f"stroke:{box.color}"] if box.color else []
            looks += [look for style, look in _LOOKS.items() if style in box.style]
            lines += [f"style {ids[key]} {','.join(looks)}"] if looks else []
        return "\n".join([*lines, ""])

    def _ids(self) -> dict[str, str]:
        return {key: f"t{number}" for number, key in enumerate(self.boxes)}

    def _levels(self) -> dict[int, list[str]]:
        found: defaultdict[int, list[str]] = defaultdict(list)
        if self.keeps_levels:
            for key, box in self.boxes.items():
                found[box.level].append(key)
        return dict(sorted(found.items()))


_LOOKS = {"bold": "stroke-width:3px", "dotted": "stroke-dasharray:2", "diagonals": "stroke-dasharray:8"}


def _text(text: str) -> str:
    """Text that Mermaid takes for nothing else: each character that may mean something as its number."""
    lines = diagram.printable(text).split("\n")
    return "<br/>".join("".join(c if c.isalnum() or c in " _" else f"#{ord(c)};" for c in line) for line in lines)
