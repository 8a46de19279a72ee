"""Each kind of difference: how it is told, what applying it takes, and that it is applied with the data kept."""

from __future__ import annotations

from typing import Any

import pytest
import sqlalchemy as sa
from sqlalchemy.dialects import mysql

from ozelot.client import Client
from ozelot.errors import UpgradeRefused
from ozelot.schema.difference import Kind, Takes
from tests.databases import only
from tests.schema.staff import ROWS, compared, contents, create, staff, upgrade
from tests.statements import execute

pytestmark = pytest.mark.servers

KEPT: dict[str, tuple[sa.MetaData, list[str]]] = {
    "nothing": (staff(), []),
    "a nullable column": (
        staff(employee={"email": sa.Column("email", sa.String(50))}),
        ["the column employee.email is missing"],
    ),
    "a column with a server default": (
        staff(employee={"hours": sa.Column("hours", sa.Integer, nullable=False, server_default="40")}),
        ["the column employee.hours is missing"],
    ),
    "a default that is an expression": (
        staff(employee={"hired": sa.Column("hired", sa.DateTime, nullable=False, server_default=sa.func.now())}),
        ["the column employee.hired is missing"],
    ),
    "a nullable reference": (
        staff(employee={"boss_id": sa.Column("boss_id", sa.ForeignKey("employee.id", name="fk_boss"), index=True)}),
        [
            "the column employee.boss_id is missing",
            "the foreign key employee (boss_id) to employee (id) is missing",
            "the index ix_employee_boss_id on employee (boss_id) is missing",
        ],
    ),
    "an index": (
        staff(sa.Index("ix_wage", "wage")),
        ["the index ix_wage on employee (wage) is missing"],
    ),
    "a unique index": (
        staff(sa.Index("ix_wage", "wage", unique=True)),
        ["the unique index ix_wage on employee (wage) is missing"],
    ),
    "a unique constraint": (
        staff(sa.UniqueConstraint("name", "unit_id", name="uq_name")),
        ["the unique constraint on employee (name, unit_id) is missing"],
    ),
    "a longer text": (
        staff(employee={"name": sa.Column("name", sa.String(40), nullable=False)}),
        ["employee.name is VARCHAR(20), the model says VARCHAR(40)"],
    ),
    "a shorter text that all values fit": (
        staff(employee={"name": sa.Column("name", sa.String(3), nullable=False)}),
        ["employee.name is VARCHAR(20), the model says VARCHAR(3)"],
    ),
    "a text of any length": (
        staff(employee={"name": sa.Column("name", sa.Text, nullable=False)}),
        ["employee.name is VARCHAR(20), the model says TEXT"],
    ),
    "a text without a length": (
        staff(employee={"name": sa.Column("name", sa.String(60).with_variant(sa.String(), "sqlite", "postgresql"))}),
        [
            "employee.name is VARCHAR(20), the model says VARCHAR",
            "employee.name may not be NULL, by the model it may be NULL",
        ],
    ),
    "more digits": (
        staff(employee={"wage": sa.Column("wage", sa.Numeric)}),
        ["employee.wage is INTEGER, the model says NUMERIC"],
    ),
    "a larger integer": (
        staff(employee={"wage": sa.Column("wage", sa.BigInteger)}),
        ["employee.wage is INTEGER, the model says BIGINT"],
    ),
    "a number with decimals": (
        staff(employee={"wage": sa.Column("wage", sa.Numeric(14, 2))}),
        ["employee.wage is INTEGER, the model says NUMERIC(14, 2)"],
    ),
    "NULL that is allowed": (
        staff(unit={"name": sa.Column("name", sa.String(20))}),
        ["unit.name may not be NULL, by the model it may be NULL"],
    ),
    "NULL that is not there and not allowed": (
        staff(
            unit={"name": sa.Column("name", sa.String(20), nullable=False)},
            employee={"name": sa.Column("name", sa.String(20), nullable=True)},
        ),
        ["employee.name may not be NULL, by the model it may be NULL"],
    ),
    "a server default": (
        staff(employee={"wage": sa.Column("wage", sa.Integer, server_default="7")}),
        ["employee.wage has no default, the model says the default '7'"],
    ),
    "no index": (
        staff(employee={"unit_id": sa.Column("unit_id", sa.ForeignKey("unit.id", name="fk_unit"), nullable=False)}),
        ["the index ix_employee_unit_id on employee (unit_id) is no model's"],
    ),
    "no foreign key": (
        staff(employee={"unit_id": sa.Column("unit_id", sa.Integer, nullable=False, index=True)}),
        ["the foreign key employee (unit_id) to unit (id) is no model's"],
    ),
    "another rule": (
        staff(
            employee={
                "unit_id": sa.Column(
                    "unit_id", sa.ForeignKey("unit.id", name="fk_unit", ondelete="CASCADE"), nullable=False, index=True
                )
            }
        ),
        [
            "the foreign key employee (unit_id) to unit (id) ON DELETE CASCADE is missing",
            "the foreign key employee (unit_id) to unit (id) is no model's",
        ],
    ),
}


