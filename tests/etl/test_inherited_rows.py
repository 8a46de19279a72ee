"""Joined inheritance with several tasks: clearing deletes the base rows that a task inserted, and no others."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from typing import Any

import luigi
import pandas as pd
import pytest
import sqlalchemy as sa
from sqlalchemy import Column, ForeignKey, String, Table
from sqlalchemy.orm import Mapped, mapped_column, relationship

import ozelot
from ozelot.client import Client
from ozelot.errors import ClearRefused, NotClearable
from ozelot.etl import tasks
from ozelot.etl.completion import clear_plan
from ozelot.etl.status import status
from ozelot.model.base import table_of
from ozelot.orm.base import Base
from ozelot.orm.run import Run, TaskOwned
from ozelot.orm.target import ORMTargetMarker
from ozelot.state.markers import legacy_key
from tests.databases import only
from tests.tables import count_rows_each, create_tables

FIRST = 1000

How = Callable[[tasks.ORMTask], object]

#: What the run() of each task does, by its name.
how: dict[str, How] = {}


class Fitting(Base):
    code: Mapped[str] = mapped_column(String(20))
    labels: Mapped[list[Label]] = relationship(secondary="part_label")


class Screw(Fitting):
    id: Mapped[int] = mapped_column(ForeignKey("fitting.id"), primary_key=True)
    length: Mapped[int] = mapped_column(default=1)


class WoodScrew(Screw):
    id: Mapped[int] = mapped_column(ForeignKey("screw.id"), primary_key=True)


class Nail(Fitting):
    id: Mapped[int] = mapped_column(ForeignKey("fitting.id"), primary_key=True)


class Label(Base):
    text: Mapped[str] = mapped_column(String(20))


part_label = Table(
    "part_label",
    Base.metadata,
    Column("part_id", ForeignKey("fitting.id"), primary_key=True),
    Column("label_id", ForeignKey("label.id"), primary_key=True),
)


class Act(Base):
    """With a discriminator, which the task of the base rows sets, too."""

    kind: Mapped[str] = mapped_column(String(20))
    __mapper_args__ = {"polymorphic_on": "kind", "polymorphic_identity": "act"}


class Song(Act):
    id: Mapped[int] = mapped_column(ForeignKey("act.id"), primary_key=True)
    __mapper_args__ = {"polymorphic_identity": "song"}


class Encore(Song):
    """Single-table inheritance below joined inheritance."""

    __tablename__ = None
    times: Mapped[int | None] = mapped_column(use_existing_column=True)
    __mapper_args__ = {"polymorphic_identity": "encore"}


class Farm(TaskOwned, Base):
    """The base rows know their run."""

    name: Mapped[str] = mapped_column(String(20))


class Vineyard(Farm):
    id: Mapped[int] = mapped_column(ForeignKey("farm.id"), primary_key=True)


class Hill(TaskOwned, Base):
    """The base rows of three levels know their run."""


class Slope(Hill):
    id: Mapped[int] = mapped_column(ForeignKey("hill.id"), primary_key=True)


class Terrace(Slope):
    id: Mapped[int] = mapped_column(ForeignKey("slope.id"), primary_key=True)


class Bridge(Base):
    name: Mapped[str] = mapped_column(String(20))


class TollBridge(TaskOwned, Bridge):
    """The derived rows know their run."""

    id: Mapped[int] = mapped_column(ForeignKey("bridge.id"), primary_key=True)


class Thing(Base):
    """For tasks as in ozelot 0.2."""

    name: Mapped[str] = mapped_column(String(20))


class Gadget(Thing):
    id: Mapped[int] = mapped_column(ForeignKey("thing.id"), primary_key=True)


MODELS = (
    Fitting,
    Screw,
    WoodScrew,
    Nail,
    Label,
    Act,
    Song,
    Farm,
    Vineyard,
    Hill,
    Slope,
    Terrace,
    Bridge,
    TollBridge,
    Thing,
    Gadget,
)


class _Loading:
    def run(self) -> Any:
        how[type(self).__name__](self)  # type: ignore[arg-type]


class LoadFittings(_Loading, tasks.ORMTask):
    creates = [Fitting]


class LoadScrews(_Loading, tasks.ORMTask):
    creates = [Screw]

    def requires(self) -> Any:
        return [LoadFittings()]


class LoadWoodScrews(_Loading, tasks.ORMTask):
    creates = [WoodScrew]

    def requires(self) -> Any:
        return [LoadScrews()]


class LoadNails(_Loading, tasks.ORMTask):
    creates = [Nail]

    def requires(self) -> Any:
        return [LoadFittings()]


class LoadLabels(_Loading, tasks.ORMTask):
    creates = [Label]


class LoadActs(_Loading, tasks.ORMTask):
    creates = [Act]


class LoadSongs(_Loading, tasks.ORMTask):
    creates = [Song]

    def requires(self) -> Any:
        return [LoadActs()]


class LoadEncores(_Loading, tasks.ORMTask):
    creates = [Encore]

    def requires(self) -> Any:
        return [LoadActs()]


class LoadFarms(_Loading, tasks.ORMTask):
    creates = [Farm]


class LoadVineyards(_Loading, tasks.ORMTask):
    creates = [Vineyard]
    part: int = luigi.IntParameter(default=0)

    def requires(self) -> Any:
        return [LoadFarms()]

    def run(self) -> Any:
        how[f"LoadVineyards{self.part}"](self)


class LoadHills(_Loading, tasks.ORMTask):
    creates = [Hill]


class LoadSlopes(_Loading, tasks.ORMTask):
    creates = [Slope]


class LoadTerraces(_Loading, tasks.ORMTask):
    creates = [Terrace]

    def requires(self) -> Any:
        return [LoadHills()]


class LoadBridges(_Loading, tasks.ORMTask):
    creates = [Bridge]


class LoadTollBridges(_Loading, tasks.ORMTask):
    creates = [TollBridge]
    part: int = luigi.IntParameter(default=0)

    def requires(self) -> Any:
        return [LoadBridges()]

    def run(self) -> Any:
        how[f"LoadTollBridges{self.part}"](self)


class LoadOldTollBridges(_Loading, tasks.ORMTask):
    creates = [TollBridge]


class LoadFarmsAndVineyards(_Loading, tasks.ORMTask):
    creates = [Farm, Vineyard]


class LoadAllBridges(_Loading, tasks.ORMTask):
    creates = [Bridge, TollBridge]


class LoadThings(_Loading, tasks.ORMObjectCreatorMixin, tasks.ORMTask):
    object_classes = [Thing]


class LoadGadgets(_Loading, tasks.ORMObjectCreatorMixin, tasks.ORMTask):
    object_classes = [Gadget]

    def requires(self) -> Any:
        return [LoadThings()]


@pytest.fixture(autouse=True)
def database(db: Client) -> Iterator[None]:
    create_tables(db, *MODELS)
    luigi.task_register.Register.clear_instance_cache()
    yield
    how.clear()


def rows(model: Any, ids: list[int], **values: Any) -> How:
    """Insert rows into the model's own table alone, with these ids beyond those that the database makes."""
    return lambda self: self.session.execute(
        sa.insert(getattr(model, "__table__", model)), [{"id": FIRST + number, **values} for number in ids]
    )


