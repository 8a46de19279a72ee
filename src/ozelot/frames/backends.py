"""From Arrow to the data frames that users work with."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from typing import Any

import pyarrow as pa

from ozelot.errors import ConfigError, FrameError
from ozelot.frames.arrow_arrays import MISFIT, OBJECT, Column, cast, joined

_ROOM = 20  # places of decimals for what comes later: as many as PostgreSQL's division has for numbers around 1
_POLARS_DIGITS = 38

Build = Callable[[pa.Table, Sequence[Column]], Any]


def builder(backend: str) -> Build:
    """What makes a frame of a table.

    Raises:
        ConfigError: there is no such backend, or it is not installed.
    """
    if backend not in _BUILDERS:
        raise ConfigError(f"No backend '{backend}' for frames: {', '.join(_BUILDERS)}")
    if backend != "arrow":
        try:
            __import__(backend)
        except ImportError:
            extras = "pandas,arrow" if backend == "pandas" else backend
            raise ConfigError(f"A frame of {backend} needs it: pip install 'ozelot[{extras}]'") from None
    return _BUILDERS[backend]


def table_of(columns: Sequence[Column], batches: Iterator[pa.RecordBatch], backend: str) -> pa.Table:
    """All batches in one table, in types that hold all of their values.

    Raises:
        FrameError: there are no such types.
    """
    found = list(batches)
    schema = schema_of(columns)
    if all(batch.schema == schema for batch in found):
        table = pa.Table.from_batches(found, schema)
    else:
        chunks = [
            _joined(column, [batch.column(at) for batch in found], in_pieces=False) for at, column in enumerate(columns)
        ]
        table = pa.table([pa.chunked_array(arrays) for arrays in chunks], names=schema.names)
    return _short_decimals(table) if backend == "polars" else table


def schema_of(columns: Sequence[Column]) -> pa.Schema:
    """What the statement tells of the types; the type of the missing where it tells nothing."""
    return pa.schema([(column.name, column.arrow or pa.null()) for column in columns])


def _joined(column: Column, arrays: list[pa.Array], *, in_pieces: bool) -> list[pa.Array]:
    """The arrays of a column in one type.

    Args:
        column: what is known of it.
        arrays: its values, at least one array.
        in_pieces: more will follow, in that type.
    """
    try:
        arrays = joined(arrays, column.objects, own=column.own)
        kind = arrays[0].type
        if pa.types.is_null(kind):
            kind = column.arrow or kind
        if in_pieces and column.varies and pa.types.is_decimal(kind):
            return _with_room(arrays, kind)
        return [cast(array, kind, column.objects) for array in arrays]
    except MISFIT as exc:
        raise column.mixed(exc) from exc


def _with_room(arrays: list[pa.Array], kind: pa.DataType) -> list[pa.Array]:
    """Decimals of any scale, with places for those that come later."""
    for wide in (pa.decimal128(38, max(_ROOM, kind.scale)), pa.decimal256(76, max(2 * _ROOM, kind.scale))):
        with suppress(*MISFIT):
            return [cast(array, wide, None) for array in arrays]
    return [cast(array, kind, None) for array in arrays]


def _short_decimals(table: pa.Table) -> pa.Table:
    """Decimals in 38 digits where these are enough: polars has no others."""
    for at, field in enumerate(table.schema):
        if pa.types.is_decimal256(field.type) and field.type.scale <= _POLARS_DIGITS:
            with suppress(*MISFIT):
                short = pa.decimal128(_POLARS_DIGITS, field.type.scale)
                table = table.set_column(at, field.name, table.column(at).cast(short))
    return table


def in_pieces(
    columns: Sequence[Column], batches: Iterator[pa.RecordBatch], rows: int, backend: str
) -> Iterator[pa.Table]:
    """The batches as tables of so many rows, the last one with what is left; at least one, which may be empty.

    The first one decides on the types.

    Raises:
        FrameError: values that come later have other types.
    """
    held: list[pa.RecordBatch] = []
    count = 0
    schema = None
    for batch in batches:
        held.append(batch if schema is None else _as_before(batch, schema, columns))
        count += batch.num_rows
        if schema is None and count >= rows:
            held = _decided(held, columns, backend)
            schema = held[0].schema
        while count >= rows:
            table = pa.Table.from_batches(held, schema)
            yield table.slice(0, rows).combine_chunks()
            held, count = table.slice(rows).to_batches(), count - rows
    if schema is None:
        held = _decided(held, columns, backend)
        schema = held[0].schema if held else schema_of(columns)
        yield pa.Table.from_batches(held, schema).combine_chunks()
    elif count:
        yield pa.Table.from_batches(held, schema).combine_chunks()


def _decided(held: list[pa.RecordBatch], columns: Sequence[Column], backend: str) -> list[pa.RecordBatch]:
    if not held:
        return held
    chunks = [
        _joined(column, [batch.column(at) for batch in held], in_pieces=True) for at, column in enumerate(columns)
    ]
    table = pa.table([pa.chunked_array(arrays) for arrays in chunks], names=[column.name for column in columns])
    return (_short_decimals(table) if backend == "polars" else table).to_batches()  # type: ignore[no-any-return]


def _as_before(batch: pa.RecordBatch, schema: pa.Schema, columns: Sequence[Column]) -> pa.RecordBatch:
    if batch.schema == schema:
        return batch
    arrays = []
    for column, array, field in zip(columns, batch.columns, schema, strict=True):
        try:
            arrays.append(cast(array, field.type, column.objects))
        except MISFIT as exc:
            raise FrameError(
                f"Column '{column.name}' holds a value that does not fit {field.type}, the type of the first piece "
                f"({exc}): name one for all in the query, with sqlalchemy.cast(column, type)"
            ) from exc
    return pa.RecordBatch.from_arrays(arrays, schema=schema)


def _arrow(table: pa.Table, _columns: Sequence[Column]) -> Any:
    return table.combine_chunks()


def _polars(table: pa.Table, columns: Sequence[Column]) -> Any:
    import polars as pl

    names = table.column_names
    lists = {
        at: found for at, column in enumerate(columns) if (found := _objects(table.column(at), column)) is not None
    }
    if not lists:
        return pl.from_arrow(table)
    others = table.select([at for at in range(len(names)) if at not in lists])
    frame = pl.from_arrow(others)
    assert isinstance(frame, pl.DataFrame)
    series = frame.get_columns()
    for at in sorted(lists):
        series.insert(at, pl.Series(names[at], lists[at], dtype=pl.Object))
    return pl.DataFrame(series)


def _objects(values: pa.ChunkedArray, column: Column) -> list[Any] | None:
    """Python values of a column that polars has no type for; None: it has."""
    if column.objects is not None and values.type == OBJECT:
        return column.objects.take(values)
    return values.to_pylist() if pa.types.is_decimal256(values.type) else None


def _pandas(table: pa.Table, columns: Sequence[Column]) -> Any:
    """A frame whose types do not depend on where NULL stands."""
    import pandas as pd

    plain = {pa.int64(): pd.Int64Dtype(), pa.uint64(): pd.UInt64Dtype(), pa.bool_(): pd.BooleanDtype()}

    def mapped(arrow: pa.DataType) -> Any:
        kept = pa.types.is_date(arrow) or pa.types.is_time(arrow) or pa.types.is_decimal(arrow)
        return pd.ArrowDtype(arrow) if kept else plain.get(arrow)

    objects: dict[int, list[Any]] = {}
    for at, column in enumerate(columns):
        values = table.column(at)
        if column.objects is not None and values.type == OBJECT:
            objects[at] = column.objects.take(values)
        elif column.to_object is not None:
            objects[at] = [None if value is None else column.to_object(value) for value in values.to_pylist()]
    names = table.column_names
    frame = table.rename_columns([str(at) for at in range(len(names))]).to_pandas(types_mapper=mapped)
    for at, found in objects.items():
        frame[str(at)] = pd.Series(found, index=frame.index, dtype=object)
    frame.columns = pd.Index(names)
    return frame


_BUILDERS: dict[str, Build] = {"pandas": _pandas, "polars": _polars, "arrow": _arrow}
