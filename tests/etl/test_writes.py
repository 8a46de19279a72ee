"""What a task writes and does not declare is caught: by SQLAlchemy, or, where it does not see it, by the database."""

from __future__ import annotations

import logging
from collections.abc import Collection
from typing import Any

import pandas as pd
import pytest
import sqlalchemy as sa
from sqlalchemy import ForeignKey, String, orm
from sqlalchemy.ext.hybrid import hybrid_property
from sqlalchemy.orm import Mapped, mapped_column, relationship

from ozelot import config
from ozelot.client import Client
from ozelot.errors import ConfigError, NoRun, NotClearable, TransactionError, UndeclaredWrite
from ozelot.etl import tasks
from ozelot.etl.completion import clear_plan
from ozelot.model.base import table_of
from ozelot.orm.base import Base
from ozelot.orm.run import current_run_id
from tests.databases import only
from tests.etl import staff
from tests.etl.flights import Flight
from tests.etl.heroes import build
from tests.etl.made_tasks import made_task
from tests.etl.vehicles import Bike, Vehicle
from tests.tables import count_rows, create_tables


class Plot(Base):
    name: Mapped[str | None] = mapped_column(String(50))
    area: Mapped[int | None]
    note: Mapped[str | None] = mapped_column(String(50))
    trees: Mapped[list[Tree]] = relationship(cascade="all, delete-orphan")

    @hybrid_property
    def twice(self) -> Any:
        return self.area * 2 if self.area is not None else None


class Harvest(Base):
    """In partitions, where the database has them."""

    id: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    year: Mapped[int] = mapped_column(primary_key=True)
    weight: Mapped[int | None]
    __table_args__ = {"postgresql_partition_by": "LIST (year)"}


class Meadow(Base):
    grass: Mapped[int | None]
    name: Mapped[str | None] = mapped_column(String(50))
    touched: Mapped[int | None] = mapped_column(onupdate=lambda: 7)
    version: Mapped[int] = mapped_column()
    __mapper_args__ = {"version_id_col": version}


class Tree(Base):
    plot_id: Mapped[int | None] = mapped_column(ForeignKey("plot.id", ondelete="CASCADE"))


@pytest.fixture(autouse=True)
def tables(db: Client) -> None:
    create_tables(db, Plot, Harvest, Meadow, Tree, Vehicle, Flight, staff.Unit)


def by_flush(self: tasks.ORMTask) -> None:
    self.session.add(Plot(name="new"))


def by_core(self: tasks.ORMTask) -> None:
    self.session.execute(sa.insert(Plot), [{"name": "new"}, {"name": "newer"}])


def by_select(self: tasks.ORMTask) -> None:
    with self.client.engine.begin() as connection:
        connection.execute(sa.insert(Plot).from_select(["name"], sa.select(sa.literal("new"))))


def by_bulk(self: tasks.ORMTask) -> None:
    self.session.bulk_insert_mappings(sa.inspect(Plot), [{"name": "new"}])


def by_pandas(self: tasks.ORMTask) -> None:
    pd.DataFrame({"name": ["new"]}).to_sql("plot", self.client.engine, if_exists="append", index=False)


def by_name(self: tasks.ORMTask) -> None:
    self.session.execute(sa.insert(sa.table("plot", sa.column("name"))).values(name="new"))


def by_text(self: tasks.ORMTask) -> None:
    self.session.execute(sa.text("INSERT INTO plot (name) VALUES ('new')"))


def by_driver_sql(self: tasks.ORMTask) -> None:
    self.session.connection().exec_driver_sql("INSERT INTO plot (name) VALUES ('new')")


def by_cursor(self: tasks.ORMTask) -> None:
    raw = self.client.engine.raw_connection()
    raw.cursor().execute("INSERT INTO plot (name) VALUES ('new')")
    raw.commit()


def by_the_driver_itself(self: tasks.ORMTask) -> None:
    driver: Any = self.session.connection().connection.driver_connection
    driver.cursor().execute("INSERT INTO plot (name) VALUES ('new')")


