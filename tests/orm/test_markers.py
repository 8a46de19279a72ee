"""Markers: unique, bulk-read, and tables of ozelot 0.2 that go on counting."""

from __future__ import annotations

from pathlib import Path

import luigi
import pytest
import sqlalchemy as sa

from ozelot.client import Client
from ozelot.errors import MarkerNotFound, TransactionError
from ozelot.etl import tasks
from ozelot.etl.targets import ORMTarget
from ozelot.orm.base import Base
from ozelot.orm.target import ORMTargetMarker
from ozelot.state import markers as target
from tests.databases import only
from tests.etl.heroes import build
from tests.etl.staff import THREE, units
from tests.etl.staff_processes import eight_at_once
from tests.statements import recorded_statements
from tests.tables import create_tables

pytestmark = pytest.mark.servers


class Plain(tasks.ORMTask):
    creates = ()


class Named(tasks.ORMTask):
    creates = ()
    text: str = luigi.Parameter()
    hidden: str = luigi.Parameter(
        default="secret", visibility=luigi.parameter.ParameterVisibility.HIDDEN, significant=True
    )
    aside: str = luigi.Parameter(default="aside", significant=False)


class InNamespace(tasks.ORMTask):
    task_namespace = "sales"
    creates = ()
    text: str = luigi.Parameter()


def rows(db: Client) -> list[tuple[str | None, str | None]]:
    engine = sa.create_engine(db.url)
    try:
        with engine.connect() as connection:
            query = sa.text("SELECT name, params FROM ormtargetmarker ORDER BY id")
            return [(name, params) for name, params in connection.execute(query)]
    finally:
        engine.dispose()


def legacy_table(db: Client, *markers: tuple[str, str]) -> None:
    """A table as ozelot 0.2 made it: no key, no unique index."""
    id_type = {"postgresql": "SERIAL", "mysql": "INTEGER AUTO_INCREMENT"}.get(db.engine.dialect.name, "INTEGER")
    with db.engine.begin() as connection:
        connection.execute(
            sa.text(
                f"CREATE TABLE ormtargetmarker (id {id_type} PRIMARY KEY, name VARCHAR(1000), params VARCHAR(1000), "
                "created TIMESTAMP NULL)"
            )
        )
        for name, params in markers:
            insert = sa.text("INSERT INTO ormtargetmarker (name, params, created) VALUES (:n, :p, :c)")
            connection.execute(insert, {"n": name, "p": params, "c": "2018-05-28 11:18:11"})


def columns(db: Client) -> list[str]:
    return [column["name"] for column in sa.inspect(db.engine).get_columns("ormtargetmarker")]


def test_marker_holds_the_significant_public_parameters_with_quotes_escaped(db: Client) -> None:
    assert Named(text="it's a \\ test", aside="x").build()
    assert rows(db) == [("Named", r"{'text': 'it\'s a \\ test'}")]
    assert Named(text="it's a \\ test", aside="y", hidden="other").complete()
    assert not Named(text="it's a test").complete()


def test_parameters_that_0_2_confused_are_different_tasks(db: Client) -> None:
    class Two(tasks.ORMTask):
        creates = ()
        a: str = luigi.Parameter()
        b: str = luigi.Parameter()

    one, other = Two(a="x', 'b': 'y", b="z"), Two(a="x", b="y', 'b': 'z")
    assert build(one)
    assert one.complete()
    assert not other.complete()


def test_task_namespace_is_part_of_the_name(db: Client) -> None:
    assert build(InNamespace(text="x"))
    assert rows(db) == [("sales.InNamespace", "{'text': 'x'}")]


@pytest.mark.parametrize(
    "text", ["x" * 100_000, "Straße ☃ 漢字 🦁", "", "\n\t"], ids=["long", "scripts", "empty", "blank"]
)
def test_any_text_makes_a_marker(db: Client, text: str) -> None:
    assert build(Named(text=text))
    assert Named(text=text).complete()
    assert not Named(text=f"{text}!").complete()


def test_case_and_trailing_blanks_make_different_tasks(db: Client) -> None:
    assert build(Named(text="abc"))
    assert not Named(text="ABC").complete()
    assert not Named(text="abc ").complete()


def test_creating_a_marker_twice_leaves_one(db: Client) -> None:
    marker = ORMTarget.from_task(Plain())
    assert not marker.exists()
    assert marker.create() is True
    assert marker.create() is False
    assert marker.exists()
    assert rows(db) == [("Plain", "{}")]


def test_removing_a_marker_that_is_not_there_is_an_error(db: Client) -> None:
    create_tables(db)
    with pytest.raises(MarkerNotFound, match=r"Plain {} is not complete"):
        ORMTarget.from_task(Plain()).remove()
    with pytest.raises(RuntimeError):  # what 0.2 raised
        ORMTarget(name="Nothing", params="{}").remove()
    Plain.mark_incomplete()  # but this asks only for the state afterwards


