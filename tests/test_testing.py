"""What users need to test their own pipelines holds what it promises, and fails where it should."""

from __future__ import annotations

import os
from collections.abc import Collection, Generator
from pathlib import Path
from typing import Any

import luigi
import pytest
import sqlalchemy as sa

from ozelot import cache, config
from ozelot.clear.plan import ClearPlan
from ozelot.client import Client
from ozelot.errors import FetchError, GraphError, NotInCache
from ozelot.etl import tasks
from ozelot.etl.completion import clear_plan
from ozelot.orm.base import Base
from ozelot.testing import FakeWeb, assert_clear_restores, assert_idempotent, contents, temporary_cache
from tests.databases import only
from tests.etl import heroes, staff
from tests.etl.flights import Flight, Journey, LoadFerries, LoadJourneys, LoadMonth, LoadYear, Vessel
from tests.etl.heroes import build
from tests.superheroes import MODELS, checks, fill_cache, pipeline, settings
from tests.tables import create_tables


@pytest.fixture(autouse=True)
def tables(db: Client) -> None:
    create_tables(db, staff.Unit, Flight, Journey, Vessel, *heroes.TABLES, *MODELS)
    heroes.write_inputs()


GOOD: list[luigi.Task] = [
    staff.LoadUnits(),
    staff.LoadEmployees(),
    heroes.InflationAdjustMovieBudgets(),
    heroes.LoadMovieAppearances(),
    LoadMonth(month=1),
    LoadJourneys(n=1),
    LoadFerries(n=1),
]


@pytest.mark.parametrize("check", [assert_clear_restores, assert_idempotent], ids=["restores", "idempotent"])
@pytest.mark.parametrize("task", GOOD, ids=lambda task: str(task.task_family))
def test_good_tasks_pass(db: Client, task: Any, check: Any) -> None:
    check(task)


SUPERHEROES: list[Any] = [
    pipeline.LoadUniverses,
    pipeline.LoadCharacters,
    pipeline.LoadMovies,
    pipeline.LoadMovieAppearances,
    pipeline.InflationAdjustMovieBudgets,
    pipeline.LoadEverything,
    checks.TestUniverses,
    checks.TestCharacters,
    checks.TestMovies,
    checks.TestMovieAppearances,
    checks.Tests,
]
#: One that creates, one that updates, one that bundles, one that checks.
KINDS: list[Any] = [
    pipeline.LoadCharacters,
    pipeline.InflationAdjustMovieBudgets,
    pipeline.LoadEverything,
    checks.TestMovies,
]


@pytest.fixture(scope="module")
def filled_cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return fill_cache(tmp_path_factory.mktemp("cache") / "web_cache.db")


