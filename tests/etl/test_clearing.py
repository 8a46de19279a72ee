"""Clearing: in an order that foreign keys accept, all or nothing, and nothing else."""

from __future__ import annotations

import logging
from collections.abc import Callable, Collection
from typing import Any

import luigi
import pytest
import sqlalchemy as sa
from sqlalchemy import Column, ForeignKey, String, Table
from sqlalchemy.orm import Mapped, mapped_column, relationship

import ozelot
from ozelot.client import Client
from ozelot.errors import ClearRefused, LeftoverRows, NotClearable
from ozelot.etl import tasks
from ozelot.etl.completion import clear_plan
from ozelot.orm.base import Base
from tests.databases import only
from tests.etl import staff
from tests.etl.heroes import build
from tests.etl.made_tasks import loading_task
from tests.etl.vehicles import Bike, Car, Convertible, Vehicle
from tests.tables import count_rows_each, create_tables


class Shop(Base):
    name: Mapped[str] = mapped_column(String(50))
    best_seller_id: Mapped[int | None] = mapped_column(ForeignKey("article.id", use_alter=True))
    rating: Mapped[int | None] = mapped_column()


class Article(Base):
    name: Mapped[str] = mapped_column(String(50))
    shop_id: Mapped[int] = mapped_column(ForeignKey("shop.id"))
    replaces_id: Mapped[int | None] = mapped_column(ForeignKey("article.id"))
    tags: Mapped[list[Tag]] = relationship(secondary="article_tag")


class Tag(Base):
    name: Mapped[str] = mapped_column(String(50))


article_tag = Table(
    "article_tag",
    Base.metadata,
    Column("article_id", ForeignKey("article.id"), primary_key=True),
    Column("tag_id", ForeignKey("tag.id"), primary_key=True),
)


class Animal(Base):
    """Joined inheritance, without a discriminator."""


class Cat(Animal):
    id: Mapped[int] = mapped_column(ForeignKey("animal.id"), primary_key=True)


class Dog(Animal):
    id: Mapped[int] = mapped_column(ForeignKey("animal.id"), primary_key=True)


@pytest.fixture(autouse=True)
def tables(db: Client) -> None:
    create_tables(db, Shop, Article, Tag, Vehicle, Animal, staff.Unit)


def two_of(model: Any) -> Callable[[tasks.ORMTask], list[Any]]:
    return lambda _: [model(), model()]


def test_units_and_employees(db: Client) -> None:
    assert build(staff.LoadStaff())
    assert count_rows_each(db, staff.Unit, staff.Employee) == [3, 12]
    staff.LoadUnits.mark_incomplete()
    tasks.check_completion(staff.LoadStaff(), clear=True)
    assert count_rows_each(db, staff.Unit, staff.Employee) == [0, 0]
    assert build(staff.LoadStaff())
    assert count_rows_each(db, staff.Unit, staff.Employee) == [3, 12]


def test_clear_and_mark_incomplete_work_on_the_class_and_on_a_task(db: Client) -> None:
    assert staff.LoadUnits.build()
    staff.LoadUnits.mark_incomplete()
    assert not staff.LoadUnits().complete()
    assert count_rows_each(db, staff.Unit) == [3]
    staff.LoadUnits.clear()
    assert count_rows_each(db, staff.Unit) == [0]
    assert staff.LoadUnits().build()
    staff.LoadUnits().clear()
    assert count_rows_each(db, staff.Unit) == [0]
    assert not staff.LoadUnits().complete()


def test_updated_columns_are_reset_and_rows_stay(db: Client) -> None:
    load = loading_task("LoadShops", lambda _: [Shop(name="a"), Shop(name="b")], Shop)

    class Rate(tasks.ORMTask):
        updates = [Shop.rating]

        def requires(self) -> Any:
            return [load]

        def run(self) -> None:
            for shop in self.session.scalars(sa.select(Shop)):
                shop.rating = 5

    assert build(Rate())
    Rate.clear()
    assert count_rows_each(db, Shop) == [2]
    with db.create_session() as session:
        assert list(session.scalars(sa.select(Shop.rating))) == [None, None]
    assert load.complete()
    assert not Rate().complete()


