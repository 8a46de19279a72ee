"""Input of any kind as chunks of columns, each a list of Python's own values.

Data frames and Arrow are taken apart by their own means, column by column; neither library is imported unless its data
comes in.
"""

from __future__ import annotations

import datetime
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from operator import itemgetter
from typing import Any

import sqlalchemy as sa

from ozelot.errors import LoadError

Values = list[Any]


@dataclass
class Chunk:
    """Some rows.

    Attributes:
        columns: their values by name; all lists are as long as there are rows.
        positions: where they are in the input, counted from 0.
    """

    columns: dict[str, Values]
    positions: Sequence[int]

    def __len__(self) -> int:
        return len(self.positions)

    def only(self, kept: Sequence[int]) -> Chunk:
        """The rows at some places of this chunk."""
        pick = [self.positions[place] for place in kept]
        return Chunk({name: [values[place] for place in kept] for name, values in self.columns.items()}, pick)


@dataclass
class Source:
    """Where rows come from.

    Attributes:
        chunks: the rows.
        at_rest: whether reading them runs no code of the user, who may use the database meanwhile.
    """

    chunks: Iterator[Chunk]
    at_rest: bool


def read(rows: Any, model: type[Any], size: int) -> Source:
    """The chunks of any input.

    Raises:
        LoadError: it is nothing that holds rows.
    """
    for name, open_frame in _FRAMES.items():
        if name in sys.modules and (found := open_frame(sys.modules[name], rows, size)) is not None:
            return found
    if hasattr(rows, "__arrow_c_stream__"):
        import pyarrow

        return Source(_arrow(pyarrow.RecordBatchReader.from_stream(rows), size), at_rest=False)
    if isinstance(rows, str | bytes | Mapping | sa.Result) or not isinstance(rows, Iterable):
        hint = "the rows of a result as dicts: result.mappings()" if isinstance(rows, sa.Result) else _KINDS
        raise LoadError(f"Cannot load {type(rows).__name__}: {hint}")
    return Source(_rows(iter(rows), model, size), at_rest=False)


_KINDS = "rows are a pandas or polars DataFrame, an Arrow table or reader, or an iterable of dicts or of instances"


def _checked(names: Iterable[Any]) -> list[str]:
    found = [str(name) for name in names]
    if twice := sorted({name for name in found if found.count(name) > 1}):
        raise LoadError(f"The input has several columns named {', '.join(twice)}")
    return found


def _rows(rows: Iterator[Any], model: type[Any], size: int) -> Iterator[Chunk]:
    start = 0
    while some := list(islice(rows, size)):
        positions = range(start, start + len(some))
        start += len(some)
        first = some[0]
        if isinstance(first, model):
            some = [_attributes(row, model, position) for row, position in zip(some, positions, strict=True)]
        elif not all(issubclass(kind, Mapping) for kind in set(map(type, some))):
            wrong = next((p for p, row in zip(positions, some, strict=True) if not isinstance(row, Mapping)), 0)
            kind = type(some[wrong - positions[0]]).__name__
            raise LoadError(f"Row {wrong} is no dict and no {model.__name__}, but {kind}: {_KINDS}")
        yield Chunk(_columns(some), positions)


def _columns(rows: list[Mapping[str, Any]]) -> dict[str, Values]:
    names = list(rows[0])
    if set(map(len, rows)) == {len(names)}:
        try:
            if len(names) > 1:
                return dict(zip(names, map(list, zip(*map(itemgetter(*names), rows), strict=True)), strict=True))
            return {name: [row[name] for row in rows] for name in names}
        except KeyError:
            pass  # as many keys, but others
    everything = dict.fromkeys(name for row in rows for name in row)
    return {name: [row.get(name) for row in rows] for name in everything}


def _attributes(row: Any, model: type[Any], position: int) -> dict[str, Any]:
    if not isinstance(row, model):
        raise LoadError(f"Row {position} is no {model.__name__}, but {type(row).__name__}, unlike those before it")
    state = sa.inspect(row)
    if type(row) is not model:
        raise LoadError(
            f"Row {position} is a {type(row).__name__}: load each model by itself, this one {model.__name__}"
        )
    if not state.transient:
        raise LoadError(f"Row {position}: this {model.__name__} belongs to a session, which writes it by itself")
    values = state.dict
    for relationship in state.mapper.relationships:
        if values.get(relationship.key):
            raise LoadError(
                f"Row {position}: {model.__name__}.{relationship.key} is an object, which load() does not follow: set "
                "the foreign key, or name a natural key with 'refs'"
            )
    return {attribute.key: values[attribute.key] for attribute in state.mapper.column_attrs if attribute.key in values}


