"""Tests that have a database one after another find it as if it were new, whatever the one before left."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import sqlalchemy as sa

from tests import databases

Servers = dict[str, tuple[sa.Engine | None, str]]

MADE = {
    "tables": "CREATE TABLE a (id SERIAL PRIMARY KEY); CREATE TABLE b (a INTEGER REFERENCES a)",
    "schemas": "CREATE SCHEMA other; CREATE TABLE other.a (id INTEGER); CREATE SEQUENCE other.s",
    "types and functions": "CREATE TYPE t AS ENUM ('x'); CREATE FUNCTION f() RETURNS t RETURN 'x'::t",
    "large objects": "SELECT lo_create(0)",
    "settings": "DO $$ BEGIN EXECUTE 'ALTER DATABASE ' || current_database() || ' SET work_mem = 64'; END $$",
    "locks": "SELECT pg_advisory_lock(7)",
    "no schema": "DROP SCHEMA public",
}
SEEN = {
    "tables": "SELECT count(*) FROM pg_tables WHERE schemaname !~ '^(pg_|information_schema$)'",
    "schemas": "SELECT count(*) - 1 FROM pg_namespace WHERE nspname !~ '^(pg_|information_schema$)'",
    "types": "SELECT count(*) FROM pg_type WHERE typname IN ('a', 'b', 't')",
    "functions": "SELECT count(*) FROM pg_proc WHERE proname = 'f'",
    "large objects": "SELECT count(*) FROM pg_largeobject_metadata",
    "settings": "SELECT count(*) FROM pg_settings WHERE name = 'work_mem' AND source = 'database'",
    "locks": "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND database = "
    "(SELECT oid FROM pg_database WHERE datname = current_database())",
    "connections": "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() "
    "AND backend_type = 'client backend' AND pid <> pg_backend_pid()",
}


@pytest.fixture
def postgresql(servers: Servers) -> sa.Engine:
    server, reason = servers["postgresql"]
    if server is None:
        pytest.skip(reason)
    return server


@pytest.fixture
def kept(postgresql: sa.Engine) -> Iterator[databases.Kept]:
    found = databases.Kept(postgresql)
    yield found
    found.drop()


def look(url: str) -> dict[str, int]:
    with sa.create_engine(url, poolclass=sa.NullPool).connect() as connection:
        return {name: connection.scalar(sa.text(query)) or 0 for name, query in SEEN.items()}


@pytest.mark.parametrize("name", MADE)
def test_nothing_is_left_for_the_next(kept: databases.Kept, name: str) -> None:
    with kept.lent() as url:
        assert look(url) == dict.fromkeys(SEEN, 0)
        connection = sa.create_engine(url, isolation_level="AUTOCOMMIT", poolclass=sa.NullPool).connect()
        connection.exec_driver_sql(MADE[name])
        if name != "locks":  # which go with the connection, that stays open
            connection.close()
    with kept.lent() as url:
        assert look(url) == dict.fromkeys(SEEN, 0)
        with sa.create_engine(url, poolclass=sa.NullPool).begin() as other:
            other.exec_driver_sql("CREATE TABLE a (id INTEGER)")
    if name == "locks":
        connection.invalidate()
        connection.close()


def test_one_that_was_left_tidy_is_lent_again(kept: databases.Kept) -> None:
    urls = []
    for _ in range(2):
        with kept.lent() as url:
            urls.append(url)
            with sa.create_engine(url, poolclass=sa.NullPool).begin() as connection:
                connection.exec_driver_sql(MADE["tables"])
    assert urls[0] == urls[1]


@pytest.mark.parametrize("kind", databases.SERVERS)
def test_a_database_can_be_dropped_under_a_transaction_that_was_left_open(servers: Servers, kind: str) -> None:
    server, reason = servers[kind]
    if server is None:
        pytest.skip(reason)
    with databases.fresh(server) as url:
        name = sa.make_url(url).database
        left = sa.create_engine(url, poolclass=sa.NullPool).connect()
        left.exec_driver_sql("CREATE TABLE a (id INTEGER)")
        left.exec_driver_sql("INSERT INTO a VALUES (1)")
    assert name not in sa.inspect(server).get_schema_names()
    left.invalidate()
    left.close()
    with pytest.raises(sa.exc.OperationalError):
        sa.create_engine(url, poolclass=sa.NullPool).connect()
