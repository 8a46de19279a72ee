"""Natural keys of the input become foreign keys; what is not found is an error, NULL, or a row that is put aside."""

from __future__ import annotations

import datetime
from typing import Any

import pandas as pd
import pytest
import sqlalchemy as sa
from sqlalchemy import ForeignKey, String
from sqlalchemy.orm import Mapped, mapped_column, relationship

from ozelot.client import Client
from ozelot.etl import tasks
from ozelot.orm import bulk
from ozelot.orm.base import Base
from ozelot.orm.run import TaskOwned
from tests.orm.tables import create_only


class Carrier(Base):
    code: Mapped[str | None] = mapped_column(String(10))


class Field(Base):
    faa: Mapped[str] = mapped_column(String(10))


class Hour(TaskOwned, Base):
    field: Mapped[str] = mapped_column(String(10))
    at: Mapped[datetime.datetime]


class Leg(TaskOwned, Base):
    number: Mapped[int]
    carrier_id: Mapped[int] = mapped_column(ForeignKey("carrier.id"))
    start_id: Mapped[int | None] = mapped_column(ForeignKey("field.id"))
    end_id: Mapped[int | None] = mapped_column(ForeignKey("field.id"))
    hour_id: Mapped[int | None] = mapped_column(ForeignKey("hour.id"))
    start: Mapped[Field | None] = relationship(foreign_keys=[start_id])
    carrier: Mapped[str | None] = mapped_column(String(10))


NOON, ONE = datetime.datetime(2013, 1, 1, 12), datetime.datetime(2013, 1, 1, 13)


class LoadCarriers(tasks.ORMTask):
    creates = [Carrier, Field]

    def run(self) -> None:
        self.load(Carrier, [{"code": code} for code in ("AA", "BB", "TWICE", "TWICE", None)])
        self.load(Field, [{"faa": faa} for faa in ("EWR", "JFK")])


class LoadLegs(tasks.ORMTask):
    creates = [Hour, Leg]
    rows: Any = ()
    options: dict[str, Any] = {}
    report: bulk.LoadReport

    def requires(self) -> Any:
        return [LoadCarriers()]

    def run(self) -> None:
        self.session.add(Hour(field="EWR", at=NOON))  # not flushed yet
        self.load(Hour, [{"field": "EWR", "at": ONE}])
        type(self).report = self.load(Leg, type(self).rows, **type(self).options)


@pytest.fixture(autouse=True)
def tables(db: Client) -> None:
    create_only(db, Carrier, Field, Hour, Leg)
    LoadCarriers().run()


def loaded(db: Client, rows: Any, **options: Any) -> list[Any]:
    LoadLegs.rows, LoadLegs.options = rows, options
    LoadLegs().run()
    with db.create_session() as session:
        query = (
            sa.select(Leg.number, Carrier.code, Field.faa, Hour.at)
            .join(Carrier, Carrier.id == Leg.carrier_id)
            .outerjoin(Field, Leg.start_id == Field.id)
            .outerjoin(Hour, Leg.hour_id == Hour.id)
        )
        return [tuple(row) for row in session.execute(query.order_by(Leg.number))]


def test_keys_of_several_models_are_filled_in_the_order_of_the_input(db: Client) -> None:
    frame = pd.DataFrame(
        {
            "number": [1, 2, 3],
            "carrier": ["AA", "BB", "AA"],
            "start": ["EWR", None, "JFK"],
            "time_hour": pd.to_datetime(["2013-01-01 12:00", "2013-01-01 13:00", None]),
        }
    )
    refs = {"carrier": Carrier.code, "start": Field.faa, ("start", "time_hour"): (Hour.field, Hour.at)}
    assert loaded(db, frame, refs=refs) == [(1, "AA", "EWR", NOON), (2, "BB", None, None), (3, "AA", "JFK", None)]
    assert LoadLegs.report.put_aside == {}
    assert LoadLegs.report.set_to_null == {}
    with db.create_session() as session:
        assert list(session.scalars(sa.select(Leg.carrier).order_by(Leg.number))) == ["AA", "BB", "AA"]
