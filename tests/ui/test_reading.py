"""The page reads, never for long, and never writes."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import sqlalchemy as sa

from ozelot.client import Client
from ozelot.orm.base import Base
from ozelot.ui.read_only_client import TakesTooLong, make_read_only, within_the_limit
from tests.etl import staff
from tests.tables import create_tables

pytestmark = pytest.mark.servers

#: What takes forever on each database.
FOREVER = {
    "sqlite": "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT count(*) FROM n",
    "postgresql": "SELECT pg_sleep(60)",
    "mysql": "SELECT sum(a.seq * b.seq) FROM seq_1_to_1000000 a JOIN seq_1_to_1000000 b",
}


@pytest.fixture
def reader(db: Client, database_url: str) -> Iterator[Client]:
    """A client as that of the page, on a database with the tables of some models."""
    create_tables(db, staff.Unit, staff.Employee)
    found = Client(connection_string=database_url)
    make_read_only(found, 0.2)
    yield found
    found.engine.dispose()


@pytest.mark.parametrize(
    "statement",
    [
        "INSERT INTO unit (name) VALUES ('Espionage')",
        "UPDATE unit SET name = 'Espionage'",
        "DELETE FROM unit",
        "DROP TABLE employee",
        "CREATE TABLE espionage (id INTEGER)",
    ],
)
def test_nothing_can_be_written(reader: Client, statement: str) -> None:
    for _ in range(2):  # also on a connection that was used before
        with pytest.raises(sa.exc.DBAPIError, match=r"(?i)read.?only"), reader.engine.begin() as connection:
            connection.execute(sa.text(statement))
    with reader.engine.connect() as connection:
        assert connection.scalar(sa.select(sa.func.count()).select_from(Base.metadata.tables["unit"])) == 0


def test_a_question_that_takes_too_long_is_given_up_in_one_line_and_the_next_one_is_answered(reader: Client) -> None:
    question = FOREVER[reader.engine.dialect.name.replace("mariadb", "mysql")]
    with pytest.raises(TakesTooLong, match="takes too long"), within_the_limit(), reader.engine.connect() as connection:
        connection.execute(sa.text(question)).all()
    with within_the_limit(), reader.engine.connect() as connection:
        assert connection.scalar(sa.text("SELECT 1")) == 1


def test_other_errors_stay_what_they_are(reader: Client) -> None:
    with pytest.raises(sa.exc.DBAPIError), within_the_limit(), reader.engine.connect() as connection:
        connection.execute(sa.text("SELECT * FROM nowhere"))
