"""Deleting rows: in any shape of foreign keys, exactly those that were counted, and nothing along with them."""

from __future__ import annotations

import sqlite3
from collections.abc import Collection
from typing import Any

import luigi
import pytest
import sqlalchemy as sa
from sqlalchemy import ForeignKey, ForeignKeyConstraint, String
from sqlalchemy.orm import Mapped, mapped_column

from ozelot.client import Client
from ozelot.errors import ClearRefused, RowsChanged
from ozelot.etl import tasks
from ozelot.etl.completion import clear_plan
from ozelot.orm.base import Base
from ozelot.orm.run import TaskOwned
from tests.databases import only
from tests.etl import staff
from tests.etl.heroes import build
from tests.etl.made_tasks import loading_task
from tests.tables import count_rows_each, create_tables

pytestmark = pytest.mark.servers


class Region(Base):
    """Composite key, which others refer to."""

    country: Mapped[str] = mapped_column(String(2), primary_key=True)
    code: Mapped[str] = mapped_column(String(5), primary_key=True)
    id: Mapped[int] = mapped_column()


class Town(Base):
    """Refers to a region by two columns, and, by one of them and another, to a neighbour; all may be NULL."""

    country: Mapped[str | None] = mapped_column(String(2))
    region: Mapped[str | None] = mapped_column(String(5))
    other_region: Mapped[str | None] = mapped_column(String(5))

    __table_args__ = (
        ForeignKeyConstraint(["country", "region"], ["region.country", "region.code"]),
        ForeignKeyConstraint(["country", "other_region"], ["region.country", "region.code"]),
    )


class Folder(TaskOwned, Base):
    """Refers to itself, with a rule that takes children along."""

    parent_id: Mapped[int | None] = mapped_column(ForeignKey("folder.id", ondelete="CASCADE"))


class Chapter(Base):
    """Refers to itself, with a rule that SQLite looks at row by row."""

    within_id: Mapped[int | None] = mapped_column(ForeignKey("chapter.id", ondelete="RESTRICT"))


class Strict(Base):
    """Refers to itself, and never to nothing."""

    next_id: Mapped[int] = mapped_column(ForeignKey("strict.id"))


class Left(Base):
    right_id: Mapped[int] = mapped_column(ForeignKey("right.id", name="fk_left_right"))


class Right(Base):
    left_id: Mapped[int] = mapped_column(ForeignKey("left.id"))


class Top(TaskOwned, Base): ...


class Middle(TaskOwned, Base):
    top_id: Mapped[int] = mapped_column(ForeignKey("top.id"))


class Bottom(TaskOwned, Base):
    """Two paths to one table, by itself and by what is between."""

    middle_id: Mapped[int] = mapped_column(ForeignKey("middle.id"))
    top_id: Mapped[int | None] = mapped_column(ForeignKey("top.id"))


class Follower(Base):
    """Goes along, or is changed, where the database is left to itself."""

    top_id: Mapped[int | None] = mapped_column(ForeignKey("top.id", ondelete="CASCADE"))
    folder_id: Mapped[int | None] = mapped_column(ForeignKey("folder.id", ondelete="SET NULL"))


OWN: list[type[Base]] = [Region, Town, Folder, Chapter, Strict, Left, Right, Top, Middle, Bottom, Follower]


@pytest.fixture(autouse=True)
def tables(db: Client) -> None:
    create_tables(db, *OWN, staff.Unit)


def test_composite_keys_and_columns_that_two_keys_share(db: Client) -> None:
    regions = loading_task(
        "LoadRegions", lambda _: [Region(country="DE", code="BY", id=1), Region(country="DE", code="BE", id=2)], Region
    )
    towns = loading_task(
        "LoadTowns",
        lambda _: [
            Town(country="DE", region="BY", other_region="BE"),
            Town(country="DE", region=None),
            Town(region="X"),
        ],
        Town,
        requires=[regions],
    )
    assert build(towns)
    with pytest.raises(ClearRefused, match=r"1 row of town .*refers to region"):
        clear_plan(towns, [regions], downstream=False).apply()
    plan = clear_plan(towns, [regions])
    assert plan.deletes == {"town": 3, "region": 2}
    plan.apply()
    assert count_rows_each(db, Region, Town) == [0, 0]


