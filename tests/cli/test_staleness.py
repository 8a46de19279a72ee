"""Refreshing what is stale, and what commands say of it, on the three databases."""

from __future__ import annotations

import concurrent.futures
import json
from pathlib import Path

import pytest

from ozelot.clear.plan import ClearPlan
from ozelot.client import Client
from tests.cli.calling import called
from tests.databases import only
from tests.tables import count_rows

pytestmark = pytest.mark.usefixtures("pipeline_of_the_shop")


def test_a_refresh_shows_its_plan_and_loads_again_what_is_stale(stale_shop: Client) -> None:
    shown = called("status")
    assert (shown.code, "code: tests.cli.shop.LoadGoods.run" in shown.out) == (0, True)
    assert "5 of 5 tasks of the pipeline are complete, 1 of them stale" in shown.out
    left = called("run")
    assert (left.code, "1 task left as it is, being stale." in left.out) == (0, True)

    planned = called("plan", "--refresh")
    assert planned.code == 1
    assert planned.out.startswith("1 task is stale:\n")
    assert "\nLoadGoods {'year': '2021'}  " in planned.out
    assert planned.out.endswith("and then run 2 tasks: ozelot run --refresh\n")
    data = json.loads(called("plan", "--refresh", "--json").out)
    task = {"task": "LoadGoods {'year': '2021'}", "name": "LoadGoods", "params": {"year": 2021}}
    assert data["stale"] == [{**task, "reasons": ["code: tests.cli.shop.LoadGoods.run"]}]
    assert [step["task"] for step in data["clear"]["steps"]] == [
        "LoadShop {'years': '2'}",
        "LoadGoods {'year': '2021'}",
    ]

    refused = called("run", "--refresh")
    assert (refused.code, count_rows(stale_shop, "good")) == (1, 2)
    assert "there is no terminal to ask at" in refused.err
    done = called("run", "--refresh", "--yes")
    assert (done.code, "Ran 2 in " in done.out, count_rows(stale_shop, "good")) == (0, True, 2)
    assert called("plan", "--refresh").out.startswith("Nothing is stale\n")
    assert called("run", "--refresh", "--yes").code == 0


def another_one_clears_first(monkeypatch: pytest.MonkeyPatch) -> None:
    """Once: between the plan of the next command and its clearing."""
    apply = ClearPlan.apply

    def late(plan: ClearPlan) -> None:
        monkeypatch.setattr(ClearPlan, "apply", apply)
        with concurrent.futures.ThreadPoolExecutor() as another:
            another.submit(apply, plan).result()
        apply(plan)

    monkeypatch.setattr(ClearPlan, "apply", late)


def refreshes_all_the_same(stale_shop: Client, monkeypatch: pytest.MonkeyPatch, *how: str) -> bool:
    another_one_clears_first(monkeypatch)
    done = called("run", "--refresh", "--yes", *how)
    assert done.code == 0 and count_rows(stale_shop, "good") == 2
    return "Ran 2 in " in done.out


def test_a_refresh_is_planned_again_where_another_one_cleared_meanwhile(
    stale_shop: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert refreshes_all_the_same(stale_shop, monkeypatch)
    another_one_clears_first(monkeypatch)
    forced = called("run", "LoadGoods(year=2021)", "--force", "--yes")
    assert forced.code == 1
    assert "plan was made, good changed: LoadGoods {'year': '2021'} has 0 rows there, not 1. Nothing" in forced.err


@only("postgresql", "mariadb")
def test_so_is_one_in_one_transaction(stale_shop: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    assert refreshes_all_the_same(stale_shop, monkeypatch, "--atomic")


def test_a_run_that_fails_tells_what_it_left_stale_too(stale_shop: Client) -> None:
    assert called("clear", "LoadGoods(year=2020)", "--only", "--yes").code == 0
    Path("out of stock").touch()
    ran = called("run")
    assert ran.code == 1
    assert ran.out.splitlines()[-2] == "1 task left as it is, being stale."
    assert ran.out.endswith("Load again what is stale, and what stands on it: ozelot run --refresh\n")


def test_a_refresh_of_a_task_leaves_what_is_not_upstream_of_it(stale_shop: Client) -> None:
    done = called("run", "LoadGoods(year=2020)", "--refresh", "--yes")
    assert (done.code, "Complete already" in done.out) == (0, True)
    assert "1 of them stale" in called("status").out


def test_why_tells_all_that_counts(stale_shop: Client) -> None:
    told = called("why", "LoadGoods(year=2021)")
    assert told.code == 1
    assert told.out.startswith("LoadGoods {'year': '2021'} is stale\n  code: tests.cli.shop.LoadGoods.run\nIts code:\n")
    data = json.loads(called("why", "LoadGoods(year=2021)", "--json").out)
    assert data["reasons"] == [{"kind": "code", "what": "tests.cli.shop.LoadGoods.run"}]
    assert "good.shelf_id" in data["made_of"]["schema"]


def test_accepting_lets_a_change_pass(stale_shop: Client) -> None:
    accepted = called("accept", "LoadGoods")
    assert accepted.code == 0
    assert "LoadGoods {'year': '2021'}: 1 change accepted\n  code: tests.cli.shop.LoadGoods.run\n" in accepted.out
    assert called("plan", "--refresh").code == 0


def test_what_was_never_run_cannot_be_accepted(db: Client) -> None:
    assert called("db", "init").code == 0
    told = called("accept", "LoadGoods")
    assert (told.code, told.out) == (1, "2 tasks left: no run is recorded that made what they loaded\n")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--force", "--refresh", "LoadGoods"], "choose one"),
        (["--atomic"], "add --force or --refresh"),
        (["--refresh", "--atomic", "--workers", "2"], "one worker"),
    ],
)
def test_options_that_do_not_go_together_are_refused(arguments: list[str], message: str, sqlite_db: Client) -> None:
    refused = called("run", *arguments)
    assert (refused.code, message in refused.err) == (2, True)
