"""Which rows belong to models, and deleting them in an order that foreign keys accept.

A model's rows may lie in several tables (inheritance), and association tables may refer to them. What is to be
deleted is first worked out (:class:`Rows`), which changes nothing and can be asked what stands in the way.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass
from typing import Any, cast

import sqlalchemy as sa
from sqlalchemy import orm

from ozelot.errors import RowsChanged
from ozelot.orm.base import Base, parents_first
from ozelot.orm.run import TaskOwned, being_cleared

_CHUNK = 500

Column = sa.Column[Any]
Condition = sa.ColumnElement[bool]


@dataclass(frozen=True)
class Blocked:
    """Rows that stay but refer to rows that are to be deleted."""

    table: sa.Table  # where they are
    refers_to: sa.Table
    count: int


class Rows:
    """All rows of some models, and columns to be set back to NULL.

    Args:
        models: the models whose rows are to go. Rows of a derived model go from its tables and those of its bases;
            rows of a base model do not include those of derived models that are not named.
        columns: nullable columns to be set to NULL in all rows of their tables.
        made_by: of models with ``TaskOwned``, only rows of these runs are meant; by default of those that
            :func:`ozelot.orm.run.mark_clearing` singled out.
    """

    def __init__(
        self,
        models: Iterable[type[Base] | sa.Table],
        columns: Iterable[Column] = (),
        *,
        made_by: sa.Select[int] | Collection[int] = being_cleared,
    ) -> None:
        models = list(models)
        self._made_by = made_by
        self._mappers = {sa.inspect(model) for model in models if not isinstance(model, sa.Table)}
        self.resets: dict[sa.Table, list[Column]] = {}
        for column in columns:
            self.resets.setdefault(column.table, []).append(column)
        #: Which rows go from each table; None: all.
        self.tables: dict[sa.Table, Condition | None] = {t: None for t in models if isinstance(t, sa.Table)}
        own = {m.local_table for m in self._mappers if isinstance(m.local_table, sa.Table)}
        self._named = [*self.tables, *sorted(own, key=lambda table: table.name)]
        #: Base tables whose rows only those of a derived table tell, which are deleted before: (base, derived, which).
        self._captured: list[tuple[sa.Table, sa.Table, Condition | None]] = []
        for mapper in sorted(self._mappers, key=lambda mapper: mapper.class_.__name__):
            for table in _chain(mapper):
                if table not in self.tables:
                    self.tables[table] = self._condition(table)
        #: Tables that go along because they associate these rows with others.
        self.associations: list[sa.Table] = []
        self._add_associations()

    def _condition(self, table: sa.Table) -> Condition | None:
        storing = {m for m in _all_mappers() if table in _chain(m)}
        going = storing & self._mappers
        owned = next((owner for m in going for owner in _chain(m) if "run_id" in owner.c and _is_owned(m)), None)
        if owned is not None:
            condition: Condition = owned.c.run_id.in_(self._made_by)
            if table is owned:
                return condition
            if any(m.local_table is owned and table in _chain(m) for m in _all_mappers()):
                self._captured.append((table, owned, condition))
            return cast(Condition, _key_of(table).in_(sa.select(*owned.primary_key.columns).where(condition)))
        if going == storing:
            return None
        base = next(iter(going)).base_mapper
        if base.polymorphic_on is not None:
            kind = base.polymorphic_on
            condition = kind.in_([m.polymorphic_identity for m in going if m.polymorphic_identity])
            if any(m.polymorphic_identity is None for m in going):
                condition = sa.or_(condition, kind.is_(None))
            home = base.local_table
            if table is home or not isinstance(home, sa.Table):
                return condition
            return cast(Condition, _key_of(table).in_(sa.select(*home.primary_key.columns).where(condition)))
        staying = [m.local_table for m in storing - going if m.local_table is not table]
        if any(m.local_table is table for m in going):  # the base model itself goes, some derived ones stay
            missing = [~_same_key(table, other) for other in staying if isinstance(other, sa.Table)]
            return sa.and_(*missing) if missing else None
        derived = [m.local_table for m in going if isinstance(m.local_table, sa.Table)]
        self._captured += [(table, other, None) for other in derived]
        return sa.or_(*(_same_key(table, other) for other in derived))

    def _add_associations(self) -> None:
        for mapper in _all_mappers():
            for relationship in mapper.relationships:
                table = relationship.secondary
                if not isinstance(table, sa.Table) or table in self.tables:
                    continue
                conditions = [
                    _refers(key, self.tables[key.referred_table])
                    for key in table.foreign_key_constraints
                    if key.referred_table in self.tables
                ]
                if conditions:
                    self.tables[table] = sa.or_(*conditions)
                    self.associations.append(table)

    def counts(self, connection: sa.Connection) -> dict[str, int]:
        """How many rows there are in the own table of each model, and values by ``table.column``."""
        found = {table.name: _count(connection, table, self.tables[table]) for table in self._named}
        for columns in self.resets.values():
            for column in columns:
                found[f"{column.table.name}.{column.name}"] = connection.scalar(sa.select(sa.func.count(column))) or 0
        return found

    def first_in(self, connection: sa.Connection) -> sa.Table | None:
        """The first of the tables in which there are such rows."""
        for table in self._named:
            if _any(connection, table, self.tables[table]):
                return table
        return None

    def blocked_by(self, connection: sa.Connection) -> list[Blocked]:
        """Rows that would be left without the row that they refer to, a table each."""
        found = []
        for table in sorted(Base.metadata.tables.values(), key=lambda table: table.name) if self.tables else []:
            stays = self._stays(table)
            for key in table.foreign_key_constraints if stays is not None else []:
                if key.referred_table not in self.tables or set(key.columns) & set(self.resets.get(table, [])):
                    continue
                if _is_inheritance(key):
                    continue
                where = sa.and_(stays, _refers(key, self.tables[key.referred_table]))  # type: ignore[arg-type]
                if _any(connection, table, where):
                    found.append(Blocked(table, key.referred_table, _count(connection, table, where)))
        return found + self._blocked_by_strangers(connection)

    def _blocked_by_strangers(self, connection: sa.Connection) -> list[Blocked]:
        """The same for tables that are there but no models; ON DELETE rules could change them unseen."""
        found = []
        names = {table.name: table for table in self.tables}
        for (_, holder), keys in sa.inspect(connection).get_multi_foreign_keys().items() if names else []:
            for key in keys if holder not in Base.metadata.tables else []:
                target = names.get(key["referred_table"])
                if target is None:
                    continue
                stranger = sa.Table(holder, sa.MetaData(), *(sa.Column(name) for name in key["constrained_columns"]))
                pairs = zip(key["constrained_columns"], key["referred_columns"], strict=True)
                same = [stranger.c[own] == target.c[other] for own, other in pairs]
                refers = sa.exists().select_from(target).where(*same)
                refers = _where(refers, self.tables[target]).correlate(stranger)
                if _any(connection, stranger, refers):
                    found.append(Blocked(stranger, target, _count(connection, stranger, refers)))
        return found

    def _stays(self, table: sa.Table) -> Condition | None:
        """Which rows of a table stay; None: not one."""
        if table not in self.tables:
            return sa.true()
        condition = self.tables[table]
        return None if condition is None else sa.not_(condition)

    def delete(self, connection: sa.Connection) -> None:
        """Reset the columns and delete the rows, those that refer before those that they refer to."""
        for table, columns in self.resets.items():
            connection.execute(sa.update(table).values({column: sa.null() for column in columns}))
        captured: dict[sa.Table, list[sa.Row[Any]]] = {}
        for base, derived, which in self._captured:
            keys = connection.execute(_where(sa.select(*derived.primary_key.columns), which)).all()
            captured.setdefault(base, []).extend(keys)
        order, circular = parents_first(self.tables)
        for key in circular:
            where = self.tables[key.table]
            nullable = {column: sa.null() for column in key.columns if column.nullable}
            if nullable:
                connection.execute(_where(sa.update(key.table).values(nullable), where))
        for table in reversed(order):
            where = self.tables[table]
            if table in captured:
                for some in _chunks(captured[table]):
                    connection.execute(sa.delete(table).where(_key_of(table).in_(some)))
                continue
            expected = _count(connection, table, where)
            deleted = connection.execute(_where(sa.delete(table), where)).rowcount if expected else 0
            if deleted != expected:
                raise RowsChanged(f"{deleted} rows of {table.name} were deleted where {expected} were to be")


def _count(connection: sa.Connection, table: sa.Table, where: Condition | None) -> int:
    return connection.scalar(_where(sa.select(sa.func.count()).select_from(table), where)) or 0


def _is_owned(mapper: orm.Mapper[Any]) -> bool:
    return issubclass(mapper.class_, TaskOwned)


def _all_mappers() -> list[orm.Mapper[Any]]:
    return sorted(Base.registry.mappers, key=lambda mapper: mapper.class_.__name__)


def _chain(mapper: orm.Mapper[Any]) -> list[sa.Table]:
    """The tables that hold a row of a model: its own, then those of its base models."""
    found: list[sa.Table] = []
    current: orm.Mapper[Any] | None = mapper
    while current is not None:
        if isinstance(current.local_table, sa.Table) and current.local_table not in found:
            found.append(current.local_table)
        current = None if current.concrete else current.inherits
    return found


def _key_of(table: sa.Table) -> Any:
    columns = list(table.primary_key.columns)
    return columns[0] if len(columns) == 1 else sa.tuple_(*columns)


def _same_key(table: sa.Table, other: sa.Table) -> Condition:
    pairs = zip(table.primary_key.columns, other.primary_key.columns, strict=True)
    return sa.exists().where(*(a == b for a, b in pairs)).select_from(other)


def _is_inheritance(key: sa.ForeignKeyConstraint) -> bool:
    """Whether a foreign key ties a derived model's row to the base model's row."""
    return any(
        mapper.local_table is key.table
        and not mapper.concrete
        and mapper.inherits is not None
        and mapper.inherits.local_table is key.referred_table
        and set(key.columns) <= set(key.table.primary_key.columns)
        for mapper in Base.registry.mappers
    )


def _refers(key: sa.ForeignKeyConstraint, condition: Condition | None) -> Condition:
    """Whether a row refers, by this key, to one of the rows that meet the condition."""
    given = sa.and_(*(column.is_not(None) for column in key.columns))
    if condition is None:
        return given
    target = key.referred_table.alias()
    replaced = sa.sql.visitors.replacement_traverse(condition, {}, _onto(key.referred_table, target))
    same = [element.parent == target.c[element.column.key] for element in key.elements]
    return sa.and_(given, sa.exists().where(*same, replaced).select_from(target).correlate(key.table))


def _onto(table: sa.Table, alias: sa.FromClause) -> Any:
    def replace(element: Any, **_kwargs: Any) -> Any:
        return alias.c[element.key] if isinstance(element, sa.Column) and element.table is table else None

    return replace


def _any(connection: sa.Connection, table: sa.Table, where: Condition | None) -> bool:
    return connection.execute(_where(sa.select(sa.literal(1)).select_from(table), where).limit(1)).first() is not None


def _where(statement: Any, condition: Condition | None) -> Any:
    return statement if condition is None else statement.where(condition)


def _chunks(ids: list[sa.Row[Any]]) -> Iterator[list[Any]]:
    for start in range(0, len(ids), _CHUNK):
        yield [row[0] if len(row) == 1 else tuple(row) for row in ids[start : start + _CHUNK]]
