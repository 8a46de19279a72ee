"""Which tasks inserted the base rows of derived models (joined inheritance), as the recorded runs say.

A row of a derived model consists of rows in several tables. A task that creates the derived model may insert all of
them, as ``session.add(Book(...))`` does, or only those of the derived table, for base rows that another task loaded.
Clearing deletes what each inserted. So a run records rows of base tables only where it inserted some, and a run of
which that could not be told later fails.
"""

from __future__ import annotations

import logging
from collections.abc import Collection, Iterable, Iterator
from typing import Any

import sqlalchemy as sa
from sqlalchemy import orm

from ozelot.db.run_context import RunWrites
from ozelot.errors import ClearRefused, NotClearable
from ozelot.pipeline.declarations import created_models, creator_names, keys_of, only_as_in_0_2
from ozelot.pipeline.marker_target import parameter_names, task_label
from ozelot.rows.selection import (
    BaseRows,
    Model,
    association_tables,
    chain,
    count,
    exists,
    models_in,
    owner_of,
    same_key,
)
from ozelot.state import lineage
from ozelot.state.runs import Counts, runs, wrote

log = logging.getLogger(__name__)


def base_rows(connection: sa.Connection, models: Iterable[Model], keys: Collection[str] = ()) -> BaseRows:
    """What the recorded runs say of the base rows of all models in the hierarchies of these.

    Args:
        connection: the database.
        models: the models.
        keys: of the markers of the tasks that are to be cleared.

    Raises:
        ClearRefused: several tasks created a derived model, only some of them with its base rows, and no ``run_id``
            says which row is whose.
    """
    pairs = [(mapper, base) for mapper in _derived(models) for base in chain(mapper)[1:]]
    names = {_local(mapper).name for mapper, _ in pairs}
    if not names:
        return BaseRows()
    recorded = lineage.counts_in(connection, names)
    foreign, extending = set(), set()
    for mapper, base in pairs:
        table, owner = _local(mapper), owner_of(mapper)
        known = [(key, rows) for key, rows in recorded if _has_some(rows, table) and not _is_base_only(rows, mapper)]
        if owner is None:
            inserted = {_has_some(rows, base) for _, rows in known}
            if len(inserted) > 1:
                raise ClearRefused(
                    f"some tasks inserted rows of {base.name} along with those of {table.name}, others did not, and "
                    f"nothing says which row is whose: let {mapper.class_.__name__} use TaskOwned"
                )
            if inserted == {False} or (not inserted and _is_declared_apart(mapper, base)):
                foreign.add((table, base))
        elif base is owner and any(key in keys and _extends(rows, table, owner) for key, rows in known):
            extending.add(table)
    return BaseRows(frozenset(foreign), frozenset(extending))


def _derived(models: Iterable[Model]) -> Iterator[orm.Mapper[Any]]:
    """The derived models, with tables of their own, in the hierarchies of these; one for each table."""
    bases = dict.fromkeys(sa.inspect(model).base_mapper for model in models if not isinstance(model, sa.Table))
    seen = set()
    for base in bases:
        for mapper in base.self_and_descendants:
            table = mapper.local_table
            if len(chain(mapper)) > 1 and table not in seen and table is not base.local_table:
                seen.add(table)
                yield mapper


def _local(mapper: orm.Mapper[Any]) -> sa.Table:
    return chain(mapper)[0]


def _has_some(rows: Counts, table: sa.Table) -> bool:
    """Whether a run recorded rows in a table; an unknown number counts as some."""
    return rows.get(table.name, 0) != 0


def _is_base_only(rows: Counts, mapper: orm.Mapper[Any]) -> bool:
    """Whether all rows that a run recorded in a table are base rows of further derived models."""
    number = rows.get(_local(mapper).name)
    further = [_local(other) for other in mapper.self_and_descendants if len(chain(other)) == len(chain(mapper)) + 1]
    return number is not None and number == sum(rows.get(table.name) or 0 for table in dict.fromkeys(further))


def _extends(rows: Counts, table: sa.Table, owner: sa.Table) -> bool:
    return (rows.get(table.name) or 0) > (rows.get(owner.name) or 0)


