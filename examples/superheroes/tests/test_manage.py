"""The commands as a user runs them: in a process of their own, from another folder."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from ozelot.cache import RequestCache
from superheroes.wiki import category_url

MANAGE = Path(__file__).parents[1] / "manage.py"
CONFIG = MANAGE.with_name("project_config.py")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path


def run(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    environment = {
        **os.environ,
        "OZELOT_DATABASE_URL": f"sqlite:///{folder / 'test.db'}",
        "OZELOT_REQUEST_CACHE_PATH": str(folder / "cache.db"),
    }
    return subprocess.run(
        [sys.executable, str(MANAGE), *arguments],
        cwd=folder,
        env=environment,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        encoding="utf-8",
        check=False,
    )


def test_a_command_says_what_has_to_come_before_it(folder: Path) -> None:
    # What they do one after the other, the README shows, which is typed in tests/test_documentation.py.
    filled = run(folder, "getdata")
    assert (filled.returncode, "sample" in filled.stdout) == (0, True)
    assert "cache: 0; there already" in run(folder, "getdata").stdout
    assert "manage.py initdb" in run(folder, "ingest").stderr
    assert run(folder, "initdb").returncode == 0
    refused = run(folder, "initdb")
    assert refused.returncode == 1
    assert "movieappearance" in refused.stdout
    assert "no terminal" in refused.stderr
    assert run(folder, "initdb", "--yes").returncode == 0
    assert "nothing to analyze" in run(folder, "analyze").stderr


def test_ingest_says_that_it_is_not_complete(folder: Path) -> None:
    (folder / "project_config.py").write_text("raise SystemExit('the one beside manage.py counts')", encoding="utf-8")
    run(folder, "initdb")
    run(folder, "getdata")
    with RequestCache(folder / "cache.db") as store:
        store.put(category_url("https://marvel.fandom.com", "Characters"), "<html>blocked</html>")
    result = run(folder, "ingest")
    assert (result.returncode, result.stdout) == (1, "")
    assert "Not complete" in result.stderr
    assert "no list of members" in result.stderr


def test_diagrams_show_pipeline_and_data_model(folder: Path) -> None:
    drawn = run(folder, "diagrams", "--dir", str(folder / "drawn"))
    assert drawn.returncode == 0, drawn.stderr
    assert "InflationAdjustMovieBudgets" in (folder / "drawn" / "pipeline.dot").read_text(encoding="utf-8")
    assert "movieappearance" in (folder / "drawn" / "schema.dot").read_text(encoding="utf-8")


def test_the_demo_can_be_run_where_something_is_left_of_another(folder: Path) -> None:
    for name in ("demo.db", "demo.db-wal", "demo_cache.db"):
        (MANAGE.parent / name).write_text("what is left", encoding="utf-8")
    shown = run(folder, "demo", "--dir", str(folder / "output"))
    assert shown.returncode == 0, shown.stderr
    assert "movieappearance" in shown.stdout
    assert "Traceback" not in shown.stderr
    verified = subprocess.run(
        [sys.executable, "-m", "ozelot", "verify", "--database", f"sqlite:///{MANAGE.parent / 'demo.db'}"],
        cwd=MANAGE.parent,
        capture_output=True,
        text=True,
        check=False,
    )
    assert (verified.returncode, verified.stdout) == (0, "Nothing was found: markers, runs and rows fit together\n")
    assert not (folder / "test.db").exists()  # the configured database is none of its business


def test_a_database_out_of_reach_is_one_line(folder: Path) -> None:
    (folder / "test.db").mkdir()
    result = run(folder, "ingest")
    assert result.returncode == 3
    assert "Traceback" not in result.stderr
    assert "is a folder" in result.stderr.splitlines()[-1]


SETTINGS = {
    "DATABASE_URL": ("sqlite:///other.db", "sqlite:///other.db"),
    "REQUEST_CACHE_PATH": ("other.db", "other.db"),
    "PIPELINE": ("superheroes.pipeline:LoadMovies", "superheroes.pipeline:LoadMovies"),
    "MODELS": ("superheroes.models", "superheroes.models"),
    "WIKI_URL": ("https://wiki.example", "https://wiki.example"),
    "UNIVERSES": ("Earth-616, Earth-199999", frozenset({"Earth-616", "Earth-199999"})),
    "RATE_LIMIT": ("0.5", 0.5),
}


def settings(**environment: str) -> dict[str, object]:
    """The settings of a process with that environment."""
    code = f"from ozelot import config; print({{name: getattr(config, name) for name in {list(SETTINGS)}}})"
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("OZELOT_")}
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=MANAGE.parent,
        env={**inherited, **environment},
        capture_output=True,
        text=True,
        check=True,
    )
    found: dict[str, object] = eval(done.stdout, {"frozenset": frozenset})
    return found


def test_the_environment_comes_before_the_settings_of_the_project() -> None:
    given = {f"OZELOT_{name}": text for name, (text, _) in SETTINGS.items()}
    assert settings(**given) == {name: value for name, (_, value) in SETTINGS.items()}
    unset = settings()
    assert (unset["UNIVERSES"], unset["RATE_LIMIT"]) == (None, 1.0)
    assert settings(**dict.fromkeys(given, "")) == unset


def test_every_setting_of_the_project_is_in_that_test() -> None:
    names = set(re.findall(r"^([A-Z]\w+) = ", CONFIG.read_text(encoding="utf-8"), re.MULTILINE))
    assert names - {"FOLDER"} == set(SETTINGS)
