"""A run inside a transaction of the caller's, and on a database in memory: one worker, in the same thread."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import luigi
import pytest

import ozelot
from ozelot.client import Client, set_client
from ozelot.errors import ConfigError
from ozelot.etl.tasks import ORMTask
from ozelot.orm.base import Base
from tests.engine.steps import EStep, LateStep, Step, asks, chain, drawn, fail, label, rows


class UndoneError(Exception):
    """Undoes the transaction of a test."""


class WithFile(ORMTask):
    """Judged by its file, too."""

    creates = ()

    def output(self) -> Any:
        return [*super().output(), luigi.LocalTarget("beside.txt")]

    def run(self) -> None:
        Path("beside.txt").write_text("beside")


def test_all_is_there_after_the_commit_and_nothing_before(everywhere: Client) -> None:
    with everywhere.transaction():
        result = ozelot.run(chain(12))
        assert result.ok
        seen: list[list[str]] = []
        reader = threading.Thread(target=lambda: seen.append(rows(everywhere)))
        reader.start()
        reader.join(30)
        assert seen == [[]]
    assert len(rows(everywhere)) == len(result.ran) == 12
    assert ozelot.run(chain(12)).ran == {}


def test_a_rollback_takes_rows_and_markers_along(everywhere: Client) -> None:
    with pytest.raises(UndoneError), everywhere.transaction():
        assert ozelot.run([chain(5), WithFile()]).ok
        raise UndoneError
    assert rows(everywhere) == []
    assert len(ozelot.run(chain(5)).ran) == 5


def test_a_failure_undoes_its_own_rows_and_stops_its_followers(everywhere: Client) -> None:
    def fail_half_way(step: Step) -> None:
        step.session.add(EStep(name="half"))
        step.session.commit()
        fail(step)

    drawn.acts["7"] = fail_half_way
    with everywhere.transaction():
        result = ozelot.run([chain(12), Step(name="other")])
    assert list(result.failed) == [label("7")]
    assert set(result.not_reached) == {label(str(number)) for number in range(8, 12)}
    assert rows(everywhere) == ["0", "1", "2", "3", "4", "5", "6", "other"]
    assert all(int(name) < 8 for name in drawn.began if name != "other")


def test_late_requirements_turn_up_inside_too(here: Client) -> None:
    drawn.acts["late"] = asks(Step(name="a"), [Step(name="b"), LateStep(name="other")])
    drawn.acts["other"] = asks(Step(name="c"))
    with here.transaction():
        assert ozelot.run(LateStep(name="late")).ok
    assert rows(here) == ["a", "b", "c", "late", "other"]


def test_a_failing_task_may_be_retried_inside(here: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Step, "retry_count", 2)
    monkeypatch.setattr(Step, "retry_seconds", 0.01, raising=False)
    drawn.acts["a"] = lambda step: fail(step) if drawn.began.count("a") < 2 else None
    with here.transaction():
        assert ozelot.run(Step(name="a")).ok
    assert rows(here) == ["a"]


@pytest.mark.parametrize("how", [{"workers": 2}, {"executor": "process"}, {"executor": "thread"}])
def test_more_workers_are_refused_in_words(here: Client, how: dict[str, Any]) -> None:
    with here.transaction(), pytest.raises(ConfigError, match="one worker"):
        ozelot.run(Step(name="a"), **how)


def test_what_was_written_before_in_the_transaction_is_seen(here: Client) -> None:
    seen: list[int] = []
    drawn.acts["a"] = lambda step: seen.append(step.session.query(EStep).count())
    with here.transaction():
        ozelot.run(Step(name="before"))
        ozelot.run(Step(name="a"))
    assert seen == [1]


@pytest.fixture
def in_memory() -> Iterator[Client]:
    database = Client(connection_string="sqlite://")
    set_client(database)
    Base.create_all(database)
    yield database
    set_client(None)
    database.engine.dispose()


def test_a_database_in_memory_runs_in_the_thread_of_the_caller(in_memory: Client) -> None:
    threads: set[int] = set()
    for name in ("0", "5", "11"):
        drawn.acts[name] = lambda step: threads.add(threading.get_ident())
    drawn.acts["late"] = asks(Step(name="a"), chain(12))
    drawn.acts["bad"] = fail
    result = ozelot.run([LateStep(name="late"), Step(name="bad")])
    assert list(result.failed) == [label("bad")]
    assert len(rows(in_memory)) == 14
    assert threads == {threading.get_ident()}


@pytest.mark.parametrize("how", [{"workers": 2}, {"executor": "process"}])
def test_a_database_in_memory_refuses_more_workers_in_words(in_memory: Client, how: dict[str, Any]) -> None:
    with pytest.raises(ConfigError, match="in memory"):
        ozelot.run(Step(name="a"), **how)
