"""Rows in chunks of columns, each a list of Python's own values."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import islice
from typing import Any

import sqlalchemy as sa

from ozelot.errors import LoadError
from ozelot.value_lists import Values

KINDS = "rows are a pandas or polars DataFrame, an Arrow table or reader, or an iterable of dicts or of instances"


@dataclass
class Chunk:
    """Some rows.

    Attributes:
        columns: their values by name; all lists are as long as there are rows.
        positions: where they are in the input, counted from 0.
        are_instances: whether they were instances of the model, whose validators were called.
        is_last_at_hand: whether code of the user, who may use the database, runs before the next chunk comes.
    """

    columns: dict[str, Values]
    positions: Sequence[int]
    are_instances: bool = False
    is_last_at_hand: bool = False

    def __len__(self) -> int:
        return len(self.positions)

    def only(self, kept: Sequence[int]) -> Chunk:
        """The rows at some places of this chunk."""
        positions = [self.positions[place] for place in kept]
        columns = {name: [values[place] for place in kept] for name, values in self.columns.items()}
        return replace(self, columns=columns, positions=positions)


def checked_names(names: Iterable[Any]) -> list[str]:
    """The names of columns.

    Raises:
        LoadError: some are there twice.
    """
    found = [str(name) for name in names]
    if twice := sorted({name for name in found if found.count(name) > 1}):
        raise LoadError(f"The input has several columns named {', '.join(twice)}")
    return found


def of_iterable(rows: Any, model: type[Any], size: int, at_hand: int) -> Iterator[Chunk]:
    """The chunks of dicts, or of instances of a model.

    Args:
        rows: an iterable.
        model: the model.
        size: how many rows a chunk has.
        at_hand: how many chunks are taken from the iterable at once.

    Raises:
        LoadError: it is something else.
    """
    if isinstance(rows, str | bytes | Mapping | sa.Result) or not isinstance(rows, Iterable):
        hint = "take its rows as dicts, with mappings()" if isinstance(rows, sa.Result) else KINDS
        raise LoadError(f"Cannot load {type(rows).__name__}: {hint}")
    iterator, start = iter(rows), 0
    while some := list(islice(iterator, size * at_hand)):
        for offset in range(0, len(some), size):
            part = some[offset : offset + size]
            positions = range(start + offset, start + offset + len(part))
            columns = _columns(_dicts(part, model, positions))
            yield Chunk(columns, positions, isinstance(part[0], model), offset + size >= len(some))
        start += len(some)


def _dicts(rows: list[Any], model: type[Any], positions: Sequence[int]) -> list[Mapping[str, Any]]:
    kinds = set(map(type, rows))
    if kinds == {dict} or all(issubclass(kind, Mapping) for kind in kinds):
        return rows
    if isinstance(rows[0], model):
        return [_attributes(row, model, position) for row, position in zip(rows, positions, strict=True)]
    wrong = next(place for place, row in enumerate(rows) if not isinstance(row, Mapping))
    kind = type(rows[wrong]).__name__
    raise LoadError(f"Row {positions[wrong]} is no dict and no {model.__name__}, but {kind}: {KINDS}")


def _columns(rows: Collection[Mapping[str, Any]]) -> dict[str, Values]:
    names = dict.fromkeys(next(iter(rows)))
    if set(map(len, rows)) == {len(names)}:
        try:
            return {name: [row[name] for row in rows] for name in names}
        except KeyError:
            pass  # as many keys, but others
    everything = dict.fromkeys(name for row in rows for name in row)
    return {name: [row.get(name) for row in rows] for name in everything}


def _attributes(row: Any, model: type[Any], position: int) -> dict[str, Any]:
    if type(row) is not model:
        raise LoadError(f"Row {position} is no {model.__name__}, but {type(row).__name__}: load each model by itself")
    state = sa.inspect(row)
    if not state.transient:
        raise LoadError(f"Row {position}: this {model.__name__} belongs to a session, which writes it by itself")
    for relationship in state.mapper.relationships:
        if state.dict.get(relationship.key):
            raise LoadError(
                f"Row {position}: {model.__name__}.{relationship.key} is an object, which load() does not follow: set "
                "the foreign key, or name a natural key with 'refs'"
            )
    return {name.key: state.dict[name.key] for name in state.mapper.column_attrs if name.key in state.dict}
