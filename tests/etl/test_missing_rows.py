"""A complete task whose rows are gone, as its table was dropped, is "rows missing", and runs again."""

from __future__ import annotations

from typing import Any

import luigi
import pytest
import sqlalchemy as sa
from sqlalchemy import ForeignKey, String
from sqlalchemy.orm import Mapped, mapped_column

import ozelot
from ozelot.client import Client
from ozelot.etl import tasks
from ozelot.etl.status import State, recorded, status
from ozelot.orm.base import Base
from ozelot.orm.run import Run, TaskOwned
from tests.etl.heroes import build
from tests.tables import count_rows_each, create_tables


class Marina(Base):
    name: Mapped[str] = mapped_column(String(50))
    depth: Mapped[int | None] = mapped_column()


class Pier(TaskOwned, Base):
    marina_id: Mapped[int] = mapped_column(ForeignKey("marina.id"))


class LoadMarinas(tasks.ORMTask):
    creates = [Marina]

    def run(self) -> None:
        self.session.add_all([Marina(name="a"), Marina(name="b")])


class LoadPiers(tasks.ORMTask):
    creates = [Pier]
    number: int = luigi.IntParameter()

    def requires(self) -> Any:
        return [LoadMarinas()]

    def run(self) -> None:
        for marina in self.session.scalars(sa.select(Marina.id)):
            self.session.add_all(Pier(marina_id=marina) for _ in range(self.number))


class MeasureMarinas(tasks.ORMTask):
    updates = [Marina.depth]

    def requires(self) -> Any:
        return [LoadMarinas()]

    def run(self) -> None:
        self.session.execute(sa.update(Marina).values(depth=10))


class LoadNothing(tasks.ORMTask):
    """Its table is empty, and that is right."""

    creates = [Pier]

    def run(self) -> None: ...


class CountMarinas(tasks.ORMTask):
    """Asks for what it needs while it runs."""

    creates = ()

    def run(self) -> Any:
        yield [LoadMarinas()]


class ReportMarinas(tasks.ORMTask):
    """Of another root than the others."""

    creates = ()

    def requires(self) -> Any:
        return [CountMarinas()]

    def run(self) -> None: ...


class LoadCoast(tasks.ORMWrapperTask):
    def requires(self) -> Any:
        return [LoadPiers(number=1), LoadPiers(number=2), LoadPiers(number=0), MeasureMarinas(), LoadNothing()]


@pytest.fixture(autouse=True)
def coast(db: Client) -> None:
    create_tables(db, Marina, Pier)
    luigi.task_register.Register.clear_instance_cache()
    assert ozelot.run(LoadCoast()).ok


def states() -> dict[str, tuple[State, str]]:
    return {entry.label: (entry.state, entry.why) for entry in status(LoadCoast()) if not entry.is_complete}


def test_what_is_there_is_complete() -> None:
    assert states() == {}


def test_tasks_whose_table_was_dropped_and_created_again_run_again(db: Client) -> None:
    Pier.drop_table(db)
    Pier.create_table(db)
    missing = (State.ROWS_MISSING, "table pier is empty")
    found = states()
    assert {label: state for label, state in found.items() if "LoadPiers" in label} == {
        "LoadPiers {'number': '1'}": missing,
        "LoadPiers {'number': '2'}": missing,
    }
    assert found["LoadCoast {}"][0] is State.ON_INCOMPLETE
    result = ozelot.run([LoadPiers(number=1), LoadPiers(number=2)])
    assert result.ok and len(result.ran) == 2
    assert count_rows_each(db, Pier) == [6]
    assert states() == {}
    assert ozelot.verify(LoadCoast()) == []


def test_tasks_whose_table_does_not_exist_are_rows_missing(db: Client) -> None:
    Pier.drop_table(db)
    assert states()["LoadPiers {'number': '2'}"] == (State.ROWS_MISSING, "table pier does not exist")
    Pier.create_table(db)
    assert ozelot.run(LoadCoast()).ok


