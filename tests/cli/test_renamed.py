"""What a task left whose class is gone or has another name: it is told, and cleared by the name that it had."""

from __future__ import annotations

import json
import shlex
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from ozelot.client import Client
from ozelot.pipeline import declarations
from ozelot.state import markers
from tests.cli import harbour
from tests.cli.calling import called
from tests.etl.heroes import build
from tests.tables import create_tables


@pytest.fixture(autouse=True)
def loaded(db: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OZELOT_PIPELINE", "tests.cli.harbour:LoadAll")
    create_tables(db, harbour.Port, harbour.Wreck)
    assert build(harbour.LoadAll())


def rename(monkeypatch: pytest.MonkeyPatch, *gone: Any) -> None:
    """As if these classes were not in the code any more, but others in their place."""
    Path("renamed").touch()
    for cls in gone:
        monkeypatch.delitem(declarations.task_classes, cls)


def left(db: Client) -> tuple[int, int]:
    """How many ports and wrecks there are."""
    with db.engine.connect() as connection:
        ports, wrecks = (
            connection.scalar(sa.select(sa.func.count()).select_from(model)) for model in (harbour.Port, harbour.Wreck)
        )
    return ports or 0, wrecks or 0


def advice(kind: str) -> list[str]:
    """The commands that ``ozelot verify`` names for one kind of finding."""
    found = json.loads(called("verify", "--json").out)
    return [one["do"].rpartition("ozelot ")[2] for one in found if one["kind"] == kind]


def test_a_renamed_task_is_cleared_by_the_name_that_it_had(db: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    rename(monkeypatch, harbour.LoadPorts, harbour.MeasurePorts, harbour.LoadWrecks)
    refused = called("run")
    assert refused.code == 1
    assert "LoadPorts {} left something in port, which both fill, and its class is not known here" in refused.out
    told = "what LoadPorts left is in the way of LoadHarbours. Clear that, and run again: ozelot clear LoadPorts\n"
    assert refused.out.endswith(told)
    other = called("clear", "LoadHarbours", "--yes")
    assert other.code == 1 and other.err.endswith("do so by its name: ozelot clear LoadPorts LoadHarbours\n")
    assert not advice("rows of no complete task")
    commands = advice("unknown marker")
    wrecks = [f"clear 'LoadWrecks(year={year})'" for year in (2021, 2022)]
    assert sorted(commands) == [*wrecks, "clear LoadPorts", "clear MeasurePorts"]

    asked = called("clear", "LoadPorts")
    assert asked.code == 1 and left(db)[0] == 2
    assert "\nLoadPorts     2 port" in asked.out and "\nMeasurePorts  no rows         2 port.depth\n" in asked.out
    for command in commands:
        assert called(*shlex.split(command), "--yes").code == 0
    assert left(db) == (0, 2)  # wrecks of LoadHulks
    assert called("verify").code == 0
    assert called("run").code == 0
    assert left(db) == (2, 2)
    assert called("clear", "LoadPorts").out == "There is nothing to clear: of LoadPorts nothing is left\n"
    assert called("clear", "LoadPort").code == 2


def test_values_of_a_task_that_was_renamed_are_told_to_be_its_own(db: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(harbour.MeasurePorts, "requires", lambda self: [harbour.LoadPorts()])
    rename(monkeypatch, harbour.MeasurePorts)
    assert called("run").out.endswith("Clear that, and run again: ozelot clear MeasurePorts\n")
    assert called("clear", "MeasurePorts", "--yes").code == 0
    assert called("run").code == 0


def test_rows_that_know_their_run_go_by_the_parameters_of_the_task(db: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    rename(monkeypatch, harbour.LoadWrecks)
    assert called("clear", "LoadWrecks(year=2021)", "--yes").code == 0
    assert left(db) == (2, 1)
    assert called("clear", "LoadWrecks", "--yes").code == 0
    assert left(db) == (2, 0)


def test_rows_that_cannot_be_told_from_those_of_another_task_go_with_these(
    db: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert build(harbour.LoadOtherPorts())
    rename(monkeypatch, harbour.LoadPorts, harbour.MeasurePorts)
    refused = called("clear", "LoadPorts", "--yes")
    assert refused.code == 1 and "cannot be told from those of LoadOtherPorts {}: " in refused.err
    assert refused.err.endswith("or clear them together: ozelot clear LoadPorts LoadOtherPorts\n")
    assert called("clear", "LoadPorts", "LoadOtherPorts", "--yes").code == 0
    assert left(db) == (0, 2)


def test_a_task_that_takes_other_parameters_by_now_is_named_as_it_was(
    db: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert build(harbour.Before.LoadRafts(), harbour.After.LoadRafts(year=2021))
    assert left(db) == (2, 4)
    rename(monkeypatch, harbour.Before.LoadRafts)
    (command,) = advice("unknown marker")
    assert command == "clear 'LoadRafts {}'"
    assert called(*shlex.split(command), "--yes").code == 0
    assert left(db) == (2, 3) and harbour.After.LoadRafts(year=2021).complete()


def test_a_marker_of_which_no_run_is_known_is_left(db: Client) -> None:
    with db.engine.begin() as connection:
        markers.insert(connection, "LoadOld", "{}")
    refused = called("clear", "LoadOld", "--yes")
    assert refused.code == 1 and "nor is a run of it recorded" in refused.err and "'ozelot verify' says" in refused.err
    assert markers.marker_key("LoadOld", "{}") in called("verify").out
