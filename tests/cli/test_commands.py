"""Every command, on a real pipeline and real databases."""

from __future__ import annotations

import json
import os
import re
import sqlite3
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import sqlalchemy as sa

import ozelot
from ozelot import client
from ozelot.client import Client
from ozelot.etl import tasks
from ozelot.etl.status import recorded, status
from ozelot.formatting import duration
from ozelot.orm.base import Base
from tests import databases
from tests.cli import shop
from tests.cli.calling import SHOP, Called, called
from tests.etl.heroes import build
from tests.folders import ROOT
from tests.tables import count_rows

pytestmark = pytest.mark.usefixtures("pipeline_of_the_shop")


@pytest.fixture
def loaded(sqlite_db: Client) -> Client:
    Base.create_all(sqlite_db)
    assert build(shop.LoadShop())
    return sqlite_db


def table_of(out: str) -> dict[str, str]:
    """What stands behind the first column of each line."""
    return {line.split("  ")[0]: line for line in out.splitlines()}


@pytest.mark.slow
def test_from_an_empty_database_to_a_full_one_and_back(db: Client) -> None:
    made = called("db", "init")
    assert made.code == 0 and "shelf" in sa.inspect(db.engine).get_table_names()
    assert called("db", "init").out.startswith("All tables are there already in ")

    before = called("status")
    assert before.code == 1
    assert before.out.endswith("0 of 5 tasks of the pipeline are complete\n")
    planned = called("plan")
    assert planned.out.startswith("A run would run 5 tasks:\n")
    assert planned.out.endswith("\nClearing all that is pending would delete no rows\n")

    ran = called("run")
    assert (ran.code, ran.out.splitlines()[-1]) == (0, "LoadShop {'years': '2'} is complete")
    assert (count_rows(db, "shelf"), count_rows(db, "good")) == (2, 2)
    after = called("status")
    assert after.code == 0
    assert after.out.endswith("5 of 5 tasks of the pipeline are complete\n")
    assert "2 shelf.height" in table_of(after.out)["MeasureShelves"]
    assert called("verify").code == 0
    again = called("run")
    assert again.code == 0 and "Complete already: 5\n" in again.out
    assert called("plan").out == "A run would run nothing: all is complete\n"

    refused = called("clear", "LoadGoods")
    assert refused.code == 1 and count_rows(db, "good") == 2
    assert called("clear", "LoadGoods(year=2021)", "--yes").code == 0
    assert (count_rows(db, "shelf"), count_rows(db, "good")) == (2, 1)
    assert called("run").code == 0
    assert count_rows(db, "good") == 2

    states = [run["state"] for run in json.loads(called("history", "LoadGoods", "--json").out)]
    assert states[0] == "done" and sorted(states[1:]) == ["cleared", "done"]
    assert called("history", "prune", "--keep", "1", "--yes").code == 0
    assert called("clear", "LoadShelves", "--yes").code == 0
    assert (count_rows(db, "shelf"), count_rows(db, "good")) == (0, 0)

    assert called("db", "drop").code == 1
    assert called("db", "drop", "--yes").code == 0
    assert "shelf" not in sa.inspect(db.engine).get_table_names()
    assert called("db", "drop", "--yes").out.startswith("There is no table to drop")


def test_version_and_wrong_usage() -> None:
    assert called("--version").out == f"ozelot {ozelot.__version__}\n"
    for arguments in (["foo"], ["clear"], ["status", "--nothing"], ["history", "prune"], ["history", "--last", "0"]):
        assert called(*arguments).code == 2, arguments
    assert "'--database' requires an argument" in called("status", "--database").err


def test_options_of_ozelot_itself_stand_before_or_behind_a_command(loaded: Client) -> None:
    odd = ["--pipeline", "tests.cli.shop:Odd"]
    assert called(*odd, "status").out == called("status", *odd).out == called("status", "=".join(odd)).out
    assert called("status", "--", *odd).code == 2