@pytest.mark.parametrize("change", KEPT)
def test_what_can_be_done_in_place_keeps_all_rows(db: Client, change: str) -> None:
    create(db)
    metadata, words = KEPT[change]
    if change == "no index" and db.engine.dialect.name == "mysql":
        words = []  # MariaDB needs one for the key
    if change == "more digits" and db.engine.dialect.name == "mysql":
        words = [words[0] + "(65, 30)"]
    if change == "a text without a length" and db.engine.dialect.name == "mysql":
        words = [words[0] + "(60)", words[1]]
    found = compared(db, metadata)
    assert sorted(one.words for one in found) == sorted(words)
    assert {one.takes for one in found} <= {Takes.IN_PLACE}
    assert upgrade(db, metadata).left == ()
    assert compared(db, metadata) == []
    assert contents(db) == ROWS


REBUILT: dict[str, tuple[sa.MetaData, Kind, str]] = {
    "a column that takes no NULL": (
        staff(employee={"email": sa.Column("email", sa.String(50), nullable=False)}),
        Kind.COLUMN_MISSING,
        "it takes no NULL and has no default, and there are rows",
    ),
    "another type": (
        staff(employee={"wage": sa.Column("wage", sa.Date)}),
        Kind.TYPE,
        "not every value would stay what it is",
    ),
    "a shorter text": (
        staff(employee={"name": sa.Column("name", sa.String(2), nullable=False)}),
        Kind.TYPE,
        "3 values are longer",
    ),
    "NULL that is there and not allowed": (
        staff(employee={"wage": sa.Column("wage", sa.Integer, nullable=False)}),
        Kind.NULLABLE,
        "1 rows hold NULL",
    ),
    "values that are there twice": (
        staff(sa.UniqueConstraint("name", name="uq_name")),
        Kind.UNIQUE_MISSING,
        "1 values are there more than once",
    ),
    "another primary key": (
        staff(
            employee={
                "id": sa.Column("id", sa.Integer, primary_key=True, autoincrement=False),
                "unit_id": sa.Column("unit_id", sa.ForeignKey("unit.id", name="fk_unit"), primary_key=True, index=True),
            }
        ),
        Kind.PRIMARY_KEY,
        "rows are told apart by it",
    ),
    "references to nothing": (
        staff(employee={"wage": sa.Column("wage", sa.ForeignKey("unit.id", name="fk_wage"), index=False)}),
        Kind.FOREIGN_KEY_MISSING,
        "2 rows refer to what is not there",
    ),
}


@pytest.mark.parametrize("change", REBUILT)
def test_what_cannot_keep_the_rows_is_left_and_told_unless_a_rebuild_is_asked_for(db: Client, change: str) -> None:
    create(db)
    metadata, kind, why = REBUILT[change]
    (found,) = [one for one in compared(db, metadata) if one.kind is kind]
    assert (found.takes, found.why) == (Takes.REBUILD, why)
    assert [one.words for one in upgrade(db, metadata).left] == [found.words]
    assert contents(db) == ROWS
    assert upgrade(db, metadata, rebuild=True).left == ()
    assert compared(db, metadata) == []
    with db.engine.connect() as connection:
        counts = [connection.scalar(sa.text(f"SELECT count(*) FROM {name}")) for name in ("unit", "employee")]
    assert counts == [2, 0]


def test_a_rebuild_takes_along_the_tables_that_refer_to_it(db: Client) -> None:
    create(db)
    metadata = staff(unit={"name": sa.Column("name", sa.Date, nullable=False)})
    assert upgrade(db, metadata, rebuild=True).left == ()
    assert contents(db) == {"unit": [], "employee": []}


