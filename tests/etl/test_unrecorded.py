"""Rows that no run wrote are reported as such, with numbers, and never deleted without being told to."""

from __future__ import annotations

import logging
from typing import Any

import luigi
import pytest
import sqlalchemy as sa
from sqlalchemy import ForeignKey, String
from sqlalchemy.orm import Mapped, mapped_column

import ozelot
from ozelot.clear.unrecorded_rows import unrecorded_rows
from ozelot.client import Client
from ozelot.errors import ClearRefused, LeftoverRows
from ozelot.etl import tasks
from ozelot.etl.completion import check_completion, clear_plan
from ozelot.etl.status import State, status
from ozelot.model.base import table_of
from ozelot.orm.base import Base
from ozelot.orm.run import Run
from ozelot.orm.target import ORMTargetMarker
from ozelot.state.markers import legacy_key
from tests.tables import create_tables


class Customer(Base):
    name: Mapped[str] = mapped_column(String(50))
    rating: Mapped[int | None] = mapped_column()


class Order(Base):
    __tablename__ = "customer_order"
    customer_id: Mapped[int] = mapped_column(ForeignKey("customer.id"))


class Ticket(Base):
    name: Mapped[str] = mapped_column(String(50))


class LoadCustomers(tasks.ORMTask):
    creates = [Customer]

    def run(self) -> None:
        self.session.add_all(Customer(name=f"c{number}") for number in range(3))


class LoadOrders(tasks.ORMTask):
    creates = [Order]

    def requires(self) -> Any:
        return [LoadCustomers()]

    def run(self) -> None:
        for customer in self.session.scalars(sa.select(Customer.id)):
            self.session.add(Order(customer_id=customer))


class RateCustomers(tasks.ORMTask):
    updates = [Customer.rating]

    def requires(self) -> Any:
        return [LoadCustomers()]

    def run(self) -> None:
        self.session.execute(sa.update(Customer).values(rating=1))


class LoadTickets(tasks.ORMObjectCreatorMixin, tasks.ORMTask):
    """As in ozelot 0.2."""

    object_classes = [Ticket]

    def run(self) -> None:
        self.session.add(Ticket(name="loaded"))


@pytest.fixture(autouse=True)
def database(db: Client) -> None:
    create_tables(db, Customer, Order, Ticket)
    luigi.task_register.Register.clear_instance_cache()


def typed_in(db: Client, model: type[Base], *names: str) -> None:
    with db.engine.begin() as connection:
        connection.execute(sa.insert(table_of(model)), [{"name": name} for name in names])


def names(db: Client, model: Any = Customer) -> list[str]:
    with db.engine.connect() as connection:
        return sorted(connection.scalars(sa.select(model.name)))


def test_a_task_does_not_run_into_rows_that_no_run_wrote_and_says_so(db: Client) -> None:
    typed_in(db, Customer, "typed in", "typed in, too")
    (failure,) = ozelot.run(LoadCustomers()).failed.values()
    assert isinstance(failure.exception, LeftoverRows)
    assert failure.reason == (
        "LeftoverRows: LoadCustomers {} creates the rows of customer, but customer holds 2 rows, of which runs "
        "recorded 0: move them to a table that no task creates, or delete them, too: ozelot clear LoadCustomers "
        "--include-unrecorded"
    )
    plan = clear_plan(LoadCustomers(), [LoadCustomers()])
    assert [(each.name, each.found, each.recorded) for each in plan.unrecorded] == [("customer", 2, 0)]
    assert "customer holds 2 rows, of which runs recorded 0" in plan.refused
    for clear in (plan.apply, LoadCustomers().clear, lambda: check_completion(LoadCustomers(), clear=True)):
        with pytest.raises(ClearRefused, match="--include-unrecorded"):
            clear()
    assert names(db) == ["typed in", "typed in, too"]
    LoadCustomers().clear(include_unrecorded=True)
    assert names(db) == []
    assert ozelot.run(LoadCustomers()).ok


def test_rows_that_were_added_to_those_of_a_task_are_not_cleared_with_them(db: Client) -> None:
    assert ozelot.run(LoadOrders()).ok
    typed_in(db, Customer, "typed in")
    plan = clear_plan(LoadOrders(), [LoadCustomers()])
    assert plan.refused.startswith("customer holds 4 rows, of which runs recorded 3")
    with pytest.raises(ClearRefused, match="customer holds 4 rows, of which runs recorded 3"):
        plan.apply()
    assert LoadCustomers().complete() and LoadOrders().complete()
    plan = clear_plan(LoadOrders(), [LoadCustomers()], include_unrecorded=True)
    assert not plan.refused and plan.unrecorded
    plan.apply()
    assert names(db) == []


def test_rows_whose_marker_was_removed_are_those_of_the_task(db: Client) -> None:
    assert ozelot.run(LoadCustomers()).ok
    LoadCustomers().mark_incomplete()
    (failure,) = ozelot.run(LoadCustomers()).failed.values()
    assert "the marker of an earlier run was removed" in failure.reason
    LoadCustomers().clear()
    assert names(db) == []


