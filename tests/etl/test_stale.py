"""What is complete, but was made on other runs, of other inputs or by other code than today; and what is not known."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import luigi
import pytest
import sqlalchemy as sa

import ozelot
from ozelot import cache, config
from ozelot.client import Client
from ozelot.errors import DatabaseNewer
from ozelot.etl import tasks
from ozelot.etl.status import State, TaskStatus, status
from ozelot.staleness.detector import accept
from ozelot.state import markers as marker
from ozelot.state import runs as run
from ozelot.state.inputs import fingerprints
from ozelot.state.version import VERSION, versions
from tests.etl import staff
from tests.tables import create_tables

COMPLETE, STALE, ON_STALE = State.COMPLETE, State.STALE, State.ON_STALE


def found(root: luigi.Task) -> dict[str, TaskStatus]:
    return {entry.name: entry for entry in status(root)}


def states(root: luigi.Task) -> dict[str, State]:
    return {name: entry.state for name, entry in found(root).items()}


def versioned(text: str) -> type[tasks.ORMTask]:
    """The class of a task as it is after an edit: the same name, with another version."""

    class Load(tasks.ORMTask):
        creates = [staff.Unit]
        code_version = text

        def run(self) -> None:
            self.session.add(staff.Unit(name="Research"))

    return Load


@pytest.fixture
def complete(db: Client) -> Client:
    create_tables(db, staff.Employee)
    assert ozelot.run(staff.LoadStaff()).ok
    return db


def test_a_requirement_that_ran_again_makes_stale_what_stands_on_it(complete: Client) -> None:
    staff.LoadUnits.mark_incomplete()
    with complete.engine.begin() as connection:  # as somebody does who deletes by hand
        connection.execute(sa.delete(staff.Employee))
        connection.execute(sa.delete(staff.Unit))
    assert ozelot.run(staff.LoadUnits()).ok
    with complete.transaction() as session:  # and types one in again
        session.add(staff.Employee(name="Ada", unit_id=session.scalar(sa.select(staff.Unit.id).limit(1))))
    after = found(staff.LoadStaff())
    assert {name: entry.state for name, entry in after.items()} == {
        "LoadUnits": COMPLETE,
        "LoadEmployees": STALE,
        "LoadStaff": STALE,
    }
    assert after["LoadEmployees"].why == "upstream: LoadUnits {} ran again since"


def test_what_was_not_recorded_is_unknown_and_not_stale(complete: Client) -> None:
    with complete.engine.begin() as connection:
        connection.execute(sa.update(run.runs).values(fingerprint=None))
    for entry in status(staff.LoadStaff()):
        assert entry.state is COMPLETE
        assert entry.verdict is not None
        assert entry.verdict.unknown == ["by which code it was made, and into which columns"]


def test_a_record_that_cannot_be_read_is_unknown_and_not_stale(complete: Client) -> None:
    for broken in ("", "{}", '{"code": {"pieces": 1}, "schema": {"unit.id": "TEXT"}}', "[]"):
        with complete.engine.begin() as connection:
            connection.execute(sa.delete(fingerprints))
            connection.execute(sa.insert(fingerprints).values(digest="other", parts=broken))
            connection.execute(sa.update(run.runs).values(fingerprint="other"))
        for entry in status(staff.LoadStaff()):
            assert entry.state is COMPLETE
            assert entry.verdict is not None
            assert entry.verdict.unknown[0].endswith("its record cannot be read")


def test_what_0_2_loaded_is_unknown_and_not_stale(db: Client) -> None:
    create_tables(db, staff.Employee)
    marker.prepare(db.engine)
    staff.LoadUnits().mark_complete()
    (entry,) = status(staff.LoadUnits())
    assert (entry.state, entry.verdict and entry.verdict.unknown) == (COMPLETE, ["by which run it was made"])


@pytest.mark.parametrize("executor", ["thread", "process"])
def test_workers_record_what_they_ran(executor: str, db: Client) -> None:
    create_tables(db, staff.Employee)
    assert ozelot.run(staff.LoadStaff(), executor=executor).ok
    assert set(states(staff.LoadStaff()).values()) == {COMPLETE}
    assert all(entry.verdict and not entry.verdict.unknown for entry in status(staff.LoadStaff()))


def test_luigi_records_what_it_ran(db: Client) -> None:
    create_tables(db, staff.Employee)
    assert luigi.build([staff.LoadStaff()], local_scheduler=True)
    assert all(entry.verdict and not entry.verdict.unknown for entry in status(staff.LoadStaff()))


def test_other_code_is_stale_until_it_is_accepted_or_run(db: Client) -> None:
    create_tables(db, staff.Employee)
    assert ozelot.run(versioned("1")()).ok
    assert states(versioned("1")()) == {"Load": COMPLETE}
    assert states(versioned("2")()) == {"Load": STALE}
    (reasons,) = accept([versioned("2")()]).values()
    assert [reason.kind for reason in reasons] == ["code"]
    assert states(versioned("2")()) == {"Load": COMPLETE}
    assert states(versioned("3")()) == {"Load": STALE}


def test_a_file_that_goes_is_not_known(db: Client, tmp_path: Path) -> None:
    file = tmp_path / "units.txt"
    file.write_text("Research")

    class UnitFile(tasks.InputFileTask):
        input_file = file

    class Bundle(luigi.WrapperTask):
        def requires(self) -> Any:
            return [UnitFile()]

    class Load(tasks.ORMTask):
        creates = [staff.Unit]

        def requires(self) -> Any:
            return [Bundle()]  # type: ignore[no-untyped-call]

        def run(self) -> None:
            self.session.add(staff.Unit(name=file.read_text()))

    create_tables(db, staff.Employee)
    assert ozelot.run(Load()).ok
    assert found(Load())["Load"].state is COMPLETE
    file.write_text("Research, Sales")
    assert found(Load())["Load"].why == "input: units.txt"
    file.write_text("Research")
    assert found(Load())["Load"].state is COMPLETE


@pytest.fixture
def pages(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[cache.RequestCache]:
    monkeypatch.setattr(config, "REQUEST_CACHE_PATH", str(tmp_path / "pages.db"), raising=False)
    cache.reset_request_cache()
    yield cache.get_request_cache()
    cache.reset_request_cache()


def test_another_page_makes_stale_who_read_it(db: Client, pages: cache.RequestCache) -> None:
    class ReadThor(tasks.ORMTask):
        creates = [staff.Unit]

        def run(self) -> None:
            self.session.add(staff.Unit(name=cache.get_request_cache().get("https://wiki.example/Thor")))

    create_tables(db, staff.Employee)
    pages.put("https://wiki.example/Thor", "Thor")
    assert ozelot.run(ReadThor()).ok
    assert states(ReadThor()) == {"ReadThor": COMPLETE}
    pages.put("https://wiki.example/Thor", "Thor Odinson")
    assert found(ReadThor())["ReadThor"].why == "page: https://wiki.example/Thor"
    pages.clear("https://wiki.example/Thor")
    (entry,) = status(ReadThor())
    assert entry.state is COMPLETE
    assert entry.verdict and entry.verdict.unknown == ["what 1 of its 1 pages hold: they are not kept"]


def test_a_requirement_that_turned_up_while_a_task_ran_counts(db: Client) -> None:
    class Late(tasks.ORMTask):
        creates = [staff.Employee]

        def run(self) -> Any:
            yield staff.LoadUnits()

    create_tables(db, staff.Employee)
    assert ozelot.run(Late()).ok
    assert states(Late()) == {"LoadUnits": COMPLETE, "Late": COMPLETE}
    with db.engine.begin() as connection:
        other = run.begin(connection, [run.Starting(marker.marker_key("LoadUnits", "{}"), "LoadUnits", "{}")])
        for started in other.values():
            run.finish(connection, started.run_id, run.utc_now(), {}, [], {})
    assert found(Late())["Late"].why == "upstream: LoadUnits {} ran again since"


def test_a_database_of_a_later_ozelot_is_refused_in_words(complete: Client, database_url: str) -> None:
    with complete.engine.begin() as connection:
        connection.execute(sa.update(versions).values(version=VERSION + 1))
    later = Client(connection_string=database_url)
    ozelot.client.set_client(later)
    try:
        for act in (lambda: status(staff.LoadStaff()), lambda: ozelot.run(staff.LoadStaff())):
            with pytest.raises(DatabaseNewer, match="A later ozelot brought the database to version 2; this one knows"):
                act()
    finally:
        later.engine.dispose()


def test_tables_from_before_are_brought_up_to_date_by_the_next_run(db: Client) -> None:
    create_tables(db, staff.Employee)
    assert ozelot.run(staff.LoadUnits()).ok
    with db.engine.begin() as connection:
        versions.drop(connection)
        connection.execute(sa.text("ALTER TABLE ozelot_run DROP COLUMN fingerprint"))
    marker._current.discard(db.engine)
    assert states(staff.LoadUnits()) == {"LoadUnits": COMPLETE}
    assert ozelot.run(staff.LoadStaff()).ok
    after = found(staff.LoadStaff())
    assert {name: entry.state for name, entry in after.items()} == dict.fromkeys(after, COMPLETE)
    assert after["LoadUnits"].verdict and after["LoadUnits"].verdict.unknown
    assert after["LoadEmployees"].verdict and not after["LoadEmployees"].verdict.unknown
