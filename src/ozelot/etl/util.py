"""Pipeline diagrams, and cleaning text."""

from __future__ import annotations

import re
import unicodedata
from os import PathLike
from pathlib import Path

import luigi

from ozelot import diagram
from ozelot.etl.pipeline_diagram import pipeline_picture


def render_diagram(
    root_task: luigi.Task,
    out_base: str | PathLike[str],
    max_param_len: int = 20,
    horizontal: bool = False,
    colored: bool = False,
    *,
    by_class: bool = False,
    by_depth: bool = False,
    around: luigi.Task | None = None,
) -> list[Path]:
    """Draw a task and everything upstream; arrows go from a requirement to the task that requires it.

    Args:
        root_task: the task.
        out_base: path without ending; ``.dot`` is always written, ``.svg`` and ``.png`` where Graphviz is there.
        max_param_len: cut parameter values to so many characters.
        horizontal: lay the graph out from left to right instead of from top to bottom.
        colored: show the state of each task by a color and a word.
        by_class: draw a box for all tasks of a class, with their number.
        by_depth: draw tasks that are as far from the sources in one row.
        around: draw only this task, what it requires, and what requires it, directly.

    Returns:
        The files that were written.
    """
    options = {"horizontal": horizontal, "colored": colored, "by_class": by_class, "by_depth": by_depth}
    picture = pipeline_picture(root_task, max_param_len=max_param_len, around=around, **options)
    return diagram.write(picture.dot(), out_base)


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