def test_rows_that_refer_to_their_like_go_at_once_whatever_the_rule(db: Client) -> None:
    def folders(self: tasks.ORMTask) -> None:
        parent = None
        for _ in range(5):
            folder = Folder(parent_id=parent)
            self.session.add(folder)
            self.session.flush()
            parent = folder.id

    first, second = loading_task("LoadFolders", folders, Folder), loading_task("LoadMoreFolders", folders, Folder)
    assert build(first, second)
    clear_plan(first, [first]).apply()
    assert count_rows_each(db, Folder) == [5]
    clear_plan(second, [second]).apply()
    assert count_rows_each(db, Folder) == [0]


def test_children_of_another_task_are_not_taken_along_by_a_rule(db: Client) -> None:
    above = loading_task("LoadAbove", lambda _: [Folder(id=1)], Folder)
    below = loading_task("LoadBelow", lambda _: [Folder(id=2, parent_id=1)], Folder)
    assert build(above)
    assert build(below)
    with pytest.raises(ClearRefused, match=r"1 row of folder \(created by LoadBelow {}\) refers to folder"):
        clear_plan(above, [above]).apply()
    assert count_rows_each(db, Folder) == [2]


def test_references_that_may_not_be_null_work_where_the_database_looks_at_the_end(db: Client) -> None:
    def circle(self: tasks.ORMTask) -> None:
        self.session.execute(sa.insert(Strict), [{"id": 1, "next_id": 1}, {"id": 2, "next_id": 1}])

    load = loading_task("LoadStrict", circle, Strict)
    assert build(load)
    if db.engine.dialect.name == "mysql":
        with pytest.raises(ClearRefused, match="the database refuses to delete"):
            clear_plan(load, [load]).apply()
        assert count_rows_each(db, Strict) == [2]
        assert load.complete()
    else:
        clear_plan(load, [load]).apply()
        assert count_rows_each(db, Strict) == [0]


def test_a_circle_of_tables_that_may_not_be_null_is_refused_in_words(db: Client) -> None:
    load = loading_task("LoadCircle", lambda _: [], Left, Right)
    assert build(load)
    with db.engine.begin() as connection:
        if db.engine.dialect.name == "sqlite":
            connection.exec_driver_sql("PRAGMA defer_foreign_keys = ON")
        elif db.engine.dialect.name == "mysql":
            connection.exec_driver_sql("SET foreign_key_checks = 0")
        else:
            connection.exec_driver_sql("SET session_replication_role = replica")
        connection.execute(sa.insert(Left), {"id": 1, "right_id": 1})
        connection.execute(sa.insert(Right), {"id": 1, "left_id": 1})
        if db.engine.dialect.name == "mysql":
            connection.exec_driver_sql("SET foreign_key_checks = 1")
        elif db.engine.dialect.name == "postgresql":
            connection.exec_driver_sql("SET session_replication_role = DEFAULT")
    with pytest.raises(ClearRefused, match=r"left and right refer to each other|right and left refer to each other"):
        clear_plan(load, [load], include_unrecorded=True).apply()
    assert count_rows_each(db, Left, Right) == [1, 1]


def test_a_reference_to_nothing_does_not_stand_in_the_way(sqlite_db: Client) -> None:
    create_tables(sqlite_db, *OWN, staff.Unit)
    assert build(staff.LoadUnits())
    with sqlite3.connect(str(sqlite_db.url.database)) as other:  # foreign keys are off, unless one asks
        other.execute("INSERT INTO employee (name, unit_id) VALUES ('lost', 77)")
    other.close()
    clear_plan(staff.LoadUnits(), [staff.LoadUnits()]).apply()
    assert count_rows_each(sqlite_db, staff.Unit, staff.Employee) == [0, 1]


def test_two_paths_to_one_table(db: Client) -> None:
    tops = loading_task("LoadTops", lambda _: [Top(id=1), Top(id=2)], Top)
    middles = loading_task(
        "LoadMiddles", lambda _: [Middle(id=1, top_id=1), Middle(id=2, top_id=2)], Middle, requires=[tops]
    )
    bottoms = loading_task(
        "LoadBottoms",
        lambda _: [Bottom(middle_id=1, top_id=2), Bottom(middle_id=2), Bottom(middle_id=2, top_id=2)],
        Bottom,
        requires=[middles, tops],
    )
    assert build(bottoms)
    plan = clear_plan(bottoms, [tops])
    assert [(step.label, step.deletes) for step in plan.steps] == [
        ("LoadBottoms {}", {"bottom": 3}),
        ("LoadMiddles {}", {"middle": 2}),
        ("LoadTops {}", {"top": 2}),
    ]
    plan.apply()
    assert count_rows_each(db, Top, Middle, Bottom) == [0, 0, 0]


