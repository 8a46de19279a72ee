"""Models of all sorts: no false alarm on a new database, and the tasks that fill what was changed."""

from __future__ import annotations

import datetime
import enum
import uuid

import pytest
import sqlalchemy as sa
from sqlalchemy.orm import Mapped, mapped_column

from ozelot.client import Client
from ozelot.etl import tasks
from ozelot.model.base import table_of
from ozelot.orm.base import Base
from ozelot.orm.run import TaskOwned
from ozelot.schema.compare import differences
from ozelot.schema.difference import Difference, Kind, Takes
from ozelot.schema.upgrade import UpgradePlan, apply, plan
from ozelot.state import markers as marker
from ozelot.state.runs import LONG_TEXT, MOMENT
from tests.etl.heroes import build
from tests.statements import execute
from tests.tables import create_tables

pytestmark = pytest.mark.slow


class Colour(enum.Enum):
    RED = 1
    GREEN = 2


class Everything(TaskOwned, Base):
    __tablename__ = "dm_everything"

    yes: Mapped[bool]
    yes_by_default: Mapped[bool] = mapped_column(server_default=sa.true())
    colour: Mapped[Colour]
    word = mapped_column(sa.Enum("x", "yy", native_enum=False))
    value = mapped_column(sa.Enum("x", "yy", name="dm_value"), server_default="x")
    document = mapped_column(sa.JSON)
    content = mapped_column(sa.LargeBinary)
    number = mapped_column(sa.Numeric)
    price = mapped_column(sa.Numeric(12, 3), server_default="1.5")
    real: Mapped[float]
    double = mapped_column(sa.Double)
    float_53 = mapped_column(sa.Float(53))
    real_4 = mapped_column(sa.REAL)
    day: Mapped[datetime.date]
    hour: Mapped[datetime.time]
    now: Mapped[datetime.datetime] = mapped_column(server_default=sa.func.now())
    precise = mapped_column(MOMENT)
    there = mapped_column(sa.DateTime(timezone=True))
    stamp = mapped_column(sa.TIMESTAMP, server_default=sa.text("CURRENT_TIMESTAMP"))
    took = mapped_column(sa.Interval)
    key: Mapped[uuid.UUID]
    text_key = mapped_column(sa.Uuid(native_uuid=False))
    short = mapped_column(sa.String(20), server_default="it's 50%: all")
    empty = mapped_column(sa.String(20), server_default="")
    text = mapped_column(sa.Text)
    long_text = mapped_column(LONG_TEXT)
    unicode = mapped_column(sa.Unicode(30))
    big = mapped_column(sa.BigInteger, server_default="0")
    small = mapped_column(sa.SmallInteger, server_default=sa.text("5"))
    sum = mapped_column(sa.Integer, index=True, server_default=sa.text("(1+1)"))
    letters = mapped_column(sa.CHAR(4))
    alone = mapped_column(sa.String(10), unique=True)
    alone_by_index = mapped_column(sa.String(10), unique=True, index=True)
    thing = mapped_column(sa.PickleType)
    more = mapped_column(sa.Integer, sa.Computed("small + 1", persisted=True))

    __table_args__ = (
        sa.UniqueConstraint("short", "letters"),
        sa.UniqueConstraint("short", "unicode", name="dm_named"),
        sa.Index("dm_down", sa.desc("sum")),
        sa.Index("dm_part", "small", postgresql_where=sa.text("small > 3"), sqlite_where=sa.text("small > 3")),
        sa.CheckConstraint("small > 0"),
    )


class Derived(Everything):
    __tablename__ = "dm_derived"

    id: Mapped[int] = mapped_column(sa.ForeignKey("dm_everything.id"), primary_key=True)
    own: Mapped[int]


class Pair(Base):
    __tablename__ = "dm Pair"

    id: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    half: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    up_id: Mapped[int | None]
    up_half: Mapped[int | None]
    order: Mapped[int | None] = mapped_column("Order", index=True)
    everything_id: Mapped[int] = mapped_column(sa.ForeignKey("dm_everything.id", ondelete="CASCADE"), index=False)

    __table_args__ = (sa.ForeignKeyConstraint(["up_id", "up_half"], ["dm Pair.id", "dm Pair.half"]),)


class Egg(Base):
    __tablename__ = "circle_egg"
    hen_id: Mapped[int | None] = mapped_column(sa.ForeignKey("circle_hen.id"))


class Hen(Base):
    __tablename__ = "circle_hen"
    egg_id: Mapped[int | None] = mapped_column(sa.ForeignKey("circle_egg.id", name="dm_from", onupdate="CASCADE"))


class Author(Base):
    __tablename__ = "dm_author"
    name: Mapped[str] = mapped_column(sa.String(20))
    born: Mapped[int | None]


class Book(Base):
    __tablename__ = "dm_book"
    title: Mapped[str] = mapped_column(sa.String(20))
    author_id: Mapped[int] = mapped_column(sa.ForeignKey("dm_author.id"))


class Note(TaskOwned, Base):
    __tablename__ = "dm_note"
    text: Mapped[str] = mapped_column(sa.String(20))


class Word(Base):
    __tablename__ = "dm_word"
    text: Mapped[str] = mapped_column(sa.String(20))


class LoadAuthors(tasks.ORMTask):
    creates = [Author, Note]

    def run(self) -> None:
        self.session.add_all([Author(id=1, name="Ada"), Note(text="of authors")])


