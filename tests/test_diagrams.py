"""Diagrams of pipelines and schemas: what they show, as text whatever it is, and how they are drawn."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import xml.etree.ElementTree as ET
from collections import Counter
from pathlib import Path
from typing import Any

import luigi
import lxml.html
import pytest
import sqlalchemy as sa
from markdown_it import MarkdownIt

import ozelot
from ozelot import config
from ozelot.client import Client
from ozelot.diagram import Box
from ozelot.errors import ConfigError, TaskNotFound
from ozelot.etl.pipeline_diagram import pipeline_picture
from ozelot.etl.util import render_diagram
from ozelot.orm import base
from ozelot.orm.base import Base, schema_picture
from tests.etl import staff

SVG = "{http://www.w3.org/2000/svg}"


def texts(path: Path) -> list[str]:
    """The lines of text in a drawing; Graphviz keeps runs of spaces with no-break spaces."""
    found = ET.parse(path).iter(f"{SVG}text")
    return ["".join(element.itertext()).replace("\xa0", " ") for element in found]


def titles(path: Path, kind: str) -> list[str]:
    """The titles of all nodes, or edges (``t1->t0``), of a drawing."""
    groups = [group for group in ET.parse(path).iter(f"{SVG}g") if group.get("class") == kind]
    return ["".join(group.find(f"{SVG}title").itertext()) for group in groups]  # type: ignore[union-attr]


class Named(luigi.Task):
    text: str = luigi.Parameter()

    def complete(self) -> bool:
        return False


class Secretive(luigi.Task):
    shown: str = luigi.Parameter()
    hidden: str = luigi.Parameter(visibility=luigi.parameter.ParameterVisibility.HIDDEN)
    private: str = luigi.Parameter(visibility=luigi.parameter.ParameterVisibility.PRIVATE)
    aside: str = luigi.Parameter(significant=False)


class Chain(luigi.Task):
    number: int = luigi.IntParameter()

    def requires(self) -> Any:
        return [Chain(number=self.number - 1)] if self.number else []


class Diamond(luigi.Task):
    def requires(self) -> Any:
        return {"left": Side(name="left"), "right": Side(name="right")}

    def complete(self) -> bool:
        return False


class Side(luigi.Task):
    name: str = luigi.Parameter()

    def requires(self) -> Any:
        return Named(text="source")

    def complete(self) -> bool:
        return False


def test_dot_svg_and_png_are_written(tmp_path: Path) -> None:
    written = render_diagram(staff.LoadStaff(), tmp_path / "staff.v1")
    assert written == [tmp_path / f"staff.v1.{kind}" for kind in ("dot", "svg", "png")]
    assert written[0].read_text().startswith("digraph")
    assert {"LoadStaff", "LoadUnits", "LoadEmployees"} <= set(texts(written[1]))
    assert written[2].read_bytes().startswith(b"\x89PNG")


def test_out_base_may_be_text_and_relative() -> None:
    assert render_diagram(staff.LoadUnits(), "here") == [Path(f"here.{kind}") for kind in ("dot", "svg", "png")]
    assert Path("here.png").exists()


def test_each_task_and_each_requirement_is_drawn_once(tmp_path: Path) -> None:
    svg = render_diagram(Diamond(), tmp_path / "d")[1]  # type: ignore[no-untyped-call]
    assert Counter(texts(svg))["Named"] == 1
    assert len(titles(svg, "node")) == 4
    assert len(titles(svg, "edge")) == len(set(titles(svg, "edge"))) == 4


def test_arrows_go_from_a_requirement_to_the_task_that_requires_it(tmp_path: Path) -> None:
    dot, svg, _ = render_diagram(staff.LoadEmployees(), tmp_path / "d")
    names = {name: line.split(" [")[0] for line in dot.read_text().splitlines() for name in texts(svg) if name in line}
    assert titles(svg, "edge") == [f"{names['LoadUnits']}->{names['LoadEmployees']}"]


HOSTILE = [
    "<script>alert(1)</script>",
    "&amp;",
    "&#60;b&#62; & <B>",
    'say "hi"',
    "back\\slash",
    "\\N \\G \\n \\\\ \\",
    "שלום \u202eabc",
    "🦁 ☃ 漢字",
    "</TABLE>>];",
    "}; a -> b; {",
    "<!-- -->",
    "]]>",
    "%s {0} $x",
    "``` ~~~ <img src=x onerror=alert(1)>",
    "x" * 10_000,
]


@pytest.mark.parametrize("text", HOSTILE, ids=lambda text: text[:12].encode("ascii", "replace").decode())
def test_parameters_and_names_come_out_as_text(tmp_path: Path, text: str) -> None:
    svg = render_diagram(Named(text=text), tmp_path / "param", max_param_len=20_000)[1]
    assert text in texts(svg)
    assert len(titles(svg, "node")) == 1
    named = type(text, (luigi.Task,), {})
    svg = render_diagram(named(), tmp_path / "name")[1]
    assert text in texts(svg)
    assert len(titles(svg, "node")) == 1


@pytest.mark.parametrize(
    ("text", "lines"),
    [
        ("one\ntwo", ["one", "two"]),
        ("one\r\ntwo\rthree", ["one", "two", "three"]),
        ("a\tb", ["a b"]),
        ("a\x00b\x1b\x7f\x9fc", ["a\ufffdb\ufffd\ufffd\ufffdc"]),
        ("a\ud800b\ufffe\uffff", ["a\ufffdb\ufffd\ufffd"]),
    ],
)
def test_newlines_make_lines_and_control_characters_are_marked(tmp_path: Path, text: str, lines: list[str]) -> None:
    svg = render_diagram(Named(text=text), tmp_path / "d")[1]
    found = texts(svg)
    start = found.index(lines[0])
    assert found[start : start + len(lines)] == lines


def test_empty_parameter_is_drawn(tmp_path: Path) -> None:
    assert "text" in texts(render_diagram(Named(text=""), tmp_path / "d")[1])


def test_hidden_private_and_insignificant_parameters_do_not_show(tmp_path: Path) -> None:
    task = Secretive(shown="for all", hidden="geheim 1", private="geheim 2", aside="geheim 3")
    written = render_diagram(task, tmp_path / "d")
    assert {"shown", "for all"} <= set(texts(written[1]))
    for path in written:
        assert b"geheim" not in path.read_bytes()
        assert b"aside" not in path.read_bytes()


@pytest.mark.parametrize(
    ("arguments", "shown"),
    [({}, "x" * 20 + "..."), ({"max_param_len": 3}, "xxx..."), ({"max_param_len": 25}, "x" * 25)],
)
def test_long_parameters_are_cut(tmp_path: Path, arguments: dict[str, Any], shown: str) -> None:
    assert shown in texts(render_diagram(Named(text="x" * 25), tmp_path / "d", **arguments)[1])


def size(path: Path) -> tuple[float, float]:
    box = ET.parse(path).getroot().attrib["viewBox"].split()
    return float(box[2]), float(box[3])


def test_layout_goes_down_or_from_left_to_right(tmp_path: Path) -> None:
    width, height = size(render_diagram(Chain(number=5), tmp_path / "down")[1])
    assert height > width
    width, height = size(render_diagram(Chain(number=5), tmp_path / "right", horizontal=True)[1])
    assert width > height


def test_colors_and_words_tell_complete_from_incomplete(sqlite_db: Client, tmp_path: Path) -> None:
    Base.create_all(sqlite_db)
    staff.LoadUnits().run()
    dot, svg, _ = render_diagram(staff.LoadEmployees(), tmp_path / "d", colored=True)
    found = texts(svg)
    assert found[found.index("LoadUnits") + 1] == "complete"
    assert found[found.index("LoadEmployees") + 1] == "incomplete"
    by_name = {name: line for line in dot.read_text().splitlines() for name in ("LoadUnits", "LoadEmp") if name in line}
    assert 'color="#2e7d32"' in by_name["LoadUnits"]
    assert 'color="#c62828"' in by_name["LoadEmp"]


@pytest.mark.parametrize("text", HOSTILE, ids=lambda text: text[:12].encode("ascii", "replace").decode())
def test_names_and_parameters_are_text_for_mermaid_too(text: str) -> None:
    lines = pipeline_picture(type(text, (Named,), {})(text=text), max_param_len=20_000).mermaid().splitlines()
    assert lines[0] == "flowchart TB"
    (box,) = lines[1:]
    shown = re.fullmatch(r't0\["<b>((?:\w| |#\d+;)*)</b><br/>text ((?:\w| |#\d+;)*)"\]', box)
    assert shown is not None, box
    for part in shown.groups():
        assert re.sub(r"#(\d+);", lambda found: chr(int(found[1])), part) == text


@pytest.mark.parametrize("text", HOSTILE, ids=lambda text: text[:12].encode("ascii", "replace").decode())
def test_a_page_of_documentation_with_mermaid_in_it_shows_names_as_text(text: str) -> None:
    mermaid = pipeline_picture(type(text, (Named,), {})(text=text), max_param_len=20_000).mermaid()
    page = lxml.html.fromstring(MarkdownIt().render(f"# Names\n\n```mermaid\n{mermaid}```\n\nThe end.\n"))
    assert [element.tag for element in page.iter()] == ["div", "h1", "pre", "code", "p"]
    assert page.findtext(".//code") == mermaid


def test_mermaid_tells_what_graphviz_draws(sqlite_db: Client) -> None:
    Base.create_all(sqlite_db)
    staff.LoadUnits().run()
    assert pipeline_picture(staff.LoadEmployees(), colored=True, horizontal=True).mermaid() == (
        "flowchart LR\n"
        't0["<b>LoadUnits</b><br/>complete"]\n'
        't1["<b>LoadEmployees</b><br/>incomplete"]\n'
        "t0 --> t1\n"
        "style t0 stroke:#2e7d32,stroke-width:3px\n"
        "style t1 stroke:#c62828,stroke-width:3px\n"
    )


def test_keys_of_the_data_model_stand_at_the_arrows_of_mermaid() -> None:
    text = schema_picture().mermaid()
    assert text.startswith("flowchart LR\n")
    (unit,) = re.findall(r'^(t\d+)\["<b>unit</b><br/>id INTEGER PK<br/>', text, re.MULTILINE)
    (employee,) = re.findall(r'^(t\d+)\["<b>employee</b><br/>', text, re.MULTILINE)
    assert f'{employee} --> |"unit_id"| {unit}\n' in text


def test_a_class_is_one_box_with_the_number_of_its_tasks_in_each_state(sqlite_db: Client) -> None:
    Base.create_all(sqlite_db)
    chain = pipeline_picture(Chain(number=999), by_class=True)
    assert list(chain.boxes.values()) == [Box("Chain", (("1,000 tasks",),), level=999)]
    assert list(chain.arrows) == [("Chain", "Chain", "")]
    diamond = pipeline_picture(Diamond(), by_class=True, colored=True)  # type: ignore[no-untyped-call]
    assert diamond.boxes["Side"].rows == (("2 tasks",), ("2 incomplete",))
    assert list(diamond.arrows) == [("Side", "Diamond", ""), ("Named", "Side", "")]


def test_tasks_as_far_from_the_sources_stand_in_one_row(tmp_path: Path) -> None:
    picture = pipeline_picture(Diamond(), by_depth=True)  # type: ignore[no-untyped-call]
    assert {box.title: box.level for box in picture.boxes.values()} == {"Named": 0, "Side": 1, "Diamond": 2}
    assert [line for line in picture.dot().splitlines() if line.startswith("{rank")] == [
        "{rank=same; t0;}",
        "{rank=same; t1; t2;}",
        "{rank=same; t3;}",
    ]
    assert picture.mermaid().count("\nsubgraph level") == picture.mermaid().count("\nend\n") == 3
    assert len(render_diagram(Diamond(), tmp_path / "d", by_depth=True)) == 3  # type: ignore[no-untyped-call]


def test_around_a_task_is_what_it_requires_and_what_requires_it() -> None:
    picture = pipeline_picture(Chain(number=10), around=Chain(number=5))
    assert [box.rows[0][1] for box in picture.boxes.values()] == ["4", "5", "6"]
    assert len(picture.arrows) == 2


def test_around_a_task_that_is_not_there_is_refused() -> None:
    with pytest.raises(TaskNotFound, match="is not in the graph of Chain"):
        pipeline_picture(Chain(number=10), around=Chain(number=11))


def test_what_is_not_as_it_was_is_drawn_so(sqlite_db: Client) -> None:
    Base.create_all(sqlite_db)
    assert ozelot.run(staff.LoadStaff()).ok
    staff.LoadUnits.mark_incomplete()
    boxes = pipeline_picture(staff.LoadEmployees(), colored=True).boxes
    assert [box.rows for box in boxes.values()] == [(("incomplete",),), (("complete on incomplete",),)]
    with sqlite_db.engine.begin() as connection:  # as somebody does who deletes by hand
        for model in (staff.Employee, staff.Unit):
            connection.execute(sa.delete(model))
    assert ozelot.run(staff.LoadUnits()).ok
    boxes = pipeline_picture(staff.LoadEmployees(), colored=True).boxes
    assert [box.rows for box in boxes.values()] == [(("complete",),), (("rows missing",),)]
    with sqlite_db.transaction() as session:  # and types one in again
        session.add(staff.Employee(name="Ada", unit_id=1))
    boxes = pipeline_picture(staff.LoadEmployees(), colored=True).boxes
    assert [(box.rows, box.color) for box in boxes.values()] == [
        ((("complete",),), "#2e7d32"),
        ((("stale",),), "#ef6c00"),
    ]


def test_without_colors_no_database_is_asked(tmp_path: Path) -> None:
    render_diagram(staff.LoadStaff(), tmp_path / "d")
    assert not Path("ozelot.db").exists()


def test_chain_of_2000_tasks_is_drawn(tmp_path: Path) -> None:
    dot, svg, _ = render_diagram(Chain(number=2000), tmp_path / "d")
    assert dot.read_text().count("->") == 2000
    assert len(titles(svg, "node")) == 2001


@pytest.fixture
def fake_dot(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A program in place of dot, which writes its arguments into a file beside it."""
    path = tmp_path / "folder of programs" / "my dot"
    path.parent.mkdir()
    path.write_text('#!/bin/sh\nfor argument in "$@"; do echo "$argument" >> "$0.arguments"; done\n')
    path.chmod(0o755)
    monkeypatch.setitem(vars(config), "DOT_EXECUTABLE", str(path))
    return path