def test_a_column_that_no_model_has_goes_only_when_asked_for(db: Client) -> None:
    create(db)
    metadata = staff(unit={"town": None, "place": sa.Column("place", sa.String(20))})
    found = {one.kind: one for one in compared(db, metadata)}
    assert {kind: one.takes for kind, one in found.items()} == {
        Kind.COLUMN_MISSING: Takes.IN_PLACE,  # a rename is not guessed
        Kind.COLUMN_EXTRA: Takes.DROP,
    }
    assert [one.words for one in upgrade(db, metadata).left] == ["the column unit.town is no model's"]
    assert contents(db) == ROWS
    assert upgrade(db, metadata, rebuild=True).left  # it is no table to be made anew
    assert upgrade(db, metadata, drop=True).left == ()
    columns = {column["name"] for column in sa.inspect(db.engine).get_columns("unit")}
    assert columns == {"id", "name", "place"}


def test_a_table_is_not_made_anew_without_a_column_that_no_model_has_unless_both_are_asked_for(db: Client) -> None:
    create(db)
    metadata = staff(unit={"town": None, "place": sa.Column("place", sa.String(20), nullable=False)})
    for options in ({}, {"rebuild": True}):
        assert {one.kind for one in upgrade(db, metadata, **options).left} >= {Kind.COLUMN_MISSING}
        assert contents(db) == ROWS
    assert upgrade(db, metadata, rebuild=True, drop=True).left == ()


def test_a_table_that_no_model_has_goes_only_when_asked_for_even_if_it_is_empty(db: Client) -> None:
    create(db)
    with db.engine.begin() as connection:
        connection.execute(sa.text("CREATE TABLE old_one (id INTEGER PRIMARY KEY)"))
    (found,) = compared(db, staff())
    assert (found.kind, found.takes, found.words) == (
        Kind.TABLE_EXTRA,
        Takes.DROP,
        "the table old_one is no model's",
    )
    assert upgrade(db, staff()).left == (found,)
    assert upgrade(db, staff(), rebuild=True).left == (found,)
    assert sa.inspect(db.engine).has_table("old_one")
    upgrade(db, staff(), drop=True)
    assert not sa.inspect(db.engine).has_table("old_one")
    assert contents(db) == ROWS


def test_tables_that_no_model_has_and_that_refer_to_each_other_and_to_models_go_together(db: Client) -> None:
    create(db)
    execute(
        db,
        "CREATE TABLE one (id INTEGER PRIMARY KEY, unit_id INTEGER, FOREIGN KEY (unit_id) REFERENCES unit (id))",
        "CREATE TABLE two (id INTEGER PRIMARY KEY, one_id INTEGER, FOREIGN KEY (one_id) REFERENCES one (id))",
        "INSERT INTO one VALUES (1, 1)",
        "INSERT INTO two VALUES (1, 1)",
    )
    metadata = staff(unit={"name": sa.Column("name", sa.Date, nullable=False)})
    (found,) = [one for one in compared(db, metadata) if one.kind is Kind.TYPE]
    assert found.takes is Takes.REBUILD_AND_DROP and "which drops one" in found.why
    assert len(upgrade(db, metadata, rebuild=True).left) == 3
    assert contents(db) == ROWS
    assert upgrade(db, metadata, rebuild=True, drop=True).left == ()
    assert set(sa.inspect(db.engine).get_table_names()) >= {"unit", "employee"}
    assert not sa.inspect(db.engine).has_table("one")


def test_missing_tables_are_created(db: Client) -> None:
    assert sorted(one.words for one in compared(db, staff())) == [
        "the table employee is missing",
        "the table unit is missing",
    ]
    assert upgrade(db, staff()).left == ()
    assert compared(db, staff()) == []


