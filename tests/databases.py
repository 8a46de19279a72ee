"""Fresh databases: SQLite files always, PostgreSQL and MariaDB where a server answers."""

from __future__ import annotations

import os
import uuid
from collections.abc import Iterator
from contextlib import contextmanager

import sqlalchemy as sa

#: The kinds of server, the variable that names another one than the default, and the default.
SERVERS = {
    "postgresql": ("OZELOT_TEST_POSTGRES_URL", "postgresql+psycopg://postgres@127.0.0.1:5432/postgres"),
    "mariadb": ("OZELOT_TEST_MYSQL_URL", "mysql+pymysql://root@127.0.0.1:3306/"),
}


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


@contextmanager
def fresh(on: sa.Engine) -> Iterator[str]:
    """The URL of a new, empty database on a server; it is dropped at the end, whoever is still connected."""
    name = f"ozelot_{uuid.uuid4().hex[:12]}"
    with on.connect() as connection:
        connection.execute(sa.text(f"CREATE DATABASE {name}"))
    try:
        yield on.url.set(database=name).render_as_string(hide_password=False)
    finally:
        with on.connect() as connection:
            force = " WITH (FORCE)" if on.dialect.name == "postgresql" else ""
            connection.execute(sa.text(f"DROP DATABASE {name}{force}"))
