"""Names with % in columns, tables and base tables are names like others."""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa
from sqlalchemy.orm import Mapped, mapped_column

from ozelot.client import Client
from ozelot.etl import tasks
from ozelot.etl.completion import check_completion
from ozelot.model.base import drop_tables, table_of
from ozelot.orm import bulk
from ozelot.orm.base import Base
from tests.tables import create_only


class Fund(Base):
    __tablename__ = "fund_100%"
    name: Mapped[str] = mapped_column("name_%s", sa.String(20), unique=True)
    growth: Mapped[int | None] = mapped_column("growth_%%")
    best_id: Mapped[int | None] = mapped_column("best_%s", sa.ForeignKey("share_5%d.id"))


class Share(Base):
    __tablename__ = "share_5%d"
    fund_id: Mapped[int | None] = mapped_column("fund_%", sa.ForeignKey("fund_100%.id"))


class EquityFund(Fund):
    __tablename__ = "equity_%"
    id: Mapped[int] = mapped_column("id_%", sa.ForeignKey("fund_100%.id"), primary_key=True)
    rate: Mapped[int] = mapped_column("%")


class LoadFunds(tasks.ORMTask):
    creates = [EquityFund, Share]

    def run(self) -> None:
        self.load(
            EquityFund, [{"name": "100% gold", "growth": 5, "rate": 1}, {"name": "%s", "growth": None, "rate": 2}]
        )
        self.load(Share, [{"fund": "100% gold"}, {"fund": "%s"}], refs={"fund": Fund.name})


def rows_of(session: sa.orm.Session) -> list[tuple[Any, ...]]:
    query = sa.select(EquityFund.name, EquityFund.growth, EquityFund.rate).order_by(EquityFund.id)
    return [tuple(row) for row in session.execute(query)]


def test_names_with_percent_signs_load_as_session_add_stores_them(db: Client) -> None:
    create_only(db, Fund, Share, EquityFund)
    with db.create_session() as session:
        session.add_all([EquityFund(name="100% gold", growth=5, rate=1), EquityFund(name="%s", rate=2)])
        session.flush()
        by_add = rows_of(session)
    assert LoadFunds.build()
    with db.create_session() as session:
        assert rows_of(session) == by_add
        assert session.scalar(sa.select(sa.func.count(Share.fund_id.distinct()))) == 2
        assert session.scalars(sa.select(EquityFund.rate).where(EquityFund.name == "%s")).all() == [2]
    frame = db.frame(sa.select(Fund.name, Fund.growth).order_by(Fund.id), backend="polars")
    assert frame.rows() == [("100% gold", 5), ("%s", None)]
    assert check_completion(LoadFunds(), clear=True)
    LoadFunds.mark_incomplete()
    check_completion(LoadFunds(), clear=True)
    with db.create_session() as session:
        assert session.scalar(sa.select(sa.func.count()).select_from(Fund)) in (0, 2)


def test_given_ids_move_the_sequence_of_a_table_with_a_percent_sign(db: Client) -> None:
    create_only(db, Fund, Share, EquityFund)
    with db.transaction() as session:
        bulk.load(session, Share, [{"id": 7}])
        bulk.load(session, Fund, [{"id": 7, "name": "a"}])
        bulk.load(session, Fund, [{"name": "b"}])
        bulk.load(session, EquityFund, [{"name": "c", "rate": 1}, {"name": "d", "rate": 1}])
    with db.transaction() as session:
        session.add(Fund(name="e"))
    with db.create_session() as session:
        assert session.scalars(sa.select(Fund.id).order_by(Fund.id)).all() == [7, 8, 9, 10, 11]


def test_tables_in_a_circle_with_percent_signs_can_be_dropped(db: Client) -> None:
    create_only(db, Fund, Share, EquityFund)
    with db.engine.begin() as connection:
        drop_tables(connection, [table_of(Fund), table_of(Share), table_of(EquityFund)])
        assert not sa.inspect(connection).has_table("fund_100%")