def test_rows_of_association_tables_and_references_in_circles_go_too(db: Client) -> None:
    load_shops = loading_task("LoadCircleShops", lambda _: [Shop(name="shop")], Shop)
    load_tags = loading_task("LoadTags", lambda _: [Tag(name="new")], Tag)

    class LoadArticles(tasks.ORMTask):
        creates = [Article]
        updates = [Shop.best_seller_id]

        def requires(self) -> Any:
            return [load_shops, load_tags]

        def run(self) -> None:
            shop, tag = self.session.scalars(sa.select(Shop)).one(), self.session.scalars(sa.select(Tag)).one()
            old = Article(name="old", shop_id=shop.id, tags=[tag])
            self.session.add(old)
            self.session.flush()
            new = Article(name="new", shop_id=shop.id, replaces_id=old.id, tags=[tag])
            self.session.add(new)
            self.session.flush()
            shop.best_seller_id = new.id

    assert build(LoadArticles())
    assert count_rows_each(db, Article, article_tag) == [2, 2]
    LoadArticles().clear()
    assert count_rows_each(db, Shop, Article, Tag, article_tag) == [1, 0, 1, 0]
    assert build(LoadArticles())
    load_shops.mark_incomplete()
    tasks.check_completion(LoadArticles(), clear=True)
    assert count_rows_each(db, Shop, Article, Tag, article_tag) == [0, 0, 1, 0]


def test_shop_and_article_of_one_task_go_although_they_refer_to_each_other(db: Client) -> None:
    class LoadBoth(tasks.ORMTask):
        creates = [Shop, Article]

        def run(self) -> None:
            shop = Shop(name="shop")
            self.session.add(shop)
            self.session.flush()
            article = Article(name="article", shop_id=shop.id)
            self.session.add(article)
            self.session.flush()
            shop.best_seller_id = article.id

    assert build(LoadBoth())
    LoadBoth.clear()
    assert count_rows_each(db, Shop, Article) == [0, 0]


VEHICLES = {"LoadVehicles": Vehicle, "LoadCars": Car, "LoadConvertibles": Convertible, "LoadBikes": Bike}


@pytest.mark.parametrize("cleared", VEHICLES)
def test_with_a_discriminator_each_model_of_a_hierarchy_is_cleared_by_itself(db: Client, cleared: str) -> None:
    loads = {name: loading_task(name, two_of(model), model) for name, model in VEHICLES.items()}
    for load in loads.values():
        assert build(load)
    loads[cleared].clear()
    with db.engine.connect() as connection:
        found = connection.execute(sa.text("SELECT kind, count(*) FROM vehicle GROUP BY kind")).all()
    kinds = {row.kind: row[1] for row in found}
    gone = cleared.removeprefix("Load").rstrip("s").lower()
    assert kinds == {kind: 2 for kind in ("vehicle", "car", "convertible", "bike") if kind != gone}
    assert count_rows_each(db, Car) == [2 if gone in ("car", "convertible") else 4]


@pytest.mark.parametrize("cleared", ["LoadAnimals", "LoadCats", "LoadDogs"])
def test_without_a_discriminator_too(db: Client, cleared: str) -> None:
    models: dict[str, type[Base]] = {"LoadAnimals": Animal, "LoadCats": Cat, "LoadDogs": Dog}
    loads = {name: loading_task(name, two_of(model), model) for name, model in models.items()}
    for load in loads.values():
        assert build(load)
    loads[cleared].clear()
    expected = [4, 2, 2]
    if cleared != "LoadAnimals":
        expected[list(models).index(cleared)] = 0
    assert count_rows_each(db, Animal, Cat, Dog) == expected


def test_tables_of_tasks_that_do_not_require_each_other_go_in_order(db: Client) -> None:
    parents = loading_task("LoadParents", lambda _: [staff.Unit(id=1, name="unit")], staff.Unit)

    class Children(tasks.ORMTask):
        creates = [staff.Employee]

        def run(self) -> None:
            self.session.add(staff.Employee(name="employee", unit_id=1))

    between = type("Between", (tasks.ORMWrapperTask,), {"requires": lambda self: [parents]})()
    root = type("Root", (tasks.ORMWrapperTask,), {"requires": lambda self: [Children(), between]})()
    assert build(parents)
    assert build(root)
    for order in ([Children(), between], [between, Children()]):
        root.requires = lambda order=order: order
        parents.mark_incomplete()
        Children.mark_incomplete()
        tasks.check_completion(root, clear=True)
        assert count_rows_each(db, staff.Unit, staff.Employee) == [0, 0]
        assert build(parents)
        assert build(root)