def added(model: Any, number: int, **values: Any) -> How:
    """Add whole rows by the session, with ids that the database makes."""
    return lambda self: self.session.add_all([model(**values) for _ in range(number)])


def loaded(model: Any, number: int, **values: Any) -> How:
    return lambda self: self.load(model, [dict(values) for _ in range(number)])


def both(*parts: How) -> How:
    return lambda self: [part(self) for part in parts]


def ran(root: luigi.Task) -> None:
    result = ozelot.run(root)
    assert result.ok, result.failed
    assert ozelot.verify(root) == []


def cleared(root: luigi.Task, *which: luigi.Task) -> None:
    clear_plan(root, which).apply()
    assert ozelot.verify(root) == []


def recorded(root: luigi.Task) -> dict[str, dict[str, int | None]]:
    return {entry.name: entry.rows for entry in status(root)}


def by_sql(self: tasks.ORMTask) -> None:
    self.session.execute(sa.text("INSERT INTO screw (id, length) VALUES (1001, 5), (1002, 5), (1003, 5)"))


def by_insert_from_select(self: tasks.ORMTask) -> None:
    query = sa.select(Fitting.id, sa.literal(5)).where(Fitting.id <= FIRST + 3)
    self.session.execute(sa.insert(table_of(Screw)).from_select(["id", "length"], query))


