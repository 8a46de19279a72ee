"""What the pipeline loads, and that it can be cleared and run again."""

import pytest
from sqlalchemy import select

from ozelot.client import Client
from ozelot.testing import assert_clear_restores, assert_idempotent
from project_name.models import City, Country
from project_name.pipeline import CheckCities, LoadCities, LoadCountries, LoadEverything, number


@pytest.mark.parametrize(("text", "expected"), [("2,006,000", 2_006_000), ("5800", 5_800), ("", None)])
def test_numbers_are_read_as_the_files_write_them(text: str, expected: int | None) -> None:
    assert number(text) == expected


def test_cities_are_loaded_into_their_countries(client: Client) -> None:
    assert LoadEverything.build()
    with client.create_session() as session:
        query = select(City.name, City.population, Country.name).join(City.country).order_by(City.id)
        assert session.execute(query).first() == ("Vienna", 2_006_000, "Austria")


@pytest.mark.parametrize("task", [LoadCountries, LoadCities, CheckCities, LoadEverything])
def test_a_task_can_be_cleared_and_run_again(client: Client, task: type) -> None:
    assert_clear_restores(task())
    assert_idempotent(task())
