"""Which task read which page: recorded with the run, in its transaction."""

from __future__ import annotations

import contextlib
import hashlib
from collections.abc import Iterator
from pathlib import Path

import luigi
import pytest
import sqlalchemy as sa

from ozelot import cache as cache_module
from ozelot import config
from ozelot.cache import Answer, Unreachable
from ozelot.cache.request import Options, key_of_address
from ozelot.client import Client
from ozelot.errors import FetchError
from ozelot.etl import tasks
from ozelot.etl.status import State, status
from ozelot.orm.base import Base
from ozelot.state import inputs, lineage
from ozelot.state.inputs import run_page
from ozelot.state.version import versions
from ozelot.testing import FakeWeb, temporary_cache
from tests.etl.heroes import build

URL = "https://wiki.example/"


class ReadPages(tasks.ORMTask):
    creates = ()
    first: int = luigi.IntParameter()
    fails: bool = luigi.BoolParameter(default=False, significant=False)

    def run(self) -> None:
        cache = cache_module.get_request_cache()
        cache.get(f"{URL}{self.first}", log_misses=False)
        list(cache.get_many([f"{URL}{number}" for number in range(self.first, self.first + 3)]))
        with pytest.raises(FetchError):
            cache.get(f"{URL}gone?token=geheim")
        if self.fails:
            raise ZeroDivisionError


class ReadNone(tasks.ORMTask):
    creates = ()


@pytest.fixture
def web(db: Client, tmp_path: Path) -> Iterator[FakeWeb]:
    web = FakeWeb({f"{URL}{number}": f"page {number}" for number in range(9)})
    with temporary_cache(tmp_path, web):
        yield web


def readers(db: Client, url: str) -> list[tuple[str, str]]:
    with db.engine.connect() as connection:
        return [(found.params, found.content) for found in inputs.readers(connection, key_of_address(url))]


def rows(db: Client) -> int:
    with db.engine.connect() as connection:
        return connection.scalar(sa.select(sa.func.count()).select_from(run_page)) or 0