def by_data_frame(self: tasks.ORMTask) -> None:
    frame = pd.DataFrame({"id": [1001, 1002, 1003], "length": [5, 5, 5]})
    frame.to_sql("screw", self.client.engine, if_exists="append", index=False)


def by_another_session(self: tasks.ORMTask) -> None:
    with self.client.create_session() as session:
        session.execute(sa.insert(table_of(Screw)), [{"id": FIRST + number, "length": 5} for number in (1, 2, 3)])
        session.commit()


def after_a_rollback(self: tasks.ORMTask) -> None:
    """Rows that are rolled back again do not count."""
    self.session.add(Screw(code="rolled back"))
    self.session.flush()
    self.session.rollback()
    with self.session.begin_nested() as part:
        self.session.add(Screw(code="rolled back, too"))
        self.session.flush()
        part.rollback()
    rows(Screw, [1, 2, 3], length=5)(self)


DERIVED_ALONE = [
    rows(Screw, [1, 2, 3], length=5),
    by_sql,
    by_insert_from_select,
    by_data_frame,
    by_another_session,
    after_a_rollback,
]


@pytest.mark.parametrize("insert", DERIVED_ALONE)
def test_a_task_that_adds_to_base_rows_of_another_has_no_base_rows(db: Client, insert: How) -> None:
    how.update(LoadFittings=rows(Fitting, [1, 2, 3, 4], code="p"), LoadScrews=insert)
    ran(LoadScrews())
    assert recorded(LoadScrews()) == {"LoadFittings": {"fitting": 4}, "LoadScrews": {"screw": 3}}
    plan = clear_plan(LoadScrews(), [LoadScrews()])
    assert plan.deletes == {"screw": 3}
    plan.apply()
    assert count_rows_each(db, Fitting, Screw) == [4, 0]
    assert LoadFittings().complete() and not LoadScrews().complete()
    assert ozelot.verify(LoadScrews()) == []
    ran(LoadScrews())
    LoadScrews().clear()
    assert count_rows_each(db, Fitting, Screw) == [4, 0]
    ran(LoadScrews())
    cleared(LoadScrews(), LoadFittings())
    assert count_rows_each(db, Fitting, Screw) == [0, 0]


@only("sqlite", "postgresql")
def test_what_the_driver_writes_to_the_derived_table_alone_leaves_base_rows_to_their_task(db: Client) -> None:
    def by_driver(self: tasks.ORMTask) -> None:
        driver: Any = self.session.connection().connection.driver_connection
        driver.execute("INSERT INTO screw (id, length) VALUES (1001, 5), (1002, 5)")

    how.update(LoadFittings=rows(Fitting, [1, 2, 3], code="p"), LoadScrews=by_driver)
    ran(LoadScrews())
    assert recorded(LoadScrews())["LoadScrews"] == {"screw": 2}
    cleared(LoadScrews(), LoadScrews())
    assert count_rows_each(db, Fitting, Screw) == [3, 0]


def orm_insert(self: tasks.ORMTask) -> None:
    self.session.execute(sa.insert(Screw), [{"code": "s", "length": number} for number in (1, 2)])


def saved_in_bulk(self: tasks.ORMTask) -> None:
    self.session.bulk_save_objects([Screw(code="s", length=1), Screw(code="s", length=2)])


