"""Any database: rows of the driver's cursor, turned into columns piece by piece."""

from __future__ import annotations

from collections.abc import Generator, Sequence
from contextlib import closing
from typing import Any

import pyarrow as pa

from ozelot.frames.column import Column

#: Rows that are fetched at a time: they stay in the processor's cache until they are columns. Twice as fast as 20,000.
_ROWS = 1000


def read(cursor: Any, columns: Sequence[Column]) -> Generator[pa.RecordBatch]:
    """The rest of a cursor, which is closed then."""
    names = [column.name for column in columns]
    row = 0
    with closing(cursor):
        while rows := cursor.fetchmany(_ROWS):
            arrays = [
                column.array(values, row) for column, values in zip(columns, zip(*rows, strict=True), strict=True)
            ]
            yield pa.RecordBatch.from_arrays(arrays, names=names)
            row += len(rows)
