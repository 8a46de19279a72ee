"""What users may import: a name that goes, or comes, is a decision, and stands in a list."""

from __future__ import annotations

import importlib
import inspect
import re
from pathlib import Path

import pytest

from tests.folders import DOCS, ROOT

LIST = Path(__file__).with_name("public_names.txt")
PUBLIC = dict(line.split(": ") for line in LIST.read_text(encoding="utf-8").splitlines())


@pytest.mark.parametrize("module", [module for module in PUBLIC if hasattr(importlib.import_module(module), "__all__")])
def test_all_that_a_module_names_as_its_own_is_in_the_list(module: str) -> None:
    assert " ".join(sorted(importlib.import_module(module).__all__)) == PUBLIC[module]


def test_every_error_is_in_the_list() -> None:
    errors = importlib.import_module("ozelot.errors")
    own = {name for name, value in vars(errors).items() if getattr(value, "__module__", None) == errors.__name__}
    assert {name for name in own if not name.startswith("_")} == set(PUBLIC["ozelot.errors"].split())


@pytest.mark.parametrize("module", PUBLIC)
def test_what_is_public_is_there_and_described(module: str) -> None:
    found = importlib.import_module(module)
    assert found.__doc__
    for name in PUBLIC[module].split():
        value = getattr(found, name)
        if inspect.isclass(value) or inspect.isfunction(value):
            assert inspect.getdoc(value), name


def test_all_that_documentation_and_examples_import_is_public() -> None:
    pages = [
        ROOT / "README.md",
        *ROOT.glob("docs/**/*.md"),
        *ROOT.glob("examples/**/*.md"),
        *ROOT.glob("examples/**/*.py"),
    ]
    imported = set()
    for page in pages:
        text = page.read_text(encoding="utf-8")
        for module, several in re.findall(r"^(?:>>> )?from (ozelot[\w.]*) import (\([^)]*\)|.*)$", text, re.MULTILINE):
            imported |= {(module, name.split(" as ")[0]) for name in re.findall(r"\w+(?: as \w+)?", several)}
    public = {f"{module}.{name}" for module, names in PUBLIC.items() for name in names.split()}
    assert {".".join(pair) for pair in imported} <= public | set(PUBLIC)


def test_every_public_module_is_in_the_reference() -> None:
    reference = (DOCS / "site" / "reference.rst").read_text(encoding="utf-8")
    described = set(re.findall(r"^.. auto(?:module|function|class):: ([\w.]+)", reference, re.MULTILINE))
    commands = {"ozelot.cli.app", "ozelot.cli.diagrams", "ozelot.cli.db"}  # on the page of all commands
    for module in set(PUBLIC) - commands:
        assert module in described or all(f"{module}.{name}" in described for name in PUBLIC[module].split()), module
