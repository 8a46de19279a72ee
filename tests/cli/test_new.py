"""``ozelot new`` and ``ozelot demo``: projects that run and pass their tests at once."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from ozelot.cli.new import EXAMPLES, new_project, package_of
from ozelot.errors import ProjectRefused
from tests import folders
from tests.cli.calling import process

pytestmark = pytest.mark.slow


def test_a_new_project_runs_and_passes_its_tests_at_once(tmp_path: Path) -> None:
    made = process(tmp_path, "new", "My-Project")
    assert (made.code, made.err) == (0, "")
    assert made.out.splitlines()[0] == "Created My-Project"
    assert made.out.splitlines()[-1] == "Run it with: cd My-Project; ozelot run"
    folder = tmp_path / "My-Project"
    ran = process(folder, "run", "--quiet")
    assert ran.code == 0 and "LoadCountries, LoadCities, CheckCities, LoadEverything" in ran.out
    status = process(folder, "status")
    assert status.code == 0 and "6 of 6 tasks of the pipeline are complete" in status.out
    tested = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-p", "no:xdist"],
        cwd=folder,
        capture_output=True,
        text=True,
        check=False,
    )
    assert tested.returncode == 0, tested.stdout + tested.stderr
    assert not any("project_name" in path.read_text("utf-8") for path in folder.rglob("*.py"))


def test_a_demo_shows_what_it_did(tmp_path: Path) -> None:
    shown = process(tmp_path, "demo")
    assert shown.code == 0
    assert [line for line in shown.out.splitlines() if line.startswith("$ ")] == [
        "$ ozelot db init",
        "$ ozelot run --quiet",
        "$ ozelot status",
    ]
    assert "8 city" in shown.out
    again = process(tmp_path, "demo")
    assert (again.code, again.out) == (2, "")
    assert again.err.endswith("ozelot_demo is there already, and not empty: choose another name\n")


@pytest.mark.parametrize("example", EXAMPLES)
def test_an_example_is_copied_whole_but_for_what_it_made(example: str, tmp_path: Path) -> None:
    folder = new_project(tmp_path / "copy", example)
    assert not list(folder.rglob("*.db")) and not list(folder.rglob("__pycache__"))
    wanted = subprocess.run(
        ["git", "ls-files", example], cwd=folders.EXAMPLES, capture_output=True, text=True, check=True
    ).stdout.splitlines()
    assert sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()) == sorted(
        [*(str(Path(path).relative_to(example)) for path in wanted), "pytest.ini"]
    )


def test_what_is_called_is_told_what_to_do_next(tmp_path: Path) -> None:
    made = process(tmp_path, "new", "copy", "--example", "employees")
    assert (made.code, made.out) == (0, "Created copy\nHow to go on: copy/README.md\n")


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("json", "There is a Python module 'json' already"),
        ("2x", "'2x' gives no name for a Python package"),
        ("class", "'class' gives no name for a Python package"),
        ("...", "gives no name for a Python package"),
        ("taken", "taken is there already, and not empty"),
        ("file", "file is there already, and not empty"),
        ("no/where", "create it first"),
        ("x" * 300, "Cannot create .*: File name too long"),
    ],
)
def test_a_project_that_cannot_be_made_leaves_nothing(name: str, reason: str, tmp_path: Path) -> None:
    (tmp_path / "taken").mkdir()
    (tmp_path / "taken" / "mine").touch()
    (tmp_path / "file").touch()
    before = sorted(tmp_path.rglob("*"))
    with pytest.raises(ProjectRefused, match=reason):
        new_project(tmp_path / name)
    assert sorted(tmp_path.rglob("*")) == before


def test_an_example_that_there_is_not_is_refused_with_those_that_there_are(tmp_path: Path) -> None:
    refused = process(tmp_path, "new", "x", "--example", "heroes")
    assert (refused.code, refused.out) == (2, "")
    assert refused.err == (
        "error: No example is called 'heroes'. There are: employees, flights, leonardo, superheroes\n"
    )
    assert list(tmp_path.iterdir()) == []


def test_options_that_mean_nothing_here_are_refused(tmp_path: Path) -> None:
    for command in ("new x", "demo"):
        refused = process(tmp_path, *command.split(), "--database", "sqlite:///other.db")
        assert (refused.code, refused.out) == (2, "")
        assert refused.err.startswith("error: A new project has a pipeline and a database of its own")
    assert list(tmp_path.iterdir()) == []


def test_an_empty_folder_may_be_there(tmp_path: Path) -> None:
    (tmp_path / "mine").mkdir()
    assert (new_project(tmp_path / "mine") / "mine" / "pipeline.py").is_file()


@pytest.mark.parametrize(
    ("name", "package"), [("shop", "shop"), ("My-Shop 2", "my_shop_2"), ("Bücher", "bücher"), ("_x_", "x")]
)
def test_the_package_is_called_as_the_folder_is(name: str, package: str) -> None:
    assert package_of(name) == package
