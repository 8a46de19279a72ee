"""A small share of ``python -m tests.crash``, which says what is done and what must hold; the nightly run does more."""

from __future__ import annotations

import os
import random
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.crash import attacks, faults
from tests.crash.databases import Database, created_on
from tests.crash.small_disks import small_disk
from tests.crash.subject import BrokenPromiseError, Subject, subject
from tests.databases import SERVERS, only
from tests.own_servers import wanted_server

pytestmark = pytest.mark.slow

nightly = pytest.mark.skipif(not os.environ.get("OZELOT_TEST_NIGHTLY"), reason="OZELOT_TEST_NIGHTLY=1 runs it")
KILLS = 25


@pytest.fixture
def made(database_url: str, tmp_path: Path) -> Iterator[Subject]:
    """The synthetic pipeline on a fresh database of each kind."""
    with subject("synthetic", Database(database_url), tmp_path, random.Random(1)) as found:
        yield found


@pytest.fixture(scope="module")
def kept(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Subject]:
    """The synthetic pipeline on SQLite, kept for several tests."""
    folder = tmp_path_factory.mktemp("crash")
    database = Database(f"sqlite:///{folder / 'crash.db'}")
    with subject("synthetic", database, folder, random.Random(1)) as found:
        yield found


@pytest.fixture
def on_sqlite(kept: Subject) -> Subject:
    """The synthetic pipeline on an empty SQLite database."""
    kept.database.empty()
    return kept


def test_runs_that_are_killed_end_in_the_database_of_one_that_was_not(made: Subject) -> None:
    counts = attacks.kill(made, KILLS)
    assert counts["within statements and commits"] >= KILLS / 2


@nightly
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT], ids=lambda number: number.name)
def test_runs_that_are_ended_by_a_signal_do_so_too(made: Subject, number: signal.Signals) -> None:
    attacks.kill(made, KILLS, number=number)


@nightly
def test_clearing_that_is_killed_cleared_all_or_nothing(made: Subject) -> None:
    counts = attacks.kill_clear(made, KILLS)
    assert counts["cleared all"] and counts["cleared nothing"]


@nightly
@only("postgresql", "mariadb")
def test_a_run_whose_connections_are_cut_fails_in_words_or_recovers(made: Subject) -> None:
    attacks.cut(made, KILLS)


@nightly
@pytest.mark.parametrize("kind", SERVERS)
def test_a_run_whose_server_crashes_fails_in_words_or_recovers(kind: str, tmp_path: Path) -> None:
    with (
        wanted_server(kind) as server,
        created_on(server.start()) as database,
        subject("synthetic", database, tmp_path, random.Random(1)) as found,
    ):
        attacks.restart(found, 10, server.crash)


@nightly
@pytest.mark.parametrize("name", [*faults.HOOKS, *faults.EVENTS])
def test_a_run_in_which_a_hook_raises_leaves_nothing_half(on_sqlite: Subject, name: str) -> None:
    attacks.break_hook(on_sqlite, name, 4)


def test_a_run_that_may_not_let_its_file_grow_leaves_nothing_half(on_sqlite: Subject) -> None:
    counts = attacks.limit_pages(on_sqlite, 4)
    assert counts["runs that met a full disk"]


@nightly
def test_a_run_that_fills_its_disk_leaves_nothing_half(tmp_path: Path) -> None:
    if os.geteuid() != 0:
        pytest.skip("only root may make a small disk")
    with (
        small_disk(16) as folder,
        subject("synthetic", Database(f"sqlite:///{folder / 'crash.db'}"), tmp_path, random.Random(1)) as found,
    ):
        counts = attacks.fill_disk(found, 20)
    assert counts["runs that met a full disk"]


@nightly
def test_the_example_that_is_killed_ends_in_the_same_database(database_url: str, tmp_path: Path) -> None:
    with subject("superheroes", Database(database_url), tmp_path, random.Random(1)) as found:
        attacks.kill(found, KILLS)


def test_the_proof_notices_rows_that_are_gone_or_twice_there(on_sqlite: Subject) -> None:
    """What it is worth: that it would have told."""
    on_sqlite.finish("nothing")
    with on_sqlite.database.engine.begin() as connection:
        connection.exec_driver_sql("UPDATE crash_sale SET amount = amount + 1 WHERE id = 7")
    with pytest.raises(BrokenPromiseError, match=r"crash_sale: 1 too many: .*\n(.*\n)*crash_sale: 1 missing"):
        on_sqlite.finish("changing a value")
    with on_sqlite.database.engine.begin() as connection:
        connection.exec_driver_sql("UPDATE crash_sale SET amount = amount - 1 WHERE id = 7")
        connection.exec_driver_sql("DELETE FROM crash_total WHERE id = 3")
    with pytest.raises(BrokenPromiseError, match="'ozelot verify' found"):
        on_sqlite.finish("deleting a row")
