"""What the page does with data, databases and visitors that are not as they should be."""

from __future__ import annotations

import re
import socket
import sqlite3
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import luigi
import pytest
import sqlalchemy as sa
from sqlalchemy import String
from sqlalchemy.orm import Mapped, mapped_column

from ozelot import client, config
from ozelot.cli import ui
from ozelot.client import Client
from ozelot.errors import DatabaseUnavailable, UsageError
from ozelot.etl import tasks
from ozelot.orm.base import Base
from ozelot.state import runs as run
from ozelot.state.markers import OWN_TABLES
from ozelot.ui import app, cells, read_only_client, run_list, snapshot, table_view
from ozelot.ui.snapshot import Keeper, Look, Pipeline
from tests.databases import only
from tests.statements import execute
from tests.tables import create_tables
from tests.ui.keeping import Clock, read_to_its_end
from tests.ui.serving import Served, look_at, served

SECRET = "ada@example.org"


class Member(Base):
    name: Mapped[str] = mapped_column(String(100))
    mail: Mapped[str] = mapped_column("address", String(100), unique=True, info={"hidden": True})


class LoadMembers(tasks.ORMTask):
    creates = [Member]

    def run(self) -> None:
        self.load(Member, [{"name": name, "mail": SECRET} for name in ("Ada", "Eve")])


class LoadMembersOneByOne(tasks.ORMTask):
    creates = [Member]

    def run(self) -> None:
        for name in ("Ada", "Eve"):
            self.session.add(Member(name=name, mail=SECRET))
            self.session.flush()


class LoadAll(tasks.ORMWrapperTask):
    def requires(self) -> list[luigi.Task]:
        return [LoadMembersOneByOne()]


@pytest.fixture
def page(db: Client, database_url: str) -> Iterator[Served]:
    """The page of a database in which only the tables of ozelot and of members are."""
    create_tables(db, Member)
    with served(database_url, None) as found:
        yield found


# Values


@only("sqlite")
def test_values_that_do_not_fit_their_types_are_shown_as_they_are(db: Client, page: Served) -> None:
    execute(
        db,
        "CREATE TABLE odd (id INTEGER PRIMARY KEY, day DATE, at DATETIME, doc JSON, price NUMERIC(10, 2), old BOOLEAN, "
        "txt TEXT, raw BLOB)",
        "INSERT INTO odd VALUES (1, 'no day', 'no time', '{no doc', 'no price', 'no bool', CAST(x'41ff42' AS TEXT), "
        "x'0001')",
        "INSERT INTO odd VALUES (2, '2026-01-02', '2026-01-02 03:04:05.000000', '{\"a\": 1}', 1.5, 1, 'text', 'text')",
    )
    text = look_at(page, "/data/odd")
    assert "1 no day no time {no doc no price no bool A\N{REPLACEMENT CHARACTER}B 2 bytes" in text
    assert '2 2026-01-02 2026-01-02 03:04:05 {"a": 1} 1.5 True text text' in text
    assert page.ask("/data/odd?profile=1").code == 200


@only("postgresql")
@pytest.mark.filterwarnings("ignore:Did not recognize type")
def test_types_that_nobody_knows_are_shown_and_not_compared(db: Client, page: Served) -> None:
    execute(
        db,
        "CREATE DOMAIN doc AS json",
        "CREATE TABLE odd (id int PRIMARY KEY, p point, x xml, j json[], d date, r int4range, o doc, b bytea)",
        "INSERT INTO odd VALUES (1, '(1,2)', '<a/>', ARRAY['{}'::json], 'infinity', '[1,3)', '{}', '\\x00ff')",
    )
    assert '1 (1,2) <a/> {"{}"} infinity [1,3) {} 2 bytes' in look_at(page, "/data/odd")
    assert "p ? may be 0" in look_at(page, "/data/odd?profile=1")


def test_no_more_of_a_value_is_fetched_than_is_shown(db: Client, page: Served) -> None:
    made = sa.Table("large", sa.MetaData(), sa.Column("t", sa.Text), sa.Column("b", sa.LargeBinary(100_000)))
    with db.engine.begin() as connection:
        made.create(connection)
        connection.execute(sa.insert(made), [{"t": "long" * 12_000, "b": b"\0" * 80_000}])
    query = table_view.sample(page.keeper.database, table_view.described(page.keeper.database, ["large"])["large"])
    assert query.rows[0][0] == f"{('long' * 50)}\N{HORIZONTAL ELLIPSIS}"
    assert re.fullmatch("80,?000 bytes", query.rows[0][1] or "")
    fetched: list[int] = []
    real = cells.value

    def value(found: object) -> str:
        fetched.append(len(found) if isinstance(found, str | bytes) else 0)
        return real(found)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(cells, "value", value)
        look_at(page, "/data/large")
    assert 0 < max(fetched) <= cells.LONGEST + 1