def _is_declared_apart(mapper: orm.Mapper[Any], base: sa.Table) -> bool:
    """Whether a task creates the base model, but not the derived one; ozelot 0.2 recorded no rows."""
    table = _local(mapper)
    derived = creator_names(models_in([table.name])[table.name])
    return bool(creator_names(models_in([base.name])[base.name]) - derived)


def inherited_tables(task: Any) -> frozenset[str]:
    """The full names of the tables of derived models that a task creates, and of their base tables."""
    models = [model for model in created_models(task) if not isinstance(model, sa.Table)]
    if not models:
        return frozenset()
    chains = [tables for model in models if len(tables := chain(sa.inspect(model))) > 1]
    return frozenset(table.fullname for tables in chains for table in tables)


def check_base_rows(
    task: Any, connection: sa.Connection, writes: RunWrites, run_id: int, empty: Collection[sa.Table]
) -> set[sa.Table]:
    """Make sure that clearing can tell the base rows that a run inserted from those that other tasks did.

    Args:
        task: the task.
        connection: in the run's transaction.
        writes: what the run wrote.
        run_id: the record of the run.
        empty: tables that were empty when the run began, and that only this task fills.

    Returns:
        The base tables of which the run's rows are not its own, and not to be counted.

    Raises:
        NotClearable: it cannot.
    """
    foreign: set[sa.Table] = set()
    mappers = [sa.inspect(model) for model in created_models(task) if not isinstance(model, sa.Table)]
    own = {mapper.local_table for mapper in mappers}
    for mapper in mappers:
        _check_added_rows(task, connection, writes, run_id, mapper, empty)
    for base in dict.fromkeys(table for mapper in mappers for table in chain(mapper)[1:]):
        derived = [
            mapper for mapper in mappers if base in chain(mapper)[1:] and not _tells(owner_of(mapper), base, mapper)
        ]
        if base in own or not derived:
            continue
        for mapper in derived:
            _check_like_others(task, connection, writes, mapper, base)
        number = writes.number(base.fullname)
        if number == 0:
            continue
        tables = [_told_by(mapper) for mapper in derived]
        if base in empty:
            without = sa.and_(*(~same_key(base, table) for table in tables))
            is_clear = not exists(connection, base, without)
        else:
            is_clear = _is_whole(writes, base, tables)
        if not is_clear:
            name = derived[0].class_.__name__
            which = "an unknown number of" if number is None else str(number)
            _refuse(
                task,
                f"{task_label(task)} inserted {which} rows of {base.name}, and not exactly those that its rows of "
                f"{name} need: clearing could not tell them from rows of {base.name} that other tasks load. Let "
                f"{_model_name(base)} use TaskOwned, insert whole rows by session.add({name}(...)) or self.load(), or "
                f"add {_model_name(base)} to 'creates'",
            )
            foreign.add(base)
    _check_associations(task, writes, mappers, foreign)
    return foreign


def _tells(owner: sa.Table | None, base: sa.Table, mapper: orm.Mapper[Any]) -> bool:
    """Whether the ``run_id`` of a base table, or of a base of it, says who inserted its rows."""
    tables = chain(mapper)
    return owner is not None and owner is not tables[0] and tables.index(owner) >= tables.index(base)


def _told_by(mapper: orm.Mapper[Any]) -> sa.Table:
    """The table whose rows say which base rows belong to them: that with the ``run_id``, else the model's own."""
    owner = owner_of(mapper)
    return _local(mapper) if owner is None else owner


def _check_associations(
    task: Any, writes: RunWrites, mappers: Collection[orm.Mapper[Any]], foreign: Collection[sa.Table]
) -> None:
    """Rows of an association table go along with rows that they refer to, if these are the run's own."""
    own = {_local(mapper) for mapper in mappers}
    for mapper in mappers:
        inserted = (base for base in chain(mapper)[1:] if writes.number(base.fullname) != 0 or owner_of(mapper) is base)
        own.update(base for base in inserted if base not in foreign)
    for table, keys in association_tables(mappers):
        refers_to = {key.referred_table for key in keys}
        if table not in created_models(task) and own.isdisjoint(refers_to) and writes.number(table.fullname):
            names = " and ".join(sorted(each.name for each in refers_to))
            _refuse(
                task,
                f"{task_label(task)} inserted rows of {table.name} for rows of {names} that other tasks loaded, so "
                f"that clearing it would leave them: add {table.name} to 'creates'",
            )