def test_what_was_built_on_a_task_that_it_yielded_is_not_complete_without_its_rows(db: Client) -> None:
    assert ozelot.run(ReportMarinas()).ok
    Marina.drop_table(db, cascade=True)
    create_tables(db, Marina, Pier)
    expected = {
        "LoadMarinas {}": (State.ROWS_MISSING, "table marina is empty"),
        "CountMarinas {}": (State.ON_INCOMPLETE, "was built on LoadMarinas {}, which is not complete"),
        "ReportMarinas {}": (State.ON_INCOMPLETE, "requires CountMarinas {}, which is not complete"),
    }
    found = status(ReportMarinas())
    assert {entry.label: (entry.state, entry.why) for entry in found if not entry.is_complete} == expected
    assert not tasks.check_completion(ReportMarinas())
    tasks.check_completion(ReportMarinas(), clear=True)
    assert ozelot.run(ReportMarinas()).ok
    assert tasks.check_completion(ReportMarinas())


def test_what_the_database_knows_tells_rows_that_are_missing(db: Client) -> None:
    assert ozelot.run(ReportMarinas()).ok
    Marina.drop_table(db, cascade=True)
    create_tables(db, Marina, Pier)
    found = {entry.label: (entry.state, entry.why) for entry in recorded()}
    assert found["LoadMarinas {}"] == (State.ROWS_MISSING, "table marina is empty")
    assert found["CountMarinas {}"] == (State.ON_INCOMPLETE, "was built on LoadMarinas {}, which is not complete")
    assert found["ReportMarinas {}"][0] is State.ON_INCOMPLETE
    assert found["LoadNothing {}"] == (State.COMPLETE, "")


def test_values_are_gone_with_the_rows_that_had_them(db: Client) -> None:
    Marina.drop_table(db, cascade=True)
    Marina.create_table(db, cascade=True)
    found = {label: state for label, (state, _) in states().items()}
    assert found["MeasureMarinas {}"] == found["LoadMarinas {}"] == State.ROWS_MISSING
    result = ozelot.run([LoadMarinas(), MeasureMarinas(), LoadPiers(number=1), LoadPiers(number=2)])
    assert result.ok, result.failed
    assert count_rows_each(db, Marina, Pier) == [2, 6]
    assert ozelot.verify(LoadCoast()) == []


def test_luigi_runs_them_again(db: Client) -> None:
    Pier.drop_table(db)
    Pier.create_table(db)
    assert not LoadPiers(number=1).complete() and not LoadCoast().complete()
    assert build(LoadCoast())
    assert count_rows_each(db, Pier) == [6]
    assert states() == {}


@pytest.mark.parametrize("how", [{"executor": "process", "workers": 2}, {"workers": 2}])
def test_they_run_again_once_whoever_runs_them(db: Client, how: dict[str, Any]) -> None:
    Pier.drop_table(db)
    Pier.create_table(db)
    assert ozelot.run([LoadPiers(number=1), LoadPiers(number=2)], **how).ok
    assert count_rows_each(db, Pier) == [6]
    with db.create_session() as session:
        ran = session.scalars(sa.select(Run.state).where(Run.name == "LoadPiers", Run.params.contains("2"))).all()
    assert sorted(ran) == ["cleared", "done"]


def test_a_task_that_loaded_again_meanwhile_does_not_run_a_second_time(db: Client) -> None:
    """The rows are looked for again once the task's lock is held."""
    Pier.drop_table(db)
    Pier.create_table(db)
    waiting = LoadPiers(number=1)
    assert not waiting.complete()
    assert ozelot.run(LoadPiers(number=1)).ok
    waiting.run()
    assert count_rows_each(db, Pier) == [2]


def test_within_an_open_transaction(db: Client) -> None:
    Pier.drop_table(db)
    Pier.create_table(db)
    with db.transaction():
        assert ozelot.run(LoadPiers(number=2)).ok
    assert count_rows_each(db, Pier) == [4]