def test_a_type_that_only_knows_its_own_database_is_named_by_its_class() -> None:
    class Strange(sa.types.UserDefinedType[str]):
        def __repr__(self) -> str:
            raise TypeError

    assert "Strange" in cells.type_name(Strange())
    assert cells.type_name(sa.Integer()) == "INTEGER"


# What is to be hidden


@pytest.mark.parametrize("task", [LoadMembers, LoadMembersOneByOne])
def test_the_row_that_an_error_quotes_is_hidden(db: Client, database_url: str, task: type[tasks.ORMTask]) -> None:
    create_tables(db, Member)
    assert not task.build()
    with db.create_session() as session:
        (entry,) = run_list.find(session).runs
        assert SECRET in (entry.error or "")
    with served(database_url, task()) as page:
        (key,) = page.keeper.pipeline.nodes
        for path in ("/", "/tasks", f"/tasks/{key}", "/runs", f"/runs/{entry.id}", "/graph.json"):
            text = page.ask(path).text
            assert "Error" in text or path == "/graph.json"
            assert SECRET not in text
        assert "hidden]" in page.ask(f"/tasks/{key}").text


@only("sqlite")
def test_a_column_is_hidden_however_its_name_is_written(db: Client, page: Served) -> None:
    execute(
        db,
        "DROP TABLE member",
        "CREATE TABLE MEMBER (ID INTEGER PRIMARY KEY, NAME TEXT, ADDRESS TEXT)",
        f"INSERT INTO MEMBER VALUES (1, 'Ada', '{SECRET}')",
    )
    assert "1 Ada [hidden]" in look_at(page, "/data/MEMBER?profile=1")


@only("sqlite")
def test_a_model_of_another_schema_shows_nothing_that_one_of_the_same_name_hides(db: Client, page: Served) -> None:
    execute(db, f"INSERT INTO member VALUES (1, 'Ada', '{SECRET}')")
    other = sa.Table("member", Base.metadata, sa.Column("address", sa.String), schema="elsewhere")
    try:
        assert "Ada [hidden]" in look_at(page, "/data/member")
    finally:
        Base.metadata.remove(other)


# What is asked for


@pytest.mark.parametrize("number", [2**31, 10**14, 10**30])
def test_numbers_that_no_run_has_find_none(page: Served, number: int) -> None:
    assert page.ask(f"/runs/{number}").code == 404
    assert page.ask(f"/runs?before={number}").code == 200


def test_what_no_database_takes_finds_nothing(page: Served) -> None:
    assert page.ask("/tasks/%00").code == 404
    assert page.ask("/runs?name=%00").code == 200


def test_a_page_beyond_the_last_one_is_the_last_one(db: Client, database_url: str) -> None:
    create_tables(db, Member)
    with served(database_url, LoadAll()) as page:
        for number in ("0", "2", "999999"):
            assert "LoadMembersOneByOne" in look_at(page, f"/tasks?page={number}")
        assert page.ask(f"/tasks?{'state=incomplete&' * 1000}").text.count('name="state"') == 1


@only("sqlite")
def test_a_table_whose_name_is_like_a_path_is_linked_to(db: Client, page: Served) -> None:
    execute(db, 'CREATE TABLE "../a/b" (id INTEGER)')
    assert 'href="/data/..%2Fa%2Fb"' in page.ask("/data").text
    assert "../a/b" in look_at(page, "/data/..%2Fa%2Fb")


def test_runs_that_were_aborted_are_found(db: Client, page: Served) -> None:
    now = run.utc_now()
    one = {"key": "k", "name": "Gone", "params": "{}", "started": now, "host": "h", "process": 1}
    with db.engine.begin() as connection:
        connection.execute(sa.insert(run.runs), [{**one, "state": state} for state in (run.ABORTED, run.RUNNING)])
    assert look_at(page, "/runs?state=aborted").count("Gone aborted") == 2
    assert "No runs" in look_at(page, "/runs?state=running")


@only("sqlite")
def test_older_runs_are_not_taken_for_the_last_one(db: Client, database_url: str) -> None:
    create_tables(db, Member)
    assert not LoadMembersOneByOne.build()
    now = run.utc_now()
    with db.engine.begin() as connection:
        (last,) = connection.execute(sa.select(run.runs)).mappings()
        old = {**last, "id": 1000, "error": "ValueError: of long ago", "started": now}
        connection.execute(sa.update(run.runs).values(id=2000))
        connection.execute(sa.insert(run.runs), [old])
    with served(database_url, LoadMembersOneByOne()) as page:
        path = f"/tasks/{last['key']}?before=2000"
        why = look_at(page, path).partition("Runs")[0]
        assert "IntegrityError" in why
        assert "of long ago" not in why
        assert page.ask(f"/tasks/{last['key']}?before=1").code == 200


