"""The ``@validates`` methods of a model, called for rows that never become instances."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from sqlalchemy import orm

from ozelot.orm.bulk.chunks import Values
from ozelot.orm.bulk.cleaning import typed
from ozelot.orm.bulk.domains import Domain
from ozelot.orm.bulk.faults import bad_rows

_ANYTHING = Domain()


def validated(mapper: orm.Mapper[Any], columns: dict[str, Values], positions: Sequence[int]) -> dict[str, Values]:
    """The columns as the methods return them, with further attributes that they set.

    A method gets an instance that has the attributes of its row, in the order of the columns, up to its own.

    Args:
        mapper: of the model.
        columns: the values, by the names of attributes.
        positions: of the rows in the input.

    Raises:
        LoadError: a method raised an error.
    """
    methods: dict[str, Any] = {name: method for name, (method, _) in mapper.validators.items() if name in columns}
    if not methods:
        return columns
    columns = {name: typed(values, _ANYTHING, name, positions)[0] for name, values in columns.items()}
    made: list[dict[str, Any]] = []
    steps = [(name, methods.get(name)) for name in columns]
    for position, row in zip(positions, zip(*columns.values(), strict=True), strict=True):
        instance = mapper.class_manager.new_instance()
        attributes = vars(instance)
        for (name, method), value in zip(steps, row, strict=True):
            if method is None:
                attributes[name] = value
                continue
            try:
                attributes[name] = method(instance, name, value)
            except Exception as exc:
                where = f"{mapper.class_.__name__}.{name}"
                raise bad_rows(where, [(position, f"refused by its validator ({exc})", value)]) from exc
        made.append(attributes)
    names = dict.fromkeys(name for name in (*columns, *_set_besides(mapper, columns, made)))
    return {name: [attributes.get(name) for attributes in made] for name in names}


def _set_besides(mapper: orm.Mapper[Any], columns: dict[str, Values], made: list[dict[str, Any]]) -> list[str]:
    """The attributes that methods set, and the input does not have."""
    if max(map(len, made)) == len(columns) + 1:  # the state of the instance is the one more
        return []
    names = {name for attributes in made for name in attributes}
    return [
        attribute.key for attribute in mapper.column_attrs if attribute.key in names and attribute.key not in columns
    ]
