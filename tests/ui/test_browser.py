"""The status page in a real browser: Chromium, where it is installed."""

from __future__ import annotations

import os
import shutil
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any
from urllib.parse import quote

import luigi
import pytest
import sqlalchemy as sa
from axe_playwright_python.base import AXE_SCRIPT  # type: ignore[import-untyped]
from playwright.sync_api import Browser, ConsoleMessage, Dialog, Page, ViewportSize, expect, sync_playwright

from ozelot import client
from ozelot.client import Client
from ozelot.etl import tasks
from ozelot.orm.base import Base
from ozelot.state.markers import OWN_TABLES
from tests.ui import heroes, hostile, synthetic
from tests.ui.serving import Served, served

pytestmark = pytest.mark.slow

ARGUMENTS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]
DRAWN = "() => [...document.querySelectorAll('[data-graph]')].every((one) => one.dataset.drawn)"
WIDER = "() => document.documentElement.scrollWidth - window.innerWidth"
MADE_OF_NAMES = (
    "img, iframe, script:not([src]), style, main svg[onload], [onerror], [onmouseover], [href^='javascript']"
)
PHONE: ViewportSize = {"width": 390, "height": 844}

VIEWS: dict[str, Callable[[Served], str]] = {
    "pipeline": lambda _: "/",
    "by class": lambda _: "/?by=class",
    "by task": lambda _: "/?by=task",
    "of one state": lambda _: "/?state=failed",
    "around a task": lambda at: f"/?around={key(at, 'stale')}",
    "tasks": lambda _: "/tasks",
    "tasks that are searched": lambda _: "/tasks?q=load&state=complete",
    "no such tasks": lambda _: "/tasks?q=nowhere",
    "failed task": lambda at: f"/tasks/{key(at, 'failed')}",
    "stale task": lambda at: f"/tasks/{key(at, 'stale')}",
    "complete task": lambda at: f"/tasks/{key(at, 'complete')}",
    "plan of clearing": lambda at: f"/tasks/{key(at, 'complete')}/clearing",
    "data": lambda _: "/data",
    "table": lambda at: f"/data/{a_table(at)}",
    "table that is counted": lambda at: f"/data/{a_table(at)}?profile=1",
    "runs": lambda _: "/runs",
    "runs that failed": lambda _: "/runs?state=failed",
    "run": lambda _: "/runs/3",
    "nothing there": lambda _: "/nowhere",
}


def key(at: Served, look: str) -> str:
    """The last task in that state."""
    return [key for key, node in at.keeper.pipeline.nodes.items() if node.look == look][-1]


def a_table(at: Served) -> str:
    """The table with the most columns."""
    inspector = sa.inspect(at.keeper.database.engine)
    return max(inspector.get_table_names(), key=lambda name: (name[:6] != "ozelot", len(inspector.get_columns(name))))


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    path = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    if path is None:
        reason = "no chromium is installed"
        if os.environ.get("OZELOT_TEST_ALL_DATABASES"):
            pytest.fail(reason)
        pytest.skip(reason)
    with sync_playwright() as playwright:
        found = playwright.chromium.launch(executable_path=path, args=ARGUMENTS)
        yield found
        found.close()


@pytest.fixture(scope="module")
def heroes_served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Served, Client]]:
    with (
        heroes.loaded(tmp_path_factory.mktemp("heroes")) as database,
        served(str(database.engine.url), heroes.Superheroes()) as found,
    ):
        yield found, database


@pytest.fixture(scope="module")
def synthetic_served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Served, Client]]:
    path = tmp_path_factory.mktemp("synthetic")
    with filled(path, synthetic.fill, synthetic.AllDays()) as found:
        yield found


@contextmanager
def filled(
    folder: Path, fill: Callable[[Client], None], root: luigi.Task | None, name: str = "test.db"
) -> Iterator[tuple[Served, Client]]:
    """The page of a database that was filled, and the client that tasks use."""
    database = Client(connection_string=f"sqlite:///{folder / name}")
    client.set_client(database)
    fill(database)
    with served(str(database.engine.url), root) as found:
        yield found, database
    database.engine.dispose()


