"""What tasks say that they create and update, and how they are cleared."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Collection, Iterable, Mapping
from contextlib import suppress
from typing import Any, Protocol, TypeGuard, TypeVar, cast
from weakref import WeakKeyDictionary

import luigi
import sqlalchemy as sa
from sqlalchemy.orm import InstrumentedAttribute

from ozelot import client, config
from ozelot.db.write_guard import Undeclared, Writable
from ozelot.errors import GraphError, NotClearable
from ozelot.model.base import Base
from ozelot.pipeline.marker_target import (
    ORMTarget,
    judged_by_marker,
    parameters_with_keys,
    params_of,
    task_argument,
    task_params,
    without_order,
)
from ozelot.rows.selection import BaseRows, Model, Rows, chain, models_in, tables_of
from ozelot.state import markers as marker

#: The one empty tuple that there is, which most tasks that load nothing declare.
_NOTHING: tuple[()] = ()

_R = TypeVar("_R")


class ClearableTask(Protocol):
    """What an ORM task has, as far as clearing is concerned."""

    creates: Collection[Model] | None
    object_classes: Collection[type[Base]] | None
    updates: Collection[InstrumentedAttribute[Any]] | None

    @classmethod
    def get_name(cls) -> str: ...
    def mark_incomplete(self) -> None: ...
    def clear(self) -> None: ...
    def close_session(self, commit: bool = True) -> None: ...


#: All classes of ORM tasks, in the order in which they were defined.
task_classes: WeakKeyDictionary[Any, None] = WeakKeyDictionary()


def derived(method: Callable[..., _R]) -> Callable[..., _R]:
    """Say of ``clear()`` or ``mark_incomplete()`` that what it does follows from what the task declares.

    To type checkers it takes any arguments, as classes of 0.2 override ``clear()`` by one that takes none.
    """
    method.derived = True  # type: ignore[attr-defined]
    return method


def is_orm_task(task: object) -> TypeGuard[ClearableTask]:
    """Whether the task has a marker and can be cleared."""
    return type(task) in task_classes or isinstance(task, GoneTask)


def task_of(name: str, params: str) -> luigi.Task | None:
    """The task of that name and parameter string; None where no such class is known, or it has other parameters."""
    values = params_of(params)
    if values is None:
        return None
    for cls in _classes():
        if cls.get_name() == name:
            with suppress(Exception):  # whatever a parameter's parser may raise: then it is no such task
                task: luigi.Task = cls.from_str_params(values)
                if _is_named(task, params):
                    return task
    return None


def _is_named(task: luigi.Task, params: str) -> bool:
    """Whether a parameter string is that of a task, in whatever order it has the keys of dicts."""
    own, names = task_params(task), parameters_with_keys(task)
    return own == params or (bool(names) and without_order(own, names) == without_order(params, names))


def task_of_marker(row: marker.MarkerRow) -> luigi.Task | None:
    """The task of a marker, also in the spelling of ozelot 0.2; None where no known class has such a task."""
    values = params_of(row.params)
    for cls in _classes() if values is not None else ():
        if row.name in (cls.get_name(), cls.__name__):
            with suppress(Exception):  # whatever a parameter's parser may raise: then it is no such task
                task: luigi.Task = cls.from_str_params(values)
                if row.key in keys_of(task):
                    return task
    return None


def _classes() -> list[Any]:
    """All classes of ORM tasks, those with a ``run()`` first, the newest first."""
    newest_first = list(task_classes)[::-1]
    return sorted(newest_first, key=lambda cls: cls.run is None)


def created_models(task: Any) -> list[Model]:
    """The models (or plain tables) whose rows a task, or a class of tasks, says that it creates."""
    found: dict[Model, None] = {}
    for value in (task.creates, task.object_classes):
        if value is not None and value is not _NOTHING:
            found |= dict.fromkeys(_models_in(value))
    return list(found)


def _models_in(value: Any) -> list[Model]:
    """The models in a list. Anything else is an error once the task is to run (:mod:`ozelot.pipeline.definition`)."""
    return [found for found in listed(value) if _is_model(found)]


def _is_model(found: object) -> bool:
    if isinstance(found, sa.Table):
        return found.metadata is Base.metadata
    return isinstance(found, type) and issubclass(found, Base) and hasattr(found, "__mapper__")


def listed(value: Any) -> Collection[Any]:
    """The items of a declaration; none where it is not a list, or another collection."""
    if type(value) in (list, tuple):
        return cast(Collection[Any], value)
    is_list = isinstance(value, Collection) and not isinstance(value, str | bytes | type | Mapping | sa.FromClause)
    return cast(Collection[Any], value) if is_list else ()


def declaration(task: Any) -> tuple[object, ...]:
    """What tells tasks apart by what they say that they fill; most say so once for all of a class."""
    said = (task.creates, task.object_classes, task.updates)
    return type(task), *(None if each is None else tuple(map(id, each)) for each in said)


def updated_columns(task: Any) -> list[sa.Column[Any]]:
    """The columns that a task, or a class of tasks, says that it fills in rows of others.

    Raises:
        NotClearable: one of them could not be reset to what it was.
    """
    found = named_columns(task)
    for column in found:
        if not column.nullable or column.default is not None or column.server_default is not None:
            raise NotClearable(
                f"{task.get_name()} updates {column.table.name}.{column.name}, which cannot be reset to what it was: a "
                "column in 'updates' must be nullable and have no default"
            )
    return found


def named_columns(task: Any) -> list[sa.Column[Any]]:
    """The columns in ``updates`` of a task, or a class of tasks, also those that cannot be reset."""
    return (
        []
        if task.updates is None
        else list(dict.fromkeys(c for each in listed(task.updates) for c in columns_of(each)))
    )


def columns_of(attribute: object) -> Collection[sa.Column[Any]]:
    """The columns of a mapped attribute; none where it is something else."""
    columns = getattr(getattr(attribute, "property", None), "columns", ())
    return columns if all(isinstance(column, sa.Column) for column in columns) else ()


def declares_nothing(task: Any) -> bool:
    """Whether a task, or a class of tasks, says neither what it creates nor what it updates."""
    return task.creates is None and task.object_classes is None and task.updates is None


def writable(task: Any) -> Writable:
    """Where a task, or a class of tasks, says that it writes."""
    models, columns = tuple(created_models(task)), tuple(named_columns(task))
    number = len(Base.registry.mappers) if models or columns else 0
    tables, by_column, kinds = _writable_tables(models, columns, number)
    return Writable(
        owner=task.get_name(),
        tables=tables,
        columns=by_column,
        kinds=kinds,
        strict=functools.partial(_refuses_writes, task),
        advice=functools.partial(_lines_to_add, task),
    )


@functools.lru_cache(maxsize=1000)
def _writable_tables(
    models: tuple[Model, ...], columns: tuple[sa.Column[Any], ...], _mappers: int
) -> tuple[frozenset[str], dict[str, set[str]], dict[str, set[type]]]:
    """What the models and columns come down to, for as long as no model is added."""
    by_column: dict[sa.Table, set[str]] = {}
    for column in columns:
        by_column.setdefault(column.table, set()).add(column.name)
    versions = {mapper.version_id_col for mapper in Base.registry.mappers} if by_column else ()
    for table, names in by_column.items():  # what changes by itself with any other column of a row
        names |= {c.name for c in table.columns if c.onupdate is not None or c.server_onupdate is not None}
        names |= {c.name for c in table.columns if c in versions}
    tables = frozenset(table.fullname for table in tables_of(models))
    return tables, {table.fullname: names for table, names in by_column.items()}, _kinds(models)


def is_strict(task: Any) -> bool:
    """Whether a task that writes what it does not declare is an error, by its class or the settings."""
    return bool(config.flag("STRICT_WRITES") if task.strict_writes is None else task.strict_writes)


def _refuses_writes(task: Any) -> bool:
    return is_strict(task) and not only_as_in_0_2(task)


def _kinds(models: Iterable[Model]) -> dict[str, set[type]]:
    """The models that are declared, by the name of their table, where others share it with them."""
    found: dict[str, set[type]] = {}
    for table, sharing in models_in(table.name for table in tables_of(models)).items():
        declared = {model for model in sharing if model in models}
        if declared and len(sharing) > len(declared):
            found[table] = set(declared)
    return found


def _lines_to_add(task: Any, found: Mapping[str, Undeclared]) -> str:
    models = [model.name if isinstance(model, sa.Table) else model.__name__ for model in created_models(task)]
    columns = [f"{attribute.class_.__name__}.{attribute.key}" for attribute in task.updates or ()]
    lines = []
    known = models_in(found)
    for table, undeclared in found.items():
        mapper = sa.inspect(known[table][0]) if known[table] else None
        names = sorted(model.__name__ for model in undeclared.models)
        names = names or ([mapper.class_.__name__] if mapper is not None else [f"<the table {table}>"])
        changed = [a for a in mapper.column_attrs if a.columns[0].name in undeclared.columns] if mapper else []
        if undeclared.kinds == {"update"} and changed and all(a.columns[0].nullable for a in changed):
            columns += [f"{names[0]}.{attribute.key}" for attribute in changed]
        else:
            models += names
    if len(models) > len(created_models(task)):
        lines.append(f"'creates = [{', '.join(models)}]'")
    if len(columns) > len(task.updates or ()):
        lines.append(f"'updates = [{', '.join(columns)}]'")
    unmapped = [table for table in found if table not in Base.metadata.tables]
    why = f" (no model derived from ozelot.orm.base.Base defines {', '.join(unmapped)})" if unmapped else ""
    return f"add {' and '.join(lines)} to class {task.get_name().rpartition('.')[2]}{why}"


def only_as_in_0_2(task: Any) -> bool:
    """Whether a task, or a class of tasks, declares nothing but what 0.2 knew."""
    return task.creates is None and task.updates is None


def creator_names(models: Iterable[Model]) -> set[str]:
    """The names of all tasks that say that they create rows of one of these models."""
    wanted = set(models)
    return {cls.get_name() for cls in list(task_classes) if not wanted.isdisjoint(created_models(cls))}


def updater_names(column: sa.Column[Any]) -> set[str]:
    """The names of all tasks that say that they fill this column."""
    return {cls.get_name() for cls in list(task_classes) if column in named_columns(cls)}


def refuse_shared_columns(tasks: Mapping[str, object]) -> dict[str, object]:
    """Make sure that no two of these tasks fill one column, of which neither could be cleared alone.

    Args:
        tasks: the tasks, by label.

    Returns:
        Those that fill columns.

    Raises:
        GraphError: two fill the same one.
    """
    fills: dict[sa.Column[Any], str] = {}
    for label, task in tasks.items():
        columns: list[sa.Column[Any]] = []
        with suppress(NotClearable):  # which is said of the task by itself
            columns = named_columns(task) if is_orm_task(task) else []
        for column in columns:
            if (other := fills.setdefault(column, label)) != label:
                raise GraphError(
                    f"{other} and {label} both name {column.table.name}.{column.name} in 'updates', so that neither "
                    "could be cleared alone: let one task fill it, or give each a column of its own"
                )
    return {label: tasks[label] for label in fills.values()}


def rows_of(tasks: Iterable[Any], base_rows: BaseRows | None = None) -> Rows:
    """What tasks say that they create and update; of rows that know their run, those that are being cleared."""
    tasks = list(tasks)
    models = [model for task in tasks for model in created_models(task)]
    columns = [column for task in tasks for column in updated_columns(task)]
    return Rows(dict.fromkeys(models), dict.fromkeys(columns), base_rows=base_rows)


def clears_itself(task: object) -> bool:
    """Whether the task's class has a ``clear()`` of its own, in place of the one derived from what it declares."""
    return not _is_derived(task, "clear")