SEEN_EVERYWHERE = [by_flush, by_core, by_select, by_bulk, by_pandas, by_name]
SEEN_BY_THE_DATABASE = [by_text, by_driver_sql, by_cursor, by_the_driver_itself]


def refused_and_undone(db: Client, body: Any) -> None:
    """Hold an insert into a table that is not declared to fail, and to leave nothing."""
    writer = made_task("Writer", body, creates=[staff.Unit])
    with pytest.raises(
        UndeclaredWrite,
        match=r"Writer inserts into plot, which it does not declare: add 'creates = \[Unit, Plot\]' to class Writer",
    ):
        writer.run()
    assert count_rows(db, Plot) == 0
    assert not writer.complete()


@pytest.mark.parametrize("body", SEEN_EVERYWHERE, ids=lambda body: str(body.__name__))
def test_an_insert_that_is_not_declared_fails_and_leaves_nothing(db: Client, body: Any) -> None:
    refused_and_undone(db, body)


@only("sqlite", "postgresql")
@pytest.mark.parametrize("body", SEEN_BY_THE_DATABASE, ids=lambda body: str(body.__name__))
def test_an_insert_past_sqlalchemy_that_is_not_declared_does_so_too(db: Client, body: Any) -> None:
    refused_and_undone(db, body)


@only("mariadb")
@pytest.mark.parametrize("body", SEEN_BY_THE_DATABASE, ids=lambda body: str(body.__name__))
def test_an_insert_past_sqlalchemy_is_not_seen_by_mariadb_as_the_documentation_says(db: Client, body: Any) -> None:
    made_task("Writer", body, creates=[staff.Unit]).run()
    assert count_rows(db, Plot) == 1


@pytest.mark.parametrize("body", [*SEEN_EVERYWHERE, *SEEN_BY_THE_DATABASE], ids=lambda body: str(body.__name__))
def test_a_declared_insert_passes_however_it_is_made(db: Client, body: Any) -> None:
    writer = made_task("Writer", body, creates=[Plot])
    writer.run()
    assert writer.complete()
    assert count_rows(db, Plot) >= 1


@only("postgresql")
def test_copy_is_seen(db: Client) -> None:
    def copy(self: tasks.ORMTask) -> None:
        driver: Any = self.session.connection().connection.driver_connection
        with driver.cursor().copy("COPY plot (name) FROM STDIN") as into:
            into.write_row(["new"])

    with pytest.raises(UndeclaredWrite, match="Writer inserts into plot"):
        made_task("Writer", copy, creates=[staff.Unit]).run()
    made_task("Writer", copy, creates=[Plot]).run()
    assert count_rows(db, Plot) == 1


def filled(db: Client) -> None:
    with db.transaction() as session:
        session.add_all([Plot(name="a", trees=[Tree(), Tree()]), Plot(name="b", trees=[Tree()])])


def test_only_the_columns_in_updates_may_be_updated(db: Client) -> None:
    filled(db)

    def measure(self: tasks.ORMTask) -> None:
        for plot in self.session.scalars(sa.select(Plot)):
            plot.area = (plot.area or 0) + 5

    def annotate(self: tasks.ORMTask) -> None:
        self.session.execute(sa.update(Plot).values(note="x", area=1))

    made_task("Writer", measure, updates=[Plot.area]).run()
    with pytest.raises(
        UndeclaredWrite,
        match=r"Writer updates plot\.note, which .* 'updates = \[Plot\.area, Plot\.note\]' to class Writer",
    ):
        made_task("Writer", annotate, updates=[Plot.area], task_namespace="other").run()
    with pytest.raises(UndeclaredWrite, match=r"updates plot\.area"):
        made_task("Writer", measure, creates=[staff.Unit], task_namespace="third").run()


def test_raw_updates_are_seen_with_their_columns_on_sqlite(sqlite_db: Client) -> None:
    create_tables(sqlite_db, Plot, Harvest, Meadow, Tree, Vehicle, Flight, staff.Unit)
    filled(sqlite_db)

    def annotate(self: tasks.ORMTask) -> None:
        self.session.execute(sa.text("UPDATE plot SET area = 1"))
        self.session.execute(sa.text("UPDATE plot SET note = 'x'"))

    with pytest.raises(UndeclaredWrite, match=r"Writer updates plot\.note"):
        made_task("Writer", annotate, updates=[Plot.area]).run()