def test_a_clear_of_the_users_own_has_its_turn_after_what_is_downstream(db: Client) -> None:
    class OwnClear(tasks.ORMTask):
        def run(self) -> None:
            self.session.add(staff.Unit(id=1, name="unit"))
            self.done()

        def clear(self) -> None:
            self.mark_incomplete()
            self.session.query(staff.Unit).delete()
            self.close_session()

    load = loading_task(
        "LoadBelow", lambda _: [staff.Employee(name="e", unit_id=1)], staff.Employee, requires=[OwnClear()]
    )
    assert build(load)
    OwnClear.mark_incomplete()
    tasks.check_completion(load, clear=True)
    assert count_rows_each(db, staff.Unit, staff.Employee) == [0, 0]
    assert build(OwnClear())
    OwnClear.clear()  # type: ignore[call-arg]  # on the class, as in 0.2
    assert count_rows_each(db, staff.Unit) == [0]


def test_rows_outside_the_plan_that_refer_to_it_stop_it_and_are_named(db: Client) -> None:
    assert build(staff.LoadUnits())
    with db.transaction() as session:
        unit = session.scalars(sa.select(staff.Unit)).first()
        session.add_all(staff.Employee(name="by hand", unit_id=unit.id if unit else 0) for _ in range(2))
    staff.LoadUnits.mark_incomplete()
    with pytest.raises(
        ClearRefused,
        match=r"Nothing was cleared: 2 rows of employee \(as .*LoadEmployees.* would create\) refer to unit",
    ):
        tasks.check_completion(staff.LoadUnits(), clear=True)
    assert count_rows_each(db, staff.Unit, staff.Employee) == [3, 2]


def test_a_failure_half_way_changes_nothing(db: Client) -> None:
    class Stubborn(tasks.ORMTask):
        def run(self) -> None:
            self.session.add(staff.Unit(id=1, name="unit"))

        def clear(self) -> None:
            raise ValueError("never")

    load = loading_task(
        "LoadAbove", lambda _: [staff.Employee(name="e", unit_id=1)], staff.Employee, requires=[Stubborn()]
    )
    assert build(load)
    Stubborn.mark_incomplete()
    with pytest.raises(ValueError, match="never"):
        tasks.check_completion(load, clear=True)
    assert load.complete()
    assert count_rows_each(db, staff.Unit, staff.Employee) == [1, 1]


def test_a_task_that_says_nothing_cannot_be_cleared(db: Client) -> None:
    class Silent(tasks.ORMTask):
        strict_writes = False

        def run(self) -> None:
            self.session.add(staff.Unit(name="unit"))

    root = loading_task("LoadMore", lambda _: [Shop(name="a")], Shop, requires=[Silent()])
    assert build(root)
    with pytest.raises(NotImplementedError, match=r"Silent does not say how to clear it: declare 'creates"):
        Silent.clear()
    Silent.mark_incomplete()
    with pytest.raises(NotClearable):
        tasks.check_completion(root, clear=True)
    assert root.complete()


class Harbor(Base):
    code = Column("code_name", String(20), key="harbor_code", unique=True, nullable=False)


class Berth(Base):
    harbor = Column("of_harbor", String(20), ForeignKey("harbor.harbor_code"), key="berth_harbor")


def test_a_column_with_a_key_may_be_what_an_unmapped_table_refers_to(db: Client) -> None:
    create_tables(db, Harbor, Berth)
    refers = "berth_of VARCHAR(20), FOREIGN KEY (berth_of) REFERENCES harbor (code_name)"
    with db.engine.begin() as connection:
        connection.execute(sa.text(f"CREATE TABLE mooring (id INTEGER PRIMARY KEY, {refers})"))
    harbors = loading_task("LoadHarbors", lambda _: [Harbor(code="a"), Harbor(code="b")], Harbor)
    berths = loading_task("LoadBerths", lambda _: [Berth(harbor="a")], Berth, requires=[harbors])
    assert build(berths)
    plan = clear_plan(berths, [harbors])
    assert (plan.deletes, plan.refused) == ({"berth": 1, "harbor": 2}, "")
    with db.engine.begin() as connection:
        connection.execute(sa.text("INSERT INTO mooring VALUES (1, 'b')"))
    assert clear_plan(berths, [harbors]).refused.startswith("1 row of mooring (key 1) refers to harbor")
    with pytest.raises(ClearRefused):
        plan.apply()
    with db.engine.begin() as connection:
        connection.execute(sa.text("DELETE FROM mooring"))
    plan.apply()
    assert count_rows_each(db, Harbor, Berth) == [0, 0]
    with db.engine.begin() as connection:
        connection.execute(sa.text("DROP TABLE mooring"))