def added_and_deleted(self: tasks.ORMTask) -> None:
    screws = [Screw(code="s") for _ in range(4)]
    self.session.add_all(screws)
    self.session.flush()
    for screw in screws[:2]:
        self.session.delete(screw)


def added_one_by_one(self: tasks.ORMTask) -> None:
    for _ in range(2):
        self.session.add(Screw(code="s"))
        self.session.commit()


WHOLE = [
    added(Screw, 2, code="s"),
    added_one_by_one,
    loaded(Screw, 2, code="s"),
    orm_insert,
    saved_in_bulk,
    added_and_deleted,
    both(rows(Fitting, [8, 9], code="s"), rows(Screw, [8, 9], length=1)),
    both(added(Screw, 1, code="s"), loaded(Screw, 1, code="s")),
    both(added(Screw, 1, code="s"), rows(Fitting, [9], code="s"), rows(Screw, [9], length=1)),
]


@pytest.mark.parametrize("insert", WHOLE)
def test_a_task_that_inserts_whole_rows_owns_their_base_rows(db: Client, insert: How) -> None:
    how.update(LoadFittings=added(Fitting, 3, code="p"), LoadScrews=insert)
    ran(LoadScrews())
    assert recorded(LoadScrews()) == {"LoadFittings": {"fitting": 3}, "LoadScrews": {"screw": 2, "fitting": 2}}
    plan = clear_plan(LoadScrews(), [LoadScrews()])
    assert plan.deletes == {"screw": 2, "fitting": 2}
    plan.apply()
    assert count_rows_each(db, Fitting, Screw) == [3, 0]
    ran(LoadScrews())
    LoadScrews().clear()
    assert count_rows_each(db, Fitting, Screw) == [3, 0]
    assert ozelot.verify(LoadScrews()) == []
    ran(LoadScrews())
    cleared(LoadScrews(), LoadFittings())
    assert count_rows_each(db, Fitting, Screw) == [0, 0]


MIXED = [
    both(rows(Screw, [1], length=1), added(Screw, 1, code="s")),
    both(added(Screw, 1, code="s"), rows(Screw, [1, 2], length=1)),
    both(rows(Screw, [1, 2], length=1), loaded(Screw, 1, code="s")),
    both(rows(Fitting, [8, 9], code="s"), rows(Screw, [1, 2], length=1)),
    both(rows(Fitting, [9], code="s"), rows(Screw, [9], length=1), rows(Screw, [1], length=1)),
    rows(Fitting, [9], code="s"),
]


@pytest.mark.parametrize("insert", MIXED)
def test_a_run_whose_base_rows_could_not_be_told_later_fails_before_its_commit(db: Client, insert: How) -> None:
    how.update(LoadFittings=rows(Fitting, [1, 2, 3], code="p"), LoadScrews=insert)
    result = ozelot.run(LoadScrews())
    assert isinstance(result.failed["LoadScrews {}"].exception, NotClearable)
    assert "rows of fitting, and not exactly those that its rows of Screw need" in result.failed["LoadScrews {}"].reason
    assert "Let Fitting use TaskOwned" in result.failed["LoadScrews {}"].reason
    assert count_rows_each(db, Fitting, Screw) == [3, 0]
    assert ozelot.verify(LoadScrews()) == []
    how["LoadScrews"] = rows(Screw, [1], length=1)
    ran(LoadScrews())


def test_rows_of_a_base_table_that_nobody_else_fills_are_the_runs_own_however_they_came(db: Client) -> None:
    """The base table was empty, but its rows are not all of the derived model."""
    how["LoadFittings"] = lambda self: None
    how["LoadScrews"] = both(rows(Fitting, [8, 9], code="s"), rows(Screw, [8], length=1))
    failure = ozelot.run(LoadScrews()).failed["LoadScrews {}"]
    assert isinstance(failure.exception, NotClearable)
    assert count_rows_each(db, Fitting, Screw) == [0, 0]


