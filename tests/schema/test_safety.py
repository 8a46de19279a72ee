"""What an upgrade leaves alone, and what it does when something goes wrong."""

from __future__ import annotations

import datetime
import sqlite3
import threading
from pathlib import Path

import pytest
import sqlalchemy as sa

from ozelot.client import Client
from ozelot.db.locks import claimed
from ozelot.errors import UpgradeRefused
from ozelot.schema.upgrade import apply, plan
from ozelot.state import markers as marker
from ozelot.state import runs
from tests.schema.staff import ROWS, compared, contents, create, staff, upgrade

pytestmark = pytest.mark.servers

WIDER = staff(
    unit={"name": sa.Column("name", sa.String(60), nullable=False)},
    employee={"email": sa.Column("email", sa.String(50))},
)


def test_a_copied_table_of_sqlite_keeps_triggers_views_indexes_and_what_refers_to_it(sqlite_db: Client) -> None:
    create(sqlite_db)
    with sqlite_db.engine.begin() as connection:
        for statement in (
            "CREATE VIEW towns AS SELECT town FROM unit",
            "CREATE TRIGGER upper_case AFTER INSERT ON unit BEGIN UPDATE unit SET town = upper(town); END",
            "ALTER TABLE unit ADD COLUMN own_id INTEGER REFERENCES unit (id)",
            "CREATE INDEX own_index ON unit (own_id)",
        ):
            connection.exec_driver_sql(statement)
    assert [one.words for one in upgrade(sqlite_db, WIDER).left] == ["the column unit.own_id is no model's"]
    assert contents(sqlite_db) == ROWS
    with sqlite_db.engine.begin() as connection:
        connection.exec_driver_sql("INSERT INTO unit (id, name, town, own_id) VALUES (3, 'New', 'Bern', 1)")
        towns = connection.exec_driver_sql("SELECT town FROM towns ORDER BY town").scalars().all()
        assert towns == [None, "BERN", "ROME"]
    with pytest.raises(sa.exc.IntegrityError), sqlite_db.engine.begin() as connection:
        connection.exec_driver_sql("UPDATE unit SET own_id = 99")
    with pytest.raises(sa.exc.IntegrityError), sqlite_db.engine.begin() as connection:
        connection.exec_driver_sql("DELETE FROM unit WHERE id = 2")  # employees refer to it
    assert "own_index" in {index["name"] for index in sa.inspect(sqlite_db.engine).get_indexes("unit")}


def test_sqlite_is_copied_first_as_it_was(sqlite_db: Client, tmp_path: Path) -> None:
    create(sqlite_db)
    copies = [upgrade(sqlite_db, WIDER).backup, upgrade(sqlite_db, staff(), drop=True).backup]
    assert all(copy is not None and copy.parent == tmp_path for copy in copies)
    assert len({*copies}) == 2
    for copy, columns in zip(copies, (4, 5), strict=True):
        found = sqlite3.connect(str(copy))
        assert len(found.execute("SELECT * FROM employee").fetchall()[0]) == columns
        found.close()
    assert not list(tmp_path.glob("*.part"))


def test_nothing_is_changed_where_no_backup_can_be_written(sqlite_db: Client, tmp_path: Path) -> None:
    create(sqlite_db)
    for second in range(600):  # whenever that is, something is in the way
        moment = runs.utc_now() + datetime.timedelta(seconds=second)
        (tmp_path / f"test-before-{moment:%Y%m%d-%H%M%S}.db.part").mkdir(exist_ok=True)
    with pytest.raises(UpgradeRefused, match=r"^Nothing was changed: no backup could be written to "):
        upgrade(sqlite_db, WIDER)
    assert compared(sqlite_db, staff()) == []


def test_a_database_in_memory_is_upgraded_without_a_backup() -> None:
    database = Client(connection_string="sqlite://")
    create(database)
    assert upgrade(database, WIDER).backup is None
    assert contents(database) == ROWS
    database.engine.dispose()


def test_a_plan_that_is_not_true_any_more_is_refused(db: Client) -> None:
    create(db)
    with db.engine.connect() as connection:
        planned = plan(connection, metadata=staff(unit={"town": None}), drop=True)
    assert planned.lost == {"unit.town": 1}
    with db.engine.begin() as connection:
        connection.execute(sa.text("UPDATE unit SET town = 'Oslo' WHERE id = 2"))
    with pytest.raises(UpgradeRefused, match="is not what it was a moment ago"):
        apply(db, planned)
    assert contents(db)["unit"] == [(1, "Research", "Rome"), (2, "Sales", "Oslo")]


def test_an_upgrade_is_refused_while_a_task_runs(db: Client) -> None:
    create(db)
    marker.prepare(db.engine)
    key = marker.marker_key("Slow", "{}")
    with db.engine.connect() as connection, claimed(connection, key):
        runs.begin(connection, [runs.Starting(key, "Slow", "{}")])
        connection.commit()
        with pytest.raises(UpgradeRefused, match=r"Slow \{\} is running; wait until it ends"):
            upgrade(db, WIDER)
    assert compared(db, staff()) == []


def test_of_two_upgrades_at_once_one_does_it_and_the_other_says_that_it_is_done(db: Client) -> None:
    create(db)
    marker.prepare(db.engine)
    with db.engine.connect() as connection:
        plans = [plan(connection, metadata=WIDER) for _ in range(2)]
    said: list[str] = []

    def act(number: int) -> None:
        try:
            apply(db, plans[number])
            said.append("done")
        except UpgradeRefused as exc:
            said.append(str(exc))

    threads = [threading.Thread(target=act, args=(number,)) for number in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(said) == ["Nothing was changed: the database is not what it was a moment ago. Call it again", "done"]
    assert compared(db, WIDER) == []
    assert contents(db) == ROWS


def test_references_that_are_broken_already_do_not_stop_an_upgrade(sqlite_db: Client) -> None:
    create(sqlite_db)
    with sqlite3.connect(str(sqlite_db.url.database)) as connection:
        connection.execute("DELETE FROM unit WHERE id = 1")  # foreign keys are not enforced here
    connection.close()
    assert upgrade(sqlite_db, WIDER).left == ()
    assert contents(sqlite_db)["employee"] == ROWS["employee"]