def test_deletes_and_the_rows_they_take_along_are_seen(db: Client) -> None:
    filled(db)

    def delete(self: tasks.ORMTask) -> None:
        self.session.execute(sa.delete(Plot).where(Plot.name == "a"))

    with pytest.raises(UndeclaredWrite, match="Writer deletes from plot"):
        made_task("Writer", delete, creates=[staff.Unit]).run()
    if db.engine.dialect.name != "mysql":
        with pytest.raises(UndeclaredWrite, match="Writer deletes from tree"):
            on_own_plots(delete)
    assert (count_rows(db, Plot), count_rows(db, Tree)) == (2, 3)


def on_own_plots(body: Any) -> None:
    """Run a task on top of rows that it may change."""
    made_task("Writer", body, object_classes=[Plot], creates=(), task_namespace="own").run()


def test_a_rule_that_finds_no_row_to_change_is_no_write(db: Client) -> None:
    def dedupe(self: tasks.ORMTask) -> None:
        self.session.add_all(Plot(name=name) for name in "aabb")
        self.session.flush()
        self.session.execute(sa.delete(Plot).where(Plot.id > 2))
        self.session.connection().execute(
            sa.delete(Plot).where(Plot.name == sa.bindparam("b")), [{"b": "a"}, {"b": "z"}]
        )

    made_task("Writer", dedupe, creates=[Plot]).run()
    assert count_rows(db, Plot) == 0


@only("sqlite", "postgresql")
def test_a_delete_that_failed_does_not_hide_what_comes_after(db: Client) -> None:
    def load(self: tasks.ORMTask) -> None:
        raw = self.session.connection().connection.cursor()
        with pytest.raises(sa.exc.DBAPIError), self.session.begin_nested():
            self.session.execute(sa.delete(Plot).where(sa.func.no_such_function() == 1))
        raw.execute("INSERT INTO tree (plot_id) VALUES (NULL)")

    with pytest.raises(UndeclaredWrite, match="Writer inserts into tree"):
        made_task("Writer", load, creates=[Plot]).run()
    assert count_rows(db, Tree) == 0


def test_an_orm_cascade_into_another_table_is_seen(db: Client) -> None:
    filled(db)

    def delete(self: tasks.ORMTask) -> None:
        self.session.delete(self.session.scalars(sa.select(Plot).where(Plot.name == "b")).one())

    with pytest.raises(UndeclaredWrite, match="Writer deletes from tree"):
        on_own_plots(delete)
    assert (count_rows(db, Plot), count_rows(db, Tree)) == (2, 3)


@pytest.mark.parametrize("aliased", [table_of(Plot).alias("p"), orm.aliased(Plot)], ids=["core", "orm"])
def test_an_update_by_an_alias_is_seen(db: Client, aliased: Any) -> None:
    filled(db)
    update = sa.update(aliased).values(area=1).execution_options(synchronize_session=False)

    def change(self: tasks.ORMTask) -> None:
        self.session.execute(update)

    with pytest.raises(UndeclaredWrite, match=r"Writer updates plot.area, .*'updates = \[Plot.area\]'"):
        made_task("Writer", change, creates=[staff.Unit]).run()
    made_task("Writer", change, updates=[Plot.area]).run()


@only("postgresql")  # others do not write in a WITH
def test_what_a_declared_insert_writes_besides_is_seen(db: Client) -> None:
    def insert(self: tasks.ORMTask) -> None:
        besides = sa.insert(Plot).values(name="new").cte("besides")
        self.session.execute(sa.insert(table_of(staff.Unit)).values(name="declared").add_cte(besides))

    with pytest.raises(UndeclaredWrite, match="Writer inserts into plot"):
        made_task("Writer", insert, creates=[staff.Unit]).run()
    assert count_rows(db, Plot) == 0