def test_three_levels_where_each_task_adds_to_the_rows_of_the_one_before(db: Client) -> None:
    how.update(
        LoadFittings=rows(Fitting, [1, 2, 3], code="p"),
        LoadScrews=rows(Screw, [1, 2], length=1),
        LoadWoodScrews=rows(WoodScrew, [1]),
    )
    ran(LoadWoodScrews())
    assert recorded(LoadWoodScrews()) == {
        "LoadFittings": {"fitting": 3},
        "LoadScrews": {"screw": 2},
        "LoadWoodScrews": {"woodscrew": 1},
    }
    cleared(LoadWoodScrews(), LoadWoodScrews())
    assert count_rows_each(db, Fitting, Screw, WoodScrew) == [3, 2, 0]
    ran(LoadWoodScrews())
    cleared(LoadWoodScrews(), LoadScrews())
    assert count_rows_each(db, Fitting, Screw, WoodScrew) == [3, 0, 0]
    ran(LoadWoodScrews())
    cleared(LoadWoodScrews(), LoadFittings())
    assert count_rows_each(db, Fitting, Screw, WoodScrew) == [0, 0, 0]


def test_three_levels_where_one_task_inserts_two_of_the_three_parts_of_its_rows(db: Client) -> None:
    how.update(
        LoadFittings=rows(Fitting, [1, 2, 3], code="p"),
        LoadScrews=added(Screw, 1, code="s"),
        LoadWoodScrews=both(rows(Screw, [1, 2], length=1), rows(WoodScrew, [1, 2])),
    )
    ran(LoadWoodScrews())
    assert recorded(LoadWoodScrews())["LoadWoodScrews"] == {"woodscrew": 2, "screw": 2}
    assert clear_plan(LoadWoodScrews(), [LoadWoodScrews()]).deletes == {"woodscrew": 2, "screw": 2}
    cleared(LoadWoodScrews(), LoadWoodScrews())
    assert count_rows_each(db, Fitting, Screw, WoodScrew) == [4, 1, 0]
    ran(LoadWoodScrews())
    cleared(LoadWoodScrews(), LoadScrews())
    assert count_rows_each(db, Fitting, Screw, WoodScrew) == [3, 0, 0]


def test_siblings_of_which_one_inserts_whole_rows_and_the_other_adds_to_rows(db: Client) -> None:
    root = [LoadScrews(), LoadNails()]
    how.update(
        LoadFittings=rows(Fitting, [1, 2], code="p"), LoadScrews=added(Screw, 2, code="s"), LoadNails=rows(Nail, [1])
    )
    assert ozelot.run(root).ok
    assert ozelot.verify(root) == []
    clear_plan(root, [LoadNails()]).apply()
    assert count_rows_each(db, Fitting, Screw, Nail) == [4, 2, 0]
    assert ozelot.run(root).ok
    clear_plan(root, [LoadScrews()]).apply()
    assert count_rows_each(db, Fitting, Screw, Nail) == [2, 0, 1]
    assert ozelot.verify(root) == []


def test_base_rows_do_not_go_under_derived_rows_of_a_task_that_stays(db: Client) -> None:
    how.update(LoadFittings=rows(Fitting, [1, 2, 3], code="p"), LoadScrews=rows(Screw, [1, 2], length=1))
    ran(LoadScrews())
    plan = clear_plan(LoadScrews(), [LoadFittings()], downstream=False)
    # What was built on it is cleared all the same, as the runs say; a plan of the task alone is refused.
    assert {step.label for step in plan.steps} == {"LoadFittings {}", "LoadScrews {}"} or plan.refused
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(LoadScrews, "requires", lambda self: [])
        cleared(LoadScrews(), LoadScrews())
        ran(LoadScrews())
        with pytest.raises(ClearRefused, match=r"2 rows of screw \(created by LoadScrews {}\) refer to fitting"):
            clear_plan(LoadFittings(), [LoadFittings()]).apply()
    assert count_rows_each(db, Fitting, Screw) == [3, 2]