def test_status_as_data_has_all_of_every_task(loaded: Client) -> None:
    found = called("status", "--json", "--pipeline", f"{SHOP}(years=30)")
    entries = json.loads(found.out)
    assert found.code == 1 and len(entries) == 33
    first = entries[0]
    assert first["when"].endswith("Z") and first["seconds"] >= 0
    assert {**first, "when": None, "seconds": None} == {
        "task": "LoadShelves {}",
        "name": "LoadShelves",
        "params": {},
        "state": "complete",
        "why": "",
        "stale": [],
        "unknown": [],
        "when": None,
        "seconds": None,
        "rows": {"shelf": 2},
        "notes": {},
    }
    assert (entries[-1]["state"], entries[-1]["why"]) == ("incomplete", "it never ran")


def test_a_class_of_many_tasks_is_one_line_unless_all_are_asked_for(loaded: Client) -> None:
    grouped = called("status", "--pipeline", f"{SHOP}(years=30)").out
    line = table_of(grouped)["LoadGoods (30 tasks)"]
    assert "2 complete, 28 incomplete" in line and "2 good" in line and line.endswith("28 times: it never ran")
    assert "LoadGoods {'year'" not in grouped
    every = called("status", "--all", "--pipeline", f"{SHOP}(years=30)").out
    assert every.count("LoadGoods {'year'") == 30
    planned = called("plan", "--pipeline", f"{SHOP}(years=30)").out
    assert table_of(planned)["LoadGoods (28 tasks)"].endswith("28 times: it never ran")
    cleared = called("clear", "LoadGoods", "--pipeline", f"{SHOP}(years=30)").out
    assert table_of(cleared)["LoadGoods (30 tasks)"].endswith("2 good")


def test_status_of_one_task_is_of_it_and_upstream(loaded: Client) -> None:
    found = called("status", "LoadGoods(year=2020)", "--json")
    assert [entry["task"] for entry in json.loads(found.out)] == ["LoadShelves {}", "LoadGoods {'year': '2020'}"]