def test_dot_of_the_setting_is_used(fake_dot: Path) -> None:
    render_diagram(staff.LoadUnits(), "name; with $HOME")
    arguments = Path(f"{fake_dot}.arguments").read_text().splitlines()
    base_name = "name; with $HOME"
    assert arguments == [
        argument
        for kind in ("svg", "png")
        for argument in (f"-T{kind}", "-o", f"{base_name}.{kind}", f"{base_name}.dot")
    ]


def test_dot_on_the_path_is_used(fake_dot: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(vars(config), "DOT_EXECUTABLE")
    fake_dot.rename(fake_dot.with_name("dot"))
    monkeypatch.setenv("PATH", str(fake_dot.parent))
    base.render_diagram("schema")
    assert "-Tsvg" in (fake_dot.parent / "dot.arguments").read_text()


def test_dot_of_the_setting_that_is_missing_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OZELOT_DOT_EXECUTABLE", str(tmp_path / "no dot"))
    with pytest.raises(ConfigError, match=r"DOT_EXECUTABLE names no program: .*no dot"):
        render_diagram(staff.LoadUnits(), tmp_path / "d")
    assert (tmp_path / "d.dot").exists()


def test_dot_that_fails_is_quoted(fake_dot: Path, tmp_path: Path) -> None:
    fake_dot.write_text("#!/bin/sh\necho 'first line' >&2\necho 'out of ink' >&2\nexit 1\n")
    with pytest.raises(ConfigError, match=r"Graphviz could not draw .*d\.dot: out of ink"):
        render_diagram(staff.LoadUnits(), tmp_path / "d")
    assert (tmp_path / "d.dot").exists()


def run(folder: Path, script: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-W", "ignore", "-c", script],
        cwd=folder,
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def test_without_graphviz_one_line_says_what_to_install(tmp_path: Path) -> None:
    script = """
import sys
sys.modules["pygraphviz"] = None
import luigi
import lxml.html
from ozelot.etl.util import render_diagram
print([str(path) for path in render_diagram(luigi.Task(), "pipeline")])
"""
    empty = tmp_path / "empty"
    empty.mkdir()
    done = run(tmp_path, script, PATH=str(empty))
    assert done.returncode == 0, done.stderr
    assert done.stdout == "['pipeline.dot']\n"
    (line,) = done.stderr.splitlines()
    assert line.endswith(
        "- ozelot - WARNING - Wrote pipeline.dot only: for images, pip install 'ozelot[diagrams]', or install Graphviz"
    )
    assert (tmp_path / "pipeline.dot").read_text().startswith("digraph")


SCHEMA = """
from typing import Optional
import sqlalchemy as sa
from markdown_it import MarkdownIt
from sqlalchemy.orm import Mapped, mapped_column
from ozelot.orm.base import Base, render_diagram

class Shop(Base):
    country: Mapped[str] = mapped_column(sa.String(2))
    number: Mapped[int]
    __table_args__ = (sa.UniqueConstraint("country", "number"),)

class Person(Base):
    name: Mapped[str] = mapped_column(sa.String(100))
    born: Mapped[Optional[int]]
    boss_id: Mapped[Optional[int]] = mapped_column(sa.ForeignKey("person.id"))
    shop_country: Mapped[str] = mapped_column(sa.String(2))
    shop_number: Mapped[int]
    first_shop_country: Mapped[str] = mapped_column(sa.String(2))
    first_shop_number: Mapped[int]
    __table_args__ = (
        sa.ForeignKeyConstraint(["shop_country", "shop_number"], ["shop.country", "shop.number"]),
        sa.ForeignKeyConstraint(["first_shop_country", "first_shop_number"], ["shop.country", "shop.number"]),
    )

class Employee(Person):
    id: Mapped[int] = mapped_column(sa.ForeignKey("person.id"), primary_key=True)
    salary: Mapped[float] = mapped_column(sa.Numeric(10, 2))

likes = sa.Table("likes", Base.metadata,
    sa.Column("person_id", sa.ForeignKey("person.id"), primary_key=True),
    sa.Column("shop_id", sa.ForeignKey("shop.id"), primary_key=True))

sa.Table("<b>&amp; table\\\\N", Base.metadata,
    sa.Column('"key" <i>&amp;', sa.ForeignKey("shop.id"), primary_key=True), sa.Column("\\x00\\n", sa.JSON))

for path in render_diagram("schema"):
    print(path)
"""


def test_schema_shows_tables_columns_keys_types_and_an_arrow_a_foreign_key(tmp_path: Path) -> None:
    done = run(tmp_path, SCHEMA)
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines() == ["schema.dot", "schema.svg", "schema.png"]
    assert (tmp_path / "schema.png").read_bytes().startswith(b"\x89PNG")
    svg = tmp_path / "schema.svg"
    found = texts(svg)
    hostile = "<b>&amp; table\\N"
    tables = ["employee", "likes", "person", "shop", hostile]
    assert set(tables) <= set(found)
    assert {"name", "VARCHAR(100)", "country", "salary", "NUMERIC(10, 2)", "JSON", "PK", "FK", "PK FK"} <= set(found)
    assert found[found.index("born") :][:3] == ["born", "INTEGER", "NULL"]
    assert found[found.index("boss_id") :][:3] == ["boss_id", "INTEGER", "FK NULL"]
    assert '"key" <i>&amp;' in found
    numbers = {f"t{number}": name for number, name in enumerate(sorted(tables))}
    arrows = Counter(tuple(numbers[end] for end in title.split("->")) for title in titles(svg, "edge"))
    assert arrows == {
        ("person", "person"): 1,
        ("person", "shop"): 2,
        ("employee", "person"): 1,
        ("likes", "person"): 1,
        ("likes", "shop"): 1,
        (hostile, "shop"): 1,
    }
    assert {"shop_country, shop_number", "first_shop_country, first_shop_number", "boss_id"} <= set(found)


def test_schema_holds_the_marker_table_and_all_models(tmp_path: Path) -> None:
    svg = base.render_diagram(tmp_path / "schema")[1]
    assert set(Base.metadata.tables) <= set(texts(svg))
    assert {"ormtargetmarker", "unit", "employee"} <= set(texts(svg))