def _is_whole(writes: RunWrites, base: sa.Table, derived: list[sa.Table]) -> bool:
    """Whether the rows that a run inserted in a base table are those of the rows of derived models that it inserted."""
    numbers = {table: writes.number(table.fullname) for table in [base, *derived]}
    rest: dict[sa.Table, int] = {}
    for table, number in numbers.items():
        if number is None:
            return False
        rest[table] = number - writes.whole[table.fullname]
    keys = {table: writes.keys.get(table.fullname, set()) for table in numbers}
    if not any(rest.values()):
        return True
    if any(rest[table] != len(keys[table]) for table in numbers):
        # Rows deleted again with Core statements, as many of the base table as of the derived ones.
        return all(rest[table] <= 0 for table in numbers) and rest[base] == sum(rest[table] for table in derived)
    return keys[base] == set().union(*(keys[table] for table in derived))


def _check_like_others(
    task: Any, connection: sa.Connection, writes: RunWrites, mapper: orm.Mapper[Any], base: sa.Table
) -> None:
    """Of rows that do not know their run, all tasks insert the base rows, or none does."""
    table = _local(mapper)
    model = models_in([table.name])[table.name][:1]
    is_only_one = creator_names(model) <= {task.get_name()} and not parameter_names(type(task))
    if is_only_one or owner_of(mapper) is not None or writes.number(table.fullname) == 0:
        return
    keys, inserts = keys_of(task), writes.number(base.fullname) != 0
    for key, rows in lineage.counts_in(connection, [table.name]):
        is_meant = key not in keys and _has_some(rows, table) and not _is_base_only(rows, mapper)
        if is_meant and _has_some(rows, base) is not inserts:
            which = ("whole rows", "rows for base rows of others") if inserts else ("rows for base rows", "whole rows")
            _refuse(
                task,
                f"{task_label(task)} inserted {which[0]} of {table.name}, where another task inserted {which[1]}: "
                f"clearing could not tell them apart. Let {mapper.class_.__name__} use TaskOwned",
            )
            return


def _check_added_rows(
    task: Any,
    connection: sa.Connection,
    writes: RunWrites,
    run_id: int,
    mapper: orm.Mapper[Any],
    empty: Collection[sa.Table],
) -> None:
    """Make sure that derived rows for other tasks' base rows can be identified, if base rows have a ``run_id``."""
    owner, tables = owner_of(mapper), chain(mapper)
    if owner is None:
        return
    made_by = owner.c.run_id
    for table in tables[: tables.index(owner)]:
        number = writes.number(table.fullname)
        if number is None and table in empty:
            number = count(connection, table, None)
        pairs = zip(table.primary_key.columns, owner.primary_key.columns, strict=True)
        joined = table.join(owner, sa.and_(*(a == b for a, b in pairs)))
        added = (number or 0) - count(connection, joined, made_by == run_id) if number else 0
        writers = sa.select(runs.c.id).where(wrote(table.name))
        if added > 0 and added != count(connection, joined, sa.and_(made_by != run_id, made_by.not_in(writers))):
            _refuse(
                task,
                f"{task_label(task)} inserted rows of {table.name} for rows of {owner.name} that other tasks "
                f"loaded, and another task has rows in {table.name}, too: clearing could not tell them apart. Let one "
                f"task create {mapper.class_.__name__}",
            )


def _refuse(task: Any, message: str) -> None:
    if not only_as_in_0_2(task):
        raise NotClearable(message)
    log.warning("%s", message)


def _model_name(table: sa.Table) -> str:
    found = models_in([table.name])[table.name]
    return found[0].__name__ if found else table.name