def test_rows_that_a_rule_would_take_along_stop_it(db: Client) -> None:
    tops = loading_task("LoadTops2", lambda _: [Top(id=1)], Top)
    folders = loading_task("LoadFolders2", lambda _: [Folder(id=1)], Folder)
    assert build(tops, folders)
    with db.transaction() as session:
        session.add_all([Follower(top_id=1), Follower(folder_id=1)])
    for load, table in ((tops, "top"), (folders, "folder")):
        with pytest.raises(ClearRefused, match=f"1 row of follower .*refers to {table}"):
            clear_plan(load, [load]).apply()
    with db.create_session() as session:
        assert session.execute(sa.select(Follower.top_id, Follower.folder_id).order_by(Follower.id)).all() == [
            (1, None),
            (None, 1),
        ]


def test_rows_that_refer_to_each_other_and_restrict_deleting_go_together(db: Client) -> None:
    load = loading_task("LoadChapters", lambda _: [Chapter(id=1), Chapter(id=2, within_id=1)], Chapter)
    assert build(load)
    load.clear()
    assert count_rows_each(db, Chapter) == [0]


def audit(db: Client, body: str) -> None:
    """A trigger of the user's own, on every deleted unit."""
    with db.engine.begin() as connection:
        if db.engine.dialect.name == "postgresql":
            connection.execute(
                sa.text(
                    f"CREATE FUNCTION audit() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN {body}; RETURN OLD; END $$"
                )
            )
            connection.execute(
                sa.text("CREATE TRIGGER note AFTER DELETE ON unit FOR EACH ROW EXECUTE FUNCTION audit()")
            )
        else:
            connection.execute(
                sa.text(f"CREATE TRIGGER note AFTER DELETE ON unit FOR EACH ROW BEGIN {body}; END").execution_options(
                    no_parameters=True
                )
            )


@only("sqlite", "postgresql")  # MariaDB does not tell; the documentation says so
@pytest.mark.parametrize("body", ["DELETE FROM folder", "UPDATE folder SET parent_id = NULL"])
def test_what_a_trigger_would_change_along_stops_it_where_the_database_tells(db: Client, body: str) -> None:
    folders = loading_task("LoadFolders3", lambda _: [Folder(id=1)], Folder)
    assert build(staff.LoadUnits(), folders)
    audit(db, body)
    with pytest.raises(
        RowsChanged,
        match=r"Clearing LoadUnits {}: (\d+ more rows than planned|\d+ rows of folder).*\(triggers: note on unit\)",
    ):
        clear_plan(staff.LoadUnits(), [staff.LoadUnits()]).apply()
    assert count_rows_each(db, staff.Unit, Folder) == [3, 1]
    assert staff.LoadUnits().complete()


def test_clearing_costs_what_is_cleared_and_not_what_is_there(sqlite_db: Client) -> None:
    create_tables(sqlite_db, *OWN, staff.Unit)

    class LoadTop(tasks.ORMTask):
        creates: Collection[Any] = [Top, Middle, Bottom]
        n: int = luigi.IntParameter()
        size: int = luigi.IntParameter(significant=False)

        def run(self) -> None:
            first = self.n * 100_000
            ids = range(first, first + self.size)
            self.session.execute(sa.insert(Top), [{"id": number} for number in ids])
            self.session.execute(sa.insert(Middle), [{"id": number, "top_id": number} for number in ids])
            self.session.execute(sa.insert(Bottom), [{"middle_id": number, "top_id": number} for number in ids])

    def steps_to_clear(number: int) -> int:
        steps = 0

        def count_steps() -> None:
            nonlocal steps
            steps += 1

        LoadTop(n=number, size=10).run()
        with sqlite_db.engine.connect() as connection:
            driver: Any = connection.connection.driver_connection
        driver.set_progress_handler(count_steps, 10)
        clear_plan(LoadTop(n=number, size=10), [LoadTop(n=number, size=10)]).apply()
        driver.set_progress_handler(None, 10)
        return steps

    LoadTop(n=1, size=100).run()
    few = steps_to_clear(2)
    LoadTop(n=3, size=20_000).run()
    assert steps_to_clear(4) < 2 * few