def test_a_discriminator_that_the_task_of_the_base_rows_sets_does_not_make_them_the_others(db: Client) -> None:
    how.update(LoadActs=both(rows(Act, [1, 2], kind="song"), rows(Act, [3], kind="act")), LoadSongs=rows(Song, [1, 2]))
    ran(LoadSongs())
    cleared(LoadSongs(), LoadSongs())
    assert count_rows_each(db, Act, Song) == [3, 0]
    ran(LoadSongs())
    cleared(LoadSongs(), LoadActs())
    assert count_rows_each(db, Act, Song) == [0, 0]


def test_single_table_inheritance_below_joined_inheritance(db: Client) -> None:
    root = [LoadSongs(), LoadEncores()]
    how.update(LoadActs=rows(Act, [1], kind="act"), LoadSongs=added(Song, 2), LoadEncores=added(Encore, 1, times=2))
    assert ozelot.run(root).ok
    assert ozelot.verify(root) == []
    clear_plan(root, [LoadEncores()]).apply()
    assert count_rows_each(db, Act, Song) == [3, 2]
    assert ozelot.run(root).ok
    clear_plan(root, [LoadSongs()]).apply()
    assert count_rows_each(db, Act, Song) == [2, 1]
    assert ozelot.verify(root) == []


def test_base_rows_that_know_their_run_may_be_inserted_and_added_to_in_one_run(db: Client) -> None:
    how["LoadFarms"] = lambda self: self.session.add_all(Farm(id=FIRST + number, name="f") for number in (1, 2))
    how["LoadVineyards0"] = both(added(Vineyard, 3, name="v"), rows(Vineyard, [1]))
    ran(LoadVineyards())
    assert recorded(LoadVineyards())["LoadVineyards"] == {"vineyard": 4, "farm": 3}
    assert clear_plan(LoadVineyards(), [LoadVineyards()]).deletes == {"vineyard": 4, "farm": 3}
    cleared(LoadVineyards(), LoadVineyards())
    assert count_rows_each(db, Farm, Vineyard) == [2, 0]
    ran(LoadVineyards())
    LoadVineyards().clear()
    assert count_rows_each(db, Farm, Vineyard) == [2, 0]
    ran(LoadVineyards())
    cleared(LoadVineyards(), LoadFarms())
    assert count_rows_each(db, Farm, Vineyard) == [0, 0]


def test_a_task_of_a_base_model_and_a_derived_one_counts_base_rows_once(db: Client) -> None:
    base: Any
    model: Any
    for root, base, model in (
        (LoadFarmsAndVineyards(), Farm, Vineyard),
        (LoadAllBridges(), Bridge, TollBridge),
    ):
        how[type(root).__name__] = both(added(base, 1, name="n"), added(model, 2, name="n"))
        ran(root)
        names = {base.__tablename__: 3, model.__tablename__: 2}
        assert recorded(root)[type(root).__name__] == names
        assert clear_plan(root, [root]).deletes == names
        cleared(root, root)
        assert count_rows_each(db, base, model) == [0, 0]


def test_of_two_tasks_only_one_may_add_to_base_rows_that_know_their_run(db: Client) -> None:
    root = [LoadVineyards(part=0), LoadVineyards(part=1)]
    how["LoadFarms"] = lambda self: self.session.add_all(Farm(id=FIRST + number, name="f") for number in (1, 2))
    how["LoadVineyards0"] = rows(Vineyard, [1])
    how["LoadVineyards1"] = rows(Vineyard, [2])
    (failed,) = ozelot.run(root).failed.values()
    assert "Let one task create Vineyard" in failed.reason
    clear_plan(root, root).apply()
    how["LoadVineyards0"] = added(Vineyard, 2, name="v")
    how["LoadVineyards1"] = rows(Vineyard, [1])
    assert ozelot.run(root).ok
    assert ozelot.verify(root) == []
    for part, left in ((root[1], [4, 2]), (root[0], [2, 1])):
        clear_plan(root, [part]).apply()
        assert count_rows_each(db, Farm, Vineyard) == left
        assert ozelot.verify(root) == []
        assert ozelot.run(root).ok
        assert count_rows_each(db, Farm, Vineyard) == [4, 3]