def keys_of(task: Any) -> tuple[str, ...]:
    """The key of a task's marker, the one that it has where ozelot 0.2 wrote it, and those of other spellings."""
    return task.keys if isinstance(task, GoneTask) else ORMTarget.from_task(task).keys


def label_of(task: Any) -> str:
    """Name and parameters of an ORM task."""
    return f"{task.get_name()} {task.get_param_string()}"


def argument_of(task: Any) -> str:
    """An ORM task as it is named on a command line."""
    return task_argument(task.get_name(), task.get_param_string())


class GoneTask:
    """A task whose class is not known (any more), as its last run recorded it.

    Args:
        name: the name of the task.
        params: its parameter string.
        rows: how many rows and values its run recorded, by table and ``table.column``; None: unknown.

    Attributes:
        unknown_tables: where it has rows, but no model is known.
    """

    object_classes = None
    strict_writes = None

    def __init__(self, name: str, params: str, rows: Mapping[str, int | None]) -> None:
        self._name, self._params = name, params
        self.keys = marker.marker_key(name, params), marker.legacy_key(name, params)
        filled = [what for what, number in rows.items() if number != 0]
        parts = _base_parts(rows)
        self.creates: list[Model] = []
        self.updates: list[InstrumentedAttribute[Any]] = []
        self.unknown_tables: list[str] = []
        for table, models in models_in(what for what in filled if "." not in what and what not in parts).items():
            if not models and table not in Base.metadata.tables:
                self.unknown_tables.append(table)
            self.creates += models or [Base.metadata.tables[name] for name in [table] if name in Base.metadata.tables]
        for table, column in (what.split(".") for what in filled if "." in what):
            found = [
                attribute.class_attribute
                for model in models_in([table])[table]
                for attribute in sa.inspect(model).column_attrs
                if getattr(attribute.columns[0].table, "name", "") == table and attribute.columns[0].name == column
            ]
            self.updates += found[:1]
            if not found:
                self.unknown_tables.append(table)

    def get_name(self) -> str:
        """The name of the task."""
        return self._name

    def get_param_string(self) -> str:
        """Its parameter string."""
        return self._params

    def mark_incomplete(self) -> None:
        """Remove the marker."""
        with client.get_client().engine.begin() as connection:
            marker.record_lost_runs(connection, [marker.Identity(self._name, self._params, *self.keys)])
            marker.delete(connection, self.keys)

    def close_session(self, commit: bool = True) -> None:
        """It has none."""

    @derived
    def clear(self) -> None:
        """Only in a plan."""
        raise NotClearable(f"{self._name} is not known here: clear it by a plan of what it was built on")


