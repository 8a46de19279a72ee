"""The structure: which file may import which, and what the package shows to the outside."""

from __future__ import annotations

import ast
import importlib
import re
import subprocess
import sys
from collections.abc import Iterator
from graphlib import TopologicalSorter
from pathlib import Path

import pytest

from tests.folders import ROOT

SOURCE = ROOT / "src"

#: Each package may import those above it; a module of the root counts as a package.
PACKAGES = [
    *("errors", "config", "redaction", "formatting"),
    *("values", "db", "frames", "client", "diagram", "model"),
    *("state", "rows", "checks", "load", "cache", "fake_web"),
    *("pipeline", "staleness", "clear", "schema", "etl", "engine"),
    *("orm", "testing", "ozelot", "ui", "cli", "__main__"),
]

FILES = {path.relative_to(SOURCE).with_suffix(""): path for path in SOURCE.rglob("*.py")}
MODULES = sorted(".".join(path.parts).removesuffix(".__init__") for path in FILES)

#: What code written for 0.2 imports.
NAMES_OF_0_2 = {
    "ozelot.cache": "RequestCache get_request_cache reset_request_cache ERROR_CONNECTION_ERROR ERROR_XPATH_NOT_FOUND",
    "ozelot.client": "Client get_client set_client",
    "ozelot.config": "logger TEMPLATE_DB_PARAMS DEFAULT_DB_PARAMS LOG_LEVEL REQUEST_CACHE_PATH DOT_EXECUTABLE",
    "ozelot.etl.targets": "ORMTarget",
    "ozelot.etl.tasks": "TaskBase ORMTask ORMTestTask ORMWrapperTask InputFileTask ORMObjectCreatorMixin "
    "check_completion get_task_name get_task_param_string",
    "ozelot.etl.util": "render_diagram sanitize",
    "ozelot.orm.base": "Base model_registry render_diagram",
    "ozelot.orm.target": "ORMTargetMarker",
}


def path_of(module: str) -> Path:
    path = SOURCE / Path(*module.split("."))
    return path / "__init__.py" if path.is_dir() else path.with_suffix(".py")


def imported(module: str) -> set[str]:
    """The modules of the package that a module imports, wherever in the file it does."""
    found = set()
    for node in ast.walk(ast.parse(path_of(module).read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            inner = {f"{node.module}.{alias.name}" for alias in node.names}
            found |= {name if name in MODULES else node.module for name in inner}
    return {name for name in found if name.split(".")[0] == "ozelot"}


def names_in(path: Path) -> Iterator[str]:
    """The modules of the tests that a file imports or, in code that it runs in other processes, names."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield from (f"{node.module}.{alias.name}" for alias in node.names)
        elif isinstance(node, ast.Constant) and isinstance(node.value, str):
            yield from re.findall(r"\btests[\w.]*", re.sub(r"\bfrom (tests[\w.]*) import ", r"\1.", node.value))


def package_of(module: str) -> str:
    return module.split(".")[1] if "." in module else module


def test_every_package_has_its_layer() -> None:
    assert {package_of(module) for module in MODULES} == set(PACKAGES)


@pytest.mark.parametrize("package", PACKAGES)
def test_a_package_imports_only_from_those_above(package: str) -> None:
    own = [module for module in MODULES if package_of(module) == package]
    found = {package_of(other) for module in own for other in imported(module)} - {package}
    assert found <= set(PACKAGES[: PACKAGES.index(package)])


def test_no_modules_import_each_other() -> None:
    graph = {module: imported(module) - {module, module.rpartition(".")[0]} for module in MODULES}
    TopologicalSorter(graph).prepare()  # raises CycleError


@pytest.mark.parametrize("module", [module for module in MODULES if package_of(module) != "orm"])
def test_the_package_itself_does_not_use_the_import_paths_of_0_2(module: str) -> None:
    assert not [other for other in imported(module) if other.split(".")[1:2] == ["orm"]]


@pytest.mark.parametrize("module", MODULES)
def test_a_module_is_one_idea_of_at_most_450_lines(module: str) -> None:
    assert len(path_of(module).read_text(encoding="utf-8").splitlines()) <= 450


@pytest.mark.parametrize("module", NAMES_OF_0_2)
def test_names_of_0_2_can_be_imported(module: str) -> None:
    found = importlib.import_module(module)
    for name in NAMES_OF_0_2[module].split():
        getattr(found, name)


def test_importing_everything_is_silent() -> None:
    code = f"import logging, {', '.join(MODULES)}; print(logging.getLogger('ozelot').handlers)"
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", code], capture_output=True, text=True, check=True, timeout=60
    )
    assert (done.stdout, done.stderr) == ("[]\n", "")


def test_what_several_test_modules_use_is_in_no_test_module() -> None:
    files = {path: set(names_in(path)) for path in (ROOT / "tests").rglob("*.py")}
    alone = re.compile(r"tests\.(\w+\.)*(test_\w+|conftest)\b")  # pytest alone imports these
    assert {path.name: found for path, names in files.items() if (found := set(filter(alone.match, names)))} == {}
