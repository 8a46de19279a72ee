"""The flights pipeline gives the same rows on every database: one month here, all twelve by night."""

from __future__ import annotations

import os
import sys
from typing import Any

import pytest
import sqlalchemy as sa
from sqlalchemy.orm import aliased

import ozelot
from ozelot import config
from ozelot.client import Client
from ozelot.orm.base import Base
from ozelot.testing import temporary_client
from tests.folders import EXAMPLES

sys.path.insert(0, str(EXAMPLES / "flights"))
from flights import checks, models, pipeline
from flights.models import Airline, Airport, Flight, Plane, Weather

MONTHS = range(1, 13) if os.environ.get("OZELOT_TEST_NIGHTLY") else [11]
Rows = dict[str, list[tuple[Any, ...]]]


def natural(model: type[Base]) -> list[Any]:
    """The columns of a model that no database makes up."""
    table = Base.metadata.tables[model.__tablename__]
    return [column for column in table.columns if not column.primary_key and not column.foreign_keys]


def contents(client: Client) -> Rows:
    """All rows, with natural keys in the place of ids; in an order that is the same on every database."""
    destination = aliased(Airport)
    flights = (
        sa.select(*natural(Flight), Airline.carrier, Airport.faa, destination.name, Plane.model, Weather.hour)
        .join(Flight.airline)
        .join(Flight.origin)
        .outerjoin(destination, Flight.destination_id == destination.id)
        .outerjoin(Flight.plane)
        .outerjoin(Flight.weather)
    )
    queries: list[Any] = [sa.select(*natural(model)) for model in models.ALL if model is not Flight]
    found = [client.frame(query, backend="polars").rows() for query in [*queries, flights]]
    names = [*(model.__name__ for model in models.ALL if model is not Flight), "Flight"]
    return {name: sorted(rows, key=repr) for name, rows in zip(names, found, strict=True)}


def filled(client: Client) -> Rows:
    Base.create_all(client)
    assert ozelot.run(pipeline.LoadEverything()).ok
    checked = ozelot.run(checks.Tests())
    assert checked.failed == {}
    return contents(client)


@pytest.fixture(scope="module")
def on_sqlite(tmp_path_factory: pytest.TempPathFactory) -> Rows:
    with (
        pytest.MonkeyPatch.context() as patch,
        temporary_client(tmp_path_factory.mktemp("flights"), create_all=False) as client,
    ):
        patch.setitem(vars(config), "MONTHS", MONTHS)
        return filled(client)


@pytest.mark.parametrize("database_url", ["postgresql", "mariadb"], indirect=True)
def test_flights_are_the_same_rows_on_every_database(
    db: Client, on_sqlite: Rows, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(vars(config), "MONTHS", MONTHS)
    found = filled(db)
    assert {name: len(rows) for name, rows in found.items()} == {name: len(rows) for name, rows in on_sqlite.items()}
    assert len(found["Flight"]) == (336_776 if len(MONTHS) == 12 else 27_268)
    for name, rows in found.items():
        assert rows == on_sqlite[name], name
