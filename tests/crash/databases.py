"""Databases to attack: made, emptied, and with their connections cut."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import sqlalchemy as sa
from sqlalchemy.exc import DBAPIError
from sqlalchemy.pool import NullPool

from ozelot.client import Client
from ozelot.state import lineage
from tests.crash.launching import polled
from tests.databases import SERVERS, fresh

KINDS = ["sqlite", *SERVERS]

_OTHERS = {
    "postgresql": "SELECT pid FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()",
    "mysql": "SELECT id FROM information_schema.processlist WHERE db = database() AND id <> connection_id()",
}
_CUT = {"postgresql": "SELECT pg_terminate_backend({})", "mysql": "KILL CONNECTION {}"}


class Database:
    """A database as it is seen from outside; the commands that are attacked have connections of their own.

    Attributes:
        url: its URL, as the commands take it.
        kind: ``sqlite``, ``postgresql`` or ``mysql``, which is also MariaDB.
    """

    def __init__(self, url: str) -> None:
        self.url = url
        self.engine = sa.create_engine(url, poolclass=NullPool)
        self.kind = self.engine.dialect.name
        self._tables: sa.MetaData | None = None

    @property
    def tables(self) -> sa.MetaData:
        """All tables that are in it, as the database itself tells."""
        if self._tables is None:
            self._tables = sa.MetaData()
            self._tables.reflect(self.engine)
        return self._tables

    def empty(self) -> None:
        """Delete all rows."""
        with self.engine.begin() as connection:
            if self.kind == "mysql":
                connection.execute(sa.text("SET FOREIGN_KEY_CHECKS = 0"))
            for table in reversed(self.tables.sorted_tables):
                connection.execute(sa.delete(table))

    def others(self) -> list[int]:
        """The connections of all others, as the server numbers them."""
        if self.kind == "sqlite":
            return []
        with self.engine.connect() as connection:
            return list(connection.scalars(sa.text(_OTHERS[self.kind])))

    def cut_others(self) -> int:
        """Have the server end all other connections; returns how many."""
        cut = 0
        with self.engine.connect() as connection:
            for number in connection.scalars(sa.text(_OTHERS[self.kind])).all():
                with suppress(DBAPIError):  # it just ended by itself
                    connection.execute(sa.text(_CUT[self.kind].format(int(number))))
                    cut += 1
        return cut

    def wait_until_left(self) -> None:
        """Wait until the server has seen that whoever was killed is gone."""
        for _ in polled("connections of a process that is gone"):
            if not self.others():
                return

    def told_as_running(self) -> list[str]:
        """The tasks of which ozelot would say that they run."""
        client = Client(connection_string=self.url)
        try:
            with client.create_session() as session:
                return [f"{entry.name} {entry.params}" for entry in lineage.runs(session) if entry.state == "running"]
        finally:
            client.engine.dispose()


@contextmanager
def created(kind: str, folder: Path) -> Iterator[Database]:
    """A new, empty database, dropped at the end.

    Args:
        kind: one of :data:`KINDS`.
        folder: for the file of SQLite.
    """
    if kind == "sqlite":
        yield Database(f"sqlite:///{folder / 'crash.db'}")
        return
    variable, default = SERVERS[kind]
    with created_on(os.environ.get(variable, default)) as database:
        yield database


@contextmanager
def created_on(server: str) -> Iterator[Database]:
    """The same on a server with that URL."""
    engine = sa.create_engine(server, isolation_level="AUTOCOMMIT", poolclass=NullPool)
    with fresh(engine) as url:
        yield Database(url)
