"""The flights pipeline on SQLite, on one month: what is loaded, what is missing, and that it can be cleared."""

import json
import logging
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from datetime import datetime
from html import unescape
from pathlib import Path

import luigi
import pytest
from lxml import html
from sqlalchemy import func, select, update

import ozelot
from flights import analysis, checks, inputs, models, pipeline
from flights.models import Airport, Flight, Plane, Weather
from ozelot import config
from ozelot.client import Client
from ozelot.testing import temporary_client

MANAGE = Path(models.__file__).parents[1] / "manage.py"
FEBRUARY = 24_951  # flights


@pytest.fixture
def client(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Client]:
    monkeypatch.setitem(vars(config), "MONTHS", [2])
    with temporary_client(tmp_path, create_all=False) as found:
        for model in models.ALL:
            model.create_table(found)
        yield found


def run(root: luigi.Task) -> dict[str, str]:
    """The tasks that failed, and why."""
    return {task: failure.reason for task, failure in ozelot.run(root).failed.items()}


def count(client: Client, *conditions: object) -> int:
    with client.create_session() as session:
        return session.scalar(select(func.count(Flight.id)).where(*conditions)) or 0  # type: ignore[arg-type]


def test_a_month_is_loaded_with_its_mess_and_passes_the_checks(
    client: Client, caplog: pytest.LogCaptureFixture, tmp_path: Path
) -> None:
    caplog.set_level(logging.INFO, logger="ozelot")
    assert run(pipeline.LoadEverything()) == {}
    assert run(checks.Tests()) == {}
    assert count(client) == FEBRUARY
    raw = inputs.FlightsFile().of_month(2)
    assert count(client, Flight.air_time.is_(None)) == raw["air_time"].null_count()
    assert count(client, Flight.tail_number.is_(None)) == raw["tail_number"].null_count()
    assert count(client, Flight.plane_id.is_(None)) == 3888 + raw["tail_number"].null_count()
    assert count(client, Flight.destination_id.is_(None)) == 608
    assert count(client, Flight.weather_id.is_(None)) == 29
    assert "No wind has 1048 mph: EWR, 2013-02-12 08:00:00" in caplog.text
    assert "608 with NULL (destination not found, such as 'BQN', 'SJU', 'STT', 'PSE')" in caplog.text
    with client.create_session() as session:
        first = session.scalars(
            select(Flight).where(Flight.scheduled == session.scalar(select(func.min(Flight.scheduled))))
        ).first()
        assert first is not None and first.plane is not None and first.weather is not None
        assert first.weather.origin == first.origin.faa
        assert first.weather.hour == first.scheduled.replace(minute=0)
        assert first.plane.tail_number == first.tail_number
        assert first.made_up == (first.departure_delay or 0) - (first.arrival_delay or 0)
        assert first.speed == first.distance * 60 / (first.air_time or 1)
    flights, destinations = analysis.read_flights(client), analysis.read_destinations(client)
    assert (len(flights), set(flights["month"])) == (FEBRUARY, {2})
    assert int(destinations["flights"].sum()) == FEBRUARY - 608
    assert str(flights["arrival_delay"].dtype) == "Int64"
    (page,) = analysis.analyze(client, tmp_path / "out")
    text = page.read_text("utf-8")
    assert not re.search(r"<(script|link|img|iframe)[^>]+(src|href)\s*=\s*[\"']?(https?:)?//", text)
    shown = html.document_fromstring(text).xpath("//script[@type='application/json']/text()")
    documents = json.dumps([json.loads(unescape(document)) for document in shown])
    for title in ("Flights a month", "Delays grow", "Who leaves late", "nobody sees far", "Where they go", "made up"):
        assert title in documents


def test_a_month_is_cleared_with_its_own_flights_alone(client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    months = {1: 40, 2: 30}
    of_month = inputs.FlightsFile.of_month
    monkeypatch.setattr(inputs.FlightsFile, "of_month", lambda self, month: of_month(self, month).head(months[month]))
    monkeypatch.setitem(vars(config), "MONTHS", list(months))
    assert run(pipeline.LoadEverything()) == {}
    assert count(client, Flight.made_up.is_not(None)) > 50
    pipeline.DeriveSpeeds().clear()
    assert count(client, Flight.made_up.is_not(None) | Flight.speed.is_not(None)) == 0
    pipeline.LoadFlights(month=1).clear()
    assert count(client) == 30
    assert run(pipeline.LoadEverything()) == {}
    assert count(client) == 70


def test_checks_fail_on_what_cannot_be(client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    of_month = inputs.FlightsFile.of_month
    monkeypatch.setattr(inputs.FlightsFile, "of_month", lambda self, month: of_month(self, month).head(100))
    assert run(pipeline.LoadEverything()) == {}
    with client.transaction() as session:
        session.execute(update(Airport).where(Airport.faa == "JFK").values(latitude=91.0))
        session.execute(update(Weather).where(Weather.id == 1).values(wind_speed=300.0))
        session.execute(update(Flight).where(Flight.id == 1).values(speed=900.0))
        weather_of_another = select(Weather.id).order_by(Weather.id.desc()).limit(1).scalar_subquery()
        session.execute(update(Flight).where(Flight.id == 2).values(weather_id=weather_of_another))
    failed = run(checks.Tests())
    assert {task.split()[0] for task in failed} == {"TestAirports", "TestWeather", "TestFlights", "TestSpeeds"}
    assert "between(Airport.latitude): expected -90 to 90, found 1 of" in failed["TestAirports {}"]
    assert "flights with the weather of another hour or airport: expected no rows, found" in failed["TestFlights {}"]


def test_planes_and_weather_come_once_each(client: Client) -> None:
    assert run(pipeline.LoadPlanes()) == run(pipeline.LoadWeather()) == {}
    with client.create_session() as session:
        assert session.scalar(select(func.count(Plane.id))) == 3322
        november = Weather.hour.between(datetime(2013, 11, 3, 5), datetime(2013, 11, 3, 6))
        assert session.scalar(select(func.count(Weather.id)).where(november)) == 6  # the hour that came twice
        assert session.scalar(select(func.max(Weather.wind_speed))) < 50  # type: ignore[operator]


def test_the_commands_one_after_the_other(tmp_path: Path) -> None:
    environment = {**os.environ, "OZELOT_DATABASE_URL": f"sqlite:///{tmp_path / 'test.db'}"}

    def manage(*arguments: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, str(MANAGE), *arguments],
            cwd=tmp_path,
            env=environment,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
        )

    assert manage("initdb").returncode == 0
    assert manage("initdb").returncode == 1  # there are tables now, and nobody to ask
    refused = manage("analyze")
    assert (refused.returncode, "manage.py ingest" in refused.stderr) == (1, True)