@only("mariadb")  # others update one
def test_an_update_of_two_tables_at_once_is_seen(db: Client) -> None:
    plot, tree = table_of(Plot), table_of(Tree)

    def change(self: tasks.ORMTask) -> None:
        self.session.execute(
            sa.update(plot).values({plot.c.area: 1, tree.c.plot_id: None}).where(tree.c.plot_id == plot.c.id)
        )

    with pytest.raises(UndeclaredWrite, match=r"Writer updates tree.plot_id"):
        made_task("Writer", change, updates=[Plot.area]).run()
    made_task("Writer", change, updates=[Plot.area, Tree.plot_id]).run()


def test_a_statement_that_was_prepared_for_another_task_is_seen_again(db: Client) -> None:
    made_task("Writer", by_text, creates=[Plot]).run()
    if db.engine.dialect.name != "mysql":
        with pytest.raises(UndeclaredWrite):
            made_task("Writer", by_text, creates=(), task_namespace="second").run()
    assert count_rows(db, Plot) == 1


def test_columns_that_follow_from_an_update_need_no_declaration(db: Client) -> None:
    with db.transaction() as session:
        session.add(Meadow())

    def mow(self: tasks.ORMTask) -> None:
        self.session.connection().connection.cursor()  # from here on the database is asked, too
        for meadow in self.session.scalars(sa.select(Meadow)):
            meadow.grass = 0

    def name(self: tasks.ORMTask) -> None:
        for meadow in self.session.scalars(sa.select(Meadow)):
            meadow.name = "new"

    mower = made_task("Writer", mow, updates=[Meadow.grass])
    mower.run()
    mower.clear()
    with pytest.raises(UndeclaredWrite, match=r"Writer updates meadow.name, "):
        made_task("Writer", name, updates=[Meadow.grass]).run()


@pytest.mark.parametrize("attribute", [Plot.trees, Plot.twice], ids=["relationship", "hybrid"])
def test_updates_that_are_no_column_are_named(db: Client, attribute: Any) -> None:
    attributes = {"task_namespace": str(attribute), "updates": [attribute]}
    wrong = made_task("Writer", lambda self: None, **attributes)
    with pytest.raises(NotClearable, match=r"Writer updates .*, which is no column: 'updates' names mapped columns"):
        wrong.run()
    type(wrong).updates = None  # later tests look at all classes


def test_temporary_tables_may_be_written(db: Client) -> None:
    def scratch(self: tasks.ORMTask) -> None:
        self.session.execute(sa.text("CREATE TEMPORARY TABLE scratch (n INTEGER)"))
        self.session.execute(sa.text("INSERT INTO scratch VALUES (1)"))
        self.session.execute(sa.text("DROP TABLE scratch" if db.engine.dialect.name != "mysql" else "SELECT 1"))

    made_task("Writer", scratch, creates=()).run()


def test_temporary_tables_may_be_written_by_pandas_and_core(db: Client) -> None:
    def scratch(self: tasks.ORMTask) -> None:
        connection = self.session.connection()
        connection.execute(sa.text("CREATE TEMPORARY TABLE scratch (name VARCHAR(50))"))
        if db.engine.dialect.name != "mysql":  # pandas does not see temporary tables there
            pd.DataFrame({"name": ["new"]}).to_sql("scratch", connection, if_exists="append", index=False)
        connection.execute(sa.insert(sa.Table("scratch", sa.MetaData(), sa.Column("name"))), {"name": "newer"})
        connection.execute(sa.text("INSERT INTO plot (name) SELECT name FROM scratch"))

    made_task("Writer", scratch, creates=[Plot]).run()
    assert count_rows(db, Plot) >= 1