def test_what_goes_wrong_elsewhere_is_said_on_a_page_and_not_in_full(
    page: Served, monkeypatch: pytest.MonkeyPatch
) -> None:
    def stumble(*_: object) -> None:
        raise ValueError(SECRET)

    monkeypatch.setattr(table_view, "names", stumble)
    answer = page.ask("/data")
    assert answer.code == 500
    assert "ValueError" in answer.text
    assert SECRET not in answer.text
    assert "content-security-policy" in answer.headers


def test_asking_for_the_head_of_what_is_new_comes_to_an_end(page: Served) -> None:
    with socket.create_connection(("127.0.0.1", page.port), timeout=5) as connection:
        for method, path in (("HEAD", "/events"), ("HEAD", "/tasks")):
            connection.sendall(f"{method} {path} HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n".encode())
            assert connection.recv(10_000).startswith(b"HTTP/1.1 200")


def test_no_more_pages_than_some_are_told_what_is_new(page: Served, database_url: str) -> None:
    with served(database_url, None, most_streams=0) as full:
        assert full.ask("/events").code == 503


@pytest.mark.parametrize("host", ["[::1x", "[::1]evil.example", "127.0.0.1:evil", "localhost:80@evil.example"])
def test_what_only_begins_like_a_name_of_this_machine_is_refused(page: Served, host: str) -> None:
    assert page.ask("/", headers={"Host": host}).code == 400


def test_another_site_can_lead_here_but_not_have_the_database_work(page: Served) -> None:
    for site in ("cross-site", "same-site"):
        assert page.ask("/data", headers={"Sec-Fetch-Site": site, "Sec-Fetch-Dest": "iframe"}).code == 403
        assert page.ask("/data", headers={"Sec-Fetch-Site": site, "Sec-Fetch-Dest": "document"}).code == 200
    assert page.ask("/data", headers={"Sec-Fetch-Site": "same-origin", "Sec-Fetch-Dest": "empty"}).code == 200


# A database that is slow, locked, gone, or another one


