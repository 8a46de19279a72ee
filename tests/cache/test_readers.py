"""Which task read which page: recorded with the run, in its transaction."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from pathlib import Path

import luigi
import pytest
import sqlalchemy as sa

from ozelot import cache as cache_module
from ozelot.cache.request import key_of_address
from ozelot.client import Client
from ozelot.errors import FetchError
from ozelot.etl import tasks
from ozelot.orm import history, pages
from ozelot.orm.base import Base
from ozelot.orm.pages import run_page
from ozelot.orm.version import versions
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
        return [(found.params, found.content) for found in pages.readers(connection, key_of_address(url))]


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
        assert history.prune(session.connection(), 0) == 1
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
