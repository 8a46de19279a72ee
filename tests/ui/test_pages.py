"""What each view says, on each kind of database."""

from __future__ import annotations

import datetime
import json
import re
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import luigi
import lxml.html
import pytest
import sqlalchemy as sa
from sqlalchemy import ForeignKey, String
from sqlalchemy.orm import Mapped, mapped_column

from ozelot import client
from ozelot.checks import between, row_count
from ozelot.client import Client
from ozelot.etl import tasks
from ozelot.orm.base import Base
from ozelot.orm.run import TaskOwned
from ozelot.state import runs as run
from ozelot.ui import cells
from tests import databases
from tests.tables import create_tables
from tests.ui.serving import Served, look_at, served, text_of


class Harbour(Base):
    name: Mapped[str] = mapped_column(String(100))
    depth: Mapped[float | None]
    keeper: Mapped[str | None] = mapped_column(String(100), info={"hidden": True})
    api_token: Mapped[str | None] = mapped_column(String(100))


class Ship(TaskOwned, Base):
    name: Mapped[str] = mapped_column(String(100))
    cargo: Mapped[bytes | None]
    harbour_id: Mapped[int | None] = mapped_column(ForeignKey("harbour.id"))


class LoadHarbours(tasks.ORMTask):
    creates = [Harbour]
    checks = [row_count(Harbour, 2), between(Harbour.depth, 1, 100, severity="warn")]

    def run(self) -> None:
        rows = [{"name": "Oslo", "depth": 12.5, "keeper": "Ada"}, {"name": "<b>Rome</b>", "depth": 0.5}]
        self.load(Harbour, [{**row, "api_token": "hunter2"} for row in rows])


class LoadShips(tasks.ORMTask):
    creates = [Ship]
    year: int = luigi.IntParameter()

    def requires(self) -> list[luigi.Task]:
        return [LoadHarbours()]

    def run(self) -> None:
        if self.year == 2026:
            raise ValueError("the <b>list</b> of 2026 is empty")
        self.session.add(Ship(name=f"Ship of {self.year}", cargo=b"\x00\x01\x02"))


class LoadFleet(tasks.ORMWrapperTask):
    def requires(self) -> list[luigi.Task]:
        return [LoadShips(year=2024), LoadShips(year=2025), LoadShips(year=2026)]


@pytest.fixture(scope="module", params=["sqlite", "postgresql", "mariadb"])
def loaded(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory, servers: databases.Servers
) -> Iterator[tuple[Client, Served]]:
    """A pipeline of which one task failed, and its page; tests only look."""
    with ExitStack() as stack:
        if request.param == "sqlite":
            url = f"sqlite:///{tmp_path_factory.mktemp('pages') / 'test.db'}"
        else:
            url = stack.enter_context(databases.fresh(databases.is_wanted(servers[request.param])))
        database = Client(connection_string=url)
        client.set_client(database)
        stack.callback(database.engine.dispose)
        stack.callback(client.set_client, None)
        create_tables(database, Harbour, Ship)
        assert not LoadFleet.build()
        yield database, stack.enter_context(served(url, LoadFleet()))


@pytest.fixture
def page(loaded: tuple[Client, Served]) -> Served:
    """Its page, with its database as that of the tasks."""
    database, found = loaded
    client.set_client(database)
    return found


def path_of(page: Served, label: str) -> str:
    (key,) = [node.key for node in page.keeper.pipeline.nodes.values() if node.label == label]
    return f"/tasks/{key}"


def test_the_start_page_says_what_failed_and_why(page: Served) -> None:
    text = look_at(page, "/")
    assert text.startswith("LoadFleet 5 all 1 failed 1 incomplete 3 complete")
    assert "failed LoadShips {'year': '2026'} ValueError: the <b>list</b> of 2026 is empty" in text


def test_the_drawing_has_tasks_and_what_they_require(page: Served) -> None:
    drawn = json.loads(page.ask("/graph.json").text)
    boxes = {box["id"]: (box["title"], *box["lines"], box["words"]) for box in drawn["boxes"]}
    assert sorted(boxes.values()) == [
        ("LoadFleet", "incomplete"),
        ("LoadHarbours", "complete"),
        ("LoadShips", "'year': '2024'", "complete"),
        ("LoadShips", "'year': '2025'", "complete"),
        ("LoadShips", "'year': '2026'", "failed"),
    ]
    assert {(boxes[one][0], boxes[other][0]) for one, other in drawn["arrows"]} == {
        ("LoadHarbours", "LoadShips"),
        ("LoadShips", "LoadFleet"),
    }


