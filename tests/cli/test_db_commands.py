"""``ozelot db status`` and ``ozelot db upgrade``, on a real pipeline and real databases."""

from __future__ import annotations

import json
import re

import pytest
import sqlalchemy as sa

from ozelot.client import Client
from ozelot.orm.base import Base
from tests.cli import attic, shop
from tests.cli.calling import called
from tests.etl.heroes import build
from tests.statements import drop_columns
from tests.tables import count_rows

pytestmark = [pytest.mark.usefixtures("pipeline_of_the_shop", "every_key_is_created"), pytest.mark.slow]


def test_a_database_is_brought_to_what_the_models_say_and_loads_again_what_that_took(db: Client) -> None:
    Base.create_all(db)
    same = called("db", "status")
    assert (same.code, same.out.endswith(" is as the models say\n")) == (0, True)
    assert build(shop.LoadShop())

    drop_columns(db, "shelf.height", "good.name")
    told = called("db", "status")
    assert told.code == 1
    assert [line.split("  ")[0] for line in told.out.splitlines()[1:]] == [
        "difference",
        "the column good.name is missing",
        "the column shelf.height is missing",
        "Apply them with: ozelot db upgrade --rebuild",
    ]
    found = json.loads(called("db", "status", "--json").out)
    assert [(one["words"], one["takes"], one["tasks"], one["stale"]) for one in found] == [
        ("the column good.name is missing", "rebuild", ["LoadGoods"], []),
        ("the column shelf.height is missing", "in place", ["MeasureShelves"], []),
    ]

    asked = called("db", "upgrade")
    assert asked.code == 1 and asked.err == (
        "error: Nothing was changed: there is no terminal to ask at. To go ahead without, add --yes\n"
    )
    assert len(json.loads(called("db", "status", "--json").out)) == 2
    some = called("db", "upgrade", "--yes")
    assert some.code == 1 and "Applied 1 difference\nNot applied:\n" in some.out
    assert [one["words"] for one in json.loads(called("db", "status", "--json").out)] == [
        "the column good.name is missing"
    ]
    rest = called("db", "upgrade", "--rebuild", "--yes")
    assert rest.code == 0
    assert "Rows and values that go: 2 good\n" in rest.out
    assert "3 tasks to load again. Run them again with: ozelot run\n" in rest.out
    assert called("db", "status").code == 0

    whys = {one["task"]: one["why"] for one in json.loads(called("status", "--json").out)}
    assert whys["LoadGoods {'year': '2020'}"] == "it was cleared"
    assert whys["LoadShelves {}"] == ""
    ran = called("run")
    assert ran.code == 0 and "Ran 3 in" in ran.out
    assert "Complete already: 2\n" in ran.out
    with db.engine.connect() as connection:
        names = connection.scalars(sa.text("SELECT name FROM good ORDER BY name")).all()
    assert names == ["good of 2020", "good of 2021"]


@pytest.fixture
def counted(db: Client, monkeypatch: pytest.MonkeyPatch) -> Client:
    """A database in which a table is to be made anew, and a task stands on its rows that does not refer to them."""
    monkeypatch.setenv("OZELOT_PIPELINE", "tests.cli.attic:CountAttic")
    Base.create_all(db)
    assert build(attic.CountAttic())
    drop_columns(db, "attic.name")
    return db


def states() -> dict[str, str]:
    return {one["task"]: one["state"] for one in json.loads(called("status", "--json").out)}


def test_what_stands_on_a_table_that_is_made_anew_is_cleared_with_it_and_loaded_again(counted: Client) -> None:
    asked = called("db", "upgrade", "--rebuild")
    assert (asked.code, count_rows(counted, "atticcount")) == (1, 1)
    assert re.search(
        r"^To be cleared along with that, .*:\ntask .*\nCountAttic  1 atticcount\n", asked.out, re.MULTILINE
    )
    done = called("db", "upgrade", "--rebuild", "--yes")
    assert done.code == 0 and done.out.endswith("2 tasks to load again. Run them again with: ozelot run\n")
    assert count_rows(counted, "atticcount") == 0
    assert states() == {"LoadAttic {}": "incomplete", "CountAttic {}": "incomplete"}
    ran = called("run")
    assert ran.code == 0 and "Ran 2 in " in ran.out and "stale" not in ran.out
    assert states() == {"LoadAttic {}": "complete", "CountAttic {}": "complete"}
    assert called("verify").code == 0
    assert called("plan", "--refresh").out.startswith("Nothing is stale\nA run would run nothing: all is complete")


def test_where_that_cannot_be_cleared_the_table_is_made_anew_all_the_same_and_why_is_told(counted: Client) -> None:
    assert build(attic.CountElsewhere())
    done = called("db", "upgrade", "--rebuild", "--yes")
    assert done.code == 0 and called("db", "status").code == 0
    told = done.out.splitlines()[-1]
    assert told.startswith("1 task to load again. What stands on it was not cleared (CountElsewhere {} has rows in ")
    assert told.endswith("). Clear that, too, and run: ozelot clear LoadAttic; ozelot run")
    assert count_rows(counted, "atticcount") == 2
    assert states() == {"LoadAttic {}": "incomplete", "CountAttic {}": "complete on incomplete"}


def test_a_single_task_to_load_again_is_told_in_good_grammar(db: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OZELOT_PIPELINE", "tests.cli.attic:LoadAttic")
    Base.create_all(db)
    assert build(attic.LoadAttic())
    drop_columns(db, "attic.name")
    done = called("db", "upgrade", "--rebuild", "--yes")
    assert done.out.endswith("\n1 task to load again. Run it again with: ozelot run\n")
    assert called("run").code == 0


def test_without_a_pipeline_a_rebuild_says_what_to_clear(counted: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("OZELOT_PIPELINE")
    monkeypatch.setenv("OZELOT_MODELS", "tests.cli.attic")
    done = called("db", "upgrade", "--rebuild", "--yes")
    assert done.out.endswith(
        "1 task to load again. What stands on it was not cleared (no pipeline is named). Clear that, too, and run: "
        "ozelot clear LoadAttic; ozelot run\n"
    )
    monkeypatch.setenv("OZELOT_PIPELINE", "tests.cli.attic:CountAttic")
    assert called("clear", "LoadAttic", "--yes").out.endswith("Cleared 2 tasks. Run them again with: ozelot run\n")
    assert called("run").code == 0
    assert states() == {"LoadAttic {}": "complete", "CountAttic {}": "complete"}


def test_a_file_that_may_only_be_read_is_compared(sqlite_db: Client) -> None:
    Base.create_all(sqlite_db)
    drop_columns(sqlite_db, "shelf.height")
    sqlite_db.engine.dispose()
    path = str(sqlite_db.url.database)
    told = called("db", "status", "--database", f"sqlite:///file:{path}?mode=ro&uri=true")
    assert told.code == 1 and "the column shelf.height is missing" in told.out


def test_a_database_that_is_not_there_is_not_made(sqlite_db: Client) -> None:
    for command in ("status", "upgrade"):
        told = called("db", command)
        assert told.code == 3 and told.err.startswith("error: There is no database file ")
