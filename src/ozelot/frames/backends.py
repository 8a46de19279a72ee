"""From Arrow to the data frames that users work with."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from typing import Any

import pyarrow as pa

from ozelot.errors import ConfigError, FrameError
from ozelot.frames.columns import MISFIT, Column

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


def table_of(columns: Sequence[Column], batches: Iterator[pa.RecordBatch]) -> pa.Table:
    """All batches in one table; where values told the types, in types that hold all of them.

    Raises:
        FrameError: there are no such types.
    """
    tables = [pa.Table.from_batches([batch]) for batch in batches] or [schema_of(columns).empty_table()]
    try:
        table = pa.concat_tables(tables, promote_options="permissive")
    except MISFIT as exc:
        raise FrameError(
            f"A column holds values of several types: name one in the query, with sqlalchemy.cast(column, type) ({exc})"
        ) from exc
    for at, field in enumerate(table.schema):
        if columns[at].arrow != field.type and pa.types.is_decimal256(field.type):  # by joining what has fewer places
            with suppress(*MISFIT):
                narrow = pa.decimal128(38, field.type.scale)
                table = table.set_column(at, field.name, table.column(at).cast(narrow))
    return table


def schema_of(columns: Sequence[Column]) -> pa.Schema:
    """What the statement tells of the types; the type of the missing where it tells nothing."""
    return pa.schema([(column.name, column.arrow or pa.null()) for column in columns])


def in_pieces(columns: Sequence[Column], batches: Iterator[pa.RecordBatch], rows: int) -> Iterator[pa.Table]:
    """The batches as tables of so many rows, the last one with what is left; at least one, which may be empty.

    Raises:
        FrameError: values that come later have other types than those that the first ones told.
    """
    held: list[pa.RecordBatch] = []
    count = 0
    schema = None
    for batch in batches:
        schema = schema or batch.schema
        held.append(batch if batch.schema == schema else _as_before(batch, schema, columns))
        count += batch.num_rows
        while count >= rows:
            table = pa.Table.from_batches(held, schema)
            yield table.slice(0, rows).combine_chunks()
            held, count = table.slice(rows).to_batches(), count - rows
    if schema is None or count:
        yield pa.Table.from_batches(held, schema or schema_of(columns)).combine_chunks()


def _as_before(batch: pa.RecordBatch, schema: pa.Schema, columns: Sequence[Column]) -> pa.RecordBatch:
    arrays = []
    for column, array, field in zip(columns, batch.columns, schema, strict=True):
        try:
            arrays.append(array.cast(field.type))
        except MISFIT as exc:
            raise column.misfit(exc) from exc
    return pa.RecordBatch.from_arrays(arrays, schema=schema)


def _arrow(table: pa.Table, _columns: Sequence[Column]) -> Any:
    return table.combine_chunks()


def _polars(table: pa.Table, _columns: Sequence[Column]) -> Any:
    import polars as pl

    if long := [field.name for field in table.schema if pa.types.is_decimal256(field.type)]:
        raise FrameError(
            f"Decimals of polars have 38 digits, of column '{long[0]}' more: use cast(), or another backend"
        )
    return pl.from_arrow(table)


def _pandas(table: pa.Table, columns: Sequence[Column]) -> Any:
    """A frame whose types do not depend on where NULL stands."""
    import pandas as pd

    plain = {pa.int64(): pd.Int64Dtype(), pa.uint64(): pd.UInt64Dtype(), pa.bool_(): pd.BooleanDtype()}

    def mapped(arrow: pa.DataType) -> Any:
        kept = pa.types.is_date(arrow) or pa.types.is_time(arrow) or pa.types.is_decimal(arrow)
        return pd.ArrowDtype(arrow) if kept else plain.get(arrow)

    objects = {
        at: [None if value is None else column.to_object(value) for value in table.column(at).to_pylist()]
        for at, column in enumerate(columns)
        if column.to_object is not None
    }
    names = table.column_names
    frame = table.rename_columns([str(at) for at in range(len(names))]).to_pandas(types_mapper=mapped)
    for at, found in objects.items():
        frame[str(at)] = pd.Series(found, index=frame.index, dtype=object)
    frame.columns = pd.Index(names)
    return frame


_BUILDERS: dict[str, Build] = {"pandas": _pandas, "polars": _polars, "arrow": _arrow}