def test_derived_rows_that_know_their_run_tell_which_task_inserted_their_base_rows(db: Client) -> None:
    root = [LoadTollBridges(part=0), LoadTollBridges(part=1)]
    how["LoadBridges"] = rows(Bridge, [1, 2], name="b")
    how["LoadTollBridges0"] = added(TollBridge, 2, name="t")
    how["LoadTollBridges1"] = lambda self: self.session.execute(sa.insert(table_of(TollBridge)), [{"id": 1001}])
    assert ozelot.run(root).ok
    assert ozelot.verify(root) == []
    assert clear_plan(root, [root[1]]).deletes == {"tollbridge": 1}
    assert clear_plan(root, [root[0]]).deletes == {"tollbridge": 2, "bridge": 2}
    clear_plan(root, [root[1]]).apply()
    assert count_rows_each(db, Bridge, TollBridge) == [4, 2]
    assert ozelot.run(root).ok
    clear_plan(root, [root[0]]).apply()
    assert count_rows_each(db, Bridge, TollBridge) == [2, 1]
    assert ozelot.verify(root) == []
    assert ozelot.run(root).ok
    clear_plan(root, [LoadBridges()]).apply()
    assert count_rows_each(db, Bridge, TollBridge) == [0, 0]


def test_whole_rows_of_a_task_that_stays_do_not_go_with_a_base_and_a_derived_model(db: Client) -> None:
    root = [LoadOldTollBridges(), LoadTollBridges(part=1)]
    how["LoadBridges"] = rows(Bridge, [1, 2], name="b")
    how["LoadOldTollBridges"] = added(TollBridge, 3, name="old")
    how["LoadTollBridges1"] = rows(TollBridge, [1])
    assert ozelot.run(root).ok
    assert count_rows_each(db, Bridge, TollBridge) == [5, 4]
    plan = clear_plan(root, [LoadBridges()])
    assert plan.deletes == {"tollbridge": 1, "bridge": 2} and not plan.refused
    plan.apply()
    assert count_rows_each(db, Bridge, TollBridge) == [3, 3]
    assert ozelot.run(root).ok
    assert ozelot.verify(root) == []


def test_classes_as_in_0_2_keep_base_rows_that_another_one_loads(db: Client, caplog: pytest.LogCaptureFixture) -> None:
    how.update(LoadThings=rows(Thing, [1, 2], name="t"), LoadGadgets=rows(Gadget, [1]))
    ran(LoadGadgets())
    LoadGadgets().clear()
    assert count_rows_each(db, Thing, Gadget) == [2, 0]
    how["LoadGadgets"] = both(rows(Gadget, [1]), added(Gadget, 1, name="g"))
    with caplog.at_level(logging.WARNING):
        assert ozelot.run(LoadGadgets()).ok
    assert "clearing could not tell them from rows of thing" in caplog.text
    LoadGadgets().clear()
    assert count_rows_each(db, Thing, Gadget) == [3, 0]


def test_markers_of_0_2_have_no_counts_and_keep_base_rows_that_another_class_declares(db: Client) -> None:
    with db.engine.begin() as connection:
        connection.execute(sa.insert(table_of(Thing)), [{"id": number, "name": "t"} for number in (1, 2, 3)])
        connection.execute(sa.insert(table_of(Gadget)), [{"id": 1}, {"id": 2}])
        for name in ("LoadThings", "LoadGadgets"):
            values = {"name": name, "params": "{}", "key": legacy_key(name, "{}")}
            connection.execute(sa.insert(ORMTargetMarker), values)
    clear_plan(LoadGadgets(), [LoadGadgets()]).apply()
    assert count_rows_each(db, Thing, Gadget) == [3, 0]
    assert LoadThings().complete()
    clear_plan(LoadGadgets(), [LoadThings()]).apply()
    assert count_rows_each(db, Thing, Gadget) == [0, 0]


