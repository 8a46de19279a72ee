"""Rows of any input in chunks: data frames, Arrow, dicts and instances, column by column.

None of the libraries is imported unless its data comes in.
"""

from __future__ import annotations

import datetime
import sys
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from importlib.util import find_spec
from itertools import islice
from typing import Any

import sqlalchemy as sa

from ozelot.errors import LoadError
from ozelot.values.column_rule import OUTSIDE, TOO_FINE, KnownValues, NotStored, Values

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


_NOTHING = type(None)
#: Arrays of pandas whose values are the same in Arrow; a Period is a number there.
_LIKE_ARROW = {
    "ArrowExtensionArray", "ArrowStringArray", "BooleanArray", "FloatingArray", "IntegerArray", "StringArray",
}  # fmt: skip
_INTEGERS_OF_FLOATS = {2: 2**11, 4: 2**24}  # by bytes of a float: from here on, not each has its own
_KINDS_OF_NUMPY: dict[str, type] = {"i": int, "u": int, "f": float, "b": bool}


def chunks_of(rows: Any, model: type[Any], size: int, at_hand: int) -> Iterator[Chunk]:
    """The chunks of any input.

    Args:
        rows: the input.
        model: the model that they are for.
        size: how many rows a chunk has at most.
        at_hand: how many chunks are taken from an iterable at once.

    Raises:
        LoadError: it is nothing that holds rows.
    """
    for name, open_frame in _FRAMES.items():
        if name in sys.modules and (found := open_frame(sys.modules[name], rows, size)) is not None:
            return found
    if hasattr(rows, "__arrow_c_stream__"):
        import pyarrow

        return _of_batches(pyarrow.RecordBatchReader.from_stream(rows), size)
    return of_iterable(rows, model, size, at_hand)


def _pandas(pd: Any, rows: Any, size: int) -> Iterator[Chunk] | None:
    return _of_pandas(rows, size) if isinstance(rows, pd.DataFrame) else None


def _of_pandas(rows: Any, size: int) -> Iterator[Chunk]:
    names = checked_names(rows.columns)
    arrays = [rows.iloc[:, place].array for place in range(len(names))]
    for start in range(0, len(rows), size):
        positions = range(start, min(start + size, len(rows)))
        yield Chunk(
            {name: _of_array(array[start : positions.stop]) for name, array in zip(names, arrays, strict=True)},
            positions,
        )


def _of_array(array: Any) -> Values:
    """The values of an array of pandas."""
    kind = array.dtype.kind
    if kind in "mM" and getattr(array, "unit", None) is not None:
        found = _times(array.asi8.view(f"{kind}8[{array.unit}]"))
        return _in_utc(found) if getattr(array, "tz", None) is not None else found
    name = type(array).__name__
    if name == "NumpyExtensionArray":
        return _of_numpy(array.to_numpy())
    if name == "Categorical":
        return _of_codes(array.codes, _of_array(array.categories.array))
    if name in _LIKE_ARROW and "pyarrow" in sys.modules:
        try:
            return _of_arrow(sys.modules["pyarrow"].array(array))
        except UnicodeError:  # half of a surrogate pair
            pass
    if name == "SparseArray":
        return _of_numpy(array.to_dense())
    return list(array.astype(object))  # as others than pandas see them: a Period is no number


def _of_codes(codes: Any, categories: Values) -> Values:
    """Values from their places among the categories; -1 is none."""
    values = [*map([*categories, None].__getitem__, codes.tolist())]
    if not isinstance(categories, KnownValues):
        return values
    kinds = {*categories.kinds, _NOTHING}
    return KnownValues(values, kinds, bounds=categories.bounds, longest=categories.longest)


def _polars(pl: Any, rows: Any, size: int) -> Iterator[Chunk] | None:
    if isinstance(rows, pl.LazyFrame):
        raise LoadError("Cannot load a LazyFrame: rows.collect() makes it a DataFrame")
    return _of_polars(rows, size) if isinstance(rows, pl.DataFrame) else None


def _of_polars(rows: Any, size: int) -> Iterator[Chunk]:
    start = 0
    for some in rows.iter_slices(size):
        columns = {name: _of_series(some[name]) for name in some.columns}
        yield Chunk(columns, range(start, start + some.height))
        start += some.height


def _of_series(series: Any) -> Values:
    """The values of a column of polars; Arrow is the quicker way, where it is there."""
    dtype = series.dtype
    if dtype.is_nested() or dtype.is_object() or str(dtype).endswith("Int128"):
        return list(series.to_list())
    if find_spec("pyarrow") is not None:
        return _of_arrow(series.to_arrow())
    values: Values = series.to_list()
    if str(dtype) != "Time" and getattr(dtype, "time_unit", None) != "ns":
        return values
    return _marked(values, series.to_physical().to_list())


def _marked(values: Values, nanoseconds: Values) -> Values:
    """Times that were cut to microseconds, those with more nanoseconds marked."""
    return [
        NotStored(f"{value}{number % 1000:03d}", TOO_FINE) if number is not None and number % 1000 else value
        for value, number in zip(values, nanoseconds, strict=True)
    ]


def _arrow(pa: Any, rows: Any, size: int) -> Iterator[Chunk] | None:
    if isinstance(rows, pa.Table | pa.RecordBatch):
        rows = rows if isinstance(rows, pa.Table) else pa.Table.from_batches([rows])
        return _of_table(rows, size)
    return _of_batches(rows, size) if isinstance(rows, pa.RecordBatchReader) else None