def test_values_that_no_run_set_are_not_reset(db: Client) -> None:
    assert ozelot.run(LoadCustomers()).ok
    with db.engine.begin() as connection:
        connection.execute(sa.update(Customer).where(Customer.name == "c0").values(rating=9))
    (failure,) = ozelot.run(RateCustomers()).failed.values()
    assert "customer.rating holds 1 value, of which runs recorded 0" in failure.reason
    with pytest.raises(ClearRefused, match=r"customer\.rating holds 1 value"):
        RateCustomers().clear()
    with db.engine.connect() as connection:
        assert connection.scalar(sa.select(sa.func.sum(Customer.rating))) == 9
    clear_plan(RateCustomers(), [RateCustomers()], include_unrecorded=True).apply()
    assert ozelot.run(RateCustomers()).ok


def test_classes_as_in_0_2_only_warn(db: Client, caplog: pytest.LogCaptureFixture) -> None:
    typed_in(db, Ticket, "typed in")
    with caplog.at_level(logging.WARNING):
        assert ozelot.run(LoadTickets()).ok
        assert "LoadTickets {} runs on top of rows that are in ticket already" in caplog.text
        LoadTickets().clear()
    assert "ticket holds 2 rows, of which runs recorded 1" in caplog.text
    assert names(db, Ticket) == []


def test_a_reference_from_a_row_of_no_task_is_predicted_and_named(db: Client) -> None:
    assert ozelot.run(LoadCustomers()).ok
    with db.engine.begin() as connection:
        (first, *_) = connection.scalars(sa.select(Customer.id).order_by(Customer.id))
        connection.execute(
            sa.text("CREATE TABLE note (id INTEGER PRIMARY KEY, about INTEGER REFERENCES customer (id))")
        )
        if db.engine.dialect.name in ("mysql", "mariadb"):  # MySQL ignores the above; MariaDB has two foreign keys now
            connection.execute(sa.text("ALTER TABLE note ADD FOREIGN KEY (about) REFERENCES customer (id)"))
        connection.execute(sa.text(f"INSERT INTO note VALUES (7, {first}), (8, {first}), (9, NULL)"))
    try:
        plan = clear_plan(LoadCustomers(), [LoadCustomers()])
        assert plan.blocked == [
            "2 rows of note (key 7, 8) refer to customer, and no task created them: delete these rows first, or set "
            "note.about to NULL there"
        ]
        with pytest.raises(ClearRefused, match=r"2 rows of note \(key 7, 8\) refer to customer"):
            plan.apply()
        with db.engine.begin() as connection:
            connection.execute(sa.text("UPDATE note SET about = NULL"))
        clear_plan(LoadCustomers(), [LoadCustomers()]).apply()
        assert names(db) == []
    finally:
        with db.engine.begin() as connection:
            connection.execute(sa.text("DROP TABLE note"))


def of_0_2(db: Client, *markers: str) -> None:
    """Rows and markers as ozelot 0.2 left them: nothing is recorded of what the tasks wrote."""
    typed_in(db, Customer, "a", "b")
    with db.engine.begin() as connection:
        for customer in connection.scalars(sa.select(Customer.id)).all():
            connection.execute(sa.insert(table_of(Order)), {"customer_id": customer})
        for name in markers:
            values = {"name": name, "params": "{}", "key": legacy_key(name, "{}")}
            connection.execute(sa.insert(ORMTargetMarker), values)


def test_a_marker_of_0_2_accounts_for_rows_also_after_it_was_removed(db: Client) -> None:
    of_0_2(db, "LoadCustomers", "LoadOrders")
    LoadCustomers.mark_incomplete()
    (entry,) = [entry for entry in status(LoadOrders()) if entry.name == "LoadCustomers"]
    assert (entry.state, entry.why) == (State.INCOMPLETE, "its marker was removed, what it loaded is still there")
    with db.create_session() as session:
        (run,) = session.scalars(sa.select(Run))
        assert (run.name, run.params, run.state, run.rows) == ("LoadCustomers", "{}", "done", None)
    tasks.check_completion(LoadOrders(), clear=True)
    assert names(db) == []
    assert ozelot.run(LoadOrders()).ok
    assert ozelot.verify(LoadOrders()) == []


def test_marking_pending_tasks_of_0_2_incomplete_keeps_their_rows_clearable(db: Client) -> None:
    of_0_2(db, "LoadOrders")
    tasks.check_completion(LoadOrders(), mark_incomplete=True)
    assert not LoadOrders().complete()
    with pytest.raises(ClearRefused, match="customer holds 2 rows, of which runs recorded 0"):
        tasks.check_completion(LoadOrders(), clear=True)  # of LoadCustomers there never was a marker
    LoadOrders().clear()
    with db.engine.connect() as connection:
        assert connection.scalar(sa.select(sa.func.count()).select_from(Order)) == 0


def test_the_rows_of_each_table_that_no_run_wrote_are_known(db: Client) -> None:
    with db.engine.connect() as connection:
        assert unrecorded_rows(connection) == {}
    assert ozelot.run(LoadOrders()).ok
    typed_in(db, Customer, "typed in")
    typed_in(db, Ticket, "typed in", "too")
    with db.engine.connect() as connection:
        assert unrecorded_rows(connection) == {"customer": 1, "ticket": 2}
