"""A task whose parameters are dicts is the same task in whatever order their keys are given."""

from __future__ import annotations

import json
from typing import Any

import luigi
import pytest
import sqlalchemy as sa
from sqlalchemy.orm import Mapped

import ozelot
from ozelot.client import Client
from ozelot.etl import tasks
from ozelot.etl.completion import clear_plan
from ozelot.etl.status import State, status
from ozelot.orm.base import Base
from ozelot.orm.run import TaskOwned
from ozelot.pipeline.declarations import task_of
from ozelot.pipeline.marker_target import task_label
from ozelot.state import markers as marker
from ozelot.state.markers import markers
from ozelot.state.runs import runs
from tests.statements import recorded_statements
from tests.tables import create_tables


class Tally(TaskOwned, Base):
    number: Mapped[int]


class Count(tasks.ORMTask):
    creates = [Tally]
    options: Any = luigi.DictParameter(default={})
    parts: Any = luigi.ListParameter(default=[])
    hidden: Any = luigi.DictParameter(default={}, significant=False)

    def run(self) -> None:
        self.load(Tally, [{"number": 1}])


class Above(tasks.ORMTask):
    creates = ()

    def requires(self) -> Any:
        return [Count(options={"b": 2, "a": 1}), Count(options={"a": 1})]


@pytest.fixture
def there(db: Client) -> Client:
    create_tables(db, Tally)
    return db


def fresh(**parameters: Any) -> Count:
    """A task as another process would make it."""
    luigi.task_register.Register.clear_instance_cache()
    return Count(**parameters)


def one_way_and_another(value: Any) -> Any:
    """The same value with the keys in the opposite order."""
    if isinstance(value, dict):
        return {key: one_way_and_another(value[key]) for key in reversed(value)}
    return [one_way_and_another(each) for each in value] if isinstance(value, list) else value


VALUES: list[dict[str, Any]] = [
    {"options": {"b": 1, "a": "x"}},
    {"options": {"z": {"b": [1, {"d": 1, "c": None}], "a": 1.5}}},
    {"parts": [{"b": 1, "a": 2}, [{"d": "é'\\", "c": True}], 3]},
    {"options": {"b": {}, "a": []}, "parts": [{"y": 1, "x": 2}]},
]


def rename(client: Client, task: Count, written: dict[str, Any]) -> None:
    """Write marker and run of a task as an ozelot did that did not sort the keys."""
    values: dict[str, str] = task.to_str_params(only_significant=True, only_public=True)  # type: ignore[no-untyped-call]
    values |= {name: json.dumps(value) for name, value in written.items()}
    pairs = (f"'{name}': '{values[name]}'".replace("\\", "\\\\") for name in sorted(values))
    params = "{" + ", ".join(pair.replace("'", "\\'") if pair.count("'") > 4 else pair for pair in pairs) + "}"
    old = {"params": params, "key": marker.marker_key(task.get_name(), params)}
    with client.engine.begin() as connection:
        for table in (markers, runs):
            connection.execute(sa.update(table).where(table.c.name == "Count").values(**old))


@pytest.mark.parametrize("given", VALUES)
def test_the_order_of_keys_tells_no_tasks_apart(there: Client, given: dict[str, Any]) -> None:
    first = fresh(**given)
    assert ozelot.run(first).ok
    second = fresh(**one_way_and_another({"": given})[""])
    assert task_label(first) == task_label(second)
    assert second.complete()
    assert ozelot.run(second).ran == {}
    assert task_of("Count", first.get_param_string()) is second
    second.clear()
    assert not fresh(**given).complete()


def test_other_values_are_other_tasks(there: Client) -> None:
    given: list[Any] = [{"b": 1, "a": 2}, {"b": 1.0, "a": 2}, {"b": True, "a": 2}, {"b": "1", "a": 2}, {"b": 2, "a": 1}]
    given += [{"b": [1, 2], "a": 0}, {"b": [2, 1], "a": 0}]
    labels = {task_label(fresh(options=each)) for each in given}
    assert len(labels) == len(given)
    assert len({fresh(options=each).output()[0].keys[0] for each in given}) == len(given)


def test_the_order_of_a_list_counts(there: Client) -> None:
    assert ozelot.run(fresh(parts=[{"b": 1, "a": 2}, 3])).ok
    assert not fresh(parts=[3, {"a": 2, "b": 1}]).complete()