@pytest.fixture
def superheroes(filled_cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in settings(filled_cache).items():
        monkeypatch.setitem(vars(config), name, value)


@only("sqlite")
@pytest.mark.usefixtures("superheroes")
@pytest.mark.parametrize("check", [assert_clear_restores, assert_idempotent], ids=["restores", "idempotent"])
@pytest.mark.parametrize("task", SUPERHEROES)
def test_every_task_of_superheroes_passes(db: Client, task: Any, check: Any) -> None:
    check(task())


@only("postgresql", "mariadb")
@pytest.mark.usefixtures("superheroes")
@pytest.mark.parametrize("check", [assert_clear_restores, assert_idempotent], ids=["restores", "idempotent"])
@pytest.mark.parametrize("task", SUPERHEROES if os.environ.get("OZELOT_TEST_NIGHTLY") else KINDS)
def test_each_kind_of_task_of_superheroes_passes_on_a_server(db: Client, task: Any, check: Any) -> None:
    check(task())


class Asking(tasks.ORMTask):
    """Finds its requirement while it runs."""

    creates: Collection[Any] = [staff.Unit]

    def run(self) -> Generator[Any, Any, None]:
        self.session.add(staff.Unit(name="first"))
        yield LoadMonth(month=1)
        self.session.add(staff.Unit(name="second"))


@pytest.mark.parametrize("check", [assert_clear_restores, assert_idempotent], ids=["restores", "idempotent"])
def test_a_task_that_finds_its_requirements_while_it_runs_passes(db: Client, check: Any) -> None:
    check(Asking())
    assert LoadMonth(month=1).complete()


def test_the_contents_of_a_database_are_the_rows_of_models_without_tables_of_ozelot(db: Client) -> None:
    assert build(staff.LoadUnits())
    found = contents(db)
    assert not [name for name in found if name.startswith(("ozelot", "ormtarget"))]
    assert len(found["unit"]) == 3


@pytest.mark.parametrize("check", [assert_clear_restores, assert_idempotent], ids=["restores", "idempotent"])
def test_a_task_that_is_complete_already_passes(db: Client, check: Any) -> None:
    assert build(staff.LoadEmployees())
    check(staff.LoadEmployees())


class ClearsTooLittle(tasks.ORMTask):
    def run(self) -> None:
        self.session.add(staff.Unit(name="left behind"))

    def clear(self) -> None:
        self.mark_incomplete()


class ClearsTooMuch(tasks.ORMTask):
    def requires(self) -> Any:
        return [staff.LoadUnits()]

    def run(self) -> None:
        self.session.add(staff.Unit(name="mine"))

    def clear(self) -> None:
        self.mark_incomplete()
        self.session.query(staff.Unit).delete()
        self.close_session()


class Counts(tasks.ORMTask):
    """Gives other rows each time."""

    creates: Collection[Any] = [Flight]
    times = 0

    def run(self) -> None:
        type(self).times += 1
        self.session.add(Flight(month=self.times, carrier="x"))


@pytest.mark.parametrize("task", [ClearsTooLittle, ClearsTooMuch])
def test_a_clear_that_does_not_restore_is_found(db: Client, task: type[tasks.ORMTask]) -> None:
    with pytest.raises(AssertionError, match=rf"clearing {task.__name__} {{}} changed unit"):
        assert_clear_restores(task())


def test_a_task_that_is_not_idempotent_is_found(db: Client) -> None:
    with pytest.raises(AssertionError, match=r"clearing and running Counts {} changed flight"):
        assert_idempotent(Counts())


def counted(plan: ClearPlan) -> dict[str, dict[str, int]]:
    return {step.label: step.deletes | step.resets for step in plan.steps}


def test_a_plan_says_how_many_rows_each_step_will_delete_and_changes_nothing(db: Client) -> None:
    assert build(heroes.LoadEverything(), LoadYear())
    plan = clear_plan(heroes.LoadEverything(), [heroes.LoadMovies()])
    assert counted(plan) == {
        "LoadEverything {}": {},
        "InflationAdjustMovieBudgets {}": {"hmovie.budget_inflation_adjusted": 5},
        "LoadMovieAppearances {}": {"hmovieappearance": 50},
        "LoadMovies {}": {"hmovie": 5},
    }
    assert tasks.check_completion(heroes.LoadEverything())
    plan.apply()
    assert set(counted(clear_plan(heroes.LoadEverything()))) == set(counted(plan))
    assert counted(clear_plan(LoadYear(), [LoadMonth(month=2)])) == {
        "LoadYear {}": {},
        "LoadMonth {'month': '2'}": {"flight": 5},
    }
    with pytest.raises(GraphError, match=r"LoadUnits {} is not in the graph of LoadYear {}"):
        clear_plan(LoadYear(), [staff.LoadUnits()])


def test_a_plan_of_an_empty_database_has_nothing_to_delete(db: Client) -> None:
    Base.drop_all(db)
    assert counted(clear_plan(staff.LoadStaff())) == {"LoadStaff {}": {}, "LoadEmployees {}": {}, "LoadUnits {}": {}}
    assert sa.inspect(db.engine).get_table_names() == []


PAGE = "https://wiki.example/Thor"


def test_a_temporary_cache_takes_the_place_of_the_shared_one_and_asks_its_web_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OZELOT_OFFLINE", "1")
    with cache.RequestCache(tmp_path / "former.db") as former:
        cache.set_request_cache(former)
        web = FakeWeb({PAGE: [503, "pretended"]})
        with pytest.raises(RuntimeError, match="a test that fails"), temporary_cache(tmp_path, web) as found:
            assert cache.get_request_cache() is found
            assert cache.get_request_cache().get(PAGE) == "pretended"
            with pytest.raises(FetchError, match="HTTP status 404"):
                cache.get_request_cache().get(f"{PAGE}/more")
            raise RuntimeError("a test that fails")
        assert cache.get_request_cache() is former
        with pytest.raises(NotInCache, match="OFFLINE is set"):
            former.get(PAGE)
    assert [str(request) for request in web.asked] == [PAGE, PAGE, f"{PAGE}/more"]
    assert found.path == tmp_path / "test_pages.db"


def test_after_a_temporary_cache_the_shared_one_is_made_from_the_settings_as_if_nothing_had_been(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(config, "REQUEST_CACHE_PATH", str(tmp_path / "own.db"), raising=False)
    with temporary_cache(tmp_path, FakeWeb()):
        pass
    assert cache.get_request_cache().path == tmp_path / "own.db"