@pytest.fixture
def of_heroes(heroes_served: tuple[Served, Client]) -> Served:
    client.set_client(heroes_served[1])
    return heroes_served[0]


@pytest.fixture
def of_synthetic(synthetic_served: tuple[Served, Client]) -> Served:
    client.set_client(synthetic_served[1])
    return synthetic_served[0]


class Opened:
    """A page in the browser, and what went wrong on it."""

    def __init__(self, page: Page) -> None:
        self.page = page
        self.wrong: list[str] = []
        self.hosts: set[str] = set()
        page.on("console", self._said)
        page.on("pageerror", lambda error: self.wrong.append(str(error)))
        page.on("dialog", self._asked)
        page.on("request", lambda request: self.hosts.add("/".join(request.url.split("/")[:3])))

    def _said(self, said: ConsoleMessage) -> None:
        if said.type in ("error", "warning") and "404 (Not Found)" not in said.text:
            self.wrong.append(said.text)

    def _asked(self, dialog: Dialog) -> None:
        self.wrong.append(f"dialog: {dialog.message}")
        dialog.dismiss()

    def goto(self, at: Served, path: str) -> float:
        """Open a view, and say how many milliseconds it took until all of it was drawn."""
        self.page.goto(at.address + path)
        self.page.wait_for_function(DRAWN)
        assert self.wrong == []
        assert self.hosts == {at.address}
        return float(self.page.evaluate("() => performance.now()"))


@pytest.fixture
def opened(browser: Browser) -> Iterator[Opened]:
    context = browser.new_context(viewport={"width": 1280, "height": 800}, reduced_motion="reduce")
    page = context.new_page()
    page.set_default_timeout(20_000)
    yield Opened(page)
    context.close()


def faults(page: Page, rules: list[str] | None = None) -> list[str]:
    """What axe finds that keeps people from using the page; of some rules, or all."""
    options = {"resultTypes": ["violations"], **({"runOnly": rules} if rules else {})}
    found = page.evaluate(
        "async (options) => (await axe.run(options)).violations.map("
        "(one) => [one.impact, `${one.id}: ${one.nodes[0].html}`])",
        options,
    )
    return [told for impact, told in found if impact in ("serious", "critical")]


def looks_right(opened: Opened) -> None:
    page = opened.page
    page.evaluate(AXE_SCRIPT)
    assert faults(page) == []
    page.emulate_media(color_scheme="dark")
    assert faults(page, ["color-contrast"]) == []
    page.set_viewport_size(PHONE)
    assert page.evaluate(WIDER) <= 0
    assert opened.wrong == []


@pytest.mark.parametrize("view", VIEWS)
def test_every_view_of_the_superheroes_loads_and_can_be_used_by_all(
    of_heroes: Served, opened: Opened, view: str, record_property: Callable[[str, object], None]
) -> None:
    record_property("ms", opened.goto(of_heroes, VIEWS[view](of_heroes)))
    looks_right(opened)


@pytest.mark.parametrize("view", VIEWS)
def test_every_view_of_10_000_tasks_loads_and_fits_a_phone(
    of_synthetic: Served, opened: Opened, view: str, record_property: Callable[[str, object], None]
) -> None:
    record_property("ms", opened.goto(of_synthetic, VIEWS[view](of_synthetic)))
    opened.page.set_viewport_size(PHONE)
    assert opened.page.evaluate(WIDER) <= 0
    assert opened.wrong == []


@pytest.mark.parametrize("view", ["pipeline", "tasks"])
def test_all_states_and_classes_can_be_told_apart_by_all(of_synthetic: Served, opened: Opened, view: str) -> None:
    opened.goto(of_synthetic, VIEWS[view](of_synthetic))
    looks_right(opened)


def test_a_failed_task_is_one_click_away_and_tells_why(of_synthetic: Served, opened: Opened) -> None:
    opened.goto(of_synthetic, "/")
    opened.page.get_by_role("region", name="Look at first").get_by_role("link", name="{'day': '57'}").click()
    is_understood(opened.page, synthetic.ERROR.format(57))


