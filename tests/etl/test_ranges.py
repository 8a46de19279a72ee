"""The ranges of Luigi: all days, hours or months of a task, of which only those that are missing are required."""

from __future__ import annotations

import datetime as dt
from typing import Any

import luigi
import pytest
from luigi.tools.range import (
    RangeByMinutes,
    RangeDaily,
    RangeDailyBase,
    RangeHourly,
    RangeHourlyBase,
    RangeMonthly,
)
from sqlalchemy import String
from sqlalchemy.orm import Mapped, mapped_column

import ozelot
from ozelot.client import Client
from ozelot.etl import tasks
from ozelot.orm.base import Base
from ozelot.orm.run import TaskOwned
from tests.statements import recorded_statements
from tests.tables import count_rows, create_tables


class Reading(TaskOwned, Base):
    at: Mapped[str] = mapped_column(String(30))


class Owned(tasks.ORMTask):
    creates = [Reading]

    def run(self) -> None:
        self.load(Reading, [{"at": str(next(iter(self.param_kwargs.values())))}])


class Daily(Owned):
    date: dt.date = luigi.DateParameter()
    kind: str = luigi.Parameter(default="a", positional=False)


class Hourly(Owned):
    hour: dt.datetime = luigi.DateHourParameter()


class Minutes(Owned):
    minute: dt.datetime = luigi.DateMinuteParameter()


class Monthly(Owned):
    month: dt.date = luigi.MonthParameter()


class Asked(Owned):
    """Says itself when it is complete."""

    date: dt.date = luigi.DateParameter()

    def complete(self) -> bool:
        return super().complete() or self.date.day == 2


class Bundled(tasks.ORMWrapperTask):
    date: dt.date = luigi.DateParameter()

    def requires(self) -> Any:
        return [Daily(date=self.date)]


# RangeDaily's own default of a parameter is not of its type.
pytestmark = pytest.mark.filterwarnings("ignore:Parameter .param_name. with value .None.:UserWarning")

NOW = {"now": 1767484800}  # 2026-01-04
HOURS = {"start": dt.datetime(2026, 1, 1), "stop": dt.datetime(2026, 1, 1, 5), **NOW}
MINUTES = {"minutes_interval": 5, "start": dt.datetime(2026, 1, 3, 23), "stop": dt.datetime(2026, 1, 3, 23, 30), **NOW}
MONTHS = {"start": dt.date(2025, 11, 1), "stop": dt.date(2026, 1, 1), **NOW}
DAYS = {"start": dt.date(2026, 1, 1), "stop": dt.date(2026, 1, 4), **NOW}
RANGES: dict[str, tuple[Any, Any, dict[str, Any], int]] = {
    "days": (RangeDaily, Daily, DAYS, 3),
    "days one by one": (RangeDailyBase, Daily, DAYS, 3),
    "days of one kind": (RangeDaily, Daily, {**DAYS, "of_params": {"kind": "b"}}, 3),
    "days from the last": (RangeDaily, Daily, {**DAYS, "reverse": True, "task_limit": 2}, 2),
    "its own complete()": (RangeDaily, Asked, DAYS, 2),
    "hours": (RangeHourly, Hourly, HOURS, 5),
    "hours one by one": (RangeHourlyBase, Hourly, HOURS, 5),
    "minutes": (RangeByMinutes, Minutes, MINUTES, 6),
    "months": (RangeMonthly, Monthly, MONTHS, 2),
}


def fresh(name: str) -> Any:
    luigi.task_register.Register.clear_instance_cache()
    cls, of, values, _ = RANGES[name]
    return cls(of=of, **values)


@pytest.fixture
def there(db: Client) -> Client:
    create_tables(db, Reading)
    return db


@pytest.mark.parametrize("name", RANGES)
def test_a_range_runs_what_is_missing_of_it(there: Client, name: str) -> None:
    number = RANGES[name][-1]
    result = ozelot.run(fresh(name))
    assert result.ok, result.failed
    assert count_rows(there, Reading) == number
    assert fresh(name).complete() or "task_limit" in RANGES[name][2]


def test_a_range_under_luigi(there: Client) -> None:
    assert ozelot.run(Daily(date=dt.date(2026, 1, 2))).ok
    assert luigi.build([fresh("days")], local_scheduler=True)
    assert count_rows(there, Reading) == 3
    Daily(date=dt.date(2026, 1, 3)).clear()
    assert not fresh("days").complete()
    assert luigi.build([fresh("days")], local_scheduler=True)
    assert count_rows(there, Reading) == 3


def test_a_range_of_wrappers_asks_for_what_they_require(there: Client) -> None:
    def whole() -> Any:
        luigi.task_register.Register.clear_instance_cache()
        return RangeDaily(of=Bundled, **DAYS)

    assert ozelot.run(whole()).ok
    Daily(date=dt.date(2026, 1, 3)).clear()
    assert [str(task) for task in whole().requires()] == ["Bundled(date=2026-01-03)"]
    assert ozelot.run(whole()).ok
    assert count_rows(there, Reading) == 3


def test_a_task_on_a_range_runs_after_it(there: Client) -> None:
    class OnRange(tasks.ORMTask):
        creates = ()

        def requires(self) -> Any:
            return fresh("days")

        def run(self) -> None:
            assert count_rows(there, Reading) == 3

    assert ozelot.run(OnRange()).ok


def test_how_many_queries_a_range_takes_does_not_depend_on_its_length(there: Client) -> None:
    numbers = []
    days = [dt.date(2026, 1, 1) + dt.timedelta(days=day) for day in range(300)]
    ozelot.run([Daily(date=days[0]), Daily(date=days[5])])
    statements = recorded_statements(there)
    for some in (days[:10], days):
        statements.clear()
        assert Daily.bulk_complete(some) == [days[0], days[5]]
        numbers.append(len(statements))
    assert numbers[0] == numbers[1]


def test_parameters_may_be_tuples_and_dicts(there: Client) -> None:
    day = dt.date(2026, 1, 1)
    ozelot.run(Daily(date=day))
    assert Daily.bulk_complete([(day,), {"date": day, "kind": "b"}, {"date": day}]) == [(day,), {"date": day}]
