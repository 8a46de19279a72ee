"""The smallest project: what it loads, that it can be cleared, and that its page is true."""

from collections.abc import Iterator
from pathlib import Path

import pandas as pd
import pytest
from sqlalchemy import select

import employees
from employees import Employee, LoadEmployees, LoadEverything, LoadUnits, Unit
from ozelot.client import Client
from ozelot.errors import LoadError
from ozelot.etl.tasks import check_completion
from ozelot.testing import assert_clear_restores, assert_idempotent, temporary_client

FOLDER = Path(employees.__file__).parent


@pytest.fixture
def client(tmp_path: Path) -> Iterator[Client]:
    with temporary_client(tmp_path, create_all=False) as found:
        for model in (Unit, Employee):
            model.create_table(found)
        yield found


def staff(client: Client) -> list[tuple[object, ...]]:
    with client.create_session() as session:
        query = select(Employee.name, Employee.salary, Unit.name).join(Employee.unit).order_by(Employee.id)
        return [tuple(row) for row in session.execute(query)]


def test_employees_are_loaded_into_their_units(client: Client) -> None:
    assert LoadEverything.build()
    assert staff(client)[0] == ("Ada Lovelace", 9800, "Research")
    assert staff(client)[3] == ("Zoë Müller", None, "Sales")


def test_units_are_loaded_again_with_all_that_stands_on_them(client: Client) -> None:
    assert LoadEverything.build()
    before = staff(client)
    LoadUnits.mark_incomplete()
    assert not check_completion(LoadEverything(), clear=True)
    assert staff(client) == []
    assert LoadEverything.build()
    assert staff(client) == before


def test_tasks_can_be_cleared_and_run_twice(client: Client) -> None:
    assert_clear_restores(LoadEmployees())
    assert_idempotent(LoadEmployees())


def test_an_employee_of_no_unit_is_named_and_nothing_is_loaded(client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    assert LoadUnits.build()
    astray = pd.DataFrame({"name": ["Ada", "Eve"], "unit": ["Sales", "Spying"]})
    monkeypatch.setattr(pd, "read_csv", lambda _path: astray)
    with pytest.raises(LoadError, match=r"'Spying' \(row 1\). Load it into Unit first"):
        LoadEmployees().run()
    assert staff(client) == []


def test_it_is_as_small_as_it_says() -> None:
    assert len((FOLDER / "employees.py").read_text("utf-8").splitlines()) < 60
