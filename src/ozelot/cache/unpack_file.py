"""Files as they were before the server compressed them: piece by piece, however large they are."""

from __future__ import annotations

import os
import sys
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import BinaryIO

import brotli

from ozelot.cache.unpack import BrokenBody

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd

_PIECE = 1 << 16  # bytes read at a time
_MOST = 1 << 20  # bytes that one step may give


def unpack_file(packed: Path, target: Path, name: str) -> None:
    """Write a file without its compression.

    Args:
        packed: as it was sent; empty files are not compressed.
        target: where to write.
        name: of the compression, as in the header Content-Encoding.

    Raises:
        BrokenBody: it breaks off, or is not what the header says.
    """
    if name not in _PIECES:
        raise BrokenBody(f"the server sends it in the encoding {name!r}, which nobody asked for", again=False)
    try:
        with packed.open("rb") as source, target.open("wb") as file:
            for piece in _PIECES[name](source):
                file.write(piece)
            file.flush()
            os.fsync(file.fileno())
    except (zlib.error, brotli.error, zstd.ZstdError, EOFError) as exc:
        raise BrokenBody(f"what came is no {name}, or breaks off ({exc})") from exc


def _gzip(source: BinaryIO) -> Iterator[bytes]:
    return _members(source, 16 + zlib.MAX_WBITS, b"\x1f\x8b")


def _deflate(source: BinaryIO) -> Iterator[bytes]:
    begin = source.read(2)
    source.seek(0)
    has_header = len(begin) == 2 and begin[0] & 15 == 8 and int.from_bytes(begin, "big") % 31 == 0
    return _members(source, zlib.MAX_WBITS if has_header else -zlib.MAX_WBITS, None)


def _members(source: BinaryIO, bits: int, begins: bytes | None) -> Iterator[bytes]:
    """One stream; for gzip, as many as there are. What else stands behind the end, gzip ignores as well."""
    data = source.read(_PIECE)
    while data:
        unpacking = zlib.decompressobj(bits)
        while not unpacking.eof:
            if not data and not (data := source.read(_PIECE)):
                raise EOFError("its end is missing")
            yield unpacking.decompress(data, _MOST)
            data = unpacking.unconsumed_tail
        data = unpacking.unused_data + source.read(_PIECE)
        if begins is None or not data.startswith(begins):
            return


def _brotli(source: BinaryIO) -> Iterator[bytes]:
    unpacking = brotli.Decompressor()
    while not unpacking.is_finished():
        if unpacking.can_accept_more_data():
            data = source.read(_PIECE)
            if not data:
                if source.tell():
                    raise EOFError("its end is missing")
                return
            yield unpacking.process(data, output_buffer_limit=_MOST)
        else:
            yield unpacking.process(b"", output_buffer_limit=_MOST)


def _zstd(source: BinaryIO) -> Iterator[bytes]:
    data = source.read(_PIECE)
    while data:
        unpacking = zstd.ZstdDecompressor()
        while not unpacking.eof:
            if unpacking.needs_input and not data and not (data := source.read(_PIECE)):
                raise EOFError("its end is missing")
            yield unpacking.decompress(data, max_length=_MOST)
            data = b""
        data = unpacking.unused_data or source.read(_PIECE)


_PIECES: dict[str, Callable[[BinaryIO], Iterator[bytes]]] = {
    "gzip": _gzip,
    "x-gzip": _gzip,
    "deflate": _deflate,
    "br": _brotli,
    "zstd": _zstd,
}