def test_the_drawing_by_class_counts_and_one_by_state_has_no_others(page: Served) -> None:
    by_class = json.loads(page.ask("/graph.json?by=class").text)
    assert [(box["title"], box["words"]) for box in by_class["boxes"]] == [
        ("LoadHarbours", "complete"),
        ("LoadShips", "1 failed, 2 complete"),
        ("LoadFleet", "incomplete"),
    ]
    assert by_class["arrows"] == [["class:LoadHarbours", "class:LoadShips"], ["class:LoadShips", "class:LoadFleet"]]
    failed = json.loads(page.ask("/graph.json?state=failed").text)
    assert [box["lines"] for box in failed["boxes"]] == [["'year': '2026'"]]


def test_the_drawing_around_a_task_has_what_is_near_it(page: Served) -> None:
    key = path_of(page, "LoadShips {'year': '2024'}").rpartition("/")[2]
    around = json.loads(page.ask(f"/graph.json?around={key}").text)
    assert [(box["title"], *box["lines"]) for box in around["boxes"] if box["title"] == "LoadShips"] == [
        ("LoadShips", "'year': '2024'")
    ]
    assert [box["title"] for box in around["boxes"] if box["center"]] == ["LoadShips"]


def test_tasks_are_found_by_state_class_and_parameter(page: Served) -> None:
    queries = {"": 5, "state=failed": 1, "name=LoadShips": 3, "q=2025": 1, "name=LoadShips&q=ships": 3}
    for query, number in queries.items():
        assert len(lxml.html.fromstring(page.ask(f"/tasks?{query}").text).findall(".//tbody/tr")) == number, query
    assert "No such tasks" in look_at(page, "/tasks?q=nothing")


def test_a_failed_task_tells_its_error_with_the_traceback(page: Served) -> None:
    text = look_at(page, path_of(page, "LoadShips {'year': '2026'}"))
    assert "Why it failed" in text
    assert "ValueError: the <b>list</b> of 2026 is empty" in text
    assert "in run" in text
    assert "Requires complete LoadHarbours" in text
    assert "Required by incomplete LoadFleet" in text


def test_a_complete_task_tells_its_rows_checks_and_runs(page: Served) -> None:
    text = look_at(page, path_of(page, "LoadHarbours"))
    assert "2 harbour" in text
    assert "Oslo" in text
    assert "1 of 2 hold" in text
    assert "between(Harbour.depth) does not hold" in text
    only_its_own = look_at(page, path_of(page, "LoadShips {'year': '2025'}"))
    assert "Ship of 2025 3 bytes" in only_its_own
    assert "Ship of 2024" not in only_its_own


@pytest.mark.parametrize("path", ["/data/harbour", "/data/harbour?profile=1", "task"])
def test_what_a_model_or_a_name_hides_stays_hidden(page: Served, path: str) -> None:
    html = page.ask(path_of(page, "LoadHarbours") if path == "task" else path).text
    assert "Oslo" in html
    assert "[hidden]" in html
    assert "Ada" not in html
    assert "hunter2" not in html


def test_the_plan_of_clearing_is_shown_and_nothing_is_cleared(page: Served) -> None:
    text = look_at(page, f"{path_of(page, 'LoadHarbours')}/clearing")
    assert "In all: 2 harbour, 2 ship" in text
    assert text.index("LoadShips {'year': '2024'}") < text.rindex("LoadHarbours 2 harbour")
    assert "ozelot clear LoadHarbours" in text
    with page.keeper.database.create_session() as session:
        assert session.scalar(sa.select(sa.func.count()).select_from(Ship)) == 2


def test_the_plan_of_clearing_says_what_would_be_refused(page: Served) -> None:
    assert "would be refused" not in look_at(page, f"{path_of(page, 'LoadHarbours')}/clearing")
    with client.get_client().transaction() as session:
        session.execute(sa.insert(Harbour).values(name="Typed in"))
    text = look_at(page, f"{path_of(page, 'LoadHarbours')}/clearing")
    with client.get_client().transaction() as session:  # the other tests look at the same database
        session.execute(sa.delete(Harbour).where(Harbour.name == "Typed in"))
    assert "It would be refused : harbour holds 3 rows" in text, text
    assert "--include-unrecorded" in text


def test_tables_are_listed_with_rows_and_who_filled_them(page: Served) -> None:
    text = look_at(page, "/data")
    assert "harbour 2 LoadHarbours" in text
    assert "ship 2 LoadShips (2 tasks)" in text
    assert "ozelot_run" not in text
    drawn = json.loads(page.ask("/schema.json").text)
    assert {box["title"]: box["words"] for box in drawn["boxes"]}["ship"] == "2 rows"
    assert ["ship", "harbour"] in drawn["arrows"]


def test_a_table_counts_null_and_distinct_values_on_request(page: Served) -> None:
    assert "Count NULL and distinct values" in look_at(page, "/data/ship")
    text = look_at(page, "/data/ship?profile=1")
    assert re.search(r"name VARCHAR\(100\) no 0 2", text), text
    assert re.search(r"harbour_id INTEGER refers to harbour.id may be 2 0", text), text