@pytest.mark.parametrize("how", ["class", "setting", "environment"])
def test_it_can_be_a_warning(
    db: Client, how: str, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    caplog.set_level(logging.WARNING)
    name = f"{how}_{db.engine.dialect.name}"
    attributes: dict[str, Any] = {"creates": (), "task_namespace": name}
    if how == "class":
        attributes["strict_writes"] = False
    elif how == "setting":
        monkeypatch.setitem(vars(config), "STRICT_WRITES", False)
    else:
        monkeypatch.setenv("OZELOT_STRICT_WRITES", "no")
    writer = made_task("Writer", by_flush, **attributes)
    writer.run()
    assert count_rows(db, Plot) == 1
    assert f"{name}.Writer inserts into plot, which it does not declare: add 'creates = [Plot]'" in caplog.text


def test_a_setting_that_is_neither_on_nor_off_says_so(db: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OZELOT_STRICT_WRITES", "maybe")
    with pytest.raises(ConfigError, match="STRICT_WRITES is 'maybe': use True or False"):
        made_task("Writer", by_flush, creates=()).run()


@pytest.mark.parametrize(
    "declared",
    [{"clear": lambda self: self.mark_incomplete()}, {"object_classes": [staff.Unit]}],
    ids=["own clear", "as in 0.2"],
)
def test_classes_written_for_0_2_are_warned_about_once(
    db: Client, declared: dict[str, Any], caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.WARNING)
    namespace = f"old_{next(iter(declared))}_{db.engine.dialect.name}"
    made_task("Writer", by_flush, task_namespace=namespace, **declared).run()
    made_task("Writer", by_core, task_namespace=namespace, **declared, priority=1).mark_incomplete()
    made_task("Writer", by_core, task_namespace=namespace, **declared).run()
    assert caplog.text.count(f"{namespace}.Writer inserts into plot, which it does not declare") == 1
    assert count_rows(db, Plot) == 3


def test_a_task_that_runs_another_answers_only_for_its_own_writes(db: Client) -> None:
    def outer(self: tasks.ORMTask) -> None:
        self.session.execute(sa.text("INSERT INTO plot (name) VALUES ('mine')"))
        self.session.commit()
        staff.LoadUnits().run()
        self.session.execute(sa.text("INSERT INTO plot (name) VALUES ('mine, too')"))

    made_task("Writer", outer, creates=[Plot]).run()
    assert (count_rows(db, Plot), count_rows(db, staff.Unit)) == (2, 3)

    def worse(self: tasks.ORMTask) -> None:
        outer(self)
        self.session.execute(sa.text("INSERT INTO unit (name) VALUES ('not mine')"))

    with db.transaction() as session:
        session.execute(sa.delete(staff.Unit))
    staff.LoadUnits.mark_incomplete()
    if db.engine.dialect.name != "mysql":
        with pytest.raises(UndeclaredWrite, match="inserts into unit"):
            on_own_plots(worse)
        assert (count_rows(db, Plot), count_rows(db, staff.Unit)) == (2, 0)


def test_a_task_that_clears_another_answers_only_for_its_own_writes(db: Client) -> None:
    assert build(staff.LoadStaff())

    def clearing(self: tasks.ORMTask) -> None:
        self.session.execute(sa.text("INSERT INTO plot (name) VALUES ('mine')"))
        self.session.commit()
        staff.LoadEmployees().clear()

    made_task("Writer", clearing, creates=[Plot]).run()
    assert (count_rows(db, Plot), count_rows(db, staff.Employee)) == (1, 0)


def test_a_clear_of_the_users_own_may_delete_only_what_the_task_declares(db: Client) -> None:
    filled(db)

    class Owner(tasks.ORMTask):
        creates: Collection[Any] = [Tree]

        def requires(self) -> Any:
            return ()

        def run(self) -> None: ...

        def clear(self) -> None:
            self.mark_incomplete()
            self.session.execute(sa.delete(Plot))

    Owner().mark_complete()
    root = type("AboveOwner", (tasks.ORMWrapperTask,), {"requires": lambda self: [Owner()]})()
    with pytest.raises(UndeclaredWrite, match="Owner deletes from plot"):
        clear_plan(root, [Owner()]).apply()
    assert (count_rows(db, Plot), count_rows(db, Tree)) == (2, 3)
    assert Owner().complete()


@pytest.mark.parametrize("way", ["text", "pandas", "cursor"])
def test_rows_that_must_know_their_run_and_do_not_say_what_to_add(db: Client, way: str) -> None:
    def load(self: tasks.ORMTask) -> None:
        if way == "text":
            self.session.execute(sa.text("INSERT INTO flight (month, carrier) VALUES (1, 'raw')"))
        elif way == "cursor":
            by = self.client.engine.raw_connection().cursor()
            by.execute("INSERT INTO flight (month, carrier) VALUES (1, 'raw')")
        else:
            frame = pd.DataFrame({"month": [1], "carrier": ["raw"]})
            frame.to_sql("flight", self.client.engine, if_exists="append", index=False)

    with pytest.raises(NoRun, match=r"Writer {} added rows of Flight without their run.*current_run_id\(\)"):
        made_task("Writer", load, creates=[Flight]).run()


def test_to_sql_with_the_run_passes(db: Client) -> None:
    def load(self: tasks.ORMTask) -> None:
        frame = pd.DataFrame({"month": [1], "carrier": ["raw"]}).assign(run_id=current_run_id())
        frame.to_sql("flight", self.client.engine, if_exists="append", index=False)

    made_task("Writer", load, creates=[Flight]).run()
    assert count_rows(db, table_of(Flight)) == 1


@only("postgresql")
def test_partitions_count_as_the_table_that_they_are_part_of(db: Client) -> None:
    with db.engine.begin() as connection:
        connection.execute(sa.text("CREATE TABLE harvest_1 PARTITION OF harvest FOR VALUES IN (1)"))

    def load(self: tasks.ORMTask) -> None:
        self.session.add(Harvest(id=1, year=1))
        self.session.flush()
        self.session.execute(sa.text("UPDATE harvest SET weight = 5"))

    def load_text(self: tasks.ORMTask) -> None:
        self.session.execute(sa.text("INSERT INTO harvest VALUES (1, 1, 5)"))

    with pytest.raises(UndeclaredWrite, match="Writer inserts into harvest,"):
        made_task("Writer", load_text, creates=[staff.Unit]).run()
    writer = made_task("Writer", load, creates=[Harvest])
    writer.run()
    writer.clear()
    assert count_rows(db, Harvest) == 0


@pytest.mark.parametrize(
    ("database_url", "statement"),
    [
        ("sqlite", "DELETE FROM tree"),
        ("sqlite", "DROP TABLE tree"),
        ("postgresql", "TRUNCATE TABLE tree"),
        ("postgresql", "DROP TABLE tree"),
        ("postgresql", "EXPLAIN ANALYZE DELETE FROM tree"),
        ("mariadb", "TRUNCATE TABLE tree"),
        ("mariadb", "DROP TABLE tree"),
    ],
    indirect=["database_url"],
)
def test_emptying_a_table_is_seen_as_deleting_from_it(db: Client, statement: str) -> None:
    filled(db)
    refused: Any = TransactionError if db.engine.dialect.name == "mysql" else UndeclaredWrite
    with pytest.raises(refused):
        made_task("Writer", lambda self: self.session.execute(sa.text(statement)), creates=()).run()
    assert count_rows(db, Tree) == 3


def test_dropping_a_table_by_core_is_seen_as_deleting_from_it(db: Client) -> None:
    filled(db)
    with pytest.raises((UndeclaredWrite, TransactionError)):
        made_task("Writer", lambda self: table_of(Tree).drop(self.session.connection()), creates=()).run()
    assert count_rows(db, Tree) == 3


@pytest.mark.parametrize("how", ["flush", "core"])
def test_rows_of_a_model_that_shares_the_table_of_a_declared_one_are_seen(db: Client, how: str) -> None:
    def load(self: tasks.ORMTask) -> None:
        if how == "flush":
            self.session.add(Bike())
        else:
            self.session.execute(sa.insert(Bike).values(kind="bike", gears=3))

    told = r"Writer inserts into vehicle \(as Bike\), .* 'creates = \[Vehicle, Bike\]'"
    with pytest.raises(UndeclaredWrite, match=told):
        made_task("Writer", load, creates=[Vehicle]).run()
    assert count_rows(db, table_of(Vehicle)) == 0
    made_task("Writer", load, creates=[Vehicle, Bike]).run()
    assert count_rows(db, table_of(Vehicle)) == 1
