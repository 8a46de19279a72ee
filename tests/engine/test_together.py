"""Tasks that take next to no time share a commit, and nothing else."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
import sqlalchemy as sa
from sqlalchemy import ForeignKeyConstraint
from sqlalchemy.orm import Mapped, mapped_column

import ozelot
from ozelot.client import Client
from ozelot.db.joined_connection import JoinedConnection
from ozelot.engine import worker
from ozelot.etl.tasks import ORMTask, ORMWrapperTask
from ozelot.orm.base import Base
from ozelot.orm.run import Run
from ozelot.orm.target import ORMTargetMarker
from tests.databases import only
from tests.engine.steps import EStep, Step, chain, drawn, fail, label, rows

pytestmark = pytest.mark.servers

NUMBER = 20
NAMES = [f"wide {number}" for number in range(NUMBER)]


class Wide(ORMWrapperTask):
    def requires(self) -> list[Step]:
        return [Step(name=name) for name in NAMES]


class Late(Base):
    """Points somewhere, which is looked at when the transaction commits."""

    step_id: Mapped[int] = mapped_column()

    __table_args__ = (
        ForeignKeyConstraint(["step_id"], ["estep.id"], deferrable=True, initially="DEFERRED").ddl_if(
            callable_=lambda *_, dialect, **__: dialect.name != "mysql"  # which looks at once
        ),
    )


class AddLate(ORMTask):
    creates = [Late]

    def run(self) -> None:
        self.session.add(Late(step_id=-1))


class WideAndLate(ORMWrapperTask):
    def requires(self) -> list[ORMTask]:
        return [*(Step(name=name) for name in NAMES[:10]), AddLate(), *(Step(name=name) for name in NAMES[10:])]


@pytest.fixture(autouse=True)
def slow_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    """However slow this machine is, the tasks count as quick."""
    monkeypatch.setattr(worker, "_QUICK", 10.0)
    monkeypatch.setattr(worker, "_TOGETHER", 10.0)
    monkeypatch.setattr(worker, "_LONGEST", 100.0)
    monkeypatch.setattr("ozelot.engine.ready_queue._BATCH_SECONDS", 100.0)


@contextmanager
def commits(database: Client) -> Iterator[list[int]]:
    """Counts the commits of the block, those of sessions within runs aside, in a list of one number."""
    counted = [0]

    def count(connection: sa.Connection) -> None:
        counted[0] += not isinstance(connection.connection, JoinedConnection)

    sa.event.listen(database.engine, "commit", count)
    yield counted
    sa.event.remove(database.engine, "commit", count)


@contextmanager
def stranger(database: Client) -> Iterator[sa.Connection]:
    """A connection that has no part in any run."""
    engine = sa.create_engine(database.url)
    with engine.connect() as connection:
        yield connection
    engine.dispose()


def markers(database: Client) -> Counter[str]:
    with database.engine.connect() as connection:
        return Counter(connection.scalars(sa.select(ORMTargetMarker.key)))


@only("postgresql", "mariadb")
def test_quick_siblings_share_commits(everywhere: Client) -> None:
    with commits(everywhere) as number:
        assert ozelot.run(Wide()).ok
    assert rows(everywhere) == sorted(NAMES)
    assert set(markers(everywhere).values()) == {1} and len(markers(everywhere)) == NUMBER + 1
    assert number[0] < NUMBER / 2


def test_on_sqlite_nobody_waits_for_a_commit_that_is_put_off(here: Client) -> None:
    with commits(here) as number:
        assert ozelot.run(Wide()).ok
    assert number[0] > NUMBER


def test_slow_siblings_do_not(everywhere: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(worker, "_QUICK", 0.0)
    with commits(everywhere) as number:
        assert ozelot.run(Wide()).ok
    assert number[0] > NUMBER


def test_what_a_task_requires_is_committed_before_it_starts(everywhere: Client) -> None:
    seen: dict[str, list[str]] = {}

    def look(step: Step) -> None:
        with stranger(everywhere) as connection:
            seen[step.name] = sorted(connection.scalars(sa.select(EStep.name)), key=int)

    last = chain(8)
    drawn.acts.update(dict.fromkeys(drawn.requires, look))
    assert ozelot.run(last).ok
    assert seen == {str(n): [str(before) for before in range(n)] for n in range(1, 8)}


def test_hooks_of_success_are_called_once_it_is_committed(everywhere: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[str] = []

    def look(step: Step) -> None:
        with stranger(everywhere) as connection:
            seen.extend(connection.scalars(sa.select(EStep.name).where(EStep.name == step.name)))

    monkeypatch.setattr(Step, "on_success", look)
    assert ozelot.run(Wide()).ok
    assert sorted(seen) == sorted(NAMES)


def test_a_task_that_fails_takes_no_sibling_along(everywhere: Client) -> None:
    def write_and_fail(step: Step) -> None:
        step.session.add(EStep(name="half"))
        step.session.commit()
        fail(step)

    drawn.acts["wide 7"] = write_and_fail
    result = ozelot.run(Wide())
    assert list(result.failed) == [label("wide 7")]
    assert rows(everywhere) == sorted(set(NAMES) - {"wide 7"})
    with everywhere.engine.connect() as connection:
        states = Counter(connection.scalars(sa.select(Run.state)))
    assert states == {"done": NUMBER - 1, "failed": 1}
    assert Counter(drawn.began) == Counter(NAMES)


@only("sqlite", "postgresql")
def test_where_the_commit_itself_fails_only_the_one_at_fault_does(everywhere: Client) -> None:
    result = ozelot.run(WideAndLate())
    assert list(result.failed) == ["AddLate {}"]
    assert "foreign key" in result.failed["AddLate {}"].reason.lower()
    assert rows(everywhere) == sorted(NAMES)
    assert len(markers(everywhere)) == NUMBER
    with everywhere.engine.connect() as connection:
        states = Counter(connection.scalars(sa.select(Run.state)))
    assert states == {"done": NUMBER, "failed": 1}


def test_a_transaction_that_a_task_ends_by_itself_loses_no_sibling(everywhere: Client) -> None:
    def end_it(step: Step) -> None:
        connection = step.session.connection().connection.driver_connection
        assert connection is not None
        connection.commit()

    drawn.acts["wide 7"] = end_it
    result = ozelot.run(Wide())
    assert list(result.failed) == [label("wide 7")]
    assert "ended before its time" in result.failed[label("wide 7")].reason
    assert rows(everywhere) == sorted(set(NAMES) - {"wide 7"})
    assert len(markers(everywhere)) == NUMBER - 1


@only("postgresql")
def test_what_a_task_sets_up_for_its_own_transaction_ends_with_it(everywhere: Client) -> None:
    seen: list[str | None] = []

    def set_up(step: Step) -> None:
        seen.append(step.session.scalar(sa.select(sa.func.current_setting("app.step", True))) or None)
        step.session.execute(sa.text(f"SET LOCAL app.step = '{step.name}'"))
        step.session.execute(sa.text("CREATE TEMPORARY TABLE mine (id integer) ON COMMIT DROP"))

    drawn.acts.update(dict.fromkeys(NAMES, set_up))
    result = ozelot.run(Wide())
    assert result.ok, result.failed
    assert seen == [None] * NUMBER


@only("postgresql", "mariadb")
def test_a_lost_connection_loses_none_of_those_that_shared_a_commit(everywhere: Client) -> None:
    cut = ["wide 7"]

    def cut_once(step: Step) -> None:
        if cut and cut.pop():
            which = "pg_backend_pid()" if everywhere.engine.dialect.name == "postgresql" else "connection_id()"
            number = step.session.scalar(sa.text(f"SELECT {which}"))
            end = "SELECT pg_terminate_backend({})" if "pg" in which else "KILL {}"
            with stranger(everywhere) as connection:
                connection.execute(sa.text(end.format(number)))

    drawn.acts["wide 7"] = cut_once
    result = ozelot.run(Wide())
    assert result.ok, result.failed
    assert rows(everywhere) == sorted(NAMES)
    assert set(markers(everywhere).values()) == {1}
