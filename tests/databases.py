"""Fresh databases: SQLite files always, PostgreSQL and MariaDB where a server answers."""

from __future__ import annotations

import os
import sqlite3
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TypeAlias

import pytest
import sqlalchemy as sa

#: The kinds of server, the variable that names another one than the default, and the default.
SERVERS = {
    "postgresql": ("OZELOT_TEST_POSTGRES_URL", "postgresql+psycopg://postgres@127.0.0.1:5432/postgres"),
    "mariadb": ("OZELOT_TEST_MYSQL_URL", "mysql+pymysql://root@127.0.0.1:3306/"),
}

#: Each kind's server; or None, and why it cannot be used.
Servers: TypeAlias = dict[str, tuple[sa.Engine | None, str]]


def server(kind: str) -> tuple[sa.Engine | None, str]:
    """The server of a kind; or None, and why it cannot be used."""
    variable, default = SERVERS[kind]
    url = os.environ.get(variable, default)
    engine = sa.create_engine(url, isolation_level="AUTOCOMMIT", connect_args={"connect_timeout": 3})
    try:
        engine.connect().close()
    except sa.exc.OperationalError:
        if variable in os.environ:
            raise
        return None, f"no {kind} answers on 127.0.0.1; name one in {variable}"
    return engine, ""


def only(*kinds: str) -> pytest.MarkDecorator:
    """Marks tests that have a meaning on these kinds of database alone."""
    each = [pytest.param(kind, marks=pytest.mark.servers) for kind in kinds]
    return pytest.mark.parametrize("database_url", each, indirect=True)


def is_wanted(found: tuple[sa.Engine | None, str]) -> sa.Engine:
    """The server; without one, the test is left out, or fails where all databases have to be there."""
    engine, reason = found
    if engine is None:
        if os.environ.get("OZELOT_TEST_ALL_DATABASES"):
            pytest.fail(reason)
        pytest.skip(reason)
    return engine


def make_as_0_2(path: Path, *statements: str) -> None:
    """Make an SQLite file as ozelot 0.2 left it, with the marker of one task, and what other statements add."""
    with sqlite3.connect(path) as connection:
        connection.execute(
            "CREATE TABLE ormtargetmarker "
            "(id INTEGER PRIMARY KEY, name VARCHAR(100), params VARCHAR(10000), created DATETIME)"
        )
        connection.execute("INSERT INTO ormtargetmarker VALUES (1, 'LoadOld', '{}', '2018-05-28 11:18:11.257000')")
        for statement in statements:
            connection.execute(statement)
    connection.close()


@contextmanager
def fresh(on: sa.Engine) -> Iterator[str]:
    """The URL of a new, empty database on a server; it is dropped at the end, whoever is still connected."""
    name = _create(on)
    try:
        yield _url(on, name)
    finally:
        drop(on, name)


def _create(on: sa.Engine) -> str:
    name = f"ozelot_{uuid.uuid4().hex[:12]}"
    with on.connect() as connection:
        connection.execute(sa.text(f"CREATE DATABASE {name}"))
    return name


def drop(on: sa.Engine, name: str) -> None:
    """Drop a database, whoever is connected."""
    with on.connect() as connection:
        if on.dialect.name == "postgresql":
            connection.execute(sa.text(f"DROP DATABASE IF EXISTS {name} WITH (FORCE)"))
            return
        others = sa.text("SELECT id FROM information_schema.processlist WHERE db = :name")
        for number in connection.scalars(others, {"name": name}).all():
            with suppress(sa.exc.OperationalError):  # it ended by itself
                connection.execute(sa.text(f"KILL {number}"))
        connection.execute(sa.text(f"DROP DATABASE {name}"))


def _url(on: sa.Engine, name: str) -> str:
    return on.url.set(database=name).render_as_string(hide_password=False)


#: What a database of PostgreSQL holds beside schemas and what is in them, and what is left of those.
_LEFT = " UNION ALL ".join(
    f"SELECT '{catalogue}', count(*) FROM {catalogue}"
    for catalogue in (
        *("pg_class", "pg_constraint", "pg_proc", "pg_type", "pg_namespace", "pg_extension", "pg_cast", "pg_language"),
        *("pg_event_trigger", "pg_largeobject_metadata", "pg_default_acl", "pg_publication", "pg_foreign_server"),
        "pg_database JOIN pg_db_role_setting ON setdatabase = pg_database.oid AND datname = current_database(), "
        "unnest(setconfig)",
    )
)
_SCHEMAS = "SELECT quote_ident(nspname) FROM pg_namespace WHERE nspname !~ '^(pg_|information_schema$)'"


class Kept:
    """A database of PostgreSQL that tests have one after another, each as if it were new.

    PostgreSQL takes longer to make a database and to drop it than most tests take. Where somebody is still connected
    after a test, or something is left when all schemas are gone, it is dropped all the same, and the next is a new one.
    """

    def __init__(self, on: sa.Engine) -> None:
        self._on = on
        self._name = ""
        self._left: list[sa.Row[tuple[str, int]]] = []

    @contextmanager
    def lent(self) -> Iterator[str]:
        """The URL of the database, which is empty."""
        if not self._name:
            self._name = _create(self._on)
            with self._connected() as connection:
                # Where a server crashes in tests, that is another one.
                connection.execute(sa.text(f"ALTER DATABASE {self._name} SET synchronous_commit = off"))
                self._left = list(connection.execute(sa.text(_LEFT)))
        try:
            yield _url(self._on, self._name)
        finally:
            if not (self._is_left_alone() and self._is_new_again()):
                self.drop()

    def drop(self) -> None:
        """Drop it, whoever is still connected."""
        if self._name:
            drop(self._on, self._name)
            self._name = ""

    def _connected(self) -> sa.Connection:
        url = _url(self._on, self._name)
        return sa.create_engine(url, isolation_level="AUTOCOMMIT", poolclass=sa.NullPool).connect()

    def _is_left_alone(self) -> bool:
        """Whether nobody is connected; the server takes a moment to see that a connection was closed."""
        others = sa.text(
            "SELECT count(*) FROM pg_stat_activity WHERE datname = :name AND backend_type = 'client backend'"
        )
        end = time.monotonic() + 1
        with self._on.connect() as connection:
            while connection.scalar(others, {"name": self._name}):
                if time.monotonic() > end:
                    return False
        return True

    def _is_new_again(self) -> bool:
        with self._connected() as connection:
            owner = connection.scalar(sa.text("SELECT nspowner::regrole FROM pg_namespace WHERE nspname = 'public'"))
            if owner is None:
                return False
            for schema in connection.scalars(sa.text(_SCHEMAS)).all():
                connection.execute(sa.text(f"DROP SCHEMA {schema} CASCADE"))
            connection.execute(sa.text(f"CREATE SCHEMA public AUTHORIZATION {owner}"))
            connection.execute(sa.text("GRANT USAGE ON SCHEMA public TO public"))
            return list(connection.execute(sa.text(_LEFT))) == self._left