@only("postgresql", "mariadb")
def test_values_of_an_enumeration_are_added_in_place_and_taken_away_by_a_rebuild(db: Client) -> None:
    def model(*values: str) -> sa.MetaData:
        return staff(employee={"mood": sa.Column("mood", sa.Enum(*values, name="mood_kind"))})

    create(db, model("good", "bad"))
    with db.engine.begin() as connection:
        connection.execute(sa.text("UPDATE employee SET mood = 'bad' WHERE id = 1"))
    (found,) = compared(db, model("good", "it's so-so", "bad"))
    assert found.words == "employee.mood is ENUM('good', 'bad'), the model says ENUM('good', \"it's so-so\", 'bad')"
    assert upgrade(db, model("good", "it's so-so", "bad")).left == ()
    with db.engine.connect() as connection:
        assert connection.scalar(sa.text("SELECT mood FROM employee WHERE id = 1")) == "bad"
    fewer = model("good", "bad")
    assert upgrade(db, fewer).left
    assert upgrade(db, fewer, rebuild=True).left == ()
    assert compared(db, fewer) == []


@pytest.mark.parametrize("text", [sa.String(50), sa.Text()], ids=["short", "long"])
def test_json_does_not_become_text(db: Client, text: sa.String) -> None:
    create(db, staff(employee={"extra": sa.Column("extra", sa.JSON)}))
    with db.engine.begin() as connection:
        connection.execute(sa.text("UPDATE employee SET extra = '{\"a\": 1}' WHERE id = 1"))
    assert compared(db, staff(employee={"extra": sa.Column("extra", sa.JSON)})) == []
    (found,) = compared(db, staff(employee={"extra": sa.Column("extra", text)}))
    assert (found.kind, found.takes, found.why) == (Kind.TYPE, Takes.REBUILD, "not every value would stay what it is")


@only("postgresql")
def test_tables_in_other_schemas_are_compared_and_changed(db: Client) -> None:
    def model(*more: Any) -> sa.MetaData:
        metadata = sa.MetaData()
        sa.Table("unit", metadata, sa.Column("id", sa.Integer, primary_key=True), *more, schema="away")
        return metadata

    with db.engine.begin() as connection:
        connection.execute(sa.text("CREATE SCHEMA away"))
        model().create_all(connection)
        connection.execute(sa.text("INSERT INTO away.unit VALUES (1)"))
    assert compared(db, model()) == []
    (found,) = compared(db, model(sa.Column("name", sa.String(20))))
    assert found.words == "the column away.unit.name is missing"
    assert upgrade(db, model(sa.Column("name", sa.String(20)))).left == ()
    assert upgrade(db, model(sa.Column("name", sa.Date)), rebuild=True).left == ()
    assert compared(db, model(sa.Column("name", sa.Date))) == []


def test_a_unique_constraint_without_a_name_that_no_model_has_goes(db: Client) -> None:
    create(db, staff(employee={"wage": sa.Column("wage", sa.Integer, unique=True)}))
    (found,) = compared(db, staff())
    assert found.words.startswith("the unique ") and found.words.endswith("on employee (wage) is no model's")
    assert upgrade(db, staff()).left == ()
    assert compared(db, staff()) == []
    assert contents(db) == ROWS


def test_what_the_database_refuses_is_told_in_one_line_and_changes_nothing(sqlite_db: Client) -> None:
    create(sqlite_db)
    checked = staff(sa.CheckConstraint("wage > 10"), employee={"wage": sa.Column("wage", sa.BigInteger)})
    with pytest.raises(UpgradeRefused, match=r"^Nothing was changed: the database says: CHECK constraint failed"):
        upgrade(sqlite_db, checked)
    assert contents(sqlite_db) == ROWS
    assert compared(sqlite_db, staff()) == []


@only("mariadb")
def test_unsigned_integers_do_not_become_decimals_that_lack_their_largest_values(db: Client) -> None:
    def model(kind: sa.types.TypeEngine[Any]) -> sa.MetaData:
        return staff(employee={"serial": sa.Column("serial", kind)})

    create(db, model(mysql.BIGINT(unsigned=True)))
    with db.engine.begin() as connection:
        connection.execute(sa.text("UPDATE employee SET serial = 18446744073709551615 WHERE id = 1"))
    (found,) = compared(db, model(sa.Numeric(19, 0)))
    assert (found.takes, found.why) == (Takes.REBUILD, "not every value would stay what it is")
    wide = model(sa.Numeric(20, 0))
    assert upgrade(db, wide).left == ()
    with db.engine.connect() as connection:
        assert connection.scalar(sa.text("SELECT serial FROM employee WHERE id = 1")) == 2**64 - 1