def test_runs_are_filtered_by_class_and_state(page: Served) -> None:
    assert "LoadShips {'year': '2026'} failed" in look_at(page, "/runs")
    for query in ("state=failed", "name=LoadShips&state=failed"):
        assert len(lxml.html.fromstring(page.ask(f"/runs?{query}").text).findall(".//tbody/tr")) == 1
    assert "No runs" in look_at(page, "/runs?name=Nobody")
    number = re.findall(r'href="/runs/(\d+)"', page.ask("/runs?state=failed").text)[0]
    assert "ValueError: the <b>list</b>" in look_at(page, f"/runs/{number}")


def test_many_runs_come_in_pages(page: Served) -> None:
    now = run.utc_now()
    one = {"key": "k", "name": "Many", "params": "{}", "state": run.CLEARED, "started": now, "host": "h", "process": 1}
    with client.get_client().transaction() as session:
        session.execute(sa.insert(run.runs), [one] * 60)
    first = lxml.html.fromstring(page.ask("/runs?name=Many").text)
    assert len(first.findall(".//tbody/tr")) == 50
    (older,) = first.xpath("//a[@rel='next']/@href")
    assert len(lxml.html.fromstring(page.ask(older).text).findall(".//tbody/tr")) == 10


def test_what_is_not_there_is_said(page: Served) -> None:
    for path, words in {
        "/tasks/0": "There is no such task",
        "/tasks/0/clearing": "There is no such task",
        "/runs/0": "There is no such run",
        "/data/nothing": "There is no table nothing",
    }.items():
        answer = page.ask(path)
        assert answer.code == 404
        assert words in text_of(answer.text)


def test_without_code_the_page_says_what_it_does_not_know(db: Client, database_url: str) -> None:
    create_tables(db, Harbour, Ship)
    assert not LoadFleet.build()
    with served(database_url, None) as page:
        assert "tasks that never ran are not known" in look_at(page, "/")
        assert "LoadShips {'year': '2026'} failed" in look_at(page, "/tasks")
        assert "The code of the pipeline is not at hand" in look_at(page, f"{path_of(page, 'LoadHarbours')}/clearing")


def test_a_database_of_0_2_is_shown_and_left_as_it_is(tmp_path: Path) -> None:
    path = tmp_path / "old.db"
    movie = "CREATE TABLE movie (id INTEGER PRIMARY KEY, name VARCHAR(100))"
    databases.make_as_0_2(path, movie, "INSERT INTO movie VALUES (1, 'Iron Man')")
    before = path.read_bytes()
    url = f"sqlite:///{path}"
    client.set_client(Client(connection_string=url))
    with served(url, None) as page:
        assert "LoadOld complete" in look_at(page, "/tasks")
        task = look_at(page, path_of(page, "LoadOld"))
        assert "No run of it is recorded" in task
        assert "No run is recorded" in look_at(page, "/runs")
        assert "Iron Man" in look_at(page, "/data/movie")
        assert page.keeper.since(0).looks == {}
    client.get_client().engine.dispose()
    assert path.read_bytes() == before


def test_an_empty_database_says_what_to_do_next(db: Client, database_url: str) -> None:
    with db.engine.begin() as connection:
        connection.execute(sa.text("CREATE TABLE lonely (id INTEGER PRIMARY KEY)"))
    with served(database_url, None) as page:
        assert "This database knows of no task" in look_at(page, "/")
        assert "ozelot run" in look_at(page, "/")
        assert "No run is recorded" in look_at(page, "/runs")
        assert "The table is empty" in look_at(page, "/data/lonely")


@pytest.mark.parametrize(
    ("seconds", "said"),
    [(3, "just now"), (-60, "in the future"), (59, "59 seconds ago"), (60, "1 minute ago"), (7300, "2 hours ago")],
)
def test_times_are_told_from_now(seconds: int, said: str) -> None:
    now = datetime.datetime(2026, 11, 28, 12)
    assert cells.ago(now - datetime.timedelta(seconds=seconds), now) == said


def test_a_table_that_is_behind_its_model_is_shown_as_it_is(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path / 'behind.db'}"
    client.set_client(Client(connection_string=url))
    with client.get_client().engine.begin() as connection:
        connection.exec_driver_sql("CREATE TABLE harbour (id INTEGER PRIMARY KEY, keeper TEXT)")
        connection.exec_driver_sql("INSERT INTO harbour VALUES (4711, 'Ada')")
    with served(url, None) as page:
        assert "4711 [hidden]" in look_at(page, "/data/harbour?profile=1")
        assert "2 columns" in page.ask("/schema.json").text
    client.get_client().engine.dispose()
