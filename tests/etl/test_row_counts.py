"""A run records the rows that it wrote itself, in a table that other tasks fill, too; or that the number is unknown."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import luigi
import pandas as pd
import pytest
import sqlalchemy as sa
from sqlalchemy import ForeignKey, String
from sqlalchemy.orm import Mapped, mapped_column

import ozelot
from ozelot.client import Client
from ozelot.etl import tasks
from ozelot.etl.status import status
from ozelot.formatting import added, amounts
from ozelot.model.base import table_of
from ozelot.orm.base import Base
from tests.databases import only
from tests.statements import execute
from tests.tables import count_rows, create_tables

How = Callable[[tasks.ORMTask], object]

#: What the run() of LoadReceipts does, by the year.
how: dict[int, How] = {}


class Receipt(Base):
    year: Mapped[int] = mapped_column(default=0)
    code: Mapped[str | None] = mapped_column(String(20), unique=True)


class Refund(Base):
    receipt_id: Mapped[int] = mapped_column(ForeignKey("receipt.id", ondelete="CASCADE"))


class LoadReceipts(tasks.ORMTask):
    """Many tasks that share a table without TaskOwned."""

    creates = [Receipt, Refund]
    year: int = luigi.IntParameter()

    def run(self) -> Any:
        return how[self.year](self)


class LoadAllReceipts(tasks.ORMWrapperTask):
    def requires(self) -> Any:
        return [LoadReceipts(year=year) for year in sorted(how)]


@pytest.fixture(autouse=True)
def database(db: Client) -> Iterator[None]:
    create_tables(db, Receipt, Refund)
    how[1] = how[2] = lambda self: self.session.add_all([Receipt(year=0) for _ in range(10)])
    yield
    how.clear()


def recorded() -> list[int | None]:
    """The numbers of rows of Receipt that the tasks recorded, in the order of their years."""
    return [entry.rows["receipt"] for entry in status(LoadAllReceipts()) if entry.name == "LoadReceipts"]


def one_by_one(self: tasks.ORMTask) -> None:
    for number in range(3):
        self.session.add(Receipt(year=number))
        self.session.commit()


def by_core(self: tasks.ORMTask) -> None:
    self.session.execute(sa.insert(Receipt), [{"year": 1}, {"year": 2}])
    self.session.execute(sa.insert(table_of(Receipt)).values([{"year": 3}, {"year": 4}]))
    self.session.execute(sa.insert(table_of(Receipt)).values(year=5))
    self.session.execute(sa.insert(table_of(Receipt)), {"year": 6})


def returning(self: tasks.ORMTask) -> None:
    assert len(self.session.scalars(sa.insert(Receipt).returning(Receipt.id), [{"year": 1}, {"year": 2}]).all()) == 2
    self.session.scalars(sa.insert(Receipt).values(year=3).returning(Receipt.id)).one()


def selected(self: tasks.ORMTask) -> None:
    query = sa.select(Receipt.year + 1).where(Receipt.year == 0).limit(4)
    self.session.execute(sa.insert(Receipt).from_select(["year"], query))


def by_text(self: tasks.ORMTask) -> None:
    self.session.execute(sa.text("INSERT INTO receipt (year) VALUES (1), (2), (3)"))
    self.session.execute(sa.text("insert into receipt (year) values (:year)"), [{"year": 4}, {"year": 5}])
    self.session.execute(sa.text("UPDATE receipt SET year = 7 WHERE year = 5"))
    self.session.execute(sa.text("DELETE FROM receipt WHERE year IN (1, 2)"))


def deleted_again(self: tasks.ORMTask) -> None:
    self.session.add_all(receipts := [Receipt(year=9) for _ in range(5)])
    self.session.flush()
    self.session.delete(receipts[0])
    self.session.flush()
    self.session.execute(sa.delete(Receipt).where(Receipt.id == receipts[1].id))


def rolled_back(self: tasks.ORMTask) -> None:
    self.session.add(Receipt(year=1))
    self.session.flush()
    self.session.rollback()
    self.session.add(Receipt(year=2))
    for code in ("a", "a"):
        try:
            with self.session.begin_nested():
                self.session.execute(
                    sa.insert(Receipt), [{"year": 3, "code": code}, {"year": 4, "code": f"{code}{code}"}]
                )
        except sa.exc.IntegrityError:
            pass
    with self.client.create_session() as other:
        other.add(Receipt(year=5))
        other.flush()  # and never commits


def by_frame(self: tasks.ORMTask) -> None:
    pd.DataFrame({"year": [1, 2, 3]}).to_sql("receipt", self.client.engine, if_exists="append", index=False)


def loads(self: tasks.ORMTask) -> None:
    self.load(Receipt, ({"year": year} for year in range(7)))
    self.load(Receipt, [{"year": 1, "code": "x"}, {"year": 2}])


def nothing(self: tasks.ORMTask) -> None:
    self.load(Receipt, [])


def ignored(self: tasks.ORMTask) -> None:
    """Rows of which the database leaves some out."""
    self.session.add(Receipt(code="there"))
    self.session.flush()
    rows = [{"code": "there", "year": 1}, {"code": "new", "year": 1}]
    dialect = self.client.engine.dialect.name
    insert = sa.insert(table_of(Receipt))
    if dialect == "postgresql":
        from sqlalchemy.dialects import postgresql

        insert = postgresql.insert(table_of(Receipt)).on_conflict_do_nothing()
    else:
        insert = insert.prefix_with("OR IGNORE" if dialect == "sqlite" else "IGNORE")
    for row in rows:
        self.session.execute(insert, row)


WAYS = [
    (one_by_one, 3),
    (by_core, 6),
    (returning, 3),
    (selected, 4),
    (by_text, 3),
    (deleted_again, 3),
    (rolled_back, 3),
    (by_frame, 3),
    (loads, 9),
    (nothing, 0),
    (ignored, 2),
]


@pytest.mark.parametrize(("way", "number"), WAYS)
def test_a_run_counts_the_rows_that_it_wrote(db: Client, way: How, number: int) -> None:
    how[2] = way
    result = ozelot.run(LoadAllReceipts())
    assert result.ok, result.failed
    assert recorded() == [10, number]
    assert count_rows(db, Receipt) == 10 + number
    assert result.ran["LoadReceipts {'year': '2'}"].rows["receipt"] == number
    assert ozelot.verify(LoadAllReceipts()) == []


@pytest.mark.parametrize("workers", [1, 4])
def test_tasks_that_run_together_count_their_own_rows_alone(db: Client, workers: int) -> None:
    how.update({year: lambda self: self.load(Receipt, [{}] * int(vars(self)["year"])) for year in range(1, 21)})
    assert ozelot.run(LoadAllReceipts(), workers=workers).ok
    assert recorded() == list(range(1, 21))
    assert ozelot.verify(LoadAllReceipts()) == []


def test_a_run_within_a_run_counts_its_own_rows(db: Client) -> None:
    def runs_another(self: tasks.ORMTask) -> None:
        self.session.add(Receipt(year=1))
        self.session.commit()
        assert luigi.build([LoadReceipts(year=3)], local_scheduler=True, no_lock=True) or True
        LoadReceipts(year=3).run()
        self.session.add(Receipt(year=1))

    how[2] = runs_another
    how[3] = lambda self: self.session.add_all([Receipt(year=3) for _ in range(4)])
    LoadReceipts(year=1).run()
    LoadReceipts(year=2).run()
    assert recorded() == [10, 2, 4]


def upserted(self: tasks.ORMTask) -> None:
    self.session.add(Receipt(code="there"))
    self.session.flush()
    dialect = self.client.engine.dialect.name
    insert: Any
    if dialect in ("mysql", "mariadb"):
        from sqlalchemy.dialects import mysql

        insert = mysql.insert(table_of(Receipt)).on_duplicate_key_update(year=5)
    elif dialect == "sqlite":
        from sqlalchemy.dialects import sqlite

        insert = sqlite.insert(table_of(Receipt)).on_conflict_do_update(index_elements=["code"], set_={"year": 5})
    else:
        from sqlalchemy.dialects import postgresql

        insert = postgresql.insert(table_of(Receipt)).on_conflict_do_update(index_elements=["code"], set_={"year": 5})
    for code in ("there", "new"):
        self.session.execute(insert, {"code": code, "year": 1})


def by_driver(self: tasks.ORMTask) -> None:
    cursor = self.session.connection().connection.cursor()
    cursor.execute("INSERT INTO receipt (year) VALUES (1), (2)")
    cursor.close()


def insert_in_a_query(self: tasks.ORMTask) -> None:
    self.session.execute(
        sa.text("WITH chosen AS (SELECT 1 AS year) INSERT INTO receipt (year) SELECT year FROM chosen")
    )


def cascades(self: tasks.ORMTask) -> None:
    """Deleting a row deletes others."""
    receipt = Receipt(year=1)
    self.session.add(receipt)
    self.session.flush()
    self.session.add_all([Refund(receipt_id=receipt.id) for _ in range(3)])
    self.session.flush()
    self.session.execute(sa.delete(Receipt).where(Receipt.id == receipt.id))


@pytest.mark.parametrize("way", [upserted, by_driver])
def test_what_cannot_be_counted_is_unknown(db: Client, way: How) -> None:
    check_unknown(db, way)


@only("sqlite", "postgresql")  # MariaDB has no such statement
def test_rows_that_a_query_inserts_are_unknown(db: Client) -> None:
    check_unknown(db, insert_in_a_query)


def check_unknown(db: Client, way: How) -> None:
    how[2] = way
    result = ozelot.run(LoadAllReceipts())
    assert result.ok, result.failed
    assert recorded() == [10, None]
    assert ozelot.verify(LoadAllReceipts()) == []
    with db.engine.begin() as connection:
        connection.execute(sa.text("DELETE FROM receipt WHERE year = 0"))
    assert [finding.kind.value for finding in ozelot.verify(LoadAllReceipts())] == ["rows missing"]


def test_rows_that_a_rule_deletes_are_not_counted_wrong(db: Client) -> None:
    how[2] = cascades
    assert ozelot.run(LoadAllReceipts()).ok
    (entry,) = [entry for entry in status(LoadAllReceipts()) if entry.params == "{'year': '2'}"]
    assert entry.rows == {"receipt": 0, "refund": None}
    assert count_rows(db, Refund) == 0
    assert ozelot.verify(LoadAllReceipts()) == []


TRIGGERS = {
    "sqlite": [
        "CREATE TRIGGER more AFTER INSERT ON receipt WHEN NEW.year = 4 BEGIN INSERT INTO receipt (year) VALUES (5); END"
    ],
    "postgresql": [
        "CREATE FUNCTION add_another() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN "
        "INSERT INTO receipt (year) VALUES (5); RETURN NEW; END $$",
        "CREATE TRIGGER more AFTER INSERT ON receipt FOR EACH ROW WHEN (NEW.year = 4) EXECUTE FUNCTION add_another()",
    ],
}


@only("sqlite", "postgresql")
def test_rows_of_a_table_with_a_trigger_are_not_counted(db: Client) -> None:
    execute(db, *TRIGGERS[db.engine.dialect.name])
    how[2] = lambda self: self.session.add(Receipt(year=4))
    assert ozelot.run(LoadAllReceipts()).ok
    assert recorded() == [None, None]
    assert count_rows(db, Receipt) == 12
    assert ozelot.verify(LoadAllReceipts()) == []


@only("postgresql", "mariadb")
def test_a_routine_that_a_query_calls_may_write_rows(db: Client) -> None:
    body = "BEGIN INSERT INTO receipt (year) VALUES (5); RETURN 1; END"
    create = f"CREATE FUNCTION add_a_sale() RETURNS INTEGER {body}"
    if db.engine.dialect.name == "postgresql":
        create = f"CREATE FUNCTION add_a_sale() RETURNS INTEGER LANGUAGE plpgsql AS $$ {body} $$"
    with db.engine.begin() as connection:
        connection.exec_driver_sql(create)
    how[1] = lambda self: self.session.execute(sa.select(sa.func.count()).select_from(Receipt))
    how[2] = lambda self: self.session.execute(sa.select(sa.func.add_a_sale()))
    assert ozelot.run(LoadAllReceipts()).ok
    assert recorded() == [0, None]


class Stock(Base):
    number: Mapped[int] = mapped_column()


class LoadStock(tasks.ORMTask):
    """The only task that fills its table."""

    creates = [Stock]

    def run(self) -> Any:
        return how[0](self)


def test_where_nobody_else_fills_a_table_its_rows_are_counted_in_the_end(db: Client) -> None:
    def by_driver_alone(self: tasks.ORMTask) -> None:
        cursor = self.session.connection().connection.cursor()
        cursor.execute("INSERT INTO stock (number) VALUES (1), (2)")
        cursor.close()

    create_tables(db, Stock)
    how[0] = by_driver_alone
    assert ozelot.run(LoadStock()).ran["LoadStock {}"].rows == {"stock": 2}
    assert ozelot.verify(LoadStock()) == []


def test_a_load_of_no_rows_is_shown_and_a_wrapper_has_none(db: Client) -> None:
    how[1] = how[2] = nothing
    assert ozelot.run(LoadAllReceipts()).ok
    shown = {entry.label: amounts(entry.rows, zeros=True) for entry in status(LoadAllReceipts())}
    assert shown == {
        "LoadReceipts {'year': '1'}": "0 receipt, 0 refund",
        "LoadReceipts {'year': '2'}": "0 receipt, 0 refund",
        "LoadAllReceipts {}": "",
    }


def test_an_unknown_number_is_shown_as_such_and_so_is_its_sum() -> None:
    assert amounts({"receipt": None, "refund": 3}) == "? receipt, 3 refund"
    assert added([{"receipt": 1, "refund": 1}, {"receipt": None, "refund": 2}]) == {"receipt": None, "refund": 3}


def test_a_row_too_many_or_too_few_is_found_in_a_shared_table(db: Client) -> None:
    assert ozelot.run(LoadAllReceipts()).ok
    with db.engine.begin() as connection:
        connection.execute(sa.insert(Receipt), {"year": 3})
    (finding,) = ozelot.verify(LoadAllReceipts())
    assert (finding.kind.value, finding.where) == ("rows added", "receipt")
    assert finding.what == "2 tasks left 20 rows in receipt, but there are 21"
    with db.engine.begin() as connection:
        connection.execute(sa.text("DELETE FROM receipt WHERE year = 0"))
    (finding,) = ozelot.verify(LoadAllReceipts())
    assert (finding.kind.value, finding.where) == ("rows missing", "receipt")