def sha(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def test_tasks_that_read_a_page_are_known_with_what_they_read(db: Client, web: FakeWeb) -> None:
    assert build(ReadPages(first=0), ReadPages(first=2), ReadNone())
    one, two = "{'first': '0'}", "{'first': '2'}"
    assert readers(db, f"{URL}0") == [(one, sha("page 0"))]
    assert readers(db, f"{URL}2") == [(one, sha("page 2")), (two, sha("page 2"))]
    assert readers(db, f"{URL}8") == []
    assert readers(db, f"{URL}gone?token=geheim") == [(one, "status 404"), (two, "status 404")]
    assert rows(db) == 8


def test_failed_and_cleared_runs_read_nothing_that_counts(db: Client, web: FakeWeb) -> None:
    assert not build(ReadPages(first=0, fails=True))
    assert rows(db) == 0
    assert build(ReadPages(first=1))
    ReadPages(first=1).clear()
    assert readers(db, f"{URL}1") == []
    web.pages[f"{URL}1"] = "new"
    cache_module.get_request_cache().get(f"{URL}1", refresh=True)
    assert build(ReadPages(first=1))
    assert readers(db, f"{URL}1") == [("{'first': '1'}", sha("new"))]


def test_records_of_what_was_read_go_with_those_of_the_runs(db: Client, web: FakeWeb) -> None:
    assert build(ReadPages(first=0))
    ReadPages(first=0).clear()
    with db.transaction() as session:
        assert lineage.prune(session.connection(), 0) == 1
    assert rows(db) == 0


def test_database_that_lacks_the_table_gets_it_with_the_next_run(db: Client, web: FakeWeb) -> None:
    assert build(ReadNone())
    with db.engine.begin() as connection:
        run_page.drop(connection)
        versions.drop(connection)  # as an ozelot left it that did not know of pages yet
    assert readers(db, f"{URL}0") == []
    assert ReadNone().complete()
    assert build(ReadPages(first=0))
    assert readers(db, f"{URL}0") == [("{'first': '0'}", sha("page 0"))]


def test_what_is_read_outside_of_a_run_is_nobodys(db: Client, web: FakeWeb) -> None:
    Base.create_all(db)
    assert cache_module.get_request_cache().get(f"{URL}0") == "page 0"
    assert rows(db) == 0


class ReadThor(tasks.ORMTask):
    creates = ()
    options: Options = {}

    def run(self) -> None:
        with contextlib.suppress(FetchError):
            cache_module.get_request_cache().get_page(f"{URL}Thor", **self.options)


class ReadKept(ReadThor):
    options: Options = {"store_on_error": True}


class ReadNode(ReadThor):
    options: Options = {"xpath": "//p"}


class ReadAgain(ReadThor):
    options: Options = {"refresh": True}


class ReadMany(ReadThor):
    def run(self) -> None:
        assert [page.error is None for page in cache_module.get_request_cache().get_many([f"{URL}Thor"])] == [False]


@pytest.fixture
def kept(db: Client, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeWeb]:
    """A web whose cache is also the one that the status compares with."""
    web = FakeWeb({f"{URL}Thor": 404})
    path = tmp_path / "kept.db"
    monkeypatch.setattr(config, "REQUEST_CACHE_PATH", str(path), raising=False)
    with web.cache(path) as cache:
        cache_module.set_request_cache(cache)
        yield web
    cache_module.set_request_cache(None)


def compared(task: luigi.Task) -> tuple[str, list[str]]:
    """The state of a task and why it is stale or unknown."""
    (entry,) = status(task)
    assert entry.verdict is not None
    return entry.state.value, [reason.what for reason in entry.verdict.reasons] + entry.verdict.unknown


@pytest.mark.parametrize("task", [ReadThor, ReadMany])
@pytest.mark.parametrize("body", ["Thor", ""])  # the failure was empty, too
def test_task_that_read_a_missing_page_becomes_stale_when_it_appears(
    db: Client, kept: FakeWeb, task: type[ReadThor], body: str
) -> None:
    assert build(task())
    assert compared(task()) == (State.COMPLETE.value, [])
    kept.pages[f"{URL}Thor"] = body
    cache_module.get_request_cache().get(f"{URL}Thor")
    assert compared(task())[0] == State.STALE.value
    assert f"{URL}Thor" in compared(task())[1][0]


@pytest.mark.parametrize("failure", [404, 410, 403, 500, Unreachable("no route to host")])
def test_kept_failure_is_the_same_until_there_is_a_page(db: Client, kept: FakeWeb, failure: int | Exception) -> None:
    kept.pages[f"{URL}Thor"] = failure
    task = ReadKept
    assert build(task())
    assert compared(task()) == (State.COMPLETE.value, [])
    if isinstance(failure, int):
        kept.pages[f"{URL}Thor"] = Answer(failure, "request number 2")
    with pytest.raises(FetchError):
        cache_module.get_request_cache().get(f"{URL}Thor", refresh=True, store_on_error=True)
    assert compared(task()) == (State.COMPLETE.value, [])
    cache_module.get_request_cache().put(f"{URL}Thor", "Thor")
    assert compared(task())[0] == State.STALE.value


def test_node_that_appears_in_a_page_makes_stale_who_looked_for_it(db: Client, kept: FakeWeb) -> None:
    kept.pages[f"{URL}Thor"] = "<b>Thor</b>"
    task = ReadNode
    assert build(task())
    assert compared(task()) == (State.COMPLETE.value, [])
    kept.pages[f"{URL}Thor"] = "<p>Thor</p>"
    cache_module.get_request_cache().get(f"{URL}Thor", xpath="//p")
    assert compared(task())[0] == State.STALE.value


def test_page_that_is_kept_but_could_not_be_refreshed_does_not_make_stale(db: Client, kept: FakeWeb) -> None:
    cache_module.get_request_cache().put(f"{URL}Thor", "Thor")
    task = ReadAgain
    assert build(task())
    assert compared(task()) == (State.COMPLETE.value, [])
