"""Finding a pipeline and its tasks by what is typed, and saying what is wrong with it."""

from __future__ import annotations

import shlex
import sqlite3
import sys
from pathlib import Path

import pytest

from ozelot.cli.output import visible
from ozelot.cli.project import split_task, tasks_named
from ozelot.errors import TaskNotFound
from ozelot.pipeline.marker_target import task_label
from tests.cli import shop
from tests.cli.calling import SHOP, called, process


@pytest.fixture(autouse=True)
def empty_database(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OZELOT_DATABASE_URL", "sqlite://")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Load", ("Load", {})),
        ("sales.Load()", ("sales.Load", {})),
        ("Load(a=1, b = two words )", ("Load", {"a": "1", "b": "two words"})),
        ("Load(day=2020-01-31,note='a, b')", ("Load", {"day": "2020-01-31", "note": "a, b"})),
        ("Load(years=[1, 2], it=it's)", ("Load", {"years": "[1, 2]", "it": "it's"})),
        ('Load(note="")', ("Load", {"note": ""})),
        ("Load {'a': '1', 'b': 'it\\'s'}", ("Load", {"a": "1", "b": "it's"})),
    ],
)
def test_a_task_is_read_as_it_is_typed_or_printed(text: str, expected: tuple[str, dict[str, str]]) -> None:
    assert split_task(text) == expected


@pytest.mark.parametrize("text", ["", "Load(", "Load(1)", "Load {1", "Load {'a': open('x')}"])
def test_what_is_no_task_is_refused(text: str) -> None:
    with pytest.raises(TaskNotFound):
        split_task(text)


def test_a_class_means_all_of_its_tasks_and_parameters_choose() -> None:
    root = shop.LoadShop(years=3)
    labels = [f"LoadGoods {{'year': '{year}'}}" for year in (2020, 2021, 2022)]
    assert [task_label(task) for task in tasks_named(root, "LoadGoods")] == labels
    for text in ("LoadGoods(year=2021)", "LoadGoods(year=02021)", labels[1]):
        assert [task_label(task) for task in tasks_named(root, text)] == [labels[1]]


def test_whatever_is_printed_of_a_task_can_be_typed() -> None:
    root = shop.Odd()
    assert tasks_named(root, task_label(root)) == [root]
    assert tasks_named(root, visible(task_label(root))) == [root]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("LoadGood", "No task 'LoadGood' in tests.cli.shop. Did you mean LoadGoods? List them with: ozelot status"),
        ("zzz", "No task 'zzz' in tests.cli.shop. There is LoadGoods, LoadShelves, LoadShop, MeasureShelves"),
        ("LoadGoods(yaer=1)", "LoadGoods has no parameter 'yaer'. Did you mean year?"),
        ("LoadGoods(year=x)", "'x' is no value for the parameter 'year' of LoadGoods: invalid literal"),
        ("LoadGoods(year=1)", "No task LoadGoods(year=1) in tests.cli.shop: of LoadGoods there is LoadGoods {'year':"),
        (
            "LoadGoods(year=1)",
            "No task LoadGoods(year=1) in tests.cli.shop: of LoadGoods there is LoadGoods {'year': '2020'}, LoadGoods "
            "{'year': '2021'}. To run another one: --pipeline 'tests.cli.shop:LoadGoods(year=1)'\n",
        ),
        (
            "LoadGoods",
            "LoadGoods means 2 tasks: LoadGoods {'year': '2020'}, LoadGoods {'year': '2021'}. Name one, as in ",
        ),
        ("shop:LoadGoods", "'shop:LoadGoods' is no task of the pipeline. To name another pipeline, write --pipeline "),
    ],
)
def test_a_name_that_means_no_one_task_is_answered_with_what_to_type(text: str, message: str) -> None:
    found = called("status", text, "--pipeline", SHOP)
    assert (found.code, found.out) == (2, "")
    assert found.err.startswith(f"error: {message}")
    assert found.err.count("\n") == 1


