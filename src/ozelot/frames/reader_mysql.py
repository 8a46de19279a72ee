"""MariaDB and MySQL by PyMySQL: rows as the server sends them, taken apart for a whole block at once.

PyMySQL is written in Python, and spends 6 microseconds on a row. The server sends each row as a packet: its length in
three bytes, a number, then for each column the length of its text and the text. The places where the packets begin are
found one after the other; all else is done by NumPy and Arrow for all rows of a block together.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Generator, Iterator, Sequence
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from ozelot.frames.arrow_arrays import TIMESTAMP, WITH_ZONE, Column
from ozelot.frames.arrow_types import DatabaseType, of_pymysql

#: While a streaming cursor is open, the connection takes no other statement.
SHARES = False

Positions = NDArray[np.int64]

_BLOCK = 1 << 20  # bytes that are read at a time
_HEADER = 4  # of a packet: three bytes of length, one that counts
_BEGIN = struct.Struct("<IB")  # that of a packet: its length and a number in one, then its first byte
_FULL = 0xFFFFFF  # the length of a packet that goes on in the next one
_NULL, _TWO_BYTES, _THREE_BYTES, _EIGHT_BYTES = 0xFB, 0xFC, 0xFD, 0xFE  # what the first byte of a length may be, too
_END, _ERROR = 0xFE, 0xFF  # the first byte of a packet that is no row
_MOST_OF_END = 9  # a longer packet that begins with the first of them is a row, with a column of 16 MB


def can_read(connection: Any) -> bool:
    """Whether the driver is one whose stream of packets can be reached, and text is UTF-8."""
    return type(connection).__module__.startswith("pymysql.") and connection.encoding in ("utf8", "utf-8")


def types_of(cursor: Any) -> list[DatabaseType]:
    """What the server says of the columns of a result."""
    return of_pymysql(cursor._result.fields)


def read(cursor: Any, columns: Sequence[Column]) -> Generator[pa.RecordBatch]:
    """What a SELECT gives.

    Args:
        cursor: one of :func:`streaming` that has executed the SELECT; it is closed then.
        columns: their types.

    Raises:
        pyarrow.ArrowInvalid: the text of a value is not what its type lets expect.
    """
    connection, result = cursor.connection, cursor._result
    names = [column.name for column in columns]
    rows = blocks(lambda: _more(connection), lambda packet: _fail(connection, packet))
    try:
        for block, starts in rows:
            texts = texts_of(block, starts, len(columns))
            arrays = [column.checked(_typed(text, column.arrow)) for text, column in zip(texts, columns, strict=True)]
            yield pa.RecordBatch.from_arrays(arrays, names=names)
    finally:
        for _ in rows:  # what is left would be taken for the answer to the next statement
            pass
        result.unbuffered_active, result.connection = False, None
        cursor.close()


def streaming(connection: Any) -> Any:
    """A cursor whose rows stay in the connection until they are fetched."""
    from pymysql.cursors import SSCursor

    return connection.cursor(SSCursor)


def _more(connection: Any) -> Any:
    from pymysql import err
    from pymysql.constants import CR

    found = b""
    try:
        found = connection._rfile.read1(_BLOCK)
    except OSError as exc:
        raise err.OperationalError(CR.CR_SERVER_LOST, f"Lost connection to MySQL server during query ({exc})") from exc
    finally:
        if not found:  # also on Ctrl-C: nobody knows where in the stream it came
            connection._force_close()
    if not found:
        raise err.OperationalError(CR.CR_SERVER_LOST, "Lost connection to MySQL server during query")
    return found


def _fail(connection: Any, packet: bytes) -> None:
    from pymysql.protocol import MysqlPacket

    MysqlPacket(packet, connection.encoding).raise_for_error()


def blocks(more: Callable[[], bytes], fail: Callable[[bytes], None]) -> Iterator[tuple[bytes, list[int]]]:
    """The stream of packets, in blocks of whole rows, each with the places where its rows begin.

    Args:
        more: the next bytes of the stream.
        fail: raises what an error packet says.
    """
    rest = b""
    while True:
        block = rest + more()
        starts: list[int] = []
        at, size = 0, len(block)
        while at + _HEADER < size:
            counted, first = _BEGIN.unpack_from(block, at)
            length = counted & _FULL
            after = at + _HEADER + length
            if length == _FULL:
                block, after = _joined(block, at)
                size = len(block)
            if after > size:
                break
            if first >= _END and (first == _ERROR or length < _MOST_OF_END):
                if starts:
                    yield block, starts
                if first == _ERROR:
                    fail(block[at + _HEADER : after])
                return
            starts.append(at + _HEADER)
            at = after
        if starts:
            yield block, starts
        rest = block[at:]


def _joined(block: bytes, at: int) -> tuple[bytes, int]:
    """A packet that goes on in others made one, and where it ends: behind the block while there is more to come."""
    whole, after = block, at + _HEADER + _FULL
    while after + _HEADER <= len(whole):
        length = int.from_bytes(whole[after : after + 3], "little")
        whole = whole[:after] + whole[after + _HEADER :]
        after += length
        if length < _FULL and after <= len(whole):
            return whole, after
    return block, len(block) + 1


def texts_of(block: bytes, starts: Sequence[int], count: int) -> list[pa.Array]:
    """The columns of a block of rows, as the bytes that were sent."""
    data = np.frombuffer(block, np.uint8)
    at: Positions = np.array(starts, np.int64)
    # Where texts begin and end, in turns: an array of every text and of what lies between. Every other one is wanted.
    limits = np.empty(2 * len(at), np.int32)
    wanted = pa.array(np.arange(0, len(limits), 2))
    found = []
    for _ in range(count):
        first = data[at]
        begin, length = at + 1, first.astype(np.int64)
        null = first == _NULL
        for code, size in ((_TWO_BYTES, 2), (_THREE_BYTES, 3), (_EIGHT_BYTES, 8)):
            long = np.flatnonzero(first == code)
            length[long] = sum(data[begin[long] + byte].astype(np.int64) << 8 * byte for byte in range(size))
            begin[long] += size
        length[null] = 0
        at = begin + length
        limits[0::2], limits[1::2] = begin, at
        all_there = [None, pa.py_buffer(limits.tobytes()), pa.py_buffer(block)]
        texts = pa.Array.from_buffers(pa.binary(), len(limits) - 1, all_there).take(wanted)
        found.append(pc.if_else(pa.array(null), None, texts) if null.any() else texts)
    return found


def _typed(texts: pa.Array, arrow: pa.DataType) -> pa.Array:
    if arrow == pa.binary():
        return texts
    if arrow == pa.bool_():
        return pc.not_equal(texts.cast(pa.string()).cast(pa.int64()), 0)
    if arrow == WITH_ZONE:
        return texts.cast(pa.string()).cast(TIMESTAMP).cast(WITH_ZONE)
    return texts.cast(pa.string()).cast(arrow)