def test_tasks_that_are_no_orm_tasks_are_left_as_they_are(db: Client, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)

    class File(tasks.InputFileTask):
        input_file = "nowhere.csv"

    root = loading_task("LoadFromFile", lambda _: [], Shop, requires=[File()])
    _, stats = tasks.check_completion(root, clear=True, return_stats=True)
    assert stats == {"Incomplete tasks": 2, "Cleared": 1}
    assert "Cannot clear task, not an ORMTask: File {}" in caplog.text
    tasks.check_completion(root, mark_incomplete=True)
    assert "Cannot mark task incomplete, not an ORMTask: File {}" in caplog.text
    File().clear()
    assert "doing nothing" in caplog.text


def test_a_task_does_not_run_on_top_of_its_own_leftovers(db: Client, caplog: pytest.LogCaptureFixture) -> None:
    assert build(staff.LoadUnits())
    staff.LoadUnits.mark_incomplete()
    with pytest.raises(LeftoverRows, match=r"rows in unit, which it creates.*'ozelot clear LoadUnits', its clear"):
        staff.LoadUnits().run()
    assert count_rows_each(db, staff.Unit) == [3]
    staff.LoadUnits.clear()
    assert build(staff.LoadUnits())
    assert count_rows_each(db, staff.Unit) == [3]


def test_a_task_of_0_2_runs_on_top_of_leftovers_with_a_warning(db: Client, caplog: pytest.LogCaptureFixture) -> None:
    assert build(staff.LoadUnitsAsIn02())
    staff.LoadUnitsAsIn02.mark_incomplete()
    assert build(staff.LoadUnitsAsIn02())
    assert "LoadUnitsAsIn02 {} runs on top of rows that are in unit already" in caplog.text
    assert count_rows_each(db, staff.Unit) == [6]
    staff.LoadUnitsAsIn02.clear()
    assert count_rows_each(db, staff.Unit) == [0]


def test_rows_of_another_complete_task_are_no_leftovers(db: Client) -> None:
    class LoadPart(tasks.ORMTask):
        creates = [Shop]
        part: int = luigi.IntParameter()

        def run(self) -> None:
            self.session.add(Shop(name=f"shop {self.part}"))

    assert build(LoadPart(part=1), LoadPart(part=2))
    assert count_rows_each(db, Shop) == [2]


def test_a_parameter_clash_between_tasks_of_one_model_is_not_cleared_in_part(db: Client) -> None:
    """Until rows know their task, clearing one of several tasks that fill a table would take the others' rows."""

    class LoadYear(tasks.ORMTask):
        creates = [Shop]
        year: int = luigi.IntParameter()

        def run(self) -> None:
            self.session.add(Shop(name=f"shop {self.year}"))

    assert build(LoadYear(year=1), LoadYear(year=2))
    with pytest.raises(ClearRefused, match=r"LoadYear {'year': '2'} has rows in shop, too"):
        LoadYear(year=1).clear()
    assert count_rows_each(db, Shop) == [2]
    assert LoadYear(year=1).complete()


def test_a_column_that_cannot_be_reset_is_refused_and_keeps_its_values(db: Client) -> None:
    assert build(staff.LoadUnits())

    class Rename(tasks.ORMTask):
        updates = [staff.Unit.name]

        def run(self) -> None:
            for unit in self.session.scalars(sa.select(staff.Unit)):
                unit.name = "renamed"

    with pytest.raises(NotClearable, match=r"Rename updates unit\.name, which cannot be reset"):
        Rename().run()
    with db.create_session() as session:
        assert "renamed" not in session.scalars(sa.select(staff.Unit.name)).all()


@only("postgresql")
def test_tables_in_another_schema_are_planned_counted_and_cleared(db: Client) -> None:
    other = sa.Table("parcel", Base.metadata, sa.Column("id", sa.Integer, primary_key=True), schema="elsewhere")

    class LoadParcels(tasks.ORMTask):
        creates: Collection[Any] = [other]

        def run(self) -> None:
            self.session.execute(sa.insert(other), [{"id": 1}, {"id": 2}])
            self.session.execute(sa.text("INSERT INTO elsewhere.parcel VALUES (3)"))

    try:
        with db.engine.begin() as connection:
            connection.execute(sa.text("CREATE SCHEMA elsewhere"))
            other.create(connection)
        LoadParcels().run()
        assert ozelot.verify(LoadParcels()) == []
        plan = clear_plan(LoadParcels(), [LoadParcels()])
        assert plan.deletes == {"parcel": 3}
        plan.apply()
        with db.engine.connect() as connection:
            assert connection.execute(sa.select(other)).all() == []
    finally:
        Base.metadata.remove(other)
        LoadParcels.creates = ()
