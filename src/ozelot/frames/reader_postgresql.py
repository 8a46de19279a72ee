"""PostgreSQL: what COPY sends, read by Arrow's own parser.

The driver hands out what COPY sends row by row, at 2 microseconds each. Under that lies libpq, which the driver shows,
and whose rows are gathered here into pieces that are worth parsing.
"""

from __future__ import annotations

from collections.abc import Generator, Iterator, Sequence
from itertools import count
from typing import Any

import pyarrow as pa
from pyarrow import csv

from ozelot.frames.arrow_arrays import Column, decimals_of
from ozelot.frames.arrow_types import DatabaseType, of_postgresql

#: A streaming cursor leaves the connection free for other statements.
SHARES = True

_PIECE = 8 << 20  # bytes that are parsed at a time, on all cores
_BLOCK = 1 << 20  # bytes that each core parses at a time
_MARK = "\ufeff".encode()  # Arrow drops one where a piece begins, which must not be one of the text
_names = count(1)


class Query:
    """A SELECT with its parameters, as text.

    The driver sends parameters beside a statement, with their types, but COPY takes none. A float has to stay one: as
    it is written it would be a ``numeric``, with another result.
    """

    def __init__(self, connection: Any, statement: str, parameters: Any) -> None:
        from psycopg import ClientCursor

        self._connection = connection
        self._query: bytes = statement.encode()
        if parameters:
            with ClientCursor(connection) as cursor:
                cursor.adapters.register_dumper(float, _float_dumper())
                self._query = cursor.mogrify(statement, parameters).encode()
        elif b"%" in self._query:
            self._query = self._query.replace(b"%%", b"%")  # as the driver does where there are parameters

    def types(self) -> list[DatabaseType]:
        """What the server says of the columns of the result, without reading it."""
        from psycopg import pq

        libpq = self._connection.pgconn
        if libpq.transaction_status == pq.TransactionStatus.IDLE and not self._connection.autocommit:
            self._connection.execute("")  # begins the transaction
        libpq.send_prepare(b"", self._query)
        self._wait()
        libpq.send_describe_prepared(b"")
        result = self._wait()
        return [_described(result, at) for at in range(result.nfields)]

    def _wait(self) -> Any:
        from psycopg import errors, generators, pq

        (result,) = self._connection.wait(generators.execute(self._connection.pgconn))
        if result.status != pq.ExecStatus.COMMAND_OK:
            raise errors.error_from_result(result, encoding="utf-8")
        return result

    def read(self, columns: Sequence[Column]) -> Generator[pa.RecordBatch]:
        """The result.

        Raises:
            pyarrow.ArrowInvalid: the text of a value is not what its type lets expect.
        """
        select = self._query.rstrip().removesuffix(b";")
        query = b"COPY (" + select + b"\n) TO STDOUT (FORMAT csv, ENCODING 'UTF8')"  # it may end with a comment
        with self._connection.cursor() as cursor, cursor.copy(query) as copy:
            pieces = _pieces(copy, self._connection.pgconn)
            for piece in pieces:
                try:
                    batches = _parsed(piece, columns)
                except pa.ArrowInvalid:
                    for _ in pieces:  # to break it off here would fail the transaction
                        pass
                    raise
                yield from batches


def _described(result: Any, at: int) -> DatabaseType:
    code, modifier = result.ftype(at), result.fmod(at)
    # numeric(p, s), as in the server's numeric.c; a scale below 0 has more bits than these.
    precision, scale = ((modifier - 4) >> 16 & 0xFFFF, (modifier - 4) & 0x7FF) if modifier >= 4 else (None, None)
    return of_postgresql(result.fname(at).decode(), code, precision, scale)


def _float_dumper() -> Any:
    from psycopg.types.numeric import FloatDumper

    class _FloatDumper(FloatDumper):
        def quote(self, obj: Any) -> bytes:
            return b"'" + bytes(self.dump(obj) or b"") + b"'::float8"

    return _FloatDumper


def _is_read_late(column: Column) -> bool:
    """Whether Arrow reads it from text, but not from CSV."""
    return column.varies or pa.types.is_decimal256(column.arrow)


def _parsed(piece: bytearray, columns: Sequence[Column]) -> list[pa.RecordBatch]:
    names = [str(number) for number in range(len(columns))]
    kinds = [pa.string() if _is_read_late(column) else column.arrow for column in columns]
    # An empty line is a row, of one column that is NULL.
    parsing = csv.ParseOptions(newlines_in_values=True, ignore_empty_lines=len(columns) > 1)
    converting = csv.ConvertOptions(
        column_types=dict(zip(names, kinds, strict=True)),
        null_values=[""],
        strings_can_be_null=True,
        quoted_strings_can_be_null=False,
        true_values=["t"],
        false_values=["f"],
    )
    table = None
    for size in (_BLOCK, len(piece) + 1):  # a row must not be longer than a block
        try:
            reading = csv.ReadOptions(column_names=names, block_size=size)
            table = csv.read_csv(pa.BufferReader(piece), reading, parsing, converting)
            break
        except pa.ArrowInvalid:
            if size > len(piece):
                raise
    assert table is not None
    batches = []
    for batch in table.to_batches():
        arrays = [
            column.checked(decimals_of(array, column.arrow) if _is_read_late(column) else array)
            for column, array in zip(columns, batch.columns, strict=True)
        ]
        batches.append(pa.RecordBatch.from_arrays(arrays, names=[column.name for column in columns]))
    return batches


def streaming(connection: Any) -> Any:
    """A cursor whose rows stay on the server until they are fetched."""
    return connection.cursor(name=f"ozelot_{next(_names)}")


def _pieces(copy: Any, libpq: Any) -> Iterator[bytearray]:
    piece = bytearray(_MARK)
    size = 0
    while size >= 0 and (row := copy.read()):  # waits for it
        while row:
            piece += row
            size, row = libpq.get_copy_data(1)  # those that came with it
        if size < 0:
            _finish(libpq)
        elif len(piece) >= _PIECE:
            yield piece
            piece = bytearray(_MARK)
    if len(piece) > len(_MARK):
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
