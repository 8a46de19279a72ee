"""Natural keys of the input become foreign keys; what is not found is an error, NULL, or a row that is skipped."""

from __future__ import annotations

import datetime
import json
from typing import Any

import pandas as pd
import pytest
import sqlalchemy as sa
from sqlalchemy import ForeignKey, String
from sqlalchemy.orm import Mapped, mapped_column, relationship

from ozelot.client import Client
from ozelot.errors import LoadError, UndeclaredWrite
from ozelot.etl import tasks
from ozelot.orm import bulk
from ozelot.orm.base import Base
from ozelot.orm.bulk import LoadReport
from ozelot.orm.run import Run, TaskOwned
from tests.cli.calling import called
from tests.statements import recorded_statements
from tests.tables import create_only

pytestmark = pytest.mark.servers


class Carrier(Base):
    code: Mapped[str | None] = mapped_column(String(10))


class Airfield(Base):
    faa: Mapped[str] = mapped_column(String(10))


class UnitOfNothing(Base):
    name: Mapped[str] = mapped_column(String(10))


class WeatherHour(TaskOwned, Base):
    field: Mapped[str] = mapped_column(String(10))
    at: Mapped[datetime.datetime]


class FlightLeg(TaskOwned, Base):
    number: Mapped[int]
    carrier_id: Mapped[int] = mapped_column(ForeignKey("carrier.id"))
    start_id: Mapped[int | None] = mapped_column(ForeignKey("airfield.id"))
    end_id: Mapped[int | None] = mapped_column(ForeignKey("airfield.id"))
    hour_id: Mapped[int | None] = mapped_column(ForeignKey("weatherhour.id"))
    start: Mapped[Airfield | None] = relationship(foreign_keys=[start_id])
    carrier: Mapped[str | None] = mapped_column(String(10))


NOON, ONE = datetime.datetime(2013, 1, 1, 12), datetime.datetime(2013, 1, 1, 13)


class LoadCarriers(tasks.ORMTask):
    creates = [Carrier, Airfield]

    def run(self) -> None:
        self.load(Carrier, [{"code": code} for code in ("AA", "BB", "TWICE", "TWICE", None)])
        self.load(Airfield, [{"faa": faa} for faa in ("EWR", "JFK")])


class LoadLegs(tasks.ORMTask):
    creates = [WeatherHour, FlightLeg]
    rows: Any = ()
    options: dict[str, Any] = {}
    report: Any = None

    def requires(self) -> Any:
        return [LoadCarriers()]

    def run(self) -> None:
        self.session.add(WeatherHour(field="EWR", at=NOON))  # not flushed yet
        self.load(WeatherHour, [{"field": "EWR", "at": ONE}])
        type(self).report = self.load(FlightLeg, type(self).rows, **type(self).options)


def prepare(db: Client) -> None:
    create_only(db, Carrier, Airfield, WeatherHour, FlightLeg, UnitOfNothing)
    LoadCarriers().run()


def loaded_again(db: Client, rows: Any, **options: Any) -> None:
    create_only(db, Carrier, Airfield, WeatherHour, FlightLeg, UnitOfNothing)
    with db.transaction() as session:
        session.execute(sa.delete(Carrier))
        bulk.load(session, Carrier, [{"code": "AA"}])
        session.execute(sa.delete(Airfield))
        bulk.load(session, Airfield, [{"faa": "JFK"}])
    with db.transaction() as session:
        bulk.load(session, FlightLeg, rows, **options)


def loaded(db: Client, rows: Any, **options: Any) -> list[Any]:
    prepare(db)
    LoadLegs.rows, LoadLegs.options = rows, options
    LoadLegs().run()
    with db.create_session() as session:
        query = (
            sa.select(FlightLeg.number, Carrier.code, Airfield.faa, WeatherHour.at)
            .join(Carrier, Carrier.id == FlightLeg.carrier_id)
            .outerjoin(Airfield, FlightLeg.start_id == Airfield.id)
            .outerjoin(WeatherHour, FlightLeg.hour_id == WeatherHour.id)
        )
        return [tuple(row) for row in session.execute(query.order_by(FlightLeg.number))]


def test_keys_of_several_models_are_filled_in_the_order_of_the_input(db: Client) -> None:
    frame = pd.DataFrame(
        {
            "number": [1, 2, 3],
            "carrier": ["AA", "BB", "AA"],
            "start": ["EWR", None, "JFK"],
            "time_hour": pd.Series([NOON, ONE, None]),
        }
    )
    refs = {"carrier": Carrier.code, "start": Airfield.faa, ("start", "time_hour"): (WeatherHour.field, WeatherHour.at)}
    assert loaded(db, frame, refs=refs) == [(1, "AA", "EWR", NOON), (2, "BB", None, None), (3, "AA", "JFK", None)]
    assert LoadLegs.report.skipped == {}
    assert LoadLegs.report.set_to_null == {}
    with db.create_session() as session:
        assert list(session.scalars(sa.select(FlightLeg.carrier).order_by(FlightLeg.number))) == ["AA", "BB", "AA"]


