"""The tables and columns that tasks fill, in words that tell whether they have changed."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import dataclass, field
from typing import Any

import sqlalchemy as sa
from sqlalchemy import event, orm

from ozelot.etl.declared import created_models, task_classes, updated_columns
from ozelot.orm.base import Base
from ozelot.orm.rows import Model, tables_of

_mappers = 0


@dataclass(frozen=True)
class _Signatures:
    """What was found in the models and tasks that were imported so far.

    Attributes:
        made_from: the counts of :func:`known` at that time.
        words: what each name stands for.
        updated: the columns that some task updates.
        pairs: name and words of sets of names, as they were asked for.
    """

    made_from: tuple[int, int, int]
    words: dict[str, str]
    updated: frozenset[str]
    pairs: dict[frozenset[str], frozenset[tuple[str, str]]] = field(default_factory=dict)


_current = _Signatures((-1, -1, -1), {}, frozenset())


@event.listens_for(orm.Mapper, "after_mapper_constructed")
def _count(_mapper: orm.Mapper[Any], _cls: type) -> None:
    global _mappers
    _mappers += 1


def columns_of(task: Any) -> frozenset[str]:
    """The names of what a task, or a class of tasks, fills: ``table.column``, and ``table (a, b)`` for keys of several.

    Among them are columns of its rows that another task says to update: which tasks there are depends on what has been
    imported, so they are told apart where columns are compared.
    """
    models: list[Model] = created_models(task)
    if not models:
        return updated_by(task)
    tables = {table.fullname for table in tables_of(models)}
    return updated_by(task) | {name for name in _look().words if _table_of(name) in tables}


def updated_by(task: Any) -> frozenset[str]:
    """The names of the columns that a task, or a class of tasks, says to update."""
    return frozenset(_name(column) for column in updated_columns(task))


def updated_by_any() -> frozenset[str]:
    """The names of the columns that some task says to update: they are that one's, not of who creates the rows."""
    return _look().updated


def told(names: Iterable[str]) -> dict[str, str]:
    """What each of these names stands for now, where it is still there: ``VARCHAR(50) NOT NULL``."""
    words = _look().words
    return {name: words[name] for name in sorted(names) if name in words}


def pairs(names: frozenset[str]) -> frozenset[tuple[str, str]]:
    """The same as :func:`told`, as pairs."""
    found = _look()
    if names not in found.pairs:
        found.pairs[names] = frozenset((name, found.words[name]) for name in names if name in found.words)
    return found.pairs[names]


def known() -> tuple[int, int, int]:
    """How many tables, mapped classes and classes of tasks have been imported: what is told here follows from them."""
    return len(Base.metadata.tables), _mappers, len(task_classes)


def _look() -> _Signatures:
    """The signatures of what has been imported by now; a new object each time, as several threads may ask at once."""
    global _current
    now = known()
    found = _current
    if now != found.made_from:
        words: dict[str, str] = {}
        for table in list(Base.metadata.tables.values()):
            words.update({_name(column): _words(column) for column in table.columns})
            for constraint in table.constraints:
                columns: Collection[Any] = getattr(constraint, "columns", ())
                if isinstance(constraint, sa.UniqueConstraint | sa.ForeignKeyConstraint) and len(columns) > 1:
                    words[f"{table.fullname} ({', '.join(column.name for column in columns)})"] = _kind(constraint)
        updated = {_name(column) for cls in list(task_classes) for each in _listed(cls) for column in _columns(each)}
        found = _current = _Signatures(now, words, frozenset(updated))
    return found


def _listed(cls: Any) -> Iterable[Any]:
    return cls.updates if isinstance(cls.updates, list | tuple | set | frozenset) else ()


def _columns(attribute: Any) -> Iterable[sa.Column[Any]]:
    return (column for column in getattr(getattr(attribute, "property", None), "columns", ()))


def _name(column: sa.Column[Any]) -> str:
    return f"{column.table.fullname}.{column.name}"


def _table_of(name: str) -> str:
    return name.rpartition(" (")[0] if name.endswith(")") else name.rpartition(".")[0]


def _kind(constraint: sa.Constraint) -> str:
    if isinstance(constraint, sa.ForeignKeyConstraint):
        return f"REFERENCES {', '.join(key.target_fullname for key in constraint.elements)}"
    return "UNIQUE"


def _words(column: sa.Column[Any]) -> str:
    words = [_type(column.type)]
    words += ["NOT NULL"] if not column.nullable else []
    words += ["PRIMARY KEY"] if column.primary_key else []
    alone = any(isinstance(c, sa.UniqueConstraint) and [*c.columns] == [column] for c in column.table.constraints)
    unique_index = any(index.unique and [*index.columns] == [column] for index in column.table.indexes)
    words += ["UNIQUE"] if column.unique or alone or unique_index else []
    words += [f"REFERENCES {target}" for target in sorted(key.target_fullname for key in column.foreign_keys)]
    if column.server_default is not None:
        words.append(f"DEFAULT {getattr(column.server_default, 'arg', '')}")
    if column.computed is not None:
        words.append(f"AS {column.computed.sqltext}")
    return " ".join(words)


def _type(type_: sa.types.TypeEngine[Any]) -> str:
    if isinstance(type_, sa.Enum):
        return f"ENUM({', '.join(map(repr, type_.enums))})"
    try:
        return str(type_)
    except sa.exc.CompileError:  # a type that only some databases have
        return type(type_).__name__