@pytest.mark.parametrize(
    ("pipeline", "code", "message"),
    [
        ("nowhere:Load", 3, "No module 'nowhere' in this folder or on the path"),
        ("tests.cli.nowhere:Load", 3, "No module 'tests.cli.nowhere' in this folder or on the path"),
        ("tests.cli.shop", 3, "PIPELINE is 'tests.cli.shop', but must be module:Class"),
        ("tests.cli.shop:LoadShp", 2, "No task 'LoadShp' in tests.cli.shop. Did you mean LoadShop?"),
        ("tests.cli.shop:Shelf", 2, "No task 'Shelf' in tests.cli.shop."),
        ("tests.cli.shop:LoadGoods", 2, "LoadGoods needs a value for year: write LoadGoods(year=...)"),
        ("tests.cli.shop:LoadShop(years=many)", 2, "'many' is no value for the parameter 'years' of LoadShop"),
    ],
)
def test_a_pipeline_that_is_not_there_is_one_line(pipeline: str, code: int, message: str) -> None:
    found = called("status", "--pipeline", pipeline)
    assert (found.code, found.out) == (code, "")
    assert found.err.startswith(f"error: {message}")
    assert found.err.count("\n") == 1


def test_what_would_steer_a_terminal_is_escaped_in_errors() -> None:
    assert called("status", "\x1b[31mLoad\n", "--pipeline", SHOP).err.startswith("error: No task '\\x1b[31mLoad'")


def test_no_pipeline_says_where_to_name_one(tmp_path: Path) -> None:
    (tmp_path / "project_config.py").write_text("COUNTRIES = []\n")
    found = process(tmp_path, "status", OZELOT_PIPELINE="")
    assert found.err == (
        "error: No pipeline is named: set PIPELINE = 'module:Class' in project_config.py, or add --pipeline "
        "module:Class\n"
    )


@pytest.mark.parametrize(
    ("pipeline", "message"),
    [
        ("tests.cli.shop:LoadShp", "No task 'LoadShp' in tests.cli.shop. Did you mean LoadShop?"),
        (
            "tests.cli.shop",
            "PIPELINE is 'tests.cli.shop', but must be module:Class, as in staff.pipeline:LoadEverything.",
        ),
        (
            "nowhere:Load",
            "No module 'nowhere' in this folder or on the path: call ozelot in the folder of the project.",
        ),
    ],
)
def test_a_wrong_pipeline_is_told_with_the_place_where_it_was_named(
    pipeline: str, message: str, tmp_path: Path
) -> None:
    named = f"error: {message} The pipeline is named by"
    assert called("status", "--pipeline", pipeline).err == f"{named} --pipeline\n"
    told = process(tmp_path, "status", OZELOT_PIPELINE=pipeline)
    assert (told.err, told.code) == (f"{named} OZELOT_PIPELINE in the environment\n", 2 if "LoadShp" in message else 3)
    path = tmp_path / "project_config.py"
    path.write_text(f"PIPELINE = {pipeline!r}\n")
    assert process(tmp_path, "status", OZELOT_PIPELINE="").err == f"{named} PIPELINE in {path}\n"