def test_keys_that_are_not_found_are_an_error_that_lists_each_once_with_its_rows(db: Client) -> None:
    rows = [{"number": n, "carrier": ("AA", "X", "Y", "Y")[n % 4]} for n in range(20)]
    rows[17]["carrier"] = "Z"
    with pytest.raises(LoadError) as caught:
        loaded(db, rows, refs={"carrier": Carrier.code})
    assert str(caught.value) == (
        "carrier: 3 keys not found in Carrier.code: 'Y' (10 rows, the first is 2), 'X' (4 rows, the first is 1), "
        "'Z' (row 17). Load them into Carrier first, or pass missing='skip'. Nothing was loaded; rows count from 0"
    )


def test_long_lists_of_keys_are_cut_and_each_key_is_shown_in_full(sqlite_db: Client) -> None:
    keys = [f"http://www.wikidata.org/entity/Q{4233718 + n}" for n in range(30)]
    rows = [{"number": n, "carrier": "AA", "start": key} for n, key in enumerate(keys)]
    with pytest.raises(LoadError) as caught:
        loaded(sqlite_db, iter(rows), refs={"carrier": Carrier.code, "start": Airfield.faa})
    listed = ", ".join(f"'{key}' (row {n})" for n, key in enumerate(keys[:10]))
    assert str(caught.value).startswith(f"start: 30 keys not found in Airfield.faa: {listed}, and 20 more. Load them")
    assert "missing='skip' or 'null'" in str(caught.value)


def test_one_error_names_all_that_is_wrong_in_the_whole_input(db: Client) -> None:
    rows: list[dict[str, Any]] = [{"number": n, "carrier": "AA", "start": "JFK"} for n in range(30_000)]
    rows[100]["carrier"] = "XX"
    rows[11_000]["number"] = "7"
    rows[29_999] = {"number": 2**40, "carrier": "XX", "start": 5}
    for given in (rows, iter(rows), pd.DataFrame(rows, dtype=object)):
        with pytest.raises(LoadError) as caught:
            loaded_again(db, given, refs={"carrier": Carrier.code, "start": Airfield.faa})
        message = str(caught.value)
        assert "FlightLeg.number expects an integer; row 11000 has the string '7'. Convert it: int(value). " in message
        assert "Airfield.faa expects a string; row 29999 has the integer 5. Convert it: str(value). " in message
        assert "carrier: 1 key not found in Carrier.code: 'XX' (2 rows, the first is 100). Load it into" in message
        if db.engine.dialect.name != "sqlite":
            assert "row 29999 has the integer 1099511627776" in message
    with db.create_session() as session:
        assert session.scalar(sa.select(sa.func.count()).select_from(FlightLeg)) == 0


def test_what_ends_the_input_after_a_fault_is_part_of_the_error(db: Client) -> None:
    def rows() -> Any:
        for n in range(30_000):
            yield {"number": "7" if n == 3 else n, "carrier": "AA"}
        raise OSError("the source is gone")

    with pytest.raises(
        LoadError, match=r"row 3 has the string '7'.* Rows from \d\d,000 on were not checked: the source"
    ):
        loaded(db, rows(), refs={"carrier": Carrier.code})


def test_rows_whose_key_is_not_found_are_skipped_and_counted(db: Client) -> None:
    rows = [
        {"number": 0, "carrier": "AA", "start": "LGA", "note": "unknown field"},
        {"number": 1, "carrier": "XX", "start": "EWR", "note": "unknown carrier"},
        {"number": 2, "carrier": "BB", "start": None, "note": "no field, which is none unknown"},
        {"number": 3, "carrier": "YY", "start": "LGA", "note": "both"},
    ]
    rows = [{name: row[name] for name in ("number", "carrier", "start")} for row in rows]
    missing = {"carrier": "skip", "start": "null"}
    found = loaded(db, iter(rows), refs={"start": Airfield.faa, "carrier": Carrier.code}, missing=missing)
    assert found == [(0, "AA", None, None), (2, "BB", None, None)]
    report = LoadLegs.report
    assert (report.rows, report.written) == (4, 2)
    assert (report.skipped, report.set_to_null) == ({"carrier": 2}, {"start": 2})
    assert report.not_found == {"carrier": ("XX", "YY"), "start": ("LGA",)}
    assert str(report).startswith(
        "2 of 4 rows into flightleg, 2 skipped (carrier not found, such as 'XX', 'YY'), "
        "2 with NULL (start not found, such as 'LGA'), "
    )
    with db.create_session() as session:
        run = session.scalars(sa.select(Run).where(Run.name == "LoadLegs")).one()
        assert run.row_counts == {"weatherhour": 2, "flightleg": 2}
        assert run.notes == {"flightleg skipped (carrier)": 2, "flightleg with NULL (start)": 2}
    (told,) = json.loads(called("history", "LoadLegs", "--json").out)
    assert (told["rows"], told["notes"]) == (run.row_counts, run.notes)
    assert "2 flightleg skipped (carrier)" in " ".join(called("history", "LoadLegs").out.split())