def test_association_rows_of_base_rows_that_stay_are_cleared_with_the_task_that_declares_them(db: Client) -> None:
    links = {"part_id": 1001, "label_id": 1001}
    how.update(
        LoadFittings=rows(Fitting, [1, 2], code="p"),
        LoadScrews=both(rows(Screw, [1], length=1), lambda self: self.session.execute(part_label.insert(), links)),
        LoadLabels=rows(Label, [1], text="l"),
    )
    root = [LoadScrews(), LoadLabels()]
    failure = ozelot.run([LoadLabels(), LoadScrews()]).failed["LoadScrews {}"]
    assert "add part_label to 'creates'" in failure.reason
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(LoadScrews, "creates", [Screw, part_label])
        assert ozelot.run(root).ok
        assert ozelot.verify(root) == []
        clear_plan(root, [LoadScrews()]).apply()
    assert count_rows_each(db, Fitting, Screw, part_label) == [2, 0, 0]
    assert ozelot.verify(root) == []


def test_association_rows_go_with_whole_rows(db: Client) -> None:
    def labelled(self: tasks.ORMTask) -> None:
        self.session.add(Screw(code="s", labels=[self.session.get_one(Label, 1001)]))

    how.update(LoadFittings=rows(Fitting, [1], code="p"), LoadScrews=labelled, LoadLabels=rows(Label, [1], text="l"))
    assert ozelot.run(LoadLabels()).ok
    ran(LoadScrews())
    cleared(LoadScrews(), LoadScrews())
    assert count_rows_each(db, Fitting, Screw, part_label, Label) == [1, 0, 0, 1]


def test_a_missing_base_row_is_found_and_counted_once(db: Client) -> None:
    how.update(LoadFittings=rows(Fitting, [1, 2, 3], code="p"), LoadScrews=rows(Screw, [1, 2], length=1))
    ran(LoadScrews())
    with db.engine.begin() as connection:
        connection.execute(sa.delete(table_of(Fitting)).where(Fitting.id == 1003))
    found = [(finding.kind.value, finding.where) for finding in ozelot.verify(LoadScrews())]
    assert found == [("rows missing", "LoadFittings {}")]


@pytest.mark.parametrize("insert", [rows(Screw, [1, 2], length=1), added(Screw, 2, code="s")])
def test_a_task_whose_class_is_gone_is_cleared_as_its_run_recorded(
    db: Client, insert: How, monkeypatch: pytest.MonkeyPatch
) -> None:
    how.update(LoadFittings=rows(Fitting, [1, 2, 3], code="p"), LoadScrews=insert)
    ran(LoadScrews())
    with db.engine.begin() as connection:
        for table in (table_of(Run), table_of(ORMTargetMarker)):
            gone = sa.update(table).where(table.c.name == "LoadScrews").values(name="LoadOld", key="0" * 64)
            connection.execute(gone)
    from ozelot.state.markers import marker_key

    with db.engine.begin() as connection:
        for table in (table_of(Run), table_of(ORMTargetMarker)):
            right = sa.update(table).where(table.c.key == "0" * 64).values(key=marker_key("LoadOld", "{}"))
            connection.execute(right)
    clear_plan(LoadFittings(), [], gone=[("LoadOld", "{}")]).apply()
    assert count_rows_each(db, Fitting, Screw) == [3, 0]


def test_parts_that_another_task_added_are_not_those_of_the_task_of_a_further_level(db: Client) -> None:
    how["LoadHills"] = added(Hill, 1)
    how["LoadSlopes"] = lambda self: self.session.execute(sa.insert(table_of(Slope)), [{"id": 1}])
    how["LoadTerraces"] = added(Terrace, 0)
    for root in (LoadHills(), LoadSlopes(), LoadTerraces()):
        ran(root)
    plan = clear_plan(LoadTerraces(), [LoadHills()])
    assert {step.label for step in plan.steps} == {"LoadHills {}", "LoadTerraces {}"}
    assert "slope" in plan.refused
    with pytest.raises(ClearRefused, match="LoadSlopes"):
        plan.apply()
    assert count_rows_each(db, Hill, Slope) == [1, 1]
