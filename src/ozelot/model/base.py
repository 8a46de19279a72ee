"""The base class of all models, and what it gives them.

::

    from sqlalchemy import ForeignKey, String
    from sqlalchemy.orm import Mapped, mapped_column
    from ozelot.orm.base import Base

    class Unit(Base):
        name: Mapped[str] = mapped_column(String(100))

    class Employee(Base):
        unit_id: Mapped[int] = mapped_column(ForeignKey("unit.id"))

A model has an integer primary key ``id`` and the lower-cased class name as table name, unless it says otherwise.
Every foreign key column gets an index, unless it says ``index=False``: without one, deleting a row that others
may refer to reads all of those others.
"""

from __future__ import annotations

import zlib
from collections.abc import Collection
from typing import TYPE_CHECKING, Any, cast

import sqlalchemy as sa
from sqlalchemy import event, orm
from sqlalchemy.orm import Mapped, mapped_column
from sqlalchemy.sql.ddl import sort_tables_and_constraints

from ozelot.db import sqlite_file, transaction, write_guard
from ozelot.errors import TableReferenced

if TYPE_CHECKING:
    import sqlite3
    from os import PathLike
    from pathlib import Path

    from ozelot.client import Client
    from ozelot.diagram import Picture

_LONGEST_NAME = 63  # characters; what PostgreSQL takes

#: All models by class name.
model_registry: dict[str, type[Base]] = {}


class Base(orm.DeclarativeBase):
    """Derive models from this class."""

    # Models of 0.2 may annotate attributes that are none of SQLAlchemy's business.
    __allow_unmapped__ = True

    id: Mapped[int] = mapped_column(primary_key=True, sort_order=-1)

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        if not cls.__dict__.get("__abstract__", False):
            model_registry[cls.__name__] = cls

    if not TYPE_CHECKING:

        @orm.declared_attr.directive
        def __tablename__(cls) -> str:  # noqa: N805 - SQLAlchemy hands in the class
            return cls.__name__.lower()

    @classmethod
    def create_table(cls, client: Client, cascade: bool = False) -> None:
        """Create the table of this model.

        Args:
            client: the database.
            cascade: also the tables that refer to it, directly or through others, where they are missing.

        Raises:
            sqlalchemy.exc.DatabaseError: the table is there already.
        """
        with client.engine.begin() as connection:
            table = table_of(cls)
            table.create(connection)
            if cascade:
                for other in tables_referring_to(table):
                    other.create(connection, checkfirst=True)

    @classmethod
    def drop_table(cls, client: Client, cascade: bool = False) -> None:
        """Drop the table of this model, with all rows.

        Args:
            client: the database.
            cascade: first drop the tables that refer to it, directly or through others, with all their rows.

        Raises:
            TableReferenced: other tables refer to it, and ``cascade`` is not set, or does not know them as models.
        """
        table = table_of(cls)
        with client.engine.begin() as connection:
            known = tables_referring_to(table) if cascade else []
            blocking = holders_of_references(connection, [table, *known])
            if blocking and not cascade:
                raise TableReferenced(
                    f"Cannot drop {table.name}: {', '.join(blocking)} refer to it. Drop them first, or all at once "
                    f"with {cls.__name__}.drop_table(client, cascade=True)"
                )
            if not sa.inspect(connection).has_table(table.name, schema=table.schema):
                raise sa.exc.NoSuchTableError(table.name)
            drop_tables(connection, [table, *known])

    @classmethod
    def create_all(cls, client: Client) -> None:
        """Create the tables of all models that were imported, where they are missing."""
        with client.engine.begin() as connection:
            cls.metadata.create_all(connection)

    @classmethod
    def drop_all(cls, client: Client) -> None:
        """Drop the tables of all models that were imported, and ozelot's own, with all rows.

        Raises:
            TableReferenced: another table refers to one of these; nothing was dropped.
        """
        known = cls.metadata.tables
        own_names = {*write_guard.OWN, "ozelot_version"}
        with client.engine.begin() as connection:
            reflected = sa.MetaData()
            reflected.reflect(connection, only=lambda name, _: name in own_names and name not in known)
            # Where ozelot.etl was not imported, no model describes these; one of them may refer to ozelot_run.
            own = [table for table in reversed(reflected.sorted_tables) if table.name not in known]
            check_not_referenced(connection, [*known.values(), *own])
            for table in own:
                table.drop(connection)
            _drop(connection, known.values())

    @classmethod
    def get_max_id(cls, session: orm.Session) -> int:
        """The largest ``id`` in use, 0 where there are no rows; for a derived model that of its base model."""
        base = sa.inspect(cls).base_mapper.class_
        return session.scalar(sa.select(sa.func.max(base.id))) or 0

    def truncate_to_field_length(self, field: str, value: str | None) -> str | None:
        """Cut ``value`` to the length of the text column ``field``; for use in a validator.

        ::

            @validates("name")
            def _cut(self, field, value):
                return self.truncate_to_field_length(field, value)
        """
        length = sa.inspect(type(self)).column_attrs[field].columns[0].type.length  # type: ignore[attr-defined]
        return value if value is None or length is None else value[:length]