def _pandas(pd: Any, rows: Any, size: int) -> Source | None:
    if not isinstance(rows, pd.DataFrame):
        return None
    names = _checked(rows.columns)
    arrays = [rows.iloc[:, place].array for place in range(len(names))]

    def chunks() -> Iterator[Chunk]:
        for start in range(0, len(rows), size):
            positions = range(start, min(start + size, len(rows)))
            columns = {
                name: _pandas_values(array[start : positions.stop]) for name, array in zip(names, arrays, strict=True)
            }
            yield Chunk(columns, positions)

    return Source(chunks(), at_rest=True)


def _pandas_values(array: Any) -> Values:
    kind = array.dtype.kind
    if type(array).__name__ == "NumpyExtensionArray" or kind in "mM":
        numpy = array.to_numpy()
        if kind in "mM" and numpy.dtype.kind == kind:
            return _times(numpy)
        if getattr(array, "tz", None) is not None:
            return _in_utc(_times(array.asi8.view(f"M8[{array.unit}]")))
        return _as_list(numpy)
    if hasattr(array, "__arrow_array__") and "pyarrow" in sys.modules:
        return _arrow_values(sys.modules["pyarrow"].array(array))
    return _as_list(array.to_numpy(dtype=object, na_value=None))


def _polars(pl: Any, rows: Any, size: int) -> Source | None:
    if isinstance(rows, pl.LazyFrame):
        raise LoadError("Cannot load a LazyFrame: rows.collect() makes it a DataFrame")
    if not isinstance(rows, pl.DataFrame):
        return None
    names = _checked(rows.columns)

    def chunks() -> Iterator[Chunk]:
        start = 0
        for some in rows.iter_slices(size):
            yield Chunk({name: some[name].to_list() for name in names}, range(start, start + some.height))
            start += some.height

    return Source(chunks(), at_rest=True)


def _pyarrow(pa: Any, rows: Any, size: int) -> Source | None:
    if isinstance(rows, pa.Table | pa.RecordBatch):
        return Source(_arrow(pa.RecordBatchReader.from_stream(rows), size), at_rest=True)
    if isinstance(rows, pa.RecordBatchReader):
        return Source(_arrow(rows, size), at_rest=False)
    return None


def _arrow(reader: Any, size: int) -> Iterator[Chunk]:
    names = _checked(reader.schema.names)
    start = 0
    for batch in reader:
        for offset in range(0, batch.num_rows, size):
            some = batch.slice(offset, size)
            columns = {name: _arrow_values(some.column(place)) for place, name in enumerate(names)}
            yield Chunk(columns, range(start, start + some.num_rows))
            start += some.num_rows


def _arrow_values(array: Any) -> Values:
    import pyarrow as pa

    kind = array.type
    if pa.types.is_dictionary(kind):
        return _arrow_values(array.cast(kind.value_type))
    if pa.types.is_timestamp(kind) or pa.types.is_duration(kind):
        found = _times(array.to_numpy(zero_copy_only=False))
        return _in_utc(found) if pa.types.is_timestamp(kind) and kind.tz else found
    if pa.types.is_date(kind):
        return _as_list(array.cast(pa.date32()).to_numpy(zero_copy_only=False).astype(object))
    whole = pa.types.is_integer(kind) or pa.types.is_boolean(kind)
    if (whole and not array.null_count) or pa.types.is_string(kind) or pa.types.is_large_string(kind):
        return _as_list(array.to_numpy(zero_copy_only=False))
    if pa.types.is_floating(kind):  # NULL as NaN, which is the same here
        return _as_list(array.to_numpy(zero_copy_only=False))
    return _as_list(array, "to_pylist")


def _as_list(array: Any, method: str = "tolist") -> Values:
    found: Values = getattr(array, method)()
    return found


def _times(numpy: Any) -> Values:
    """Dates with times, or durations, of NumPy as Python's."""
    kind = numpy.dtype.kind
    micro = numpy.astype(f"{kind}8[us]")
    if not numpy.dtype.str.endswith("[ns]") or (micro.astype(numpy.dtype) == numpy)[~_is_nat(numpy)].all():
        return _as_list(micro.astype(object))
    return [
        value if exact else Nanoseconds(str(numpy[place]))
        for place, (value, exact) in enumerate(
            zip(
                micro.astype(object).tolist(),
                ((micro.astype(numpy.dtype) == numpy) | _is_nat(numpy)).tolist(),
                strict=True,
            )
        )
    ]


def _is_nat(numpy: Any) -> Any:
    return numpy != numpy


class Nanoseconds(str):
    """A time that Python, and every database here, would have to round."""


def _in_utc(values: Values) -> Values:
    return [None if value is None else value.replace(tzinfo=datetime.UTC) for value in values]


_FRAMES: dict[str, Callable[[Any, Any, int], Source | None]] = {
    "pandas": _pandas,
    "polars": _polars,
    "pyarrow": _pyarrow,
}
