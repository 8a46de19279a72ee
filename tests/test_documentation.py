"""The documentation is true: its code runs, its output is what it says, its links lead somewhere."""

from __future__ import annotations

import os
import re
import shutil
import sqlite3
import subprocess
import sys
from importlib.metadata import requires
from pathlib import Path

import pytest

import ozelot
from tests import databases
from tests.folders import DOCS, EXAMPLES, ROOT
from tests.pages import blocks, check_page, shell

PAGES = sorted(page for page in DOCS.rglob("*.md") if page.parent.name != "site")
ALL = [
    *PAGES,
    ROOT / "README.md",
    ROOT / "CHANGELOG.md",
    ROOT / "CONTRIBUTING.md",
    *sorted(ROOT.glob("examples/*/*.md")),
]

NIGHTLY = pytest.mark.skipif("OZELOT_TEST_NIGHTLY" not in os.environ, reason="OZELOT_TEST_NIGHTLY=1 runs it")


def environment() -> dict[str, str]:
    return {name: value for name, value in os.environ.items() if not name.startswith("OZELOT_")}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
@pytest.mark.slow
def test_a_page_can_be_typed_and_prints_what_it_shows(page: Path, tmp_path: Path, servers: databases.Servers) -> None:
    for name in re.findall(r"CREATE DATABASE (\w+)", page.read_text(encoding="utf-8")):
        databases.drop(databases.is_wanted(servers["postgresql"]), name)  # left by a run that ended half-way
    check_page(page, tmp_path)


@pytest.mark.slow
def test_whoever_types_a_page_sees_the_warnings_that_a_reader_would_see(tmp_path: Path) -> None:
    (tmp_path / "project_config.py").write_text("import warnings\nwarnings.warn('of the project')\n")
    with shell(tmp_path) as reader:
        assert "UserWarning: of the project" in reader.type("python -c 'import project_config'")
        assert "UserWarning: of the project" in reader.type("ozelot status")


@pytest.mark.parametrize("name", ["employees", "superheroes", pytest.param("flights", marks=NIGHTLY)])
@pytest.mark.slow
def test_the_page_of_an_example_can_be_typed_in_a_copy_of_it(name: str, tmp_path: Path) -> None:
    example, folder = EXAMPLES / name, tmp_path / name
    shutil.copytree(example, folder, ignore=shutil.ignore_patterns("*.db*", "__pycache__", "output"))
    check_page(example / "README.md", folder)


@pytest.mark.slow
def test_first_pipeline_of_the_readme_can_be_typed_and_is_short(tmp_path: Path) -> None:
    check_page(ROOT / "README.md", tmp_path)
    code = (tmp_path / "staff.py").read_text(encoding="utf-8")
    assert len([line for line in code.splitlines() if line.strip()]) <= 25
    with sqlite3.connect(tmp_path / "ozelot.db") as database:
        assert database.execute("SELECT name, unit_id FROM employee").fetchall() == [("Ada", 2)]
    database.close()
    imported = subprocess.run(
        [sys.executable, "-c", "import staff"],
        cwd=tmp_path,
        env=environment(),
        capture_output=True,
        text=True,
        check=True,
    )
    assert (imported.stdout, imported.stderr) == ("", "")


def anchors(page: Path) -> set[str]:
    """What links within a page can lead to: its headings, as they are spelled in an address."""
    text = re.sub(r"^```.*?^```$", "", page.read_text(encoding="utf-8"), flags=re.DOTALL | re.MULTILINE)
    headings = re.findall(r"^#+ (.*)$", text, re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", re.sub(r"\(http[^)]*\)", "", one).lower()).replace(" ", "-") for one in headings}


@pytest.mark.parametrize("page", ALL, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_within_the_repository_lead_somewhere(page: Path) -> None:
    for link, anchor in re.findall(r"\]\(([^)#\s]*)#?([^)\s]*)\)", page.read_text(encoding="utf-8")):
        if "://" in link:
            assert re.match(r"https://[\w.-]+\.\w+(/|$)", link), link
            continue
        target = page.parent / link if link else page
        assert target.exists(), link
        assert not anchor or anchor in anchors(target), f"{link}#{anchor}"


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_no_page_is_without_an_example(page: Path) -> None:
    assert any(block.kind in ("console", "python") for block in blocks(page.read_text(encoding="utf-8")))


@pytest.mark.parametrize("page", [page for page in PAGES if page.parent.name == "howto"], ids=lambda page: page.name)
def test_a_page_on_how_to_do_something_ends_with_a_command_to_try(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    assert [*blocks(text)][-1].language == "console"
    assert text.endswith("\n```\n")


def test_every_library_is_on_the_page_on_libraries() -> None:
    text = (DOCS / "libraries.md").read_text(encoding="utf-8").lower().replace(".", "-")
    for line in requires("ozelot") or []:
        name = re.split(r"[\s\[<>=;]", line)[0].lower()
        assert name == "ozelot" or name in text, name


def test_every_page_is_in_the_contents() -> None:
    contents = (DOCS / "index.md").read_text(encoding="utf-8")
    there = {str(page.relative_to(DOCS)) for page in PAGES}
    assert there - {"index.md"} == set(re.findall(r"\]\(((?:\w+/)?[\w.-]+\.md)\)", contents))


def test_every_page_and_every_example_is_in_the_navigation_of_the_site() -> None:
    site = DOCS / "site"
    named = re.findall(r"^((?:\.\./)+[\w./-]+)$", (site / "index.md").read_text(encoding="utf-8"), re.MULTILINE)
    found = {(site / f"{name}.md").resolve() for name in named}
    assert found >= {page for page in ALL if page not in (ROOT / "README.md", DOCS / "index.md")} - {
        EXAMPLES / "new" / "README.md"  # which is the README of whoever calls `ozelot new`
    }
    assert all(path.is_file() for path in found)


def test_changelog_and_version_agree() -> None:
    changelog = (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
    if ".dev" in ozelot.__version__:
        assert "## [Unreleased]" in changelog
    else:
        assert f"## [{ozelot.__version__}]" in changelog


def test_first_pipeline_on_a_database_out_of_reach_ends_with_one_line(tmp_path: Path) -> None:
    code = next(block for block in blocks((ROOT / "README.md").read_text("utf-8")) if block.file == "staff.py")
    (tmp_path / "staff.py").write_text(code.text)
    done = subprocess.run(
        [sys.executable, "staff.py"],
        cwd=tmp_path,
        env={**environment(), "OZELOT_DATABASE_URL": "postgresql+psycopg://me:secret@127.0.0.1:1/staff"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 3
    assert done.stderr.splitlines()[-1].startswith(
        "error: Cannot connect to postgresql+psycopg://me:[password hidden]@"
    )
    assert "Traceback" not in done.stderr
    assert "secret" not in done.stderr