@only("postgresql")
def test_a_table_that_is_locked_keeps_no_other_from_being_shown(
    db: Client, database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    create_tables(db, Member)
    execute(db, "CREATE TABLE locked (id int DEFAULT 1)", "CREATE TABLE free (id int)")
    real = read_only_client.make_read_only
    monkeypatch.setattr("tests.ui.serving.make_read_only", lambda database, _: real(database, 0.3))
    with served(database_url, None) as page, db.engine.begin() as connection:
        connection.exec_driver_sql("LOCK TABLE locked IN ACCESS EXCLUSIVE MODE")
        assert "0 rows" in look_at(page, "/data/free")
        assert "locked not counted" in look_at(page, "/data")
        assert page.ask("/data/locked").code == 503


@only("sqlite")
def test_a_file_that_is_locked_is_waited_for_no_longer_than_for_anything_else(
    db: Client, database_url: str, tmp_path: Path
) -> None:
    path = tmp_path / "old.db"
    with sqlite3.connect(path, isolation_level=None) as holder:
        holder.execute("CREATE TABLE member (id INTEGER)")
        reader = Client(connection_string=f"sqlite:///{path}")
        read_only_client.make_read_only(reader, 0.2)
        assert table_view.names(reader) == ["member"]
        holder.execute("BEGIN EXCLUSIVE")
        start = time.monotonic()
        with (
            pytest.raises(read_only_client.TakesTooLong),
            read_only_client.within_the_limit(),
            reader.engine.connect() as connection,
        ):
            connection.execute(sa.text("SELECT * FROM member"))
        assert time.monotonic() - start < 10
        holder.execute("ROLLBACK")
    holder.close()
    reader.engine.dispose()


def test_a_file_that_is_gone_is_not_made_and_another_one_in_its_place_is_read(tmp_path: Path) -> None:
    path, other = tmp_path / "a b?.db", tmp_path / "other.db"
    for one, table in ((path, "first"), (other, "second")):
        with sqlite3.connect(one) as connection:
            connection.execute(f"CREATE TABLE {table} (id INTEGER)")
        connection.close()
    reader = Client(connection_string=sa.URL.create("sqlite", database=str(path)))
    read_only_client.make_read_only(reader, 5)
    assert table_view.names(reader) == ["first"]
    kept = path.rename(tmp_path / "kept.db")
    with pytest.raises(DatabaseUnavailable, match="gone"):
        table_view.names(reader)
    assert not path.exists()
    other.rename(path)
    assert table_view.names(reader) == ["second"]
    kept.replace(path)
    assert table_view.names(reader) == ["first"]
    reader.engine.dispose()


def test_a_file_that_the_page_may_not_write_is_read_anew_when_its_owner_writes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "of_others.db"
    with sqlite3.connect(path) as connection:
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("CREATE TABLE first (id INTEGER)")
    connection.close()
    monkeypatch.setattr("ozelot.db.sqlite_file.is_read_only", lambda _: True)
    reader = Client(connection_string=f"sqlite:///{path}")
    read_only_client.make_read_only(reader, 5)
    assert table_view.names(reader) == ["first"]
    with sqlite3.connect(path) as connection:
        connection.execute("CREATE TABLE second (id INTEGER)")
        connection.commit()
        assert table_view.names(reader) == ["first", "second"]
    connection.close()
    assert table_view.names(reader) == ["first", "second"]
    reader.engine.dispose()


@only("sqlite")
def test_while_the_database_is_slow_all_but_one_are_answered(db: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    create_tables(db, Member)
    clock = Clock()
    found = Keeper(db, LoadAll(), clock)
    clock.now += 10
    asked, goes_on = threading.Event(), threading.Event()

    def slow() -> None:
        asked.set()
        assert goes_on.wait(20)

    monkeypatch.setattr(found, "_look_at_runs", slow)
    first = threading.Thread(target=found.since, args=(0,))
    first.start()
    assert asked.wait(20)
    others = [threading.Thread(target=found.since, args=(0,), daemon=True) for _ in range(3)]
    for other in others:
        other.start()
        other.join(5)
    assert not any(other.is_alive() for other in others)
    goes_on.set()
    first.join()


@only("sqlite")
def test_trouble_is_told_to_all_until_it_is_over(db: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    create_tables(db, Member)
    clock = Clock()
    found = Keeper(db, LoadAll(), clock)
    news = app.News(found, lambda: False)
    with monkeypatch.context() as patch:
        patch.setattr(found, "_newest", lambda: (_ for _ in ()).throw(DatabaseUnavailable("gone")))
        clock.now += 10
        for _ in range(2):
            with pytest.raises(DatabaseUnavailable):
                found.since(0)
        assert news._told_since(0) == (0, app._TROUBLE)
    clock.now += 10
    assert news._told_since(0) == (0, "")
    assert found.pipeline.nodes


@only("sqlite")
def test_a_reading_that_failed_is_tried_again(db: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    create_tables(db, Member)
    clock = Clock()
    found = Keeper(db, LoadAll(), clock)
    assert not LoadAll.build()

    def read(*_: object) -> Pipeline:
        raise ValueError("no")

    for seconds in (1, 100, 100):
        with monkeypatch.context() as patch:
            if seconds == 1:
                patch.setattr(snapshot, "read", read)
            clock.now += seconds
            found.since(0)
            read_to_its_end(found)
    assert found._next_reading > 100
    assert {node.look for node in found.pipeline.nodes.values()} == {Look.FAILED, Look.INCOMPLETE}


@only("sqlite")
def test_runs_are_told_after_others_were_forgotten(db: Client) -> None:
    create_tables(db, Member)
    with db.engine.begin() as connection:
        Base.metadata.create_all(connection, tables=list(OWN_TABLES))
    now = run.utc_now()
    one = {"key": "k", "name": "Old", "params": "{}", "state": run.FAILED, "started": now, "host": "h", "process": 1}
    with db.engine.begin() as connection:
        connection.execute(sa.insert(run.runs), [{**one, "id": 500}])
    clock = Clock()
    found = Keeper(db, LoadAll(), clock)
    with db.engine.begin() as connection:
        connection.execute(sa.delete(run.runs))
    clock.now += 2
    found.since(0)
    assert not LoadAll.build()
    clock.now += 2
    assert Look.FAILED in {look for look, _ in found.since(0).looks.values()}
    read_to_its_end(found)


# Where it listens


@pytest.mark.parametrize("token", ["\N{GREEK SMALL LETTER ALPHA}" * 20, "with\nsomething\nelse\n"])
def test_a_token_that_no_header_can_hold_is_refused(token: str) -> None:
    with pytest.raises(UsageError, match="ASCII"):
        ui.serve("127.0.0.1", 0, token)


def test_a_token_with_any_sign_is_in_the_address_as_a_browser_needs_it(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("uvicorn.Server.run", lambda _, sockets: [one.close() for one in sockets])
    monkeypatch.setattr(config, "PIPELINE", None)
    client.set_client(Client(connection_string="sqlite://"))
    assert ui.serve("127.0.0.1", 0, "a+b/c==&d#0123456789") == 0
    assert "?token=a%2Bb/c%3D%3D%26d%230123456789" in capsys.readouterr().out
    client.set_client(None)