class LoadBirths(tasks.ORMTask):
    updates = [Author.born]

    def requires(self) -> list[tasks.ORMTask]:
        return [LoadAuthors()]

    def run(self) -> None:
        self.session.query(Author).update({Author.born: 1815})


class LoadBooks(tasks.ORMTask):
    creates = [Book, Word]

    def requires(self) -> list[tasks.ORMTask]:
        return [LoadBirths()]

    def run(self) -> None:
        self.session.add_all([Book(title="Notes", author_id=1), Word(text="Notes")])


class LoadNotes(tasks.ORMTask):
    creates = [Note]

    def run(self) -> None:
        self.session.add(Note(text="by itself"))


class LoadLibrary(tasks.ORMWrapperTask):
    def requires(self) -> list[tasks.ORMTask]:
        return [LoadBooks(), LoadNotes()]


MODELS = [Everything, Derived, Pair, Author, Note, Word]


@pytest.fixture
def there(db: Client) -> Client:
    """The tables of these models; those of the models of other tests are missing."""
    create_tables(db, *MODELS)
    return db


def found_in(db: Client, *names: str) -> list[Difference]:
    with db.engine.connect() as connection:
        return [one for one in differences(connection) if one.table.startswith(("dm", *names)) or one.takes.drops]


def planned(db: Client, *, rebuild: bool = False) -> UpgradePlan:
    with db.engine.connect() as connection:
        return plan(connection, rebuild=rebuild)


def test_nothing_differs_right_after_the_tables_were_created(there: Client) -> None:
    for model in (Egg, Hen):
        for key in table_of(model).foreign_key_constraints:
            key._create_rule = None  # SQLAlchemy, once it added it by ALTER TABLE, leaves it out of CREATE TABLE
    create_tables(there, Egg)
    assert found_in(there, "circle") == []


def test_a_difference_names_the_tasks_that_fill_what_it_touches(there: Client) -> None:
    execute(there, "ALTER TABLE dm_author DROP COLUMN born", "ALTER TABLE dm_word DROP COLUMN text")
    told = {one.words: one.tasks for one in found_in(there)}
    assert told == {
        "the column dm_author.born is missing": ("LoadBirths",),
        "the column dm_word.text is missing": ("LoadBooks",),
    }


def test_a_rebuild_has_exactly_the_tasks_run_again_that_filled_what_went(there: Client) -> None:
    assert build(LoadLibrary())
    execute(there, "ALTER TABLE dm_word DROP COLUMN text")
    made = planned(there, rebuild=True)
    # Who loads words loads books as well, and makes all of its rows or none.
    assert {table.name for table in made.rebuilt} == {"dm_word", "dm_book"}
    assert sorted(made.unmarked.values()) == ["LoadBooks {}"]
    assert made.lost == {"dm_word": 1, "dm_book": 1}
    apply(there, made)
    assert LoadBirths().complete() and LoadNotes().complete() and not LoadBooks().complete()
    assert build(LoadLibrary())
    assert found_in(there) == []


def test_rows_that_know_their_run_are_not_there_twice_after_a_rebuild_of_another_table(there: Client) -> None:
    assert build(LoadLibrary())
    execute(there, "ALTER TABLE dm_author DROP COLUMN name")
    made = planned(there, rebuild=True)
    assert {table.name for table in made.rebuilt} == {"dm_author", "dm_book", "dm_word"}
    assert sorted(made.unmarked.values()) == ["LoadAuthors {}", "LoadBirths {}", "LoadBooks {}"]
    apply(there, made)
    assert build(LoadLibrary())
    with there.create_session() as session:
        counts = [session.scalar(sa.select(sa.func.count()).select_from(model)) for model in (Author, Book, Word, Note)]
        assert counts == [1, 1, 1, 2]
        assert session.scalars(sa.select(Author.born)).all() == [1815]


def test_a_task_whose_class_is_gone_is_marked_incomplete_by_what_its_run_recorded(there: Client) -> None:
    assert build(LoadLibrary())
    with there.engine.begin() as connection:
        for name, params in (("LoadBooks", "{}"),):
            marker.delete(connection, [marker.marker_key(name, params)])
            marker.insert(connection, "Gone", params)
        key = marker.marker_key("Gone", "{}")
        values = {"name": "Gone", "key": key}
        table = Base.metadata.tables["ozelot_run"]
        connection.execute(sa.update(table).where(table.c.name == "LoadBooks").values(values))
    execute(there, "ALTER TABLE dm_word DROP COLUMN text")
    assert sorted(planned(there, rebuild=True).unmarked.values()) == ["Gone {}"]


def test_ozelots_own_tables_and_that_of_alembic_are_left_alone(there: Client) -> None:
    execute(there, "CREATE TABLE alembic_version (version_num INTEGER)", "CREATE TABLE ozelot_later (id INTEGER)")
    execute(there, "ALTER TABLE ozelot_run DROP COLUMN host")
    assert found_in(there) == []


def test_a_mistake_in_one_table_is_no_reason_to_leave_the_others(there: Client) -> None:
    execute(there, "ALTER TABLE dm_word DROP COLUMN text", "INSERT INTO dm_word (id) VALUES (1)")
    execute(there, "ALTER TABLE dm_author DROP COLUMN born")
    (left,) = [one for one in apply(there, planned(there)).left if one.table.startswith("dm")]
    assert (left.kind, left.takes) == (Kind.COLUMN_MISSING, Takes.REBUILD)
    assert {column["name"] for column in sa.inspect(there.engine).get_columns("dm_author")} == {"id", "name", "born"}
