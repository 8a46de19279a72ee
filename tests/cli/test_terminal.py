"""What depends on where a command runs: at a terminal, in a pipe, interrupted, or with nobody reading."""

from __future__ import annotations

import contextlib
import json
import re
import sqlite3
import subprocess
from pathlib import Path

import pytest

from ozelot.client import Client
from tests import quick
from tests.cli.calling import SHOP, Called, at_terminal, called, command, environment, process
from tests.cli.shop import Shelf
from tests.tables import create_tables

pytest.importorskip("pty")

ESCAPE = "\x1b"


@pytest.fixture
def shop(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with a database; the pipeline is named in the environment."""
    monkeypatch.setenv("OZELOT_PIPELINE", SHOP)
    database = Client(connection_string=f"sqlite:///{tmp_path / 'ozelot.db'}")
    create_tables(database, Shelf)
    database.engine.dispose()
    return tmp_path


@pytest.fixture
def full(shop: Path) -> Path:
    """The same, with everything loaded."""
    assert called("run").code == 0
    return shop


def test_a_run_at_a_terminal_shows_a_bar_and_then_the_summary(shop: Path) -> None:
    ran = at_terminal(shop, "run")
    assert ran.code == 0, ran.out
    assert re.search(r"\d/5", ran.out) and ESCAPE in ran.out
    assert "running  " not in ran.out
    end = ran.out.splitlines()[-2:]
    assert "Ran 5 in " in end[0]
    assert end[1] == "LoadShop {'years': '2'} is complete"


def test_a_failure_stays_on_the_screen(shop: Path) -> None:
    (shop / "out of stock").touch()
    ran = at_terminal(shop, "run")
    assert ran.code == 1
    assert re.search(r"failed   LoadGoods \{'year': '2020'\}  .* s  RuntimeError: no goods \[red\]", ran.out)


def test_a_run_in_a_pipe_is_lines_without_colours(shop: Path) -> None:
    ran = process(shop, "run")
    assert ran.code == 0
    assert ESCAPE not in ran.out
    assert re.fullmatch(r"Ran 5 in .* s: LoadShelves, .*\nLoadShop \{'years': '2'\} is complete\n", ran.out)
    assert "luigi" not in ran.err.lower()
    assert [line.rpartition(" - ")[2] for line in ran.err.splitlines()] == ["Client connecting to: sqlite:///ozelot.db"]


def test_events_are_json_lines_whatever_the_pipeline_prints(shop: Path) -> None:
    ran = process(shop, "run", "--json", "--pipeline", "tests.cli.shop:Talking")
    events = [json.loads(line) for line in ran.out.splitlines()]
    assert [event["event"] for event in events] == ["planned", "started", "done", "ended"]
    assert events[-1]["ran"] == [{"task": "Talking {}", "name": "Talking", "params": {}}] and events[-1]["failed"] == []
    assert "printed by requires()" in ran.err


def test_quiet_shows_the_result_only(shop: Path) -> None:
    for workers in (("--workers", "1"), ("--processes", "--workers", "2")):
        found = process(shop, "run", "--quiet", *workers)
        assert re.fullmatch(r"Ran 5 in .*\n", found.out)
        assert found.err == ""
        assert called("clear", "LoadShelves", "--yes").code == 0


def test_quiet_leaves_warnings(shop: Path) -> None:
    found = process(shop, "run", "--quiet", "--pipeline", "tests.cli.shop:Warned")
    assert found.err.endswith(" - ozelot - WARNING - something is odd\n") and found.err.count("\n") == 1


def test_a_log_level_of_ones_own_counts_with_quiet_too(shop: Path) -> None:
    assert "Client connecting" in process(shop, "run", "--quiet", OZELOT_LOG_LEVEL="DEBUG").err


def test_a_long_reason_is_told_in_full_only_once(shop: Path) -> None:
    wordy = "tests.cli.shop:Wordy"
    for ran in (process(shop, "run", "--pipeline", wordy), process(shop, "run", "--quiet", "--pipeline", wordy)):
        first = ran.out.splitlines()[0]
        assert re.fullmatch(r"failed   Wordy  .* s  RuntimeError: too (many )+\.\.\.", first)
        assert len(first.partition("s  ")[2]) <= 84
        assert ran.out.count("many words") == 1
        assert f"  Wordy: RuntimeError: too {'many ' * 40}words\n" in ran.out
    events = [json.loads(line) for line in process(shop, "run", "--json", "--pipeline", wordy).out.splitlines()]
    assert all("many words" in str(event) for event in events if event["event"] in ("failed", "ended"))
    assert at_terminal(shop, "run", "--pipeline", wordy).out.count("many words") == 1


def test_a_question_is_answered_at_a_terminal(full: Path) -> None:
    for answer in ("n", "", "nonsense"):
        kept = at_terminal(full, "clear", "LoadGoods", answers=[answer])
        assert (kept.code, kept.out.splitlines()[-1]) == (1, "Nothing was changed")
    cleared = at_terminal(full, "clear", "LoadGoods", answers=["y"])
    assert (cleared.code, "Clear 3 tasks? [y/N] " in cleared.out) == (0, True)
    assert called("status").code == 1
    dropped = at_terminal(full, "db", "init", "--drop", answers=["YES"])
    assert (dropped.code, "Drop 9 tables? [y/N] " in dropped.out) == (0, True)


@pytest.mark.parametrize("arguments", ["clear LoadGoods", "db init --drop", "db drop", "history prune --keep 0"])
def test_without_a_terminal_nothing_is_asked_and_nothing_deleted(arguments: str, full: Path) -> None:
    assert called("clear", "LoadShelves", "--yes").code == 0
    assert called("run").code == 0
    refused = process(full, *arguments.split())
    assert refused.code == 1
    assert refused.err == "error: Nothing was changed: there is no terminal to ask at. To go ahead without, add --yes\n"
    assert called("status").code == 0
    assert process(full, *arguments.split(), "--yes").code == 0


@pytest.mark.slow
def test_ctrl_c_twice_ends_a_run_at_once_with_one_line_and_nothing_half_done(shop: Path) -> None:
    ended = at_terminal(shop, "run", "--pipeline", "tests.cli.shop:Stuck", interrupt_at=shop / "stuck")
    assert ended.code == 130
    assert "Traceback" not in ended.out
    assert ended.out.endswith("Ended at once; the rest is rolled back\n")
    found = json.loads(called("status", "--json", "--pipeline", "tests.cli.shop:Stuck").out)
    assert [(entry["state"], entry["why"]) for entry in found] == [
        ("incomplete", "it was interrupted, or its runner died")
    ]


@pytest.mark.slow
def test_ctrl_c_once_lets_what_runs_come_to_its_end(shop: Path) -> None:
    pipeline = "tests.cli.shop:AfterStuck"
    ended = at_terminal(
        shop, "run", "--pipeline", pipeline, interrupt_at=shop / "stuck", when_stopping=(shop / "go on").touch
    )
    assert ended.code == 130
    assert re.search(r"Ran 1 in .*: Stuck\nNot reached: 1: AfterStuck\n.*Interrupted\n$", ended.out, re.S)
    found = json.loads(called("status", "--json", "--pipeline", pipeline).out)
    assert [entry["state"] for entry in found] == ["complete", "incomplete"]


def test_the_shell_is_told_how_to_complete_what_is_typed(tmp_path: Path) -> None:
    typed = {"_OZELOT_COMPLETE": "complete_bash", "COMP_WORDS": "ozelot run --fo", "COMP_CWORD": "2"}
    assert process(tmp_path, **typed).out.split() == ["--force"]


@pytest.mark.parametrize("arguments", ["--help", "status", "status --all --pipeline {}(years=4000)", "history --json"])
def test_nobody_reading_is_no_error(arguments: str, shop: Path) -> None:
    line = [argument.format(SHOP) for argument in arguments.split()]
    started = subprocess.Popen(
        command(*line), cwd=shop, env=environment(), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    assert started.stdout is not None and started.stderr is not None
    started.stdout.close()
    assert started.stderr.read() == ""
    started.stderr.close()
    assert started.wait(timeout=60) == 141


def test_nothing_is_cut_in_a_pipe_and_nothing_steers_the_terminal(shop: Path) -> None:
    odd = "tests.cli.shop:Odd"
    assert called("run", "--pipeline", odd).code == 0
    text = "Odd {'text': '[bold]\\x1b]0;title\\x07\\n" + "x" * 500 + "'}"
    piped = process(shop, "status", "--pipeline", odd, COLUMNS="40")
    assert text in piped.out and ESCAPE not in piped.out
    assert f"[exit {piped.code}]" == "[exit 0]"
    seen = at_terminal(shop, "status", "--pipeline", odd)
    assert "[bold]" in seen.out and f"{ESCAPE}]0;title" not in seen.out and "\x07" not in seen.out
    for arguments in (["history"], ["plan"], ["run"], ["clear", "Odd"]):
        shown = at_terminal(shop, *arguments, "--pipeline", odd, answers=["n"])
        assert f"{ESCAPE}]0;title" not in shown.out and "\x07" not in shown.out, arguments


def test_json_is_alone_on_stdout_whatever_the_pipeline_prints(shop: Path) -> None:
    for name in ("status", "plan", "verify"):
        found = process(shop, name, "--json", "--verbose", "--pipeline", "tests.cli.shop:Talking")
        json.loads(found.out)
        assert "printed by requires()" in found.err and "Client connecting to" in found.err
    assert json.loads(process(shop, "history", "--json").out) == []


def test_no_password_is_ever_shown(tmp_path: Path) -> None:
    url = "postgresql+psycopg://me:s3cret@127.0.0.1:1/shop"
    for arguments in (["status"], ["run"], ["run", "--verbose"], ["db", "init"]):
        found: Called = process(tmp_path, *arguments, "--database", url, "--pipeline", SHOP)
        assert found.code == 3
        assert found.err.splitlines()[-1].startswith(
            "error: Cannot connect to postgresql+psycopg://me:[password hidden]@"
        )
        assert "s3cret" not in found.out + found.err and "Traceback" not in found.err


def test_a_project_is_found_in_the_current_folder(tmp_path: Path) -> None:
    (tmp_path / "project_config.py").write_text(
        "PIPELINE = 'mine:Nothing'\nDATABASE_URL = 'sqlite:///mine.db'\nprint('hello')\n"
    )
    (tmp_path / "mine.py").write_text(
        "from ozelot.etl import tasks\nclass Nothing(tasks.ORMTask):\n    creates = ()\n    def run(self): pass\n"
    )
    assert process(tmp_path, "db", "init").code == 0
    assert process(tmp_path, "run").code == 0
    assert (tmp_path / "mine.db").exists()
    # As the installed script starts: without the current folder on the path.
    code = "import sys; sys.path.remove(''); from ozelot.cli.app import main; main(['status', '--json'])"
    script = subprocess.run(
        quick.python("-c", code), cwd=tmp_path, env=environment(), capture_output=True, text=True, check=True
    )
    assert json.loads(script.stdout)[0]["state"] == "complete"


def test_a_broken_project_config_is_one_line_and_no_hindrance_to_help(tmp_path: Path) -> None:
    (tmp_path / "project_config.py").write_text("1 / 0\n")
    assert process(tmp_path, "status", "--help").code == 0
    found = process(tmp_path, "status")
    assert (found.code, found.err.count("\n")) == (3, 1)
    assert "project_config.py (line 1): ZeroDivisionError" in found.err


def test_what_a_database_says_is_one_line(shop: Path) -> None:
    (shop / "other.db").write_bytes(b"no database at all, but long enough to be taken for one by its size" * 20)
    found = process(shop, "status", "--database", "sqlite:///other.db")
    assert (found.code, found.err.count("\n")) == (3, 1)
    assert found.err.startswith("error: ") and "Traceback" not in found.err


def test_columns_in_a_pipe_are_one_below_the_other_however_long_a_cell_is(full: Path) -> None:
    checks = [{"name": f"a name of {n}", "ok": False, "expected": "", "found": "long " * 20} for n in range(9)]
    with contextlib.closing(sqlite3.connect(full / "ozelot.db")) as connection, connection:
        odd = json.dumps({"shelf": 2, "": {f"shelf skipped ({n})": 1 for n in range(20)}, "?": checks})
        connection.execute("update ozelot_run set rows = ? where name = 'LoadShelves'", [odd])
    heading, *runs = process(full, "history").out.splitlines()
    assert len(runs) == 5
    for name, cell in (("state", r"done  "), ("took", r"[\d.]+ m?s  "), ("where", r"\S+, process \d+$")):
        for line in runs:
            assert re.match(rf"  {cell}", line[heading.index(name) - 2 :]), (name, line)
    (long,) = [line for line in runs if "LoadShelves" in line]
    assert "shelf skipped (19)" in long and long.count("long long") == 9 * 10


_COLOUR = re.compile(r"\x1b\[[0-9;]*m")


def test_at_80_columns_only_long_texts_are_broken_and_those_between_words(full: Path) -> None:
    (full / "out of stock").touch()
    why = "RuntimeError: " + "something that takes many words to tell " * 6
    with contextlib.closing(sqlite3.connect(full / "ozelot.db")) as connection, connection:
        connection.execute("update ozelot_run set host = 'build-7.example' where name = 'LoadShelves'")
        connection.execute("update ozelot_run set state = 'failed', error = ? where params like '%2020%'", [why])
        connection.execute("delete from ormtargetmarker where params like '%2020%'")
    for name in ("status", "history", "plan"):
        lines = _COLOUR.sub("", at_terminal(full, name).out).splitlines()
        assert max(map(len, lines)) <= 80, lines
        text = " ".join(" ".join(lines).split())
        if name != "plan":
            moments = re.findall(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d", "\n".join(lines))
            assert len(moments) == 5, lines
        if name == "status":
            assert sum("complete on incomplete" in line for line in lines) == 1, lines
        if name == "history":
            (told,) = [line for line in lines if "RuntimeError" in line]
            assert told.endswith("...") and len(told) == 80
            assert all(re.search(r"(done|failed) .* m?s\b", line) for line in lines if re.search(r"\d\d:\d\d", line))
            assert "build-7.example" in text
        else:
            assert f"failed: {' '.join(why.split())}" in text
    assert why.strip() in process(full, "history").out
    assert " ".join(at_terminal(full, "history", "--traceback").out.split()).count("to tell something") >= 5


def test_what_is_stale_is_yellow(full: Path) -> None:
    with contextlib.closing(sqlite3.connect(full / "ozelot.db")) as connection, connection:
        made = "from ozelot_run join ozelot_fingerprint on digest = fingerprint where name = 'LoadShelves'"
        parts = json.loads(connection.execute(f"select parts {made}").fetchone()[0])
        parts["code"]["pieces"]["tests.cli.shop.LoadShelves"][0]["run"] = "another one"
        connection.execute("insert into ozelot_fingerprint (digest, parts) values ('other', ?)", [json.dumps(parts)])
        connection.execute("update ozelot_run set fingerprint = 'other' where name = 'LoadShelves'")
    shown = at_terminal(full, "status").out
    for state in ("stale", "complete on stale"):
        assert re.search(rf"{ESCAPE}\[33m{state} *{ESCAPE}\[0m", shown), shown
