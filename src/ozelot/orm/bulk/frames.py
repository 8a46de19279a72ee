"""Data frames and Arrow, taken apart column by column by their own means.

None of the libraries is imported unless its data comes in.
"""

from __future__ import annotations

import datetime
import sys
from collections.abc import Callable, Iterator
from importlib.util import find_spec
from typing import Any

from ozelot.errors import LoadError
from ozelot.orm.bulk.chunks import Chunk, checked_names, of_iterable
from ozelot.value_lists import KnownValues, NotStored, Values

_NOTHING = type(None)
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
    if type(array).__name__ == "NumpyExtensionArray":
        return _of_numpy(array.to_numpy())
    if hasattr(array, "__arrow_array__") and "pyarrow" in sys.modules:
        return _of_arrow(sys.modules["pyarrow"].array(array))
    return _of_numpy(array.to_numpy(dtype=object, na_value=None))


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
    if series.dtype.is_nested() or series.dtype.is_object() or find_spec("pyarrow") is None:
        return list(series.to_list())
    return _of_arrow(series.to_arrow())


def _arrow(pa: Any, rows: Any, size: int) -> Iterator[Chunk] | None:
    if isinstance(rows, pa.Table | pa.RecordBatch):
        rows = rows if isinstance(rows, pa.Table) else pa.Table.from_batches([rows])
        return _of_table(rows, size)
    return _of_batches(rows, size) if isinstance(rows, pa.RecordBatchReader) else None


def _of_table(table: Any, size: int) -> Iterator[Chunk]:
    names = checked_names(table.column_names)
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
        days = _numpy(array.cast(pa.date32()))
        return list(days.astype(object).tolist())
    if pa.types.is_string_view(kind):
        return _of_text(array.cast(pa.large_string()))
    if pa.types.is_string(kind) or pa.types.is_large_string(kind):
        return _of_text(array)
    if pa.types.is_floating(kind) and kind != pa.float16():  # NULL as NaN, which is the same here
        return _of_numpy(_numpy(array))
    if (pa.types.is_integer(kind) or pa.types.is_boolean(kind)) and not array.null_count:
        return _of_numpy(_numpy(array))
    return list(array.to_pylist())


def _numpy(array: Any) -> Any:
    return array.to_numpy() if hasattr(array, "chunks") else array.to_numpy(zero_copy_only=False)


def _of_numpy(array: Any) -> Values:
    found: Values = array.tolist()
    kind = _KINDS_OF_NUMPY.get(array.dtype.kind)
    if kind is None or not found or array.dtype.itemsize > 8:
        return found
    if kind is bool:
        return KnownValues(found, [bool])
    low = array.min().item()
    if low == low:
        return KnownValues(found, [kind], bounds=(low, array.max().item()))
    missing = array != array
    if missing.all():
        return KnownValues([None] * len(found), [_NOTHING])
    there = array[~missing]
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
    found: Values = micro.astype(object).tolist()
    exact = (micro.astype(array.dtype) == array) | (array != array)
    if exact.all():
        return found
    return [value if kept else NotStored(full) for value, kept, full in zip(found, exact.tolist(), array, strict=True)]


def _in_utc(values: Values) -> Values:
    return [value.replace(tzinfo=datetime.UTC) if type(value) is datetime.datetime else value for value in values]


_FRAMES: dict[str, Callable[[Any, Any, int], Iterator[Chunk] | None]] = {
    "pandas": _pandas,
    "polars": _polars,
    "pyarrow": _arrow,
}