def _of_table(table: Any, size: int) -> Iterator[Chunk]:
    names = checked_names(table.column_names)
    for field in table.schema:
        if (name := (field.metadata or {}).get(b"ARROW:extension:name")) is not None:
            raise _unknown_extension(name.decode(), field.type)
    for start in range(0, table.num_rows, size):
        some = table.slice(start, size)
        columns = {name: _of_arrow(column) for name, column in zip(names, some.columns, strict=True)}
        yield Chunk(columns, range(start, start + some.num_rows))


def _of_batches(reader: Any, size: int) -> Iterator[Chunk]:
    import pyarrow as pa

    checked_names(reader.schema.names)
    start = 0
    for batch in reader:
        last = None
        for chunk in _of_table(pa.Table.from_batches([batch]), size):
            if last is not None:
                yield last
            last = Chunk(chunk.columns, range(start, start + len(chunk)))
            start += len(chunk)
        if last is not None:
            last.is_last_at_hand = True
            yield last


def _of_arrow(array: Any) -> Values:
    """The values of an array of Arrow, or of several."""
    import pyarrow as pa

    kind = array.type
    if pa.types.is_dictionary(kind):
        return _of_arrow(array.cast(kind.value_type))
    if pa.types.is_timestamp(kind) or pa.types.is_duration(kind):
        found = _times(_numpy(array))
        return _in_utc(found) if pa.types.is_timestamp(kind) and kind.tz else found
    if pa.types.is_date(kind):
        return _dates(_numpy(array))
    if kind == pa.time64("ns"):
        return _marked(array.to_pylist(), array.cast(pa.int64()).to_pylist())
    if isinstance(kind, pa.BaseExtensionType):
        return _of_extension(array, kind)
    if pa.types.is_string_view(kind):
        return _of_text(array.cast(pa.large_string()))
    if pa.types.is_string(kind) or pa.types.is_large_string(kind):
        return _of_text(array)
    if pa.types.is_floating(kind) and kind != pa.float16():  # NULL as NaN, which is the same here
        return _of_numpy(_numpy(array))
    if (pa.types.is_integer(kind) or pa.types.is_boolean(kind)) and not array.null_count:
        return _of_numpy(_numpy(array))
    return list(array.to_pylist())


def _of_extension(array: Any, kind: Any) -> Values:
    """The values of a type made of another one: those of Arrow's own are Python's; who knows what others mean."""
    if not kind.extension_name.startswith("arrow."):
        raise _unknown_extension(kind.extension_name, kind.storage_type)
    return list(array.to_pylist())


def _unknown_extension(name: str, storage: Any) -> LoadError:
    return LoadError(
        f"Cannot load a column of the Arrow extension type {name}: convert it to the type that the model has, or to "
        f"{storage}, in which it is stored"
    )


def _numpy(array: Any) -> Any:
    return array.to_numpy() if hasattr(array, "chunks") else array.to_numpy(zero_copy_only=False)


def _of_numpy(array: Any) -> Values:
    found: Values = array.tolist()
    kind = _KINDS_OF_NUMPY.get(array.dtype.kind)
    if kind is None or not found or array.dtype.itemsize > 8:
        return found
    if kind is bool:
        return KnownValues(found, [bool])
    low, high = array.min().item(), array.max().item()
    if low == low:
        if kind is float and max(-low, high) >= _INTEGERS_OF_FLOATS.get(array.dtype.itemsize, float("inf")):
            return list(array)  # as NumPy's, which tell of their size
        return KnownValues(found, [kind], bounds=(low, high))
    missing = array != array
    if missing.all():
        return KnownValues([None] * len(found), [_NOTHING])
    there = array[~missing]
    if abs(there).max() >= _INTEGERS_OF_FLOATS.get(array.dtype.itemsize, float("inf")):
        return list(array)
    values = array.astype(object)
    values[missing] = None
    return KnownValues(values.tolist(), [float, _NOTHING], bounds=(there.min().item(), there.max().item()))


def _of_text(array: Any) -> Values:
    import pyarrow.compute as pc

    kinds = (str, _NOTHING) if array.null_count else (str,)
    clean = not pc.any(pc.match_substring(array, "\0")).as_py()
    longest = pc.max(pc.utf8_length(array)).as_py() or 0
    return KnownValues(_numpy(array).tolist(), kinds, longest=longest if clean else None)


def _times(array: Any) -> Values:
    """Dates with times, or durations, of NumPy as Python's."""
    micro = array.astype(f"{array.dtype.kind}8[us]")
    found: Values = micro.astype(object).tolist()  # what Python does not know becomes a number
    exact = (micro.astype(array.dtype) == array) | (array != array)
    if exact.all() and int not in set(map(type, found)):
        return found
    reason = TOO_FINE if array.dtype > micro.dtype else OUTSIDE
    return [
        value if kept and type(value) is not int else NotStored(full, reason)
        for value, kept, full in zip(found, exact.tolist(), array, strict=True)
    ]


def _dates(array: Any) -> Values:
    """Dates of NumPy as Python's; of milliseconds, that may have a time."""
    found: Values = array.astype("datetime64[D]").astype(object).tolist()
    if array.dtype != "datetime64[D]" and (array.astype("datetime64[D]") != array)[array == array].any():
        return _times(array)
    if int not in set(map(type, found)):
        return found
    return [NotStored(full, OUTSIDE) if type(value) is int else value for value, full in zip(found, array, strict=True)]


def _in_utc(values: Values) -> Values:
    return [value.replace(tzinfo=datetime.UTC) if type(value) is datetime.datetime else value for value in values]


_FRAMES: dict[str, Callable[[Any, Any, int], Iterator[Chunk] | None]] = {
    "pandas": _pandas,
    "polars": _polars,
    "pyarrow": _arrow,
}
