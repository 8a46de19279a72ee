"""Which tasks turn stale by an edit of their project: exactly those that it touches."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.folders import DOCS, ROOT
from tests.stale.edits import EDITS, Edit

pytestmark = pytest.mark.slow

PROJECT = Path(__file__).parent / "project"
PAGE = DOCS / "staleness.md"

Ask = Callable[[str, Path], object]


@pytest.fixture(scope="module")
def ask() -> Iterator[Ask]:
    """Has a project run, or judged, in a fresh process."""
    environment = {**os.environ, "PYTHONDONTWRITEBYTECODE": "1"}
    command = [sys.executable, "-m", "tests.stale.child"]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=ROOT, env=environment
    ) as child:
        assert child.stdin is not None
        assert child.stdout is not None
        questions, answers = child.stdin, child.stdout

        def asked(what: str, folder: Path) -> object:
            questions.write(f"{what} {folder}\n")
            questions.flush()
            return json.loads(answers.readline())

        yield asked
        questions.close()
        child.wait()


@pytest.fixture(scope="module")
def complete(ask: Ask, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A project that was run."""
    folder = tmp_path_factory.mktemp("complete") / "project"
    shutil.copytree(PROJECT, folder)
    assert ask("run", folder) is True
    return folder


def edited(project: Path, edit: Edit) -> None:
    for file, old, new in ((edit.file, edit.old, edit.new), *edit.also):
        path = project / file
        text = path.read_text(encoding="utf-8") if path.exists() else ""
        assert old in text
        path.write_text(text.replace(old, new) if old else text + new, encoding="utf-8")


@pytest.mark.parametrize("edit", EDITS, ids=[edit.name for edit in EDITS])
def test_exactly_what_an_edit_touches_turns_stale(edit: Edit, complete: Path, ask: Ask, tmp_path: Path) -> None:
    project = tmp_path / "project"
    shutil.copytree(complete, project)
    edited(project, edit)
    assert ask("judge", project) == edit.stale


OF_MODELS = [edit for edit in EDITS if edit.file == "shop/models.py"]


@pytest.mark.parametrize("edit", OF_MODELS, ids=[edit.name for edit in OF_MODELS])
def test_what_differs_from_the_database_says_which_tasks_it_makes_stale(
    edit: Edit, complete: Path, ask: Ask, tmp_path: Path
) -> None:
    project = tmp_path / "project"
    shutil.copytree(complete, project)
    edited(project, edit)
    assert ask("compare", project) == sorted(name for name, why in edit.stale.items() if "schema: " in why)


def test_nothing_is_stale_that_was_just_run(complete: Path, ask: Ask) -> None:
    assert ask("judge", complete) == {}


def test_what_workers_ran_is_not_stale_though_they_import_less(ask: Ask, tmp_path: Path) -> None:
    project = tmp_path / "project"
    shutil.copytree(PROJECT, project)
    assert ask("process", project) is True
    assert ask("judge", project) == {}


def test_there_are_forty_edits_and_the_page_tells_all_of_them() -> None:
    assert len(EDITS) >= 40
    rows = re.findall(r"^\| ([^|]+) \| ([^|]+) \|$", PAGE.read_text(encoding="utf-8"), re.MULTILINE)
    told = dict(row for row in rows if row[0] in {edit.name for edit in EDITS})
    assert told == {edit.name: ", ".join(edit.stale) or "none" for edit in EDITS}
