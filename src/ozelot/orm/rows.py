"""Which rows belong to models: in which tables they lie, by which condition, and how many there are.

A model's rows may lie in several tables (inheritance), know the run that made them (``TaskOwned``), and have
association tables that refer to them. Nothing here changes anything; :mod:`ozelot.orm.removal` does.
"""

from __future__ import annotations

import functools
from collections.abc import Collection, Iterable, Iterator
from typing import Any, TypeGuard, cast

import sqlalchemy as sa
from sqlalchemy import orm

from ozelot.orm.base import Base
from ozelot.orm.run import TaskOwned, being_cleared, few, runs

Column = sa.Column[Any]
Condition = sa.ColumnElement[bool]
Model = type[Base] | sa.Table


class Rows:
    """All rows of some models, and columns that are filled in rows of others.

    Args:
        models: the models, or plain tables. Rows of a derived model lie in its tables and in those of its bases;
            rows of a base model do not include those of derived models that are not named.
        columns: the columns.
        made_by: of models with ``TaskOwned``, only rows of these runs are meant; by default of those that
            :func:`ozelot.orm.run.mark_clearing` singled out.

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
    ) -> None:
        models = list(models)
        self._made_by = made_by
        self._mappers = {sa.inspect(model) for model in models if not isinstance(model, sa.Table)}
        self.columns = list(columns)
        self.tables: dict[sa.Table, Condition | None] = {t: None for t in models if isinstance(t, sa.Table)}
        self.told_by_derived: set[sa.Table] = set()
        for mapper in sorted(self._mappers, key=lambda mapper: mapper.class_.__name__):
            for table in chain(mapper):
                if table not in self.tables:
                    self.tables[table] = self._condition(table)
        self.associations: list[sa.Table] = []
        for table, keys in association_tables(self._mappers):
            if table not in self.tables:
                conditions = [refers(key, self.tables[key.referred_table]) for key in keys]
                self.tables[table] = sa.or_(*conditions)
                self.associations.append(table)

    def _condition(self, table: sa.Table) -> Condition | None:
        storing = {m for m in _all_mappers() if table in chain(m)}
        going = storing & self._mappers
        owners = {mapper: owner for mapper in going if (owner := owner_of(mapper)) is not None}
        conditions = [self._condition_of_runs(table, owner) for owner in dict.fromkeys(owners.values())]
        if going - owners.keys():
            rest = self._condition_of_models(table, storing, going - owners.keys())
            if rest is None:
                return None
            conditions.append(rest)
        return sa.or_(*conditions)

    def _condition_of_runs(self, table: sa.Table, owner: sa.Table) -> Condition:
        condition: Condition = owner.c.run_id.in_(self._made_by)
        if table is owner:
            return condition
        if any(m.local_table is owner and table in chain(m) for m in _all_mappers()):
            self.told_by_derived.add(table)
        return cast(Condition, key_of(table).in_(sa.select(*owner.primary_key.columns).where(condition)))

    def _condition_of_models(
        self, table: sa.Table, storing: set[orm.Mapper[Any]], going: set[orm.Mapper[Any]]
    ) -> Condition | None:
        if going == storing:
            return None
        base = next(iter(going)).base_mapper
        if base.polymorphic_on is not None:
            kind = base.polymorphic_on
            condition: Condition = kind.in_([m.polymorphic_identity for m in going if m.polymorphic_identity])
            if any(m.polymorphic_identity is None for m in going):
                condition = sa.or_(condition, kind.is_(None))
            home = base.local_table
            if table is home or not isinstance(home, sa.Table):
                return condition
            return cast(Condition, key_of(table).in_(sa.select(*home.primary_key.columns).where(condition)))
        staying = [m.local_table for m in storing - going if m.local_table is not table]
        if any(m.local_table is table for m in going):  # the base model itself goes, some derived ones stay
            missing = [~_same_key(table, other) for other in staying if isinstance(other, sa.Table)]
            return sa.and_(*missing) if missing else None
        derived = [m.local_table for m in going if isinstance(m.local_table, sa.Table)]
        self.told_by_derived.add(table)
        return sa.or_(*(_same_key(table, other) for other in derived))

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


def counts_of_run(
    connection: sa.Connection, models: Iterable[Model], columns: Iterable[Column], run_id: int
) -> dict[str, int]:
    """As ``Rows(models, columns, made_by=[run_id]).counts(connection)``, by one query that is built once."""
    names, query = _counting(tuple(models), tuple(columns), len(Base.registry.mappers))
    return dict(zip(names, connection.execute(query, {"made_by": run_id}).one(), strict=True)) if names else {}


@functools.lru_cache(maxsize=1000)
def _counting(
    models: tuple[Model, ...], columns: tuple[Column, ...], _mappers: int
) -> tuple[list[str], sa.Select[Any]]:
    """What to count, and how, for as long as no model is added."""
    rows = Rows(models, columns, made_by=[sa.bindparam("made_by", type_=runs.c.id.type)])
    counts = {
        table.name: restrict(sa.select(sa.func.count()).select_from(table), where)
        for table, where in rows.tables.items()
        if table not in rows.associations
    }
    counts |= {f"{column.table.name}.{column.name}": sa.select(sa.func.count(column)) for column in rows.columns}
    return list(counts), sa.select(*(query.scalar_subquery() for query in counts.values()))


def counts_by_task(connection: sa.Connection, model: type[Base], keys: Collection[str]) -> dict[str, dict[str, int]]:
    """Of a model with ``TaskOwned``: the rows of each of its tables by the key of the task that made them.

    Of more tasks than asked for, where many are.
    """
    found = {}
    for table, owned in _owned_tables(model):
        query = sa.select(runs.c.key, sa.func.count()).select_from(owned).group_by(runs.c.key)
        if few(keys):
            query = query.where(runs.c.key.in_(keys))
        found[table.name] = {key: number for key, number in connection.execute(query)}  # noqa: C416 - rows, not pairs
    return found


def counts_by_run(connection: sa.Connection, model: type[Base]) -> dict[str, dict[int, int]]:
    """Of a model with ``TaskOwned``: the rows of each of its tables by the run that made them."""
    found = {}
    for table, owned in _owned_tables(model):
        query = sa.select(runs.c.id, sa.func.count()).select_from(owned).group_by(runs.c.id)
        found[table.name] = {run_id: number for run_id, number in connection.execute(query)}  # noqa: C416
    return found


def _owned_tables(model: type[Base]) -> Iterator[tuple[sa.Table, sa.FromClause]]:
    """Each table of a model, and it joined to the runs that made its rows."""
    mapper = sa.inspect(model)
    owner = owner_of(mapper)
    if owner is None:
        raise TypeError(f"{model.__name__} does not use TaskOwned")
    for table in chain(mapper):
        joined: Any = table
        if table is not owner:
            pairs = zip(table.primary_key.columns, owner.primary_key.columns, strict=True)
            joined = table.join(owner, sa.and_(*(a == b for a, b in pairs)))
        yield table, joined.join(runs, owner.c.run_id == runs.c.id)


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


def is_inheritance(key: sa.ForeignKeyConstraint) -> bool:
    """Whether a foreign key ties a derived model's row to the base model's row."""
    return any(
        mapper.local_table is key.table
        and not mapper.concrete
        and mapper.inherits is not None
        and mapper.inherits.local_table is key.referred_table
        and set(key.columns) <= set(key.table.primary_key.columns)
        for mapper in Base.registry.mappers
    )


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


def key_of(table: sa.Table) -> Any:
    """The primary key of a table as one expression."""
    columns = list(table.primary_key.columns)
    return columns[0] if len(columns) == 1 else sa.tuple_(*columns)


def _all_mappers() -> list[orm.Mapper[Any]]:
    return sorted(Base.registry.mappers, key=lambda mapper: mapper.class_.__name__)


def _same_key(table: sa.Table, other: sa.Table) -> Condition:
    pairs = zip(table.primary_key.columns, other.primary_key.columns, strict=True)
    return sa.exists().where(*(a == b for a, b in pairs)).select_from(other)


def _onto(table: sa.Table, alias: sa.FromClause) -> Any:
    def replace(element: Any, **_kwargs: Any) -> Any:
        return alias.c[element.key] if isinstance(element, sa.Column) and element.table is table else None

    return replace
