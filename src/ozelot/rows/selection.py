"""Which rows belong to models: in which tables they lie, by which condition, and how many there are.

A model's rows may lie in several tables (inheritance), know the run that made them (``TaskOwned``), and have
association tables that refer to them. Nothing here changes anything; :mod:`ozelot.rows.deletion` does.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass
from typing import Any, TypeGuard, cast

import sqlalchemy as sa
from sqlalchemy import orm

from ozelot.model.base import Base
from ozelot.state.runs import TaskOwned, being_cleared, few, runs, wrote

Column = sa.Column[Any]
Condition = sa.ColumnElement[bool]
Model = type[Base] | sa.Table


@dataclass(frozen=True)
class BaseRows:
    """Which rows of derived models (joined inheritance) lie on base rows that other tasks inserted.

    Attributes:
        foreign: pairs of the table of a derived model and of a base table, where neither has a ``run_id``: the tasks of
            the derived model inserted no rows of the base table.
        extending: tables of derived models whose base rows know their run: a task that is meant inserted rows there
            for base rows of other tasks, and no other task has rows there but along with base rows of its own.
    """

    foreign: Collection[tuple[sa.Table, sa.Table]] = ()
    extending: Collection[sa.Table] = ()


class Rows:
    """All rows of some models, and columns that are filled in rows of others.

    Args:
        models: the models, or plain tables. Rows of a derived model lie in its tables and in those of its bases;
            rows of a base model do not include those of derived models that are not named.
        columns: the columns.
        made_by: of models with ``TaskOwned``, only rows of these runs are meant; by default of those that
            :func:`ozelot.state.runs.mark_clearing` singled out.
        base_rows: which rows of derived models lie on base rows of others; these are not meant.

    Attributes:
        tables: which rows of each table are meant; None: all.
        associations: those of the tables that are here only because they associate these rows with others.
        columns: the columns.
        told_by_derived: base tables some of whose rows only those of derived tables tell: ask before these are deleted.
    """

    def __init__(
        self,
        models: Iterable[Model],
        columns: Iterable[Column] = (),
        *,
        made_by: sa.Select[int] | Collection[int | sa.BindParameter[int]] = being_cleared,
        base_rows: BaseRows | None = None,
    ) -> None:
        models = list(models)
        self._made_by = made_by
        self._base_rows = base_rows or BaseRows()
        self._mappers = {sa.inspect(model) for model in models if not isinstance(model, sa.Table)}
        self.columns = list(columns)
        self.tables: dict[sa.Table, Condition | None] = {t: None for t in models if isinstance(t, sa.Table)}
        self.told_by_derived: set[sa.Table] = set()
        for mapper in sorted(self._mappers, key=lambda mapper: mapper.class_.__name__):
            for table in self._own_tables(mapper):
                if table not in self.tables:
                    self.tables[table] = self._condition(table)
        self.associations: list[sa.Table] = []
        for table, keys in association_tables(self._mappers):
            keys = [key for key in keys if key.referred_table in self.tables]
            if keys and table not in self.tables:
                conditions = [refers(key, self.tables[key.referred_table]) for key in keys]
                self.tables[table] = sa.or_(*conditions)
                self.associations.append(table)

    def _own_tables(self, mapper: orm.Mapper[Any]) -> list[sa.Table]:
        """The tables that hold a row of a model, without those where its row is another task's."""
        return [table for table in chain(mapper) if (mapper.local_table, table) not in self._base_rows.foreign]

    def _condition(self, table: sa.Table) -> Condition | None:
        storing = {m for m in _all_mappers() if table in chain(m)}
        going = {m for m in storing & self._mappers if table in self._own_tables(m)}
        owners = {mapper: owner for mapper in going if (owner := owner_of(mapper)) is not None}
        mapper_of = {owner: mapper for mapper, owner in owners.items()}  # that of the table itself, if it is among them
        mapper_of |= {owner: mapper for mapper, owner in owners.items() if mapper.local_table is table}
        conditions = [self._condition_of_runs(table, mapper, owner) for owner, mapper in mapper_of.items()]
        if going - owners.keys():
            rest = self._condition_of_models(table, storing, going - owners.keys())
            if rest is None:
                return None
            conditions.append(rest)
        return sa.or_(*conditions)

    def _condition_of_runs(self, table: sa.Table, mapper: orm.Mapper[Any], owner: sa.Table) -> Condition:
        condition: Condition = owner.c.run_id.in_(self._made_by)
        if table is owner:
            return condition
        tables = chain(mapper)
        if tables.index(table) > tables.index(owner):  # a base table: only some of the runs inserted rows there
            self.told_by_derived.add(table)
            condition &= owner.c.run_id.in_(sa.select(runs.c.id).where(wrote(table.name)))
        else:
            those = sa.select(runs.c.id).where(wrote(table.name))
            if mapper.local_table is not table:  # other rows are parts that another task inserted
                condition &= owner.c.run_id.in_(those)
            if table in self._base_rows.extending:
                condition |= owner.c.run_id.not_in(those)
        return cast(Condition, key_of(table).in_(sa.select(*owner.primary_key.columns).where(condition)))

    def _condition_of_models(
        self, table: sa.Table, storing: set[orm.Mapper[Any]], going: set[orm.Mapper[Any]]
    ) -> Condition | None:
        if going == storing:
            return None
        base = next(iter(going)).base_mapper
        if base.polymorphic_on is not None and not self._is_split(base):
            kind = base.polymorphic_on
            condition: Condition = kind.in_([m.polymorphic_identity for m in going if m.polymorphic_identity])
            if any(m.polymorphic_identity is None for m in going):
                condition = sa.or_(condition, kind.is_(None))
            return _of_kind(table, base, condition)
        conditions = []
        # Of models with a run_id only the rows of some runs are meant.
        whole = {mapper for mapper in self._mappers if owner_of(mapper) is None}
        for mapper in sorted(going, key=lambda mapper: mapper.class_.__name__):
            local = cast(sa.Table, mapper.local_table)
            if local is not table:
                self.told_by_derived.add(table)
                conditions.append(same_key(table, local, self._of_model(mapper, but=())))
            elif (own := self._of_model(mapper, but=whole)) is None:
                return None
            else:
                conditions.append(own)
        return sa.or_(*conditions)

    def _is_split(self, base: orm.Mapper[Any]) -> bool:
        """Whether rows of some model of a hierarchy were inserted by several tasks."""
        tables = {mapper.local_table for mapper in base.self_and_descendants}
        return any(derived in tables for derived, _ in self._base_rows.foreign)

    def _of_model(self, mapper: orm.Mapper[Any], but: Collection[orm.Mapper[Any]]) -> Condition | None:
        """Which rows of a model's own table are not (parts of) rows of other models but some; None: all."""
        conditions: list[Condition] = []
        base, local = mapper.base_mapper, cast(sa.Table, mapper.local_table)
        kind = base.polymorphic_on
        same = [m for m in base.self_and_descendants if m.local_table is local and m is not mapper]
        if same and kind is not None:
            if mapper.inherits is not None and mapper.inherits.local_table is local:
                condition: Condition = kind == mapper.polymorphic_identity
            else:
                others = [m.polymorphic_identity for m in same if m not in but]
                condition = sa.or_(kind.is_(None), kind.not_in(others)) if others else sa.true()
            conditions.append(_of_kind(local, base, condition))
        for part in dict.fromkeys(m.local_table for m in mapper.self_and_descendants):
            if part is local or not isinstance(part, sa.Table) or (part, local) in self._base_rows.foreign:
                continue
            using = [m for m in base.self_and_descendants if m.local_table is part]
            staying = [m for m in using if m not in but]
            if not staying:
                continue
            parts = []
            if len(staying) < len(using) and kind is not None:
                parts.append(_of_kind(part, base, kind.in_([m.polymorphic_identity for m in staying])))
            if (owner := owner_of(staying[0])) is not None:
                parts.append(key_of(part).in_(_keys_of_writers(owner, local)))
            conditions.append(~same_key(local, part, sa.and_(*parts) if parts else None))
        return sa.and_(*conditions) if conditions else None

    def counts(self, connection: sa.Connection) -> dict[str, int]:
        """How many rows there are by table, association tables left out, and how many values by ``table.column``."""
        found = {
            table.name: count(connection, table, where)
            for table, where in self.tables.items()
            if table not in self.associations
        }
        return found | {f"{column.table.name}.{column.name}": values(connection, column) for column in self.columns}

    def first_in(self, connection: sa.Connection) -> sa.Table | None:
        """The first of the tables in which there are such rows."""
        for table, where in self.tables.items():
            if table not in self.associations and exists(connection, table, where):
                return table
        return None

    def stays(self, table: sa.Table) -> Condition | None:
        """Which rows of a table are not meant; None: not one."""
        if table not in self.tables:
            return sa.true()
        condition = self.tables[table]
        return None if condition is None else sa.not_(condition)


