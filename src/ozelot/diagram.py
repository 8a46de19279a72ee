"""Diagrams: boxes and arrows as DOT or Mermaid text, and DOT as images, by Graphviz.

The text is written in any case. For images, the program that ``DOT_EXECUTABLE`` names is used, else a ``dot`` on the
``PATH``, else the Graphviz that comes with the package ``pygraphviz`` (``pip install 'ozelot[diagrams]'``).
"""

from __future__ import annotations

import html
import importlib.util
import logging
import re
import shutil
import subprocess
import sys
import tempfile
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from os import PathLike
from pathlib import Path

from ozelot import config
from ozelot.client import refuse_own_file
from ozelot.errors import ConfigError

log = logging.getLogger(__name__)


def quoted(text: str) -> str:
    """``text`` as a DOT string that shows as it is, newlines included."""
    escaped = html.escape(printable(text)).replace("\\", "\\\\")  # Graphviz reads entities in strings, too
    return '"' + escaped.replace("\n", "\\n") + '"'


def table_label(title: str, rows: Iterable[Sequence[str]], *, border: bool = True) -> str:
    """A DOT label: a table with a title over rows of cells, all of it text and never markup.

    A row of one cell stands in the middle.
    """
    body = [[_cell(text) for text in row] for row in rows]
    width = max((len(row) for row in body), default=1)
    lines = [f'<TR><TD COLSPAN="{width}"{_TITLE if border else ""}><B>{_cell(title)}</B></TD></TR>']
    for row in body:
        look = 'ALIGN="LEFT"' if len(row) > 1 else f'COLSPAN="{width}"'
        lines.append("<TR>" + "".join(f"<TD {look}>{cell}</TD>" for cell in row) + "</TR>")
    frame = 'BORDER="1" CELLBORDER="0" CELLSPACING="0" CELLPADDING="4"' if border else 'BORDER="0" CELLSPACING="1"'
    return f"<<TABLE {frame}>{''.join(lines)}</TABLE>>"


_TITLE = ' BGCOLOR="#e8eef4"'


def _cell(text: str) -> str:
    # Graphviz takes neither an empty cell nor leading spaces as text.
    escaped = html.escape(printable(text)).replace("\\", "\\\\")  # Graphviz reads its own \N, \G in cells, too
    return escaped.replace("\n", '<BR ALIGN="LEFT"/>') + ('<BR ALIGN="LEFT"/>' if "\n" in escaped else "") or " "


def printable(text: str) -> str:
    """``text`` without what XML cannot hold (control characters, lone surrogates): each becomes U+FFFD."""
    unified = text.replace("\r\n", "\n").replace("\r", "\n").replace("\t", " ")
    return _NOT_IN_XML.sub("\ufffd", unified)


_NOT_IN_XML = re.compile("[\x00-\x09\x0b-\x1f\x7f-\x9f\ud800-\udfff\ufffe\uffff]")


def write(dot: str, out_base: str | PathLike[str]) -> list[Path]:
    """Write ``out_base.dot`` and, where Graphviz is there, ``out_base.svg`` and ``out_base.png``.

    Returns:
        The files that were written.

    Raises:
        ConfigError: a file of the database itself has one of these names; ``DOT_EXECUTABLE`` names no program, or
            Graphviz failed, and the ``.dot`` is written.
    """
    config.show_logs()
    source = Path(f"{out_base}.dot")
    images = [source.with_name(f"{Path(out_base).name}.{kind}") for kind in ("svg", "png")]
    for file in (source, *images):
        refuse_own_file(file, "A diagram")
    source.write_text(dot, encoding="utf-8")
    for image in images:
        command = _command(source, image)
        if command is None:
            log.warning("Wrote %s only: for images, pip install 'ozelot[diagrams]', or install Graphviz", source)
            return [source]
        done = subprocess.run(command, capture_output=True, text=True, check=False)  # noqa: S603 - no shell
        if done.returncode:
            reason = (done.stderr.strip().splitlines() or [f"exit code {done.returncode}"])[-1]
            raise ConfigError(f"Graphviz could not draw {source}: {reason}")
    return [source, *images]


def svg(dot: str) -> str | None:
    """A drawing as text; None where Graphviz is not there.

    Raises:
        ConfigError: ``DOT_EXECUTABLE`` names no program, or Graphviz failed.
    """
    with tempfile.TemporaryDirectory(prefix="ozelot-") as folder:
        drawn = write(dot, Path(folder) / "drawn")
        return next((path.read_text(encoding="utf-8") for path in drawn if path.suffix == ".svg"), None)


#: pygraphviz in a process of its own: its C libraries write to stderr, and must not be able to end this process.
_DRAW = "import sys, pygraphviz; pygraphviz.AGraph(sys.argv[1]).draw(sys.argv[2], prog='dot')"


def _command(source: Path, image: Path) -> list[str] | None:
    executable = config.DOT_EXECUTABLE
    if executable is not None and shutil.which(executable) is None:
        raise ConfigError(f"DOT_EXECUTABLE names no program: {executable}. Install Graphviz, or leave the setting out")
    if executable := executable or shutil.which("dot"):
        return [executable, f"-T{image.suffix[1:]}", "-o", str(image), str(source)]
    if importlib.util.find_spec("pygraphviz") is not None:
        return [sys.executable, "-c", _DRAW, str(source), str(image)]
    return None


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
            text = table_label(box.title, box.rows, border=self.are_tables)
            look = "" if self.are_tables else f', style="{",".join(box.style)}"'
            look += f', color="{box.color}"' if box.color else ""
            lines.append(f"{ids[key]} [label={text}{look}];")
        for start, end, text in self.arrows:
            label = f' [label={quoted(text)}, fontname="Helvetica", fontsize=9]' if text else ""
            lines.append(f"{ids[start]} -> {ids[end]}{label};")
        lines += [f"{{rank=same; {'; '.join(ids[key] for key in keys)};}}" for keys in self._levels().values()]
        return "\n".join([*lines, "}"])

    def _repr_svg_(self) -> str | None:
        return svg(self.dot())

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
    lines = printable(text).split("\n")
    return "<br/>".join("".join(c if c.isalnum() or c in " _" else f"#{ord(c)};" for c in line) for line in lines)
