"""Writes the page of all commands, from the commands themselves: python docs/commands.py"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import typer.main

from ozelot.cli.app import app

PAGE = Path(__file__).with_name("commands.md")
_START = """\
# All commands

Every command with its arguments and options, as the commands themselves describe them (`python docs/commands.py` writes
this page). [The command line](cli.md) shows each at work.

The options of `ozelot` stand before or behind any command:

```console
$ ozelot --version
ozelot ...
```
"""


def page() -> str:
    """The page as Markdown."""
    return _START + "".join(f"\n{section}" for section in _sections(typer.main.get_command(app), "ozelot", None))


def _sections(command: Any, name: str, parent: Any) -> Iterator[str]:
    context = typer.Context(command, info_name=name.rpartition(" ")[2], parent=parent)
    described = [_escaped(text) for text in (command.help or "").replace("\n\n", "\0").split("\0")]
    lines = [f"## `{name}`", "", *_paragraphs(described)]
    lines += ["```text", " ".join([name, *command.collect_usage_pieces(context)]), "```", ""]
    if rows := list(_rows(command, context)):
        lines += ["| argument, option | what it is |", "| --- | --- |", *rows, ""]
    inner = {found: command.get_command(context, found) for found in getattr(command, "commands", {})}
    if inner and parent is not None:
        lines += [", ".join(f"[`{name} {found}`](#{name.replace(' ', '-')}-{found})" for found in inner), ""]
    yield "\n".join(lines)
    for found, one in inner.items():
        yield from _sections(one, f"{name} {found}", context)


def _paragraphs(texts: list[str]) -> Iterator[str]:
    for text in texts:
        yield text
        yield ""


def _rows(command: Any, context: Any) -> Iterator[str]:
    for parameter in command.get_params(context):
        record = parameter.get_help_record(context)
        if record is not None and "--help" not in parameter.opts:
            yield f"| `{record[0]}` | {_escaped(record[1])} |"


def _escaped(text: str) -> str:
    return " ".join(text.split()).replace("|", "\\|").replace("<", "&lt;")


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