def test_any_failed_task_is_three_clicks_away(of_synthetic: Served, opened: Opened) -> None:
    opened.goto(of_synthetic, "/")
    opened.page.get_by_role("link", name="10 failed", exact=True).click()
    opened.page.get_by_role("link", name="List these tasks").click()
    opened.page.get_by_role("link", name="LoadFlights {'day': '457'}").click()
    is_understood(opened.page, synthetic.ERROR.format(457))


def test_a_box_of_the_drawing_leads_to_its_failed_task(of_heroes: Served, opened: Opened) -> None:
    opened.goto(of_heroes, "/")
    opened.page.locator(".drawing a", has=opened.page.locator(".box.failed")).click()
    is_understood(opened.page, heroes.ERROR)


def is_understood(page: Page, error: str) -> None:
    expect(page.locator("p.error")).to_be_visible()
    expect(page.locator("p.error")).to_contain_text(error)
    expect(page.locator("pre")).to_be_visible()
    expect(page.locator("pre")).to_contain_text("Traceback (most recent call last)")


class Gated(tasks.ORMTask):
    """Waits for a gate, and fails where it is told to."""

    creates = ()
    number: int = luigi.IntParameter()
    gates = [threading.Event() for _ in range(2)]

    def run(self) -> None:
        assert self.gates[self.number].wait(30)
        if self.number:
            raise ValueError("the second one does not want to")


class Both(tasks.ORMWrapperTask):
    def requires(self) -> Any:
        return [Gated(number=number) for number in range(2)]


def test_a_run_moves_on_the_page(opened: Opened, tmp_path: Path) -> None:
    with filled(tmp_path, no_tasks, Both()) as (at, _):
        opened.goto(at, "/?by=task")
        opened.page.evaluate("() => { window.isSamePage = true; }")
        in_state(opened, "number': '0'", "incomplete")
        for number, state in enumerate(("complete", "failed")):
            run = threading.Thread(target=ran, args=[Gated(number=number)])
            run.start()
            try:
                in_state(opened, f"number': '{number}'", "running")
                expect(opened.page.get_by_role("link", name="1 running", exact=True)).to_be_visible()
            finally:
                Gated.gates[number].set()
                run.join()
            in_state(opened, f"number': '{number}'", state)
        expect(opened.page.get_by_role("link", name="1 failed", exact=True)).to_be_visible()
        expect(opened.page.get_by_role("region", name="Look at first")).to_contain_text("does not want to")
        assert opened.page.evaluate("() => window.isSamePage")
        assert opened.wrong == []


def ran(task: Gated) -> None:
    with suppress(ValueError):
        task.run()


def in_state(opened: Opened, text: str, state: str) -> None:
    opened.page.wait_for_function(
        "([text, state]) => [...document.querySelectorAll('.drawing a')].some("
        "(one) => one.textContent.includes(text) && one.querySelector('rect.box').classList.contains(state))",
        arg=[text, state],
    )


def test_a_keyboard_is_enough(of_heroes: Served, opened: Opened) -> None:
    opened.goto(of_heroes, "/")
    page = opened.page
    page.keyboard.press("Tab")
    expect(page.get_by_role("link", name="Skip to content")).to_be_focused()
    expect(page.get_by_role("link", name="Skip to content")).to_be_in_viewport()
    page.keyboard.press("Enter")
    assert page.evaluate("() => document.activeElement.id") == "main"
    for _ in range(40):
        page.keyboard.press("Tab")
        if page.evaluate("() => Boolean(document.activeElement.closest('.drawing'))"):
            break
    name = page.evaluate("() => document.activeElement.querySelector('.title').textContent")
    page.keyboard.press("Enter")
    expect(page.get_by_role("heading", level=1)).to_have_text(name)


def test_what_is_searched_gets_the_focus_and_opens(of_heroes: Served, opened: Opened) -> None:
    opened.goto(of_heroes, "/")
    page = opened.page
    page.get_by_role("searchbox", name="Find").fill("inflation")
    expect(page.locator(".found")).to_have_text("1 found")
    page.keyboard.press("Enter")
    page.keyboard.press("Enter")
    expect(page.get_by_role("heading", level=1)).to_have_text(heroes.FAILED)