def counts_by_task(connection: sa.Connection, model: type[Base], keys: Collection[str]) -> dict[str, dict[str, int]]:
    """Of a model with ``TaskOwned``: the rows of each of its tables by the key of the task that made them.

    Of more tasks than asked for, where many are.
    """
    query = sa.select(runs.c.id, runs.c.key)
    if few(keys):
        query = query.where(runs.c.key.in_(keys))
    key_of_run = {run_id: key for run_id, key in connection.execute(query)}  # noqa: C416 - rows, not pairs
    found: dict[str, dict[str, int]] = {}
    for table, numbers in counts_by_run(connection, model, query if few(keys) else None).items():
        by_key = found.setdefault(table, {})
        for run_id, number in numbers.items():
            if (key := key_of_run.get(run_id)) is not None:
                by_key[key] = by_key.get(key, 0) + number
    return found


def counts_by_run(
    connection: sa.Connection, model: type[Base], made_by: sa.Select[Any] | None = None
) -> dict[str, dict[int, int]]:
    """Of a model with ``TaskOwned``: the rows of each of its tables by the run that made them.

    Args:
        connection: the database.
        model: the model.
        made_by: selects the runs, whose ids come first; None: all.
    """
    mapper = sa.inspect(model)
    owner = owner_of(mapper)
    if owner is None:
        raise TypeError(f"{model.__name__} does not use TaskOwned")
    tables = chain(mapper)
    found = {}
    for table in tables:
        joined: Any = table
        if table is not owner:
            pairs = zip(table.primary_key.columns, owner.primary_key.columns, strict=True)
            joined = table.join(owner, sa.and_(*(a == b for a, b in pairs)))
        query = sa.select(owner.c.run_id, sa.func.count()).select_from(joined).group_by(owner.c.run_id)
        if made_by is not None:
            query = query.where(owner.c.run_id.in_(made_by.with_only_columns(runs.c.id)))
        if tables.index(table) > tables.index(owner):
            query = query.where(owner.c.run_id.in_(sa.select(runs.c.id).where(wrote(table.name))))
        found[table.name] = {run_id: number for run_id, number in connection.execute(query)}  # noqa: C416
    return found


