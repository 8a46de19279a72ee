"""What the page knows: at once what runs, later all of it, and at a price that does not grow."""

from __future__ import annotations

from collections.abc import Iterator
from typing import ClassVar

import luigi
import pytest
from sqlalchemy.orm import Mapped

from ozelot.client import Client
from ozelot.etl import tasks
from ozelot.orm.base import Base
from ozelot.orm.run import TaskOwned
from ozelot.ui.snapshot import Change, Keeper, Look
from tests.statements import recorded_statements
from tests.tables import create_tables
from tests.ui.keeping import Clock, read_to_its_end, settle


class Kept(TaskOwned, Base):
    number: Mapped[int]


class Keep(tasks.ORMTask):
    creates = [Kept]
    number: int = luigi.IntParameter()
    fails: ClassVar[bool] = False

    def run(self) -> None:
        if Keep.fails:
            raise RuntimeError("the shelf is full")
        self.session.add(Kept(number=self.number))


class KeepAll(tasks.ORMWrapperTask):
    def requires(self) -> list[luigi.Task]:
        return [Keep(number=number) for number in range(3)]


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def keeper(db: Client, clock: Clock) -> Iterator[Keeper]:
    create_tables(db, Kept)
    found = Keeper(db, KeepAll(), clock)
    yield found
    read_to_its_end(found)


def looks(keeper: Keeper) -> dict[str, str]:
    return {node.label: str(node.look) for node in keeper.pipeline.nodes.values()}


def test_what_ran_since_is_known_at_the_next_look_without_reading_all(keeper: Keeper, clock: Clock) -> None:
    assert set(looks(keeper).values()) == {"incomplete"}
    assert Keep(number=1).build()
    clock.now += 0.5
    assert set(looks(keeper).values()) == {"incomplete"}
    clock.now += 1
    change = keeper.since(0)
    assert [str(look) for look, _ in change.looks.values()] == ["complete"]
    assert looks(keeper)["Keep {'number': '1'}"] == "complete"
    assert keeper.since(change.version) == Change(change.version)


def test_a_failure_is_told_with_its_reason(keeper: Keeper, clock: Clock, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Keep, "fails", True)
    assert not Keep(number=2).build()
    clock.now += 1
    ((look, why),) = keeper.since(0).looks.values()
    assert (look, why) == (Look.FAILED, "failed: RuntimeError: the shelf is full")
    settle(keeper, clock)
    assert looks(keeper)["Keep {'number': '2'}"] == "failed"


def test_what_only_all_of_it_tells_is_known_once_it_is_quiet(keeper: Keeper, clock: Clock) -> None:
    assert KeepAll.build()
    settle(keeper, clock)
    assert set(looks(keeper).values()) == {"complete"}
    Keep(number=0).mark_incomplete()
    settle(keeper, clock)
    assert looks(keeper) == {
        "Keep {'number': '0'}": "incomplete",
        "Keep {'number': '1'}": "complete",
        "Keep {'number': '2'}": "complete",
        "KeepAll": "complete on incomplete",
    }


def test_states_of_long_ago_do_not_hide_those_of_today(db: Client, clock: Clock) -> None:
    create_tables(db, Kept)
    assert KeepAll.build()
    Keep(number=0).mark_incomplete()
    keeper = Keeper(db, KeepAll(), clock)
    clock.now += 10
    assert looks(keeper)["Keep {'number': '0'}"] == "incomplete"
    assert keeper.version == 0


def test_a_look_costs_the_same_however_much_there_is(keeper: Keeper, clock: Clock, db: Client) -> None:
    statements = recorded_statements(db)
    numbers = []
    for task in (Keep(number=0), KeepAll()):
        assert task.build()
        settle(keeper, clock)
        settle(keeper, clock)
        clock.now += 10
        statements.clear()
        keeper.since(0)
        numbers.append(len(statements))
    assert numbers[0] == numbers[1] > 0


def test_whoever_was_away_too_long_is_told_to_begin_anew(keeper: Keeper, clock: Clock) -> None:
    for _ in range(101):
        for look in (Look.STALE, Look.COMPLETE):
            keeper._tell(keeper._pipeline.with_looks({next(iter(keeper._pipeline.nodes)): (look, "")}))
    assert keeper.since(3).all_new
    assert not keeper.since(keeper.version - 1).all_new
    assert keeper.since(keeper.version + 1).all_new  # it has seen a server that was started anew since


def test_without_code_the_database_tells_what_it_knows(db: Client, clock: Clock) -> None:
    create_tables(db, Kept)
    assert KeepAll.build()
    Keep(number=2).mark_incomplete()
    found = Keeper(db, None, clock).pipeline
    assert {node.label: str(node.look) for node in found.nodes.values()} == {
        "Keep {'number': '0'}": "complete",
        "Keep {'number': '1'}": "complete",
        "Keep {'number': '2'}": "incomplete",
        "KeepAll": "complete on incomplete",
    }
    (root,) = [node for node in found.nodes.values() if node.name == "KeepAll"]
    assert sorted(found.nodes[key].params for key in root.requires) == [
        f"{{'number': '{number}'}}" for number in range(3)
    ]