def test_a_module_of_models_that_is_not_there_is_not_taken_for_the_pipeline(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OZELOT_MODELS", "nowhere")
    found = called("status", "--pipeline", SHOP)
    assert found.err.endswith(
        "No module 'nowhere' in this folder or on the path: call ozelot in the folder of the project\n"
    )


def test_a_misspelled_setting_is_told_where_nothing_uses_it(tmp_path: Path) -> None:
    path = tmp_path / "project_config.py"
    path.write_text(f"PIPELINE = {SHOP!r}\nOFLINE = True\nCOUNTRIES = []\nMODEL_PATH = 'x'\n")
    told = f"warning: {path} sets OFLINE, which nothing uses. Did you mean OFFLINE?\n"
    here = {"OZELOT_PIPELINE": "", "OZELOT_DATABASE_URL": f"sqlite:///{tmp_path / 'new.db'}"}
    made = process(tmp_path, "db", "init", **here)
    assert (made.code, made.err.count("warning"), told in made.err) == (0, 1, True)
    (tmp_path / "steps").mkdir()
    (tmp_path / "steps" / "load.py").write_text("from ozelot import config\nconfig.OFLINE\n")
    assert "warning" not in process(tmp_path, "db", "status", **here).err
    (tmp_path / "steps" / "load.py").unlink()
    with path.open("a") as file:
        file.write("OFFLINE = False\n")
    assert "warning" not in process(tmp_path, "db", "status", **here).err


def test_a_folder_without_a_project_is_told_so() -> None:
    for arguments in (["status"], ["run"], ["plan"], ["clear", "Load"], ["verify"], ["diagram", "pipeline"]):
        found = called(*arguments)
        assert found.code == 3
        assert found.err == (
            "error: No pipeline is named, and there is no project_config.py in this folder: call ozelot in the folder "
            "of the project, or set PIPELINE = 'module:Class' in one here, or add --pipeline module:Class\n"
        )
    assert called("db", "init").err.startswith("error: No models are named, and there is no project_config.py in this")


@pytest.mark.parametrize(
    ("code", "line", "cause"),
    [
        ("import os\n1 / 0\n", 2, "ZeroDivisionError: division by zero"),
        ("import os\n\nx = (\n", 3, "SyntaxError: '(' was never closed"),
        ("import no_such_library\n", 1, "ModuleNotFoundError: No module named 'no_such_library'"),
        ("import luigi\nluigi.IntParameter(foo=1)\n", 2, "TypeError: "),
        ("import sys\nsys.exit('no')\n", 2, "SystemExit: no"),
    ],
)
def test_a_module_that_cannot_be_imported_is_one_line_with_the_place_and_the_cause(
    code: str, line: int, cause: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / f"broken_{abs(hash(code))}.py"
    path.write_text(code)
    found = called("status", "--pipeline", f"{path.stem}:Load")
    assert found.code == 3
    assert found.err.startswith(f"error: Cannot import {path.stem}: {path}, line {line}: {cause}")
    assert found.err.count("\n") == 1
    monkeypatch.delitem(sys.modules, path.stem, raising=False)


def test_models_that_the_pipeline_does_not_import_are_named_by_a_setting(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "more_models.py").write_text(
        "from ozelot.orm.base import Base\nclass Unheard(Base):\n    __tablename__ = 'unheard'\n"
    )
    monkeypatch.setenv("OZELOT_MODELS", "tests.cli.shop, more_models")
    made = called("db", "init", "--database", f"sqlite:///{tmp_path / 'new.db'}")
    assert made.code == 0
    with sqlite3.connect(tmp_path / "new.db") as connection:
        assert connection.execute("SELECT name FROM sqlite_master WHERE name = 'unheard'").fetchall() == [("unheard",)]
    connection.close()
    from ozelot.orm import base

    base.Base.metadata.remove(base.Base.metadata.tables["unheard"])
    del base.model_registry["Unheard"]


def test_the_way_out_to_a_task_of_another_pipeline_can_be_gone() -> None:
    told = called("status", "LoadGoods(year=2030)", "--pipeline", SHOP).err
    other = shlex.split(told)[-1]
    assert other == "tests.cli.shop:LoadGoods(year=2030)"
    assert called("status", "--pipeline", other).out.splitlines()[-1].endswith("tasks of the pipeline are complete")


@pytest.mark.parametrize(
    ("text", "class_name", "other"),
    [
        ("Restock", "Restock", "tests.cli.shop:Restock"),
        ("Both", "Both", "'tests.cli.shop:Both(left=..., right=...)'"),
        ("Both(left=1,right=2)", "Both", "'tests.cli.shop:Both(left=1, right=2)'"),
    ],
)
@pytest.mark.parametrize("command", ["run", "status", "clear"])
def test_a_class_that_the_root_does_not_require_is_told_with_the_way_to_run_it(
    command: str, text: str, class_name: str, other: str
) -> None:
    found = called(command, text, "--pipeline", SHOP)
    assert (found.code, found.err) == (
        2,
        f"error: {class_name} is defined in tests.cli.shop, but LoadShop does not require it, directly or through "
        f"others. To run it: --pipeline {other}\n",
    )


def test_a_class_of_the_library_that_is_imported_there_is_no_task() -> None:
    assert called("status", "Any", "--pipeline", SHOP).err.startswith("error: No task 'Any' in tests.cli.shop.")


def test_there_is_no_way_out_where_parameters_do_not_make_a_task() -> None:
    odd = "tests.cli.shop:Pair(left=1)"
    assert called("status", "Both(left=1)", "--pipeline", odd).err == (
        "error: No task Both(left=1) in tests.cli.shop: of Both there is Both {'left': '0', 'right': '0'}\n"
    )