def test_status_without_a_pipeline_tells_what_the_database_knows(
    loaded: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("OZELOT_PIPELINE")
    url = loaded.url.render_as_string()
    found = called("status", "--database", url, "--json")
    assert {entry["task"]: entry["state"] for entry in json.loads(found.out)} == {
        "LoadShelves {}": "complete",
        "MeasureShelves {}": "complete",
        "LoadGoods {'year': '2020'}": "complete",
        "LoadGoods {'year': '2021'}": "complete",
        "LoadShop {'years': '2'}": "complete",
    }
    assert found.code == 0
    assert called("status", "--database", url).out.endswith(f"5 of 5 tasks recorded in {url} are complete\n")


def test_status_of_a_file_of_0_2_needs_no_pipeline_and_changes_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("OZELOT_PIPELINE")
    path = tmp_path / "old.db"
    databases.make_as_0_2(path)
    path.chmod(0o444)
    before = path.read_bytes()
    found = called("status", "--database", f"sqlite:///{path}")
    assert found.code == 0, found.err
    assert "LoadOld" in found.out and "2018-05-28 11:18:11" in found.out
    assert path.read_bytes() == before
    assert sorted(other.name for other in tmp_path.iterdir()) == ["old.db"]


@pytest.mark.slow
def test_reports_work_in_a_folder_that_may_only_be_read(loaded: Client, tmp_path: Path) -> None:
    loaded.engine.dispose()
    tmp_path.chmod(0o555)
    # Root writes everywhere, unless it gives that right away.
    weaker = ["setpriv", "--bounding-set=-all", "--inh-caps=-all"] if os.access(tmp_path, os.W_OK) else []
    try:
        for report in ("status", "plan", "verify", "history"):
            done = subprocess.run(
                [*weaker, sys.executable, "-m", "ozelot", report, "--database", f"sqlite:///{tmp_path / 'test.db'}"],
                cwd=ROOT,
                capture_output=True,
                text=True,
                check=False,
            )
            assert done.returncode == 0, done.stdout + done.stderr
    finally:
        tmp_path.chmod(0o755)


def test_reports_change_nothing(loaded: Client, tmp_path: Path) -> None:
    def content() -> list[str]:
        with sqlite3.connect(tmp_path / "test.db") as connection:
            found = list(connection.iterdump())
        connection.close()
        return found

    before = content()
    for arguments in (["status"], ["status", "--json"], ["plan"], ["verify"], ["history"], ["clear", "LoadShelves"]):
        called(*arguments)
    assert content() == before


@pytest.mark.parametrize(
    "arguments", ["status", "plan", "run", "verify", "history", "clear LoadShelves", "db drop --yes"]
)
def test_a_file_that_is_not_there_is_not_made(arguments: str, tmp_path: Path) -> None:
    found = called(*arguments.split(), "--database", "sqlite:///nowhere.db")
    assert (found.code, found.out) == (3, "")
    assert found.err.startswith("error: There is no database file nowhere.db: ")
    assert list(tmp_path.iterdir()) == []


def test_plan_as_data_says_what_runs_and_what_would_go(loaded: Client) -> None:
    shop.LoadShelves.mark_incomplete()
    planned = json.loads(called("plan", "--json").out)
    assert planned["run"] == ["LoadShelves {}", "MeasureShelves {}", "LoadShop {'years': '2'}"] or planned["run"] == []
    steps = {step["task"]: step for step in planned["clear"]["steps"]}
    assert steps["LoadShelves {}"]["deletes"] == {"shelf": 2}
    assert steps["MeasureShelves {}"]["resets"] == {"shelf.height": 2}
    assert steps["LoadGoods {'year': '2021'}"]["deletes"] == {"good": 1}
    assert planned["clear"]["refused"] is None
    text = called("plan").out
    assert "Clearing all that is pending would delete:" in text
    assert re.search(r"^LoadShelves +2 shelf$", text, re.MULTILINE)


def test_clearing_only_what_others_stand_on_is_refused_in_one_line(loaded: Client) -> None:
    refused = called("clear", "LoadShelves", "--only", "--yes")
    assert refused.code == 1
    assert refused.err.startswith("error: ") and refused.err.count("\n") == 1
    assert count_rows(loaded, "shelf") == 2
    assert called("clear", "LoadGoods", "--only", "--yes").code == 0
    assert (count_rows(loaded, "good"), called("status", "MeasureShelves").code) == (0, 0)


def test_clearing_only_a_task_says_a_command_that_runs_it_again(sqlite_db: Client) -> None:
    Base.create_all(sqlite_db)
    inspecting = ("--pipeline", "tests.cli.shop:InspectShelves")
    assert called("run", *inspecting).code == 0
    cleared = called("clear", "LoadShelves", "--only", "--yes", *inspecting)
    assert cleared.out.endswith(" Run it by its name: ozelot run LoadShelves\n")
    assert called("run", *inspecting).code == 1
    assert called("run", "LoadShelves", *inspecting).code == 0
    assert called("status", *inspecting).code == 0
    whole = called("clear", "LoadShelves", "--yes", *inspecting)
    assert whole.out.endswith(" tasks. Run them again with: ozelot run\n")


def test_a_run_reaches_a_cleared_task_if_the_values_of_others_went_with_its_rows(sqlite_db: Client) -> None:
    Base.create_all(sqlite_db)
    measuring = ("--pipeline", "tests.cli.shop:MeasureShelves")
    assert called("run", *measuring).code == 0
    cleared = called("clear", "LoadShelves", "--only", "--yes", *measuring)
    assert cleared.out.endswith("Cleared 1 task. Run it again with: ozelot run\n")
    assert called("run", *measuring).code == 0
    assert called("status", *measuring).code == 0


def test_findings_are_data_and_the_exit_code(loaded: Client) -> None:
    clean = called("verify", "--json")
    assert (clean.code, json.loads(clean.out)) == (0, [])
    with loaded.engine.begin() as connection:
        connection.execute(sa.text("DELETE FROM good"))
    found = called("verify", "--json")
    assert found.code == 1
    findings = json.loads(found.out)
    assert all({"kind", "where", "what", "do"} <= set(finding) for finding in findings)
    assert {finding["where"]: finding["params"] for finding in findings if "params" in finding} == {
        "LoadGoods {'year': '2020'}": {"year": 2020},
        "LoadGoods {'year': '2021'}": {"year": 2021},
    }
    shown = called("verify")
    assert shown.code == 1 and ": LoadGoods {'year': '2020'}\n  " in shown.out
    assert "\n  What to do: " in shown.out and shown.out.endswith(" findings\n")


def test_history_is_of_all_of_a_class_or_of_a_task(loaded: Client) -> None:
    assert len(json.loads(called("history", "--json").out)) == 5
    assert len(json.loads(called("history", "--json", "--last", "2").out)) == 2
    assert len(json.loads(called("history", "LoadGoods", "--json").out)) == 2
    for text in ("LoadGoods(year=2021)", "LoadGoods {'year': '2021'}"):
        (run,) = json.loads(called("history", "show", text, "--json").out)
        assert (run["task"], run["state"], run["rows"]) == ("LoadGoods {'year': '2021'}", "done", {"good": 1})
    unknown = called("history", "LoadGood")
    assert unknown.code == 2 and "Did you mean LoadGoods?" in unknown.err


def test_pruning_says_what_would_go_and_goes_only_with_yes(loaded: Client) -> None:
    assert called("history", "prune", "--keep", "0").out.startswith("There are no records to delete")
    called("clear", "LoadGoods", "--yes")
    asked = called("history", "prune", "--keep", "0")
    assert asked.code == 1 and "3 cleared" in asked.out
    assert called("history", "prune", "--keep", "0", "--yes").out.endswith("Deleted 3 records\n")
    assert len(json.loads(called("history", "--json").out)) == 2


def test_a_failure_is_summed_up_with_its_reason_and_what_it_kept_from_running(sqlite_db: Client) -> None:
    Base.create_all(sqlite_db)
    Path("out of stock").touch()
    failed = called("run")
    assert failed.code == 1
    assert "Failed: 2\n" in failed.out
    assert "\x1b" not in failed.out
    assert "Not reached: 1: LoadShop" in failed.out
    told = "3 tasks of 5 left. See: ozelot status, or ozelot history LoadGoods --last 1 --traceback\n"
    assert failed.out.endswith(told)
    traced = called("history", "LoadGoods", "--last", "1", "--traceback").out
    assert "shop.py" in traced and 'raise RuntimeError("no goods [red]' in traced and "\x1b" not in traced
    assert "INFO: Informed scheduler" not in failed.err
    assert "  LoadGoods {'year': '2020'}: RuntimeError: no goods [red]\n" in failed.out
    for shown in (called("history", "LoadGoods").out, called("status").out):
        assert "RuntimeError: no goods [red]" in shown


def test_an_on_success_that_fails_after_the_commit_is_told_as_that(
    sqlite_db: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    Base.create_all(sqlite_db)

    def fails(_task: object) -> None:
        raise RuntimeError("no mail server")

    monkeypatch.setattr(shop.LoadShelves, "on_success", fails)
    found = called("run")
    assert found.code == 1
    told = "on_success() failed after the commit, and the task is complete: RuntimeError: no mail server"
    assert f"  LoadShelves: {told}\nAll is complete, but on_success() failed: LoadShelves\n" in found.out
    assert called("run").code == 0


def test_a_failure_of_a_plain_luigi_task_is_told_in_its_own_words(sqlite_db: Client) -> None:
    Base.create_all(sqlite_db)
    found = called("run", "--pipeline", "tests.cli.shop:NeedsFile(plain=true)")
    assert found.code == 1
    assert "  Plain: OSError: no such market\nNot reached: 1: NeedsFile" in found.out


def test_a_missing_input_file_is_what_failed(sqlite_db: Client) -> None:
    Base.create_all(sqlite_db)
    found = called("run", "--pipeline", "tests.cli.shop:NeedsFile")
    assert found.code == 1
    assert re.search(r"^failed   PriceFile  .* s  there is no file prices.csv$", found.out, re.MULTILINE)
    assert "done " not in found.out
    assert "Failed: 1\n  PriceFile: there is no file prices.csv\nNot reached: 1: NeedsFile" in found.out


def test_a_run_on_top_of_what_is_pending_says_how_to_go_on(loaded: Client) -> None:
    shop.LoadShelves.mark_incomplete()
    found = called("run")
    assert found.code == 1
    assert found.out.endswith('Clear it with what stands on it, and run again: ozelot clear "LoadShelves"\n')
    assert called("clear", "LoadShelves", "--yes").code == 0
    assert called("run").code == 0


@pytest.mark.parametrize(
    ("root", "path", "advice"),
    [
        ("NeedsFile", "prices.csv", "PriceFile: there is no file prices.csv. Put it there, and run again: ozelot run"),
        ("NeedsFile(plain=true)", "nowhere", "Plain: there is no file nowhere. Make it again: ozelot run Plain"),
    ],
)
def test_a_file_that_is_gone_is_missed_and_what_was_loaded_from_it_stays(
    root: str, path: str, advice: str, sqlite_db: Client
) -> None:
    Base.create_all(sqlite_db)
    Path(path).touch()
    assert called("run", "--pipeline", f"tests.cli.shop:{root}").code == 0
    Path(path).unlink()
    found = called("run", "--pipeline", f"tests.cli.shop:{root}")
    assert found.code == 1 and "clear" not in found.out
    assert re.search(rf"^NeedsFile .* is not complete: {re.escape(advice)}\n\Z", found.out, re.MULTILINE)
    planned = called("plan", "--pipeline", f"tests.cli.shop:{root}").out
    assert f"is complete, though not what it stands on: {advice}\n" in planned and "ozelot clear" not in planned
    Path(path).touch()
    assert called("run", "--pipeline", f"tests.cli.shop:{root}").code == 0


def test_a_task_that_failed_on_its_own_leftovers_is_to_be_cleared(loaded: Client) -> None:
    shop.LoadShelves.mark_incomplete()
    shop.MeasureShelves.mark_incomplete()
    found = called("run")
    assert found.code == 1 and "Failed: 1\n  LoadShelves: LeftoverRows: " in found.out
    assert found.out.endswith('Clear it with what stands on it, and run again: ozelot clear "LoadShelves"\n')


def test_a_task_that_failed_by_itself_is_not_to_be_cleared_though_a_complete_one_stands_on_it(loaded: Client) -> None:
    assert called("clear", "LoadGoods(year=2021)", "--only", "--yes").code == 0
    Path("out of stock").touch()
    found = called("run")
    assert found.code == 1
    assert json.loads(called("status", "--json").out)[-1]["state"] == "complete on incomplete"
    assert found.out.endswith(
        "LoadShop {'years': '2'} is not complete: 1 task of 5 left. See: ozelot status, or ozelot history LoadGoods "
        "--last 1 --traceback\n"
    )


def test_after_a_failed_atomic_run_a_complete_task_is_told_with_the_run_that_completed_it(db: Client) -> None:
    Base.create_all(db)
    assert build(shop.LoadShop())
    before = json.loads(called("status", "--json").out)
    Path("out of stock").touch()
    assert called("run", "LoadGoods(year=2020)", "--force", "--atomic", "--yes").code == 1
    assert json.loads(called("history", "LoadGoods", "--last", "1", "--json").out)[0]["state"] == "failed"
    after = json.loads(called("status", "--json").out)
    assert after == before
    assert [one["rows"] for one in after if one["name"] == "LoadGoods"] == [{"good": 1}] * 2
    told = {one.label: (one.when, one.rows) for one in status(shop.LoadShop())}
    assert {one.label: (one.when, one.rows) for one in recorded()} == told

    assert called("run", "LoadGoods(year=2020)", "--force", "--yes").code == 1
    now = json.loads(called("status", "--json").out)
    (failed,) = [one for one in now if one["task"] == "LoadGoods {'year': '2020'}"]
    assert (failed["state"], failed["rows"]) == ("incomplete", {})
    assert failed["why"] == "failed: RuntimeError: no goods [red]"


def test_tables_that_were_never_made_are_named_with_what_to_do(sqlite_db: Client) -> None:
    with sqlite_db.engine.begin() as connection:
        connection.execute(sa.text("CREATE TABLE other (id INTEGER)"))
    found = called("run")
    assert found.code == 1
    assert "Create all that are missing with: ozelot db init\n" in found.out


def test_a_database_in_memory_is_told_to_be_gone_with_the_command() -> None:
    advice = "sqlite:// is in memory, and gone when this command ends: name a file, as in --database sqlite:///NAME.db"
    made = called("db", "init", "--database", "sqlite://")
    assert (made.code, made.out, made.err.splitlines()[-1]) == (3, "", f"error: Nothing was created: {advice}")
    client.set_client(None)
    ran = called("run", "--database", "sqlite://")
    assert ran.code == 1 and "db init" not in ran.out
    assert re.search(rf"^There is no table .*: {re.escape(advice)}$", ran.out, re.MULTILINE)
    assert "create the tables of all models in this process, with Base.create_all(get_client())" in ran.out


def test_init_with_drop_shows_what_goes_and_needs_a_yes(loaded: Client) -> None:
    refused = called("db", "init", "--drop")
    assert refused.code == 1
    assert re.search(r"^shelf +2$", refused.out, re.MULTILINE)
    assert "no terminal" in refused.err
    assert count_rows(loaded, "shelf") == 2
    assert called("db", "init", "--drop", "--yes").code == 0
    assert count_rows(loaded, "shelf") == 0


def test_diagrams_are_written_where_they_are_wanted(loaded: Client) -> None:
    drawn = called("diagram", "pipeline", "--out", "new/shop")
    assert drawn.code == 0
    assert all(Path(line).is_file() for line in drawn.out.splitlines())
    assert "complete" in Path("new/shop.dot").read_text()
    assert called("diagram", "schema").code == 0
    assert "shelf" in Path("schema.dot").read_text()


def test_a_pipeline_can_be_drawn_before_there_is_a_database() -> None:
    assert called("diagram", "pipeline", "--database", "sqlite:///nowhere.db").code == 0
    assert "incomplete" not in Path("pipeline.dot").read_text()
    assert not Path("nowhere.db").exists()


def test_times_are_told_in_units_that_fit() -> None:
    assert [duration(seconds) for seconds in (None, 0.004, 9.99, 59.94, 123.4, 3720)] == [
        "",
        "0.00 s",
        "9.99 s",
        "59.9 s",
        "2 min 03 s",
        "1 h 02 min",
    ]


def test_a_task_that_turned_up_while_another_ran_can_be_named(sqlite_db: Client) -> None:
    Base.create_all(sqlite_db)
    assert build(shop.Restock())
    late = "LoadGoods {'year': '1999'}"
    assert late in called("status", "--pipeline", "tests.cli.shop:Restock").out
    assert late in called("clear", "LoadGoods(year=1999)").out
    assert called("clear", "LoadGoods(year=1999)", "--yes").code == 0
    assert not shop.Restock().complete()
    assert called("run", "LoadGoods(year=1999)").code == 0
    assert called("status", "LoadGoods(year=1999)").code == 0


def test_tables_are_not_dropped_under_a_task_that_runs(sqlite_db: Client) -> None:
    class Dropping(tasks.ORMTask):
        creates = ()

        def run(self) -> None:
            for command in (["db", "drop", "--yes"], ["db", "init", "--drop", "--yes"]):
                done = called(*command)
                assert done.code == 1
                assert "error: Nothing was dropped: Dropping {} (" in done.err and "is running; wait" in done.err

    Base.create_all(sqlite_db)
    Dropping().run()
    assert Dropping().complete()


def test_a_task_that_runs_is_not_planned_to_be_cleared(db: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    class Mooring(tasks.ORMTask):
        creates = ()

        def run(self) -> None:
            with ThreadPoolExecutor() as another:
                refused = another.submit(called_at_once).result()
            for found in refused:
                assert (found.code, found.out) == (1, "")
                assert found.err.startswith("error: Mooring {} is running, since ")
                assert found.err.endswith("): wait until it ends\n")

    def called_at_once() -> list[Called]:
        return [called("clear", "Mooring", *yes) for yes in ([], ["--yes"])] + [called("run", "Mooring", "--force")]

    monkeypatch.setattr(shop, "Mooring", Mooring, raising=False)
    monkeypatch.setenv("OZELOT_PIPELINE", "tests.cli.shop:Mooring")
    Base.create_all(db)
    Mooring().run()
    assert Mooring().complete()
