"""How many rows a run wrote to the tables that its task creates, and how many values it set."""

from __future__ import annotations

import functools
from collections.abc import Collection
from dataclasses import replace
from typing import Any

import sqlalchemy as sa

from ozelot.db.run_context import RunWrites
from ozelot.db.sql_analysis import database_code
from ozelot.model.base import Base
from ozelot.pipeline.declarations import created_models, updated_columns
from ozelot.rows.selection import chain, count, owners
from ozelot.state.runs import Counts, runs


def known_writes(connection: sa.Connection, writes: RunWrites) -> RunWrites:
    """What a run wrote; unknown where triggers, or rules of foreign keys, may have written or deleted more."""
    written = {name.rpartition(".")[2] for name in writes.rows}
    if written and not written.isdisjoint(database_code(connection).tables):
        return replace(writes, unknown=True, changed=None)
    deleted = set(writes.deleted)
    waiting = list(deleted)
    while waiting:
        name = waiting.pop()
        for table in _deleted_along(name) - deleted:
            deleted.add(table)
            waiting.append(table)
    if along := deleted - writes.deleted:
        return replace(writes, rows={**writes.rows, **dict.fromkeys(along)})
    return writes


def _deleted_along(name: str) -> set[str]:
    """The tables in which rows are deleted along with rows of a table, as foreign keys of the models say."""
    keys = (key for table in Base.metadata.tables.values() for key in table.foreign_key_constraints)
    along = (key.table for key in keys if key.ondelete == "CASCADE" and key.referred_table.fullname == name)
    return {table.fullname for table in along}


def row_counts(
    task: Any,
    connection: sa.Connection,
    writes: RunWrites,
    run_id: int,
    *,
    empty: Collection[sa.Table],
    foreign: Collection[sa.Table],
) -> Counts:
    """What to record of a run: rows by table, values by ``table.column``; None where the number is unknown.

    Args:
        task: the task.
        connection: in the run's transaction.
        writes: what the run wrote, as far as it was counted.
        run_id: the record of the run; rows that know their run are counted by it.
        empty: tables that were empty when the run began, and that only this task fills.
        foreign: base tables whose rows are not the run's own.
    """
    models = created_models(task)
    own = [model if isinstance(model, sa.Table) else chain(sa.inspect(model))[0] for model in models]
    bases = [table for model in models if not isinstance(model, sa.Table) for table in chain(sa.inspect(model))[1:]]
    tables = list(dict.fromkeys([*own, *(table for table in bases if table not in foreign)]))
    found: Counts = {}
    with_run_id = owners(models)
    owned = tuple(table for table in tables if table in with_run_id)
    columns = tuple(updated_columns(task))
    counted = dict(zip(*_counting(connection, owned, columns, run_id), strict=True)) if owned or columns else {}
    for table in tables:
        number = counted[table.name] if table in owned else writes.number(table.fullname)
        if number is None and table in empty:
            number = count(connection, table, None)
        if number != 0 or table in own:
            found[table.name] = number
    return found | {name: number for name, number in counted.items() if "." in name}


def _counting(
    connection: sa.Connection, owned: tuple[sa.Table, ...], columns: tuple[sa.Column[Any], ...], run_id: int
) -> tuple[list[str], Any]:
    names, query = _query(owned, columns)
    return names, connection.execute(query, {"made_by": run_id}).one()


@functools.lru_cache(maxsize=1000)
def _query(owned: tuple[sa.Table, ...], columns: tuple[sa.Column[Any], ...]) -> tuple[list[str], sa.Select[Any]]:
    made_by = sa.bindparam("made_by", type_=runs.c.id.type)
    counts: dict[str, sa.Select[Any]] = {
        table.name: sa.select(sa.func.count()).select_from(table).where(table.c.run_id == made_by) for table in owned
    }
    counts |= {f"{column.table.name}.{column.name}": sa.select(sa.func.count(column)) for column in columns}
    return list(counts), sa.select(*(query.scalar_subquery() for query in counts.values()))
