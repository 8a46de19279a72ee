"""PostgreSQL: what COPY sends, read by Arrow's own parser.

The driver hands out what COPY sends row by row, at 2 microseconds each. Under that lies libpq, which the driver shows,
and whose rows are gathered here into pieces that are worth parsing.
"""

from __future__ import annotations

from collections.abc import Generator, Iterator, Sequence
from contextlib import contextmanager
from itertools import count
from typing import Any

import pyarrow as pa
from pyarrow import csv

from ozelot.frames.columns import Column

#: A streaming cursor leaves the connection free for other statements.
SHARES = True

_PIECE = 8 << 20  # bytes that are parsed at a time, on all cores
_names = count(1)


def read(cursor: Any, statement: str, parameters: Any, columns: Sequence[Column]) -> Generator[pa.RecordBatch]:
    """What a SELECT gives.

    Args:
        cursor: of psycopg, which is not used but for its connection.
        statement: the SELECT as the driver takes it.
        parameters: its parameters; the driver writes them into the statement, as COPY takes none.
        columns: their types.

    Raises:
        pyarrow.ArrowInvalid: the text of a value is not what its type lets expect.
    """
    schema = pa.schema([(column.name, column.arrow) for column in columns])
    names = [str(number) for number in range(len(columns))]
    reading = csv.ReadOptions(column_names=names, block_size=1 << 20)
    # An empty line is a row, of one column that is NULL.
    parsing = csv.ParseOptions(newlines_in_values=True, ignore_empty_lines=len(columns) > 1)
    converting = csv.ConvertOptions(
        column_types=dict(zip(names, schema.types, strict=True)),
        null_values=[""],
        strings_can_be_null=True,
        quoted_strings_can_be_null=False,
        true_values=["t"],
        false_values=["f"],
    )
    with _copying(cursor.connection, statement, parameters) as pieces:
        for piece in pieces:
            try:
                table = csv.read_csv(pa.BufferReader(piece), reading, parsing, converting)
            except pa.ArrowInvalid:
                for _ in pieces:  # to break it off here would fail the transaction
                    pass
                raise
            yield from table.rename_columns(schema.names).to_batches()


def streaming(connection: Any) -> Any:
    """A cursor whose rows stay on the server until they are fetched."""
    return connection.cursor(name=f"ozelot_{next(_names)}")


@contextmanager
def _copying(connection: Any, statement: str, parameters: Any) -> Iterator[Iterator[bytearray]]:
    """Whole rows as text, in pieces."""
    select = statement.rstrip().removesuffix(";")
    query = f"COPY ({select}\n) TO STDOUT (FORMAT csv, ENCODING 'UTF8')"  # it may end with a comment
    if not parameters:
        query = query.replace("%%", "%")  # which the driver does only where there are some
    with connection.cursor() as cursor, cursor.copy(query, parameters) as copy:
        yield _pieces(copy, connection.pgconn)


def _pieces(copy: Any, libpq: Any) -> Iterator[bytearray]:
    piece = bytearray()
    size = 0
    while size >= 0 and (row := copy.read()):  # waits for it
        while row:
            piece += row
            size, row = libpq.get_copy_data(1)  # those that came with it
        if size < 0:
            _finish(libpq)
        elif len(piece) >= _PIECE:
            yield piece
            piece = bytearray()
    if piece:
        yield piece


def _finish(libpq: Any) -> None:
    """Take the result of a COPY that sent all it had, or failed on its way."""
    from psycopg import errors, pq

    failed = None
    while (result := libpq.get_result()) is not None:
        if result.status != pq.ExecStatus.COMMAND_OK:
            failed = failed or result
    if failed is not None:
        raise errors.error_from_result(failed, encoding="utf-8")
