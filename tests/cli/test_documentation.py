"""The page on the command line is true: its examples run, and it has every command and option."""

from __future__ import annotations

import re
import runpy
import subprocess
import sys
from collections.abc import Iterator
from typing import Any

import pytest
import typer.main

from ozelot.cli.app import app
from tests import quick
from tests.folders import DOCS

PAGE = (DOCS / "cli.md").read_text(encoding="utf-8")


def commands(command: Any, name: str) -> Iterator[tuple[str, Any]]:
    """Every command that does something, with all that has to be typed for it."""
    if not hasattr(command, "commands"):
        yield name, command
    for inner_name, inner in getattr(command, "commands", {}).items():
        yield from commands(inner, f"{name} {inner_name}")


COMMANDS = dict(commands(typer.main.get_command(app), "ozelot"))


def section(name: str) -> str:
    (found,) = re.findall(rf"^## `{name}(?: [^`]*)?`\n(.*?)(?=^## )", PAGE, re.DOTALL | re.MULTILINE)
    return str(found)


@pytest.mark.parametrize("name", [name for name in COMMANDS if name != "ozelot history show"])
def test_every_command_has_a_section_with_all_its_options(name: str) -> None:
    text = section("ozelot history" if name == "ozelot history prune" else name)
    for parameter in COMMANDS[name].params:
        for option in [option for option in parameter.opts if option.startswith("--") and option != "--help"]:
            assert f"`{option}" in text or f" {option} " in text, option


def test_the_page_of_all_commands_is_what_they_say_of_themselves() -> None:
    made = runpy.run_path(str(DOCS / "commands.py"))["page"]()
    assert (DOCS / "commands.md").read_text(encoding="utf-8") == made, "make it anew: python docs/commands.py"


def test_options_of_ozelot_itself_are_told() -> None:
    for parameter in typer.main.get_command(app).params:
        for option in parameter.opts:
            assert f"`{option}`" in PAGE, option


@pytest.mark.parametrize("name", COMMANDS)
def test_help_of_every_command_says_what_it_does_and_what_else_can_be_typed(name: str) -> None:
    done = subprocess.run(quick.ozelot(*name.split()[1:], "--help"), capture_output=True, text=True, check=True)
    assert done.stdout.startswith(f"Usage: {name} ")
    assert ("--database" in done.stdout) == (name not in ("ozelot new", "ozelot demo"))
    for parameter in COMMANDS[name].params:
        assert all(option in done.stdout for option in parameter.opts if option.startswith("--"))


def test_help_imports_nothing_that_takes_long() -> None:
    code = (
        "import sys; sys.argv = ['ozelot', '--help']\n"
        "import ozelot.cli.app\n"
        "try: ozelot.cli.app.main()\n"
        "except SystemExit: pass\n"
        "print(sorted({'luigi', 'sqlalchemy', 'rich', 'pydantic', 'project_config'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60)
    assert done.stdout.endswith("\n[]\n")