def test_what_is_not_drawn_is_looked_for_in_the_list(of_synthetic: Served, opened: Opened) -> None:
    opened.goto(of_synthetic, "/")
    opened.page.get_by_role("searchbox", name="Find").fill("FetchWeather {'day': '321'}")
    opened.page.keyboard.press("Enter")
    expect(opened.page.locator("tbody a")).to_have_text(["FetchWeather {'day': '321'}"])


def test_what_is_urgent_is_in_sight_of_a_drawing_larger_than_the_screen(of_synthetic: Served, opened: Opened) -> None:
    opened.page.set_viewport_size(PHONE)
    opened.goto(of_synthetic, "/")
    box, frame = (opened.page.locator(place).bounding_box() for place in (".drawing .box.failed", ".drawing"))
    assert box is not None and frame is not None
    assert box["width"] >= 60
    assert frame["x"] <= box["x"] and box["x"] + box["width"] <= frame["x"] + frame["width"]
    assert frame["y"] <= box["y"] and box["y"] + box["height"] <= frame["y"] + frame["height"]


def test_a_page_can_be_scrolled_over_the_drawing(of_heroes: Served, opened: Opened) -> None:
    opened.page.set_viewport_size({"width": 1000, "height": 500})
    opened.goto(of_heroes, "/")
    opened.page.locator(".drawing").hover()
    before = opened.page.evaluate("() => window.scrollY")
    opened.page.mouse.wheel(0, 60)
    opened.page.wait_for_function("(before) => window.scrollY > before", arg=before)


def test_exact_times_are_shown_on_request_and_stay(of_heroes: Served, opened: Opened) -> None:
    opened.goto(of_heroes, "/runs")
    time = opened.page.locator("time").first
    exact = time.get_attribute("title")
    assert exact is not None and exact.endswith(" UTC")
    assert time.inner_text().endswith(("now", "ago"))
    opened.page.get_by_role("button", name="Exact times").click()
    expect(time).to_have_text(exact)
    opened.goto(of_heroes, "/runs")
    expect(time).to_have_text(exact)
    time.click()
    expect(time).not_to_have_text(exact)


def test_a_drawing_that_cannot_be_had_is_said_to_be_so(of_heroes: Served, opened: Opened) -> None:
    opened.page.route("**/graph.json*", lambda route: route.fulfill(status=503))
    opened.page.goto(of_heroes.address)
    expect(opened.page.locator(".waiting")).to_contain_text("the server answers 503")


def test_lists_and_pages_work_without_javascript(of_heroes: Served, browser: Browser) -> None:
    context = browser.new_context(java_script_enabled=False)
    try:
        page = context.new_page()
        page.goto(of_heroes.address)
        expect(page.get_by_text("The drawing needs JavaScript")).to_be_visible()
        page.get_by_role("link", name="all tasks").click()
        page.get_by_role("link", name=heroes.FAILED, exact=True).click()
        is_understood(page, heroes.ERROR)
        page.get_by_role("link", name="What would clearing it delete?").click()
        expect(page.get_by_text("This is the plan.")).to_be_visible()
        page.get_by_role("navigation").get_by_role("link", name="Data").click()
        page.get_by_role("link", name="character", exact=True).click()
        expect(page.get_by_role("cell", name="VARCHAR(255)").first).to_be_visible()
        page.get_by_role("navigation").get_by_role("link", name="Runs").click()
        page.get_by_label("State").select_option("failed")
        page.get_by_role("button", name="Filter").click()
        expect(page.locator("tbody tr")).to_have_count(1)
    finally:
        context.close()