@pytest.mark.parametrize("how", ["run", "luigi", "status", "clear", "plan", "mark incomplete", "refresh"])
def test_a_marker_in_another_order_counts(there: Client, how: str) -> None:
    task = Count(options={"b": 1, "a": 2, "c": 3})
    assert ozelot.run([task, Count(options={"other": 1, "task": 2})]).ok
    with there.engine.begin() as connection:
        connection.execute(sa.update(markers).where(markers.c.params.like("%other%")).values(name="Kept"))
        connection.execute(sa.update(runs).where(runs.c.params.like("%other%")).values(name="Kept"))
    rename(there, task, {"options": {"c": 3, "b": 1, "a": 2}})
    task = fresh(options={"a": 2, "c": 3, "b": 1})
    assert task_of("Count", _only_params(there)) is task
    if how == "run":
        assert ozelot.run(task).ran == {}
    elif how == "luigi":
        assert luigi.build([task], local_scheduler=True)
        assert task.complete()
    elif how == "status":
        (entry,) = status(task)
        assert (entry.state, entry.rows) == (State.COMPLETE, {"tally": 1})
    elif how == "clear":
        task.clear()
    elif how == "plan":
        plan = clear_plan(task, [task])
        assert plan.deletes == {"tally": 1}
        plan.apply()
    elif how == "mark incomplete":
        task.mark_incomplete()
        assert ozelot.run(task).ok  # rows of its own are cleared first
    else:
        task.clear()
        assert ozelot.run(fresh(options={"c": 3, "b": 1, "a": 2})).ok
    expected = 1 if how in ("clear", "plan") else 2
    assert fresh(options={"c": 3, "a": 2, "b": 1}).complete() is (expected == 2)
    with there.engine.connect() as connection:
        assert connection.scalar(sa.select(sa.func.count()).select_from(Tally)) == expected
        assert connection.scalar(sa.select(sa.func.count()).select_from(markers)) == expected
    if how in ("run", "luigi", "status", "mark incomplete", "refresh"):
        assert [found.kind for found in ozelot.verify(task) if found.where.startswith("Count")] == []


def _only_params(client: Client) -> str:
    with client.engine.connect() as connection:
        (params,) = connection.scalars(sa.select(markers.c.params).where(markers.c.name == "Count"))
    return params or ""


def test_a_marker_of_0_2_in_another_order_counts(there: Client) -> None:
    fresh().mark_complete()
    old = "{'hidden': '{}', 'options': '{\"b\": 1, \"a\": 2}', 'parts': '[]'}"
    with there.engine.begin() as connection:
        connection.execute(sa.update(markers).values(params=old, key=marker.legacy_key("Count", old)))
    task = fresh(options={"a": 2, "b": 1})
    assert task.complete()
    assert ozelot.run(task).ran == {}
    task.mark_incomplete()
    assert not fresh(options={"b": 1, "a": 2}).complete()


def test_downstream_of_a_marker_in_another_order_is_cleared_with_it(there: Client) -> None:
    root = Above()
    assert ozelot.run(root).ok
    with there.engine.begin() as connection:
        old = "{'options': '{\"b\": 2, \"a\": 1}', 'parts': '[]'}"
        values = {"params": old, "key": marker.marker_key("Count", old)}
        for table in (markers, runs):
            connection.execute(sa.update(table).where(table.c.params.like('%"b"%')).values(**values))
    luigi.task_register.Register.clear_instance_cache()
    assert {entry.state for entry in status(Above())} == {State.COMPLETE}
    count = Count(options={"a": 1, "b": 2})
    assert [step.label for step in clear_plan(count, [count]).steps] == ["Above {}", task_label(count)]


def test_a_thousand_such_tasks_take_few_queries(sqlite_db: Client) -> None:
    create_tables(sqlite_db, Tally)
    many = [Count(options={"b": number, "a": 0}) for number in range(300)]
    assert ozelot.run(many).ok
    asked = recorded_statements(sqlite_db)
    luigi.task_register.Register.clear_instance_cache()
    result = ozelot.run([Count(options={"a": 0, "b": number}) for number in range(300)])
    assert len(result.complete) == 300
    assert len(asked) < 30