def test_rows_that_are_all_skipped_leave_nothing(db: Client) -> None:
    assert loaded(db, [{"number": 1, "carrier": "XX"}], refs={"carrier": Carrier.code}, missing="skip") == []
    assert LoadLegs.report.skipped == {"carrier": 1}


@pytest.mark.parametrize(
    ("row", "options", "told"),
    [
        (
            {"number": 1, "carrier": None},
            {"refs": {"carrier": Carrier.code}},
            "FlightLeg.carrier_id expects a value in each row; row 0 has None",
        ),
        (
            {"carrier": 5},
            {"refs": {"carrier": Carrier.code}},
            "Carrier.code expects a string; row 0 has the integer 5. Convert it: str",
        ),
        (
            {"carrier": "TWICE"},
            {"refs": {"carrier": Carrier.code}},
            "carrier: 1 key found in several rows of Carrier.code: 'TWICE'",
        ),
        ({"code": "AA"}, {"refs": {"carrier": Carrier.code}}, "no column 'carrier', which 'refs' names"),
        (
            {"from": "EWR"},
            {"refs": {"from": Airfield.faa}},
            "'from' could mean each of end_id, start_id, which refer to",
        ),
        (
            {"carrier": "AA", "carrier_id": 1},
            {"refs": {"carrier": Carrier.code}},
            "The input has FlightLeg.carrier_id itself, which 'refs' fills from 'carrier'",
        ),
        ({"carrier": "AA"}, {"refs": {"carrier": "code"}}, "names as many columns of one model"),
        ({"carrier": "AA"}, {"refs": {"carrier": (Carrier.code, Airfield.faa)}}, "names as many columns of one model"),
        (
            {"carrier": "AA"},
            {"refs": {"carrier": Carrier.code}, "missing": "ignore"},
            "missing is 'ignore': use 'error'",
        ),
        ({"carrier": "AA"}, {"refs": {"carrier": Carrier.code}, "missing": "null"}, "may not be NULL: use 'skip'"),
        ({"carrier": "AA"}, {"missing": {"carrier": "skip"}}, "'missing' names 'carrier', which is not in 'refs'"),
        (
            {"number": 1},
            {"refs": {"x": UnitOfNothing.name}},
            "FlightLeg has no foreign key of one column to UnitOfNothing",
        ),
    ],
)
def test_references_that_are_unclear_say_why(sqlite_db: Client, row: Any, options: Any, told: str) -> None:
    with pytest.raises(LoadError, match=told):
        loaded(sqlite_db, [row], **options)


def test_a_key_names_the_foreign_key_column_itself(db: Client) -> None:
    rows = [{"number": 1, "carrier_id": "BB", "end_id": "JFK"}]
    loaded(db, rows, refs={"carrier_id": Carrier.code, "end_id": Airfield.faa})
    with db.create_session() as session:
        query = sa.select(Carrier.code, Airfield.faa).join(FlightLeg, FlightLeg.carrier_id == Carrier.id)
        assert session.execute(query.join(Airfield, FlightLeg.end_id == Airfield.id)).all() == [("BB", "JFK")]


def test_a_model_that_is_not_declared_is_refused_before_its_rows_are_read(db: Client) -> None:
    prepare(db)

    def never() -> Any:
        raise AssertionError
        yield

    class LoadOthers(tasks.ORMTask):
        creates = [Airfield]

        def run(self) -> None:
            self.load(Carrier, never())

    told = r"LoadOthers inserts into carrier, which it does not declare: add 'creates = \[Airfield, Carrier\]' to class"
    with pytest.raises(UndeclaredWrite, match=told):
        LoadOthers().run()


def test_a_declared_load_asks_the_database_nothing_about_what_is_written(db: Client) -> None:
    prepare(db)
    seen = recorded_statements(db)

    class LoadMore(tasks.ORMTask):
        creates = [Carrier]

        def run(self) -> None:
            seen.clear()
            self.load(Carrier, [{"code": str(n)} for n in range(10)])
            type(self).asked = [text for text in seen if "pg_stat" in text or text.startswith("SELECT")]

        asked: Any = None

    LoadMore().run()
    packet = ["SELECT @@max_allowed_packet"] if db.engine.dialect.name == "mysql" else []
    assert LoadMore.asked == packet


def test_keys_that_are_not_found_are_told_as_people_write_them_and_secrets_not_at_all() -> None:
    report = LoadReport("flightleg", 3, 0, {"at": 1, "token": 2}, {}, {"at": (("LGA", NOON),), "token": ("s3cret",)})
    assert "at not found, such as ('LGA', 2013-01-01 12:00:00)" in str(report)
    assert "token not found, such as [hidden]" in str(report)
