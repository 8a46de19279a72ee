"""Runs use READ COMMITTED, whatever the default of the database is."""

from __future__ import annotations

import pytest
import sqlalchemy as sa

import ozelot
from ozelot import client
from ozelot.client import Client
from tests.databases import only
from tests.engine.steps import Step, drawn, rows

LEVELS = ["serializable", "repeatable read", "read uncommitted"]
DEFAULT = {"postgresql": "options=-cdefault_transaction_isolation={}", "mysql": "init_command=SET tx_isolation='{}'"}
ASKED = {"postgresql": "SHOW transaction_isolation", "mysql": "SELECT @@tx_isolation"}


@pytest.mark.parametrize("level", LEVELS)
@only("postgresql", "mariadb")
def test_many_workers_run_whatever_isolation_level_is_the_default(everywhere: Client, level: str) -> None:
    backend = everywhere.url.get_backend_name()
    word = level.replace(" ", r"\ " if backend == "postgresql" else "-")
    name, _, value = DEFAULT[backend].partition("=")
    url = everywhere.url.update_query_dict({name: value.format(word)})
    other = sa.create_engine(url)
    with other.connect() as connection:
        assert connection.scalar(sa.text(ASKED[backend])).lower().replace("-", " ") == level
    other.dispose()
    seen: list[str] = []
    names = [str(number) for number in range(40)]
    drawn.acts.update(dict.fromkeys(names, lambda step: seen.append(step.session.scalar(sa.text(ASKED[backend])))))
    database = Client(connection_string=url)
    client.set_client(database)
    try:
        result = ozelot.run([Step(name=name) for name in names], workers=4)
    finally:
        database.engine.dispose()
    assert result.ok, result.failed
    assert len(rows(everywhere)) == 40
    assert {each.lower().replace("-", " ") for each in seen} == {"read committed"}