@pytest.mark.parametrize("has_code", [True, False])
def test_hostile_names_come_out_as_text(opened: Opened, tmp_path: Path, has_code: bool) -> None:
    with filled(tmp_path, hostile.fill, hostile.AllOfIt() if has_code else None) as (at, _):
        keys = list(at.keeper.pipeline.nodes)
        paths = ["/", "/?by=class", "/tasks", "/data", "/runs", f"/?around={keys[0]}", f"/tasks/{keys[0]}/clearing"]
        if has_code:
            paths += [f"/tasks/{key}" for key in keys]
            paths += [f"/runs/{number + 1}" for number in range(len(hostile.NAMES))]
            paths += [f"/data/{quote(name, safe='')}?profile=1" for name in hostile.NAMES]
            paths += [f"/{view}={quote(name)}" for name in hostile.NAMES[:4] for view in ("tasks?q", "runs?name")]
        opened.page.set_viewport_size(PHONE)
        for path in paths:
            opened.goto(at, path)
            assert opened.page.locator(MADE_OF_NAMES).count() == 0, path
            assert opened.page.evaluate(WIDER) <= 0, path
        opened.goto(at, "/tasks")
        shown = opened.page.locator("main").inner_text()
        for name in hostile.NAMES:
            assert " ".join(name[:100].split()) in " ".join(shown.split())


def no_tasks(database: Client) -> None:
    with database.engine.begin() as connection:
        Base.metadata.create_all(connection, tables=list(OWN_TABLES))


def nothing(database: Client) -> None:
    """An empty file, as 'ozelot ui' wants one to be there."""
    Path(str(database.url.database)).touch()


def as_in_0_2(database: Client) -> None:
    with database.engine.begin() as connection:
        made = sa.MetaData()
        columns = [sa.Column(name, sa.String) for name in ("name", "params")]
        table = sa.Table("ormtargetmarker", made, sa.Column("id", sa.Integer, primary_key=True), *columns)
        table.append_column(sa.Column("created", sa.DateTime))
        table.create(connection)
        connection.execute(sa.insert(table), [{"name": "LoadMovies", "params": "{}"}])


@pytest.mark.parametrize(
    "fill, path, told",
    [
        (nothing, "/", "This database knows of no task."),
        (nothing, "/tasks", "No such tasks"),
        (nothing, "/data", "No tables yet"),
        (nothing, "/runs", "No run is recorded in this database."),
        (no_tasks, "/", "This database knows of no task."),
        (no_tasks, "/data", "No tables yet"),
        (as_in_0_2, "/", "From the database alone"),
        (as_in_0_2, "/tasks", "LoadMovies"),
        (as_in_0_2, "/runs", "No run is recorded in this database."),
    ],
)
def test_where_there_is_nothing_the_page_says_what_to_do(
    opened: Opened, tmp_path: Path, fill: Callable[[Client], None], path: str, told: str
) -> None:
    with filled(tmp_path, fill, None) as (at, _):
        opened.goto(at, path)
        expect(opened.page.locator("main")).to_contain_text(told)
        looks_right(opened)


class Single(tasks.ORMTask):
    creates = ()


class Link(tasks.ORMTask):
    creates = ()
    number: int = luigi.IntParameter()

    def requires(self) -> Any:
        return [Link(number=self.number - 1)] if self.number else []


class Fan(tasks.ORMWrapperTask):
    def requires(self) -> Any:
        return [Link(number=0), Single(), *(Step(number=number) for number in range(297))]


class Step(tasks.ORMTask):
    creates = ()
    number: int = luigi.IntParameter()


@pytest.mark.parametrize("root, number", [(Single(), 1), (Link(number=150), 151), (Fan(), 300)])
def test_drawings_of_any_form_can_be_read(opened: Opened, tmp_path: Path, root: luigi.Task, number: int) -> None:
    with filled(tmp_path, no_tasks, root) as (at, _):
        opened.goto(at, "/?by=task")
        boxes = opened.page.locator(".drawing .box")
        expect(boxes).to_have_count(number)
        box = boxes.last.bounding_box()
        assert box is not None and box["width"] >= 55
        opened.page.get_by_role("button", name="Fit").click()
        opened.page.wait_for_function(
            "() => { const [all, frame] = ['.all', '.drawing'].map((one) =>"
            " document.querySelector(one).getBoundingClientRect());"
            " return all.top >= frame.top - 1 && all.bottom <= frame.bottom + 1 && all.width <= frame.width + 1; }"
        )
