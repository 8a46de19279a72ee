"""The ``@validates`` methods of a model, called for rows that never become instances."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from sqlalchemy import orm

from ozelot.orm.bulk.cleaning import typed
from ozelot.orm.bulk.faults import Fault, Misfits
from ozelot.orm.shown import is_secret
from ozelot.value_lists import Values
from ozelot.value_reasons import Reason
from ozelot.value_types import ColumnType

_ANYTHING = ColumnType()


def validated(mapper: orm.Mapper[Any], columns: dict[str, Values], positions: Sequence[int]) -> dict[str, Values]:
    """The columns as the methods return them, with further attributes that they set.

    A method gets an instance that has the attributes of its row, in the order of the columns, up to its own.

    Args:
        mapper: of the model.
        columns: the values, by the names of attributes.
        positions: of the rows in the input.

    Raises:
        Misfits: a method raised errors.
    """
    methods: dict[str, Any] = {name: method for name, (method, _) in mapper.validators.items() if name in columns}
    if not methods:
        return columns
    columns = {name: typed(values, _ANYTHING, name, positions)[0] for name, values in columns.items()}
    made: dict[str, Values] = {name: [] for name in columns}
    besides: dict[str, Values] = {}
    steps = [(name, methods.get(name), made[name].append) for name in columns]
    mapped = {attribute.key for attribute in mapper.column_attrs} - columns.keys()
    misfits = Misfits()
    for place, row in enumerate(zip(*columns.values(), strict=True)):
        instance = mapper.class_manager.new_instance()
        attributes = vars(instance)
        for (name, method, _), value in zip(steps, row, strict=True):
            if method is not None:
                try:
                    value = method(instance, name, value)
                except Exception as exc:  # noqa: BLE001 - told with its row
                    where = f"{mapper.class_.__name__}.{name}"
                    reason = Reason("" if is_secret(where) else f"{type(exc).__name__}: {exc}")
                    misfits.add(Misfits(where, "what its validator accepts", [Fault(positions[place], value, reason)]))
                    misfits.__cause__ = misfits.__cause__ or exc
            attributes[name] = value
        for name, _, keep in steps:  # at the end: a later method may have set it anew
            keep(attributes[name])
        if len(attributes) > len(columns) + 1:  # the state of the instance is the one more
            for name in attributes.keys() & mapped:
                besides.setdefault(name, [None] * len(positions))[place] = attributes[name]
    if misfits:
        raise misfits
    return made | besides