@event.listens_for(sa.Table, "after_parent_attach")
def _index_foreign_keys(table: sa.Table, metadata: sa.MetaData) -> None:
    if metadata is not Base.metadata:
        return
    for constraint in list(table.foreign_key_constraints):
        columns = list(constraint.columns)
        names = [column.name for column in columns]
        keys = [c for c in table.constraints if isinstance(c, sa.PrimaryKeyConstraint | sa.UniqueConstraint)]
        covered = [[column.name for column in key.columns][: len(names)] for key in [*keys, *table.indexes]]
        if names in covered or any(column.index is not None or column.unique for column in columns):
            continue
        sa.Index(_index_name(table.name, names) if len(names) > 1 else None, *columns)


def _index_name(table: str, columns: list[str]) -> str:
    """A name for an index of several columns; the default names the first of them only, as it may for another index."""
    name = f"ix_{table}_{'_'.join(columns)}"
    return name if len(name) <= _LONGEST_NAME else f"{name[: _LONGEST_NAME - 9]}_{zlib.crc32(name.encode()):08x}"


@event.listens_for(Base, "before_insert", propagate=True)
def _look_at(mapper: orm.Mapper[Any], connection: sa.Connection, _instance: object) -> None:
    opened = transaction.of_pool(connection.engine.pool)
    if opened is not None and opened.watch is not None:
        opened.watch.instance(mapper.class_)


def table_of(model: type[Base]) -> sa.Table:
    """The table of a model; of a derived one its own, not that of its base."""
    table = sa.inspect(model).local_table
    if not isinstance(table, sa.Table):
        raise TypeError(f"{model.__name__} is not mapped to a table")
    return table


def described(value: object) -> str:
    """What something is, for messages on a declaration."""
    if isinstance(value, str):
        return f"the string {value!r}"
    if isinstance(value, type):
        return f"the class {value.__name__}"
    if isinstance(value, sa.Table):
        return f"the table {value.name}"
    if isinstance(value, orm.InstrumentedAttribute):
        return f"the column {value}"
    return f"an object of type {type(value).__name__}"


def why_no_model(found: object) -> str:
    """Why a task cannot create rows of something; empty where it is a model, or a table of one."""
    another = "a model of another declarative base: derive it from ozelot.orm.base.Base"
    if isinstance(found, sa.Table):
        return "" if found.metadata is Base.metadata else "a table of another MetaData: define it with Base.metadata"
    if isinstance(found, str):
        name = next((name for name in model_registry if name.lower() == found.lower()), "")
        return f"not a model: write {name}, without quotes" if name else "not a model: name the class, without quotes"
    if not isinstance(found, type):
        return "not a model: name the class" if sa.inspect(found, raiseerr=False) is not None else "not a model"
    mapper: object = sa.inspect(found, raiseerr=False)
    if isinstance(mapper, orm.Mapper):
        known = mapper.registry is Base.registry and getattr(mapper.local_table, "metadata", None) is Base.metadata
        return "" if known else another
    return "an abstract model, which has no table" if issubclass(found, Base) else "which is not a model"


def names_there(connection: sa.Connection) -> set[str]:
    """The names of the tables of the database, those in other schemas that models name included."""
    inspector = sa.inspect(connection)
    found = set(inspector.get_table_names())
    schemas = {table.schema for table in Base.metadata.tables.values() if table.schema is not None}
    for schema in schemas.intersection(inspector.get_schema_names()) if schemas else ():
        found.update(inspector.get_table_names(schema))
    return found


def tables_referring_to(table: sa.Table) -> list[sa.Table]:
    """All other tables of the models that refer to ``table``, directly or through others, in order of creation."""
    found = {table}
    grew = True
    while grew:
        more = {
            other
            for other in table.metadata.tables.values()
            if other not in found and any(key.column.table in found for key in other.foreign_keys)
        }
        found |= more
        grew = bool(more)
    return [other for other in parents_first(found)[0] if other is not table]


def parents_first(tables: Collection[sa.Table]) -> tuple[list[sa.Table], list[sa.ForeignKeyConstraint]]:
    """Tables in order of creation, and the foreign keys that no order can satisfy (circles, references to itself)."""
    order = []
    circular = [key for table in tables for key in table.foreign_key_constraints if key.referred_table is table]
    for table, keys in sort_tables_and_constraints(sorted(tables, key=lambda table: table.name)):
        if table is None:
            circular += [key for key in keys if key.referred_table in tables]
        else:
            order.append(table)
    return order, circular