def _base_parts(rows: Mapping[str, int | None]) -> set[str]:
    """The names of base tables that hold nothing but the base rows of the derived rows that a run recorded, too."""
    numbers = {table: rows[table] or 0 for table in rows if "." not in table}
    derived: dict[str, int] = {}
    for models in models_in(table for table, number in numbers.items() if number).values():
        for base in chain(sa.inspect(models[0]))[1:] if models else ():
            derived[base.name] = derived.get(base.name, 0) + numbers[chain(sa.inspect(models[0]))[0].name]
    return {name for name, number in derived.items() if numbers.get(name) == number}


def check_clearable(task: Any) -> None:
    """Make sure that it is known how to clear a task.

    Raises:
        NotClearable: it is not.
    """
    if declares_nothing(task) and not clears_itself(task):
        name = type(task).__name__
        raise NotClearable(
            f"{name} does not say how to clear it: declare 'creates = [Model, ...]' or 'updates = [Model.column, ...]' "
            f"in class {name}, or define clear()"
        )
    updated_columns(task)


def removes_marker_only(task: Any) -> bool:
    """Whether nothing about ``mark_incomplete()`` was overridden, so that the key says all."""
    return _is_derived(task, "mark_incomplete") and judged_by_marker(task)


def _is_derived(task: object, name: str) -> bool:
    method = inspect.getattr_static(type(task), name)
    return getattr(getattr(method, "function", method), "derived", False)
