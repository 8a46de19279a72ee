"""Tasks that cannot be asked what they require, or whether they are complete: one line, whatever the command."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from ozelot.client import Client
from ozelot.errors import TaskBroken
from ozelot.etl.status import status
from ozelot.orm.base import Base
from tests.cli.calling import Called, called

ALL = ["run", "run --refresh --yes", "status", "plan", "clear LoadWeirs --yes", "verify", "why LoadWeirs"]
ALL += ["diagram pipeline"]

#: Those that ask tasks whether they are complete.
SOME = ["run --refresh --yes", "run", "status", "plan", "why LoadCanals", "diagram pipeline"]

CODE = """\
import luigi
from ozelot.etl import tasks


class LoadWeirs(tasks.ORMTask):
    creates = ()

    def run(self):
        pass


class LoadLocks(tasks.ORMTask):
    creates = ()
    river = luigi.Parameter()


class LoadCanals(tasks.ORMWrapperTask):
    def requires(self):
        return [LoadWeirs(), {requirement}]


class {odd}(tasks.ORMTask):
    creates = ()

    def {method}(self):
        return [][1]
"""


@pytest.fixture
def project(sqlite_db: Client, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """The file of a pipeline."""
    monkeypatch.setenv("OZELOT_PIPELINE", "canals:LoadCanals")
    monkeypatch.chdir(tmp_path)
    Base.create_all(sqlite_db)
    yield tmp_path / "canals.py"
    sys.modules.pop("canals", None)


def they_say(project: Path, requirement: str, line: str, method: str = "run") -> None:
    odd = f"Odd{abs(hash((requirement, method)))}"
    project.write_text(CODE.format(requirement=requirement.replace("Odd", odd), method=method, odd=odd))
    sys.path_importer_cache.clear()
    sys.modules.pop("canals", None)
    for command in SOME if method in ("output", "complete") else ALL:
        found = called(*command.split())
        out = found.out if command == "run" else ""  # which runs what does not depend on a task that cannot be asked
        assert found == Called(3, out, f"error: {line.replace('Odd', odd)}\n"), command
        assert method in ("output", "complete") or out == ""


def test_a_name_that_is_not_defined_is_told_with_its_line(project: Path) -> None:
    told = "LoadCanals.requires(): NameError: name 'LoadCanal' is not defined (canals.py, line 19)"
    they_say(project, "LoadCanal()", told)


@pytest.mark.parametrize("method", ["requires", "output", "complete"])
def test_so_is_an_error_of_any_method_that_is_asked(project: Path, method: str) -> None:
    they_say(project, "Odd()", f"Odd.{method}(): IndexError: list index out of range (canals.py, line 26)", method)
    if method != "requires":
        assert called("clear", "LoadWeirs", "--yes").out.endswith("Cleared 2 tasks. Run them again with: ozelot run\n")


@pytest.mark.parametrize(
    ("requirement", "told"),
    [
        ("LoadWeirs", "LoadWeirs, a class: write LoadWeirs()"),
        ("LoadLocks", "LoadLocks, a class: write LoadLocks(river=...)"),
        ("'LoadLocks'", "'LoadLocks', which is no task: let it give tasks, as in [LoadUnits()]"),
        ("7", "7, which is no task: let it give tasks, as in [LoadUnits()]"),
    ],
)
def test_what_is_no_task_is_told(project: Path, requirement: str, told: str) -> None:
    they_say(project, requirement, f"LoadCanals.requires() gives {told}")


def test_the_error_itself_is_the_cause(project: Path) -> None:
    from ozelot.etl.tasks import ORMTask

    class Unasked(ORMTask):
        creates = ()

        def requires(self) -> None:
            raise LookupError("nothing there\nat all")

    with pytest.raises(TaskBroken, match=r"^Unasked.requires\(\): LookupError: nothing there \(.*, line \d+\)$") as exc:
        status(Unasked())
    assert isinstance(exc.value.__cause__, LookupError)