def owner_of(mapper: orm.Mapper[Any]) -> sa.Table | None:
    """The table whose ``run_id`` says which run made a row of a model, if it uses ``TaskOwned``."""
    if not issubclass(mapper.class_, TaskOwned):
        return None
    return next((table for table in chain(mapper) if "run_id" in table.c), None)


def owners(models: Iterable[Model]) -> set[sa.Table]:
    """The tables whose ``run_id`` says which run made rows of these models."""
    mappers = [sa.inspect(model) for model in models if is_owned(model)]
    return {owner for mapper in mappers if (owner := owner_of(mapper)) is not None}


def is_owned(model: Model) -> TypeGuard[type[Base]]:
    """Whether rows of a model know the run that made them."""
    return isinstance(model, type) and issubclass(model, TaskOwned)


def models_in(names: Iterable[str]) -> dict[str, list[type[Base]]]:
    """The models whose own table has one of these names, by name."""
    found: dict[str, list[type[Base]]] = {name: [] for name in names}
    for mapper in _all_mappers():
        table = mapper.local_table
        if isinstance(table, sa.Table) and table.name in found:
            found[table.name].append(mapper.class_)
    return found


def chain(mapper: orm.Mapper[Any]) -> list[sa.Table]:
    """The tables that hold a row of a model: its own, then those of its base models."""
    found: list[sa.Table] = []
    current: orm.Mapper[Any] | None = mapper
    while current is not None:
        if isinstance(current.local_table, sa.Table) and current.local_table not in found:
            found.append(current.local_table)
        current = None if current.concrete else current.inherits
    return found