def holders_of_references(connection: sa.Connection, tables: Collection[sa.Table]) -> list[str]:
    """The names of all other tables of the database that refer to one of these."""
    dropped = {table.name for table in tables}
    return sorted({holder for target, holder in _references(connection) if target in dropped and holder not in dropped})


def drop_tables(connection: sa.Connection, tables: Collection[sa.Table]) -> None:
    """Drop those of the tables that are there, with all rows, in an order that references accept.

    Raises:
        TableReferenced: a table that is not one of these refers to them; nothing was dropped.
    """
    check_not_referenced(connection, tables)
    _drop(connection, tables)


def check_not_referenced(connection: sa.Connection, tables: Collection[sa.Table]) -> None:
    """Check that no other table of the database refers to one of these.

    Raises:
        TableReferenced: one does.
    """
    dropped = {table.name for table in tables}
    found = [pair for pair in _references(connection) if pair[0] in dropped and pair[1] not in dropped]
    if found:
        first, holders = min(found)[0], ", ".join(sorted({holder for _, holder in found}))
        raise TableReferenced(
            f"Cannot drop {first}: {holders} refer to it or to a table that refers to it, and are no "
            "models known here. Import their models, or drop them yourself"
        )


def _drop(connection: sa.Connection, tables: Collection[sa.Table]) -> None:
    """Drop those of the tables that are there, also where they refer to each other in circles."""
    inspector = sa.inspect(connection)
    there = {(schema, name) for schema in {table.schema for table in tables} for name in _names(inspector, schema)}
    order, circular = parents_first([table for table in tables if (table.schema, table.name) in there])
    if circular and connection.dialect.name == "sqlite":
        driver = cast("sqlite3.Connection", connection.connection.driver_connection)
        if not driver.in_transaction:
            sqlite_file.begin(driver)  # what follows holds until the end of a transaction
        connection.execute(sa.text("PRAGMA defer_foreign_keys = ON"))
    preparer = connection.dialect.identifier_preparer
    kind = "FOREIGN KEY" if connection.dialect.name in ("mysql", "mariadb") else "CONSTRAINT"
    for key in circular if connection.dialect.name != "sqlite" else []:
        columns = [column.name for column in key.columns]
        for known in inspector.get_foreign_keys(key.table.name, schema=key.table.schema):
            if known["constrained_columns"] == columns and known["name"] and key.referred_table is not key.table:
                table, name = preparer.format_table(key.table), preparer.quote(known["name"])
                connection.exec_driver_sql(f"ALTER TABLE {table} DROP {kind} {name}")
    for table in reversed(order):
        table.drop(connection)


def _names(inspector: sa.Inspector, schema: str | None) -> list[str]:
    return inspector.get_table_names(schema) if schema is None or schema in inspector.get_schema_names() else []


def _references(connection: sa.Connection) -> set[tuple[str, str]]:
    """All (table referred to, table that refers) of the database, but for tables that refer to themselves."""
    found = sa.inspect(connection).get_multi_foreign_keys()
    return {
        (key["referred_table"], holder)
        for (_, holder), keys in found.items()
        for key in keys
        if key["referred_table"] != holder
    }


def render_diagram(out_base: str | PathLike[str]) -> list[Path]:
    """Draw the data model: every table with columns, keys and types, and an arrow a foreign key.

    Args:
        out_base: path without ending; ``.dot`` is always written, ``.svg`` and ``.png`` where Graphviz is there.

    Returns:
        The files that were written.
    """
    from ozelot import diagram

    return diagram.write(schema_picture().dot(), out_base)


def schema_picture() -> Picture:
    """The data model: every table with columns, types and keys, and an arrow a foreign key."""
    from ozelot.diagram import Box, Picture

    tables = sorted(Base.metadata.tables.values(), key=lambda table: table.name)
    boxes = {
        table.fullname: Box(
            table.name, tuple((column.name, str(column.type), " ".join(_keys_of(column))) for column in table.columns)
        )
        for table in tables
    }
    arrows = [
        (table.fullname, key.referred_table.fullname, ", ".join(columns))
        for table in tables
        for columns, key in sorted(
            (([column.name for column in key.columns], key) for key in table.foreign_key_constraints),
            key=lambda pair: pair[0],
        )
    ]
    return Picture("schema", boxes, arrows, horizontal=True, are_tables=True)


def _keys_of(column: sa.Column[Any]) -> list[str]:
    marks = {"PK": column.primary_key, "FK": bool(column.foreign_keys), "NULL": bool(column.nullable)}
    return [mark for mark, holds in marks.items() if holds]
