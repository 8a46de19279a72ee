"""Tables and columns that models have and the database has not: what is not cleared for that, and what is said."""

from __future__ import annotations

import json
from collections.abc import Sequence

import pytest
import sqlalchemy as sa

from ozelot.client import Client
from ozelot.engine import run_again
from ozelot.errors import TableMissing
from ozelot.etl.completion import clear_plan
from ozelot.orm.base import Base
from tests.cli import shop
from tests.cli.calling import called
from tests.etl.heroes import build
from tests.statements import drop_columns
from tests.tables import count_rows

pytestmark = pytest.mark.usefixtures("pipeline_of_the_shop", "every_key_is_created")

FIRST = "the column shelf.height is missing. Bring the database to what the models say: ozelot db upgrade"


def test_a_refresh_waits_for_a_column_that_the_database_has_not(stale_shop: Client) -> None:
    drop_columns(stale_shop, "shelf.height")
    shown = called("status")
    assert "1 of them stale" in shown.out
    assert shown.out.endswith(f"\nSee why: ozelot why 'LoadGoods(year=2021)'. First of all: {FIRST}\n")
    assert called("run").out.endswith(f"First of all: {FIRST}\n")
    assert called("plan", "--refresh").out.endswith(f"\nand then run 2 tasks; but first: {FIRST}\n")

    refused = called("run", "--refresh", "--yes")
    assert (refused.code, refused.out) == (3, "")
    assert refused.err == f"error: Nothing was cleared, as a run would fail: {FIRST}\n"
    assert count_rows(stale_shop, "good") == 2

    assert called("db", "upgrade", "--yes").code == 0
    assert called("status").out.endswith(". Load again what is stale, and what stands on it: ozelot run --refresh\n")
    assert called("run", "--refresh", "--yes").code == 0


@pytest.mark.parametrize("how", [(), ("--atomic",)])
def test_so_does_loading_a_task_again(how: Sequence[str], db: Client) -> None:
    Base.create_all(db)
    assert build(shop.LoadShop())
    drop_columns(db, "shelf.height")
    refused = called("run", "LoadGoods(year=2020)", "--force", "--yes", *how)
    assert (refused.code, refused.out, count_rows(db, "good")) == (3, "", 2)
    assert refused.err == f"error: Nothing was cleared, as a run would fail: {FIRST}\n"

    root = shop.LoadShop()
    plan = clear_plan(root, [shop.LoadGoods(year=2020)])
    with pytest.raises(TableMissing, match="Nothing was cleared"):
        run_again(plan, [root])
    assert (count_rows(db, "good"), count_rows(db, "shelf")) == (2, 2)


def test_what_a_task_does_not_use_keeps_no_task_from_being_loaded_again(db: Client) -> None:
    Base.create_all(db)
    assert build(shop.LoadShop())
    drop_columns(db, "attic.name")
    assert called("run", "LoadGoods(year=2020)", "--force", "--yes").code == 0


def test_clearing_says_what_is_to_be_done_before_a_run(db: Client) -> None:
    Base.create_all(db)
    assert build(shop.LoadShop())
    drop_columns(db, "good.name", "shelf.height")
    asked = called("clear", "LoadGoods")
    first = FIRST.replace("shelf.height", "good.name")
    assert f"\nA run cannot load it again before this is done: {first}\n" in asked.out
    refused = called("clear", "MeasureShelves")
    assert (refused.code, refused.out, refused.err.endswith(f": {FIRST}\n")) == (3, "", True)


def test_a_column_that_no_model_has_and_that_needs_a_value_is_one_too(db: Client) -> None:
    Base.create_all(db)
    assert build(shop.LoadShop())
    plain = called("run", "LoadShelves", "--force", "--yes")
    assert plain.code == 0
    default = " DEFAULT 1" if db.engine.dialect.name == "sqlite" else ""
    with db.engine.begin() as connection:
        connection.execute(sa.text("DELETE FROM good"))
        connection.execute(sa.text("DELETE FROM shelf"))
        if default:
            connection.execute(sa.text("DROP TABLE good"))
            connection.execute(sa.text("DROP TABLE shelf"))
            connection.execute(
                sa.text("CREATE TABLE shelf (id INTEGER PRIMARY KEY, name TEXT, height INTEGER, old INTEGER NOT NULL)")
            )
            connection.execute(
                sa.text("CREATE TABLE good (id INTEGER PRIMARY KEY, name TEXT, shelf_id INTEGER, run_id INTEGER)")
            )
        else:
            connection.execute(sa.text("ALTER TABLE shelf ADD COLUMN old INTEGER NOT NULL"))
    refused = called("run", "LoadShelves", "--force", "--yes")
    assert refused.code == 3
    assert refused.err == (
        "error: Nothing was cleared, as a run would fail: the column shelf.old is of no model, and takes no row "
        "without a value. Bring the database to what the models say: ozelot db upgrade --drop\n"
    )


def test_a_run_that_fails_for_a_column_says_so_and_status_too(db: Client) -> None:
    Base.create_all(db)
    drop_columns(db, "shelf.height")
    ran = called("run")
    told = (
        "TableMissing: LoadShelves {} needs the column shelf.height, which is not in the database: add it with 'ozelot "
        "db upgrade'"
    )
    assert (ran.code, told in ran.out) == (1, True)
    whys = {one["task"]: one["why"] for one in json.loads(called("status", "--json").out)}
    assert whys["LoadShelves {}"] == f"failed: {told}"


def test_a_missing_table_is_told_in_one_way(db: Client) -> None:
    Base.create_all(db)
    with db.engine.begin() as connection:
        connection.execute(sa.text("DROP TABLE good"))
        connection.execute(sa.text("DROP TABLE shelf"))
    ran = called("run")
    told = (
        "TableMissing: LoadShelves {} needs the table shelf, which is not in the database: create the tables of all "
        "models with 'ozelot db upgrade'"
    )
    assert (ran.code, told in ran.out) == (1, True)
    assert "There is no table good, shelf. Create all that are missing with: ozelot db upgrade\n" in ran.out
    assert f"failed: {told}" in called("status").out
    assert called("db", "upgrade", "--yes").code == 0
    assert called("run").code == 0