def association_tables(
    mappers: Collection[orm.Mapper[Any]],
) -> Iterator[tuple[sa.Table, list[sa.ForeignKeyConstraint]]]:
    """The association tables (``secondary``) that refer to the tables of models, and by which keys."""
    tables = {table for mapper in mappers for table in chain(mapper)}
    seen = set()
    for mapper in _all_mappers() if tables else []:
        for relationship in mapper.relationships:
            table = relationship.secondary
            if isinstance(table, sa.Table) and table not in seen:
                seen.add(table)
                if keys := [key for key in table.foreign_key_constraints if key.referred_table in tables]:
                    yield table, keys


def tables_of(models: Iterable[Model]) -> set[sa.Table]:
    """All tables in which rows of models may lie, association tables included."""
    models = list(models)
    mappers = [sa.inspect(model) for model in models if not isinstance(model, sa.Table)]
    found = {model for model in models if isinstance(model, sa.Table)}
    found |= {table for mapper in mappers for table in chain(mapper)}
    return found | {table for table, _ in association_tables(mappers)}


def refers(key: sa.ForeignKeyConstraint, condition: Condition | None) -> Condition:
    """Whether a row refers, by this key, to one of the rows that meet the condition."""
    given = sa.and_(*(column.is_not(None) for column in key.columns))
    # Asked from the rows referred to, so that an index on the key answers for them alone.
    target = key.referred_table.alias()
    wanted = sa.select(*(target.c[element.column.key] for element in key.elements))
    if condition is not None:
        replaced = sa.sql.visitors.replacement_traverse(condition, {}, _onto(key.referred_table, target))
        wanted = wanted.where(replaced)
    own = [element.parent for element in key.elements]
    return sa.and_(given, own[0].in_(wanted) if len(own) == 1 else sa.tuple_(*own).in_(wanted))


def told(number: int) -> str:
    """A number of rows in words."""
    return "1 row" if number == 1 else f"{number} rows"


def count(connection: sa.Connection, table: sa.FromClause, where: Condition | None) -> int:
    """How many rows of a table meet a condition."""
    return connection.scalar(restrict(sa.select(sa.func.count()).select_from(table), where)) or 0


def values(connection: sa.Connection, column: Column) -> int:
    """How many values other than NULL there are in a column."""
    return connection.scalar(sa.select(sa.func.count(column))) or 0


def exists(connection: sa.Connection, table: sa.FromClause, where: Condition | None) -> bool:
    """Whether a row of a table meets a condition."""
    query = restrict(sa.select(sa.literal(1)).select_from(table), where).limit(1)
    return connection.execute(query).first() is not None


def restrict(statement: Any, condition: Condition | None) -> Any:
    """A statement, with the condition added if there is one."""
    return statement if condition is None else statement.where(condition)


def same_key(table: sa.Table, other: sa.Table, where: Condition | None = None) -> Condition:
    """Whether there is a row of the same primary key in another table, which meets the condition if there is one."""
    pairs = zip(table.primary_key.columns, other.primary_key.columns, strict=True)
    found: Condition = restrict(sa.exists(), where).where(*(a == b for a, b in pairs)).select_from(other)
    return found


def key_of(table: sa.Table) -> Any:
    """The primary key of a table as one expression."""
    columns = list(table.primary_key.columns)
    return columns[0] if len(columns) == 1 else sa.tuple_(*columns)


def _all_mappers() -> list[orm.Mapper[Any]]:
    return sorted(Base.registry.mappers, key=lambda mapper: mapper.class_.__name__)


def _of_kind(table: Any, base: orm.Mapper[Any], condition: Condition) -> Condition:
    """A condition on the discriminator, which is in the table of the base model, for the rows of a table."""
    home = base.local_table
    if table is home or not isinstance(home, sa.Table):
        return condition
    return cast(Condition, key_of(table).in_(sa.select(*home.primary_key.columns).where(condition)))


def _keys_of_writers(owner: sa.Table, table: sa.Table) -> sa.Select[Any]:
    """Keys of the rows of a table with a ``run_id`` whose runs wrote to another table, too."""
    those = sa.select(runs.c.id).where(wrote(table.name))
    return sa.select(*owner.primary_key.columns).where(owner.c.run_id.in_(those))


def _onto(table: sa.Table, alias: sa.FromClause) -> Any:
    def replace(element: Any, **_kwargs: Any) -> Any:
        return alias.c[element.key] if isinstance(element, sa.Column) and element.table is table else None

    return replace
