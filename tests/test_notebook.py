"""What notebooks show: tables and drawings, with all names as text."""

from __future__ import annotations

import luigi
import pytest
from lxml import html

import ozelot
from ozelot import formatting
from ozelot.client import Client
from ozelot.etl.completion import clear_plan
from ozelot.etl.pipeline_diagram import pipeline_picture
from ozelot.etl.status import status
from tests.etl import staff
from tests.tables import create_tables

HOSTILE = ["<script>alert(1)</script>", "&amp;", "</td></table>", '"x" onload="', "🦁 \u202e", "x" * 10_000]


def cells(text: str) -> list[list[str]]:
    return [[cell.text_content() for cell in row] for row in html.fromstring(f"<div>{text}</div>").iter("tr")]


@pytest.fixture
def complete(sqlite_db: Client) -> Client:
    create_tables(sqlite_db, staff.Employee)
    assert ozelot.run(staff.LoadStaff()).ok
    return sqlite_db


def test_a_status_is_a_table(complete: Client) -> None:
    text = status(staff.LoadStaff())._repr_html_()
    headings, *rows = cells(text)
    assert headings == ["task", "state", "rows", "took", "ended (UTC)", "why"]
    assert [row[0] for row in rows] == ["LoadUnits", "LoadEmployees", "LoadStaff"]
    assert {row[1] for row in rows} == {"complete"}
    assert text.endswith("<p>3 of 3 are complete</p>")


def test_a_plan_is_a_table(complete: Client) -> None:
    plan = clear_plan(staff.LoadStaff(), [staff.LoadUnits()])
    headings, *rows = cells(plan._repr_html_())
    assert headings == ["task", "rows to delete", "values to reset"]
    assert [row[0] for row in rows] == ["LoadStaff", "LoadEmployees", "LoadUnits"]
    assert rows[2][1].endswith(" unit")


def test_a_graph_is_a_drawing(complete: Client) -> None:
    drawn = pipeline_picture(staff.LoadStaff(), colored=True)._repr_svg_()
    assert drawn is not None
    assert "LoadEmployees" in drawn and "<svg" in drawn


@pytest.mark.parametrize("name", HOSTILE, ids=range(len(HOSTILE)))
def test_names_are_text(name: str, sqlite_db: Client) -> None:
    create_tables(sqlite_db)
    task = type(name, (luigi.Task,), {"complete": lambda self: False})
    assert cells(status(task())._repr_html_())[1][0] == name


def test_of_many_rows_the_first_are_shown_and_the_others_counted() -> None:
    text = formatting.table(["n"], [[n] for n in range(1_234)])
    assert len(cells(text)) == 201
    assert text.endswith("<p>and 1,034 more</p>")
