"""Queries out: the result of a SELECT as a frame of pandas or polars, or as an Arrow table, whole or in pieces.

``database_types`` knows the types that databases have, ``columns`` those of a result, ``column`` and ``arrays`` make
Arrow arrays of values, ``reading`` knows the way into each database (``values`` for all, ``postgresql`` and
``mariadb`` for what is quicker there), ``backends`` the frames.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import chain
from typing import Any

import pyarrow as pa
import sqlalchemy as sa

from ozelot.errors import UsageError
from ozelot.frames import backends
from ozelot.frames.arrow_arrays import Column
from ozelot.frames.reader import reading


def frame(engine: sa.Engine, statement: sa.Executable, backend: str) -> Any:
    """The whole result; see :meth:`ozelot.client.Client.frame`."""
    build = backends.builder(backend)
    with reading(engine, statement, backend, whole=True) as found:
        table, columns = backends.table_of(found.columns, found.batches, backend), found.columns
    return build(table, columns)


def frames(engine: sa.Engine, statement: sa.Executable, rows: int, backend: str) -> Any:
    """The result in pieces; see :meth:`ozelot.client.Client.frames`."""
    if rows < 1:
        raise UsageError(f"There are no frames of {rows} rows: ask for 1 or more")
    build = backends.builder(backend)
    if backend != "arrow":
        return (build(table, columns) for table, columns in _pieces(engine, statement, rows, backend))
    pieces = (table for table, _ in _pieces(engine, statement, rows, backend))
    first = next(pieces)
    batches = (batch for table in chain([first], pieces) for batch in table.to_batches())
    return pa.RecordBatchReader.from_batches(first.schema, batches)


def _pieces(
    engine: sa.Engine, statement: sa.Executable, rows: int, backend: str
) -> Iterator[tuple[pa.Table, list[Column]]]:
    with reading(engine, statement, backend, whole=False) as found:
        for table in backends.in_pieces(found.columns, found.batches, rows, backend):
            yield table, found.columns
