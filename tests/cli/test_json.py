"""``--json``: tasks with their parameters as values, what loads left out, and errors as one document."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from ozelot.client import Client
from ozelot.orm.base import Base
from ozelot.pipeline.marker_target import task_params
from ozelot.state.markers import marker_key
from tests.cli import freight
from tests.cli.calling import called
from tests.tables import create_tables
from tests.ui.serving import served

FREIGHT = "tests.cli.freight:LoadFreight"
PARAMS = {
    "count": 6,
    "day": "2026-05-04",
    "is_fast": True,
    "modes": ["RAIL"],
    "note": None,
    "options": {"a": [1, None]},
    "share": 0.5,
}
LEFT_OUT = {"freight_crate skipped (depot_id)": 2}


@pytest.fixture
def pipeline(sqlite_db: Client, monkeypatch: pytest.MonkeyPatch) -> Iterator[Client]:
    create_tables(sqlite_db, freight.Depot, freight.Crate)
    Base.create_all(sqlite_db)
    monkeypatch.setenv("OZELOT_PIPELINE", FREIGHT)
    yield sqlite_db


def data(*arguments: str) -> Any:
    return json.loads(called(*arguments, "--json").out)


def of_crates(entries: list[dict[str, Any]]) -> dict[str, Any]:
    (found,) = (entry for entry in entries if entry["name"] == "LoadCrates")
    return found


def test_parameters_are_values_of_their_types_in_every_command(pipeline: Client) -> None:
    assert of_crates(data("plan")["run"])["params"] == PARAMS
    events = [json.loads(line) for line in called("run", "--json").out.splitlines()]
    assert all(event["params"] == PARAMS for event in events if event.get("name") == "LoadCrates")
    assert of_crates(events[-1]["ran"])["params"] == PARAMS
    assert of_crates(data("status"))["params"] == PARAMS
    assert of_crates(data("history"))["params"] == PARAMS
    assert data("why", "LoadCrates")["params"] == PARAMS


def test_parameters_of_a_class_that_is_not_known_are_texts(pipeline: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    assert called("run").code == 0
    monkeypatch.setattr("ozelot.cli.status.task_of", lambda name, params: None)

    params = of_crates(data("history"))["params"]
    assert (params["count"], params["day"], params["is_fast"]) == ("6", "2026-05-04", "True")


def test_a_run_that_skipped_rows_says_so_at_its_end_and_in_every_report(pipeline: Client, tmp_path: Path) -> None:
    ran = called("run")
    assert "Left out: 2 freight_crate skipped (depot_id), by LoadCrates {" in ran.out
    assert "4 freight_crate, 2 freight_crate skipped (depot_id)" in called("status").out
    assert of_crates(data("status"))["notes"] == LEFT_OUT
    assert of_crates(data("history"))["notes"] == LEFT_OUT
    with served(f"sqlite:///{tmp_path / 'test.db'}", None) as page:
        assert "2 freight_crate skipped (depot_id)" in page.ask("/tasks").text
        key = marker_key("LoadCrates", task_params(freight.LoadFreight().requires()[0]))
        assert "<dt>Left out</dt><dd>2 freight_crate skipped (depot_id)</dd>" in page.ask(f"/tasks/{key}").text
    assert "Left out" not in called("run").out

    assert called("clear", "LoadCrates", "--yes").code == 0
    assert of_crates(data("status"))["notes"] == {}
    again = [json.loads(line) for line in called("run", "--json").out.splitlines()]
    assert of_crates(again[-1]["ran"])["notes"] == LEFT_OUT
    assert [event["notes"] for event in again if event.get("notes")] == [LEFT_OUT]


COMMANDS = ["status", "plan", "plan --refresh", "why X", "verify", "history X", "db status", "run", "run X --force"]


@pytest.mark.parametrize("command", COMMANDS)
def test_an_error_is_one_json_document_with_the_exit_code_of_before(command: str) -> None:
    plain = called(*command.split(), "--pipeline", "tests.cli.nowhere:X", "--database", "sqlite:///missing.db")
    found = called(
        *command.split(), "--json", "--pipeline", "tests.cli.nowhere:X", "--database", "sqlite:///missing.db"
    )

    assert plain.code == found.code != 0
    document = json.loads(found.out)
    assert set(document) == {"error"}
    assert document["error"]["exit_code"] == found.code
    assert document["error"]["message"] in plain.err and plain.err.startswith("error: ")
    assert (plain.out, found.err) == ("", "")


@pytest.mark.parametrize(
    "arguments", [["status", "--json", "--nonsense"], ["--json"], ["why", "--json"], ["clear", "X", "--json"]]
)
def test_an_error_of_the_command_line_is_a_json_document(arguments: list[str]) -> None:
    found = called(*arguments)

    error = json.loads(found.out)["error"]
    assert (found.code, error["type"], error["exit_code"], found.err) == (2, "UsageError", 2, "")
    assert error["message"]


def test_an_error_that_nobody_expected_is_a_json_document_too(
    pipeline: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: object) -> Any:
        raise ZeroDivisionError("a bug")

    monkeypatch.setattr("ozelot.cli.status.status", broken)
    with pytest.raises(ZeroDivisionError):
        called("status", "--json")


def test_what_a_pipeline_raises_is_a_json_document(pipeline: Client) -> None:
    found = called("status", "--json", "--pipeline", "tests.cli.freight:LoadBroken")
    error = json.loads(found.out)["error"]
    assert "no requirements today" in error["message"] and error["exit_code"] == found.code


def test_a_text_behind_two_hyphens_is_no_option(pipeline: Client) -> None:
    found = called("status", "--", "--json")
    assert found.out == "" and found.err.startswith("error: ")


def test_a_task_shows_no_private_and_no_hidden_parameters() -> None:
    (task,) = freight.LoadFreight().requires()
    shown = repr(task)
    assert shown.startswith("LoadCrates(day=2026-05-04, count=6, share=0.5, is_fast=True, ")
    assert "hunter2" not in shown and "localhost" not in shown and str(task) == shown