def test_the_database_refuses_a_second_marker(db: Client) -> None:
    create_tables(db)
    with db.engine.begin() as connection:
        target.insert(connection, "Plain", "{}")
    with pytest.raises(sa.exc.IntegrityError), db.engine.begin() as connection:
        target.insert(connection, "Plain", "{}")


def test_looking_at_an_empty_database_changes_nothing(db: Client) -> None:
    assert not Plain().complete()
    assert not tasks.check_completion(Plain())
    assert sa.inspect(db.engine).get_table_names() == []


def test_table_of_0_2_is_read_as_it_is(db: Client) -> None:
    legacy_table(db, ("Plain", "{}"), ("Named", "{'aside': 'aside', 'hidden': 'secret', 'text': 'it's'}"))
    assert Plain().complete()
    assert Named(text="it's").complete()
    assert not Named(text="other").complete()
    assert tasks.check_completion(Plain())
    assert columns(db) == ["id", "name", "params", "created"]


def test_first_write_brings_a_table_of_0_2_up_to_date(db: Client) -> None:
    legacy_table(db, ("Plain", "{}"), ("Other", "{}"), ("Plain", "{}"), ("Plain", "{}"))
    assert build(Named(text="new"))
    assert columns(db) == ["id", "name", "params", "created", "key"]
    assert rows(db) == [("Plain", "{}"), ("Other", "{}"), ("Named", "{'text': 'new'}")]
    assert Plain().complete()
    assert Named(text="new").complete()
    with pytest.raises(sa.exc.IntegrityError), db.engine.begin() as connection:
        target.insert(connection, "Named", "{'text': 'new'}")
    Plain().mark_incomplete()
    assert not Plain().complete()


def test_marker_of_0_2_counts_for_a_task_in_a_namespace(db: Client) -> None:
    legacy_table(db, ("InNamespace", "{'text': 'x'}"))
    assert InNamespace(text="x").complete()
    assert build(InNamespace(text="y"))
    assert InNamespace(text="x").complete()


def test_a_new_marker_does_not_count_for_a_task_of_another_namespace(db: Client) -> None:
    assert ORMTarget(name="InNamespace", params="{'text': 'x'}").create()
    assert not InNamespace(text="x").complete()


def test_rows_that_0_2_writes_into_a_table_of_1_0_count(db: Client, database_url: str) -> None:
    create_tables(db)
    with db.engine.begin() as connection:
        connection.execute(sa.text("INSERT INTO ormtargetmarker (name, params) VALUES ('Plain', '{}')"))
    assert Plain().complete()
    assert build(Named(text="new"))
    assert Plain().complete()
    assert len(rows(db)) == 2


def test_eight_runners_bring_one_table_of_0_2_up_to_date(db: Client, tmp_path: Path) -> None:
    legacy_table(db, *[("Other", "{}")] * 3)
    Base.metadata.create_all(db.engine, tables=[Base.metadata.tables["unit"]])
    eight_at_once(db, "LoadUnits", tmp_path)
    assert rows(db) == [("Other", "{}"), ("LoadUnits", "{}")]
    assert units(db) == THREE


def test_marker_table_that_is_missing_is_created_by_the_first_run(db: Client) -> None:
    assert build(Plain())
    Base.drop_all(db)
    assert not Plain().complete()
    assert build(Plain())
    assert Plain().complete()


def test_marking_inside_a_transaction_is_part_of_it(db: Client) -> None:
    create_tables(db)
    with pytest.raises(ZeroDivisionError), db.transaction():
        Plain().mark_complete()
        assert Plain().complete()
        _ = 1 / 0
    assert not Plain().complete()


@only("sqlite", "postgresql")
def test_markers_are_prepared_inside_a_transaction(db: Client) -> None:
    with db.transaction():
        Plain().mark_complete()
    assert Plain().complete()


@only("mariadb")
def test_preparing_markers_inside_a_transaction_of_mariadb_is_refused(db: Client) -> None:
    with pytest.raises(TransactionError, match="before this transaction begins"), db.transaction():
        Plain().mark_complete()


def test_many_keys_are_read_by_one_query(db: Client) -> None:
    create_tables(db)
    names = [f"Task{n}" for n in range(2000)]
    with db.engine.begin() as connection:
        for name in names[::2]:
            target.insert(connection, name, "{}")
    statements = recorded_statements(db)
    with db.engine.connect() as connection:
        target.existing(connection, {"x"})  # has a look at the table, once
        statements.clear()
        found = target.existing(connection, {target.marker_key(name, "{}") for name in names})
    assert len(found) == 1000
    assert len(statements) == 1


def test_marker_prints_as_name_params_and_time(db: Client) -> None:
    assert build(Plain())
    with db.create_session() as session:
        marker = session.scalars(sa.select(ORMTargetMarker)).one()
        assert str(marker).startswith("Plain {} 20")
