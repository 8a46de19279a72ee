"""Pipeline diagrams, and cleaning text."""

from __future__ import annotations

import re
import unicodedata
from os import PathLike
from pathlib import Path

import luigi

from ozelot import diagram
from ozelot.etl.completion import complete
from ozelot.etl.graph import walk
from ozelot.etl.identity import task_name

_COLORS = {True: "#2e7d32", False: "#c62828"}


def render_diagram(
    root: luigi.Task,
    out_base: str | PathLike[str],
    max_param_len: int = 20,
    horizontal: bool = False,
    colored: bool = False,
) -> list[Path]:
    """Draw a task and everything upstream; arrows go from a requirement to the task that requires it.

    Args:
        root: the task.
        out_base: path without ending; ``.dot`` is always written, ``.svg`` and ``.png`` where Graphviz is there.
        max_param_len: cut parameter values to so many characters.
        horizontal: lay the graph out from left to right instead of from top to bottom.
        colored: draw complete tasks in green, incomplete ones in red and with the word.

    Returns:
        The files that were written.
    """
    graph = walk(root)
    done = complete(graph) if colored else set()
    lines = ["digraph pipeline {", f"rankdir={'LR' if horizontal else 'TB'};"]
    lines.append('node [shape=box, fontname="Helvetica"]; edge [color="#607080"];')
    names = {label: f"t{number}" for number, label in enumerate(graph.tasks)}
    for label, task in graph.tasks.items():
        params = task.to_str_params(only_significant=True, only_public=True)
        rows: list[tuple[str, ...]] = [(name, _cut(value, max_param_len)) for name, value in sorted(params.items())]
        look = f'style="{",".join(getattr(task, "diagram_style", ()))}"'
        if colored:
            rows.append(("complete" if label in done else "incomplete",))
            look += f', color="{_COLORS[label in done]}"'
        text = diagram.table_label(task_name(task), rows, border=False)
        lines.append(f"{names[label]} [label={text}, {look}];")
    for label, requirements in graph.requires.items():
        lines += [f"{names[requirement]} -> {names[label]};" for requirement in requirements]
    lines.append("}")
    return diagram.write("\n".join(lines), out_base)


def _cut(value: str, length: int) -> str:
    return value if len(value) <= length else f"{value[:length]}..."


def sanitize(
    s: str,
    normalize_whitespace: bool = True,
    normalize_unicode: bool = True,
    form: str = "NFKC",
    enforce_encoding: bool = True,
    encoding: str = "utf-8",
) -> str:
    """Clean a piece of text.

    Args:
        s: the text.
        normalize_whitespace: make each run of white space (newlines, too) one space, and none at the ends.
        normalize_unicode: bring characters that mean the same into one form.
        form: which: ``NFC``, ``NFKC``, ``NFD`` or ``NFKD``.
        enforce_encoding: leave out characters that ``encoding`` does not have.
        encoding: name of the encoding.
    """
    if enforce_encoding:
        s = s.encode(encoding, errors="ignore").decode(encoding, errors="ignore")
    if normalize_unicode:
        s = unicodedata.normalize(form, s)  # type: ignore[arg-type]
        if enforce_encoding:  # an accent that was split off may not be in the encoding
            s = s.encode(encoding, errors="ignore").decode(encoding, errors="ignore")
    if normalize_whitespace:
        s = re.sub(r"\s+", " ", s).strip()
    return s
