"""Bodies, and files, as they were before the server compressed them.

urllib3 can unpack them, too, but takes one that breaks off for a whole one.
"""

from __future__ import annotations

import codecs
import os
import sys
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import BinaryIO

import brotli

from ozelot.cache.request import TooLong, Unreachable

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd

#: What to ask servers for.
ACCEPTED = "gzip, deflate, br, zstd"


#: Not compression, but found in the header: browsers ignore these, as they do names of character sets.
_IGNORED = {"", "identity", "none", "binary", "8bit", "7bit", "null", "aws-chunked"}


class BrokenBody(Unreachable):
    """A body is not what its header says."""


def codings(header: str) -> list[str]:
    """The compressions that a header Content-Encoding names, in the order in which they were applied."""
    names = [name.strip().lower() for name in header.split(",")]
    return [name for name in names if name not in _IGNORED and (name in _UNPACK or not _is_charset(name))]


def _is_charset(name: str) -> bool:
    try:
        return codecs.lookup(name)._is_text_encoding and name != "rot13"
    except (LookupError, ValueError):
        return False


def unpacked(body: bytes, encodings: str, most: int) -> bytes:
    """A body without its compression.

    Args:
        body: as it was sent.
        encodings: the header Content-Encoding.
        most: bytes that may come out.

    Raises:
        TooLong: more would.
        BrokenBody: it breaks off, or is not what the header says.
    """
    for name in reversed(codings(encodings) if encodings else []):
        if not body:
            break
        if name not in _UNPACK:
            raise BrokenBody(f"the server sends it in the encoding {name!r}, which nobody asked for", again=False)
        try:
            body = _UNPACK[name](body, most + 1)
        except (zlib.error, brotli.error, zstd.ZstdError, EOFError) as exc:
            raise BrokenBody(f"what came is no {name}, or breaks off ({exc})") from exc
        if len(body) > most:
            raise too_long(most)
    return body


def too_long(most: int) -> TooLong:
    """The error for a body that is longer than it may be."""
    return TooLong(f"the body is longer than the {most:,} bytes that 'max_bytes' allows", again=False)


def _gzip(body: bytes, most: int) -> bytes:
    found = b""
    while body.startswith(b"\x1f\x8b") or not found:  # what else stands behind the end, gzip ignores as well
        unpacking = zlib.decompressobj(16 + zlib.MAX_WBITS)
        found += unpacking.decompress(body, most)
        if len(found) >= most:
            break
        if not unpacking.eof:
            raise EOFError("its end is missing")
        body = unpacking.unused_data
        if not body:
            break
    return found


def _deflate(body: bytes, most: int) -> bytes:
    try:
        return _inflate(body, most, zlib.MAX_WBITS)
    except zlib.error:  # without the header that it should have
        return _inflate(body, most, -zlib.MAX_WBITS)


def _inflate(body: bytes, most: int, bits: int) -> bytes:
    unpacking = zlib.decompressobj(bits)
    found = unpacking.decompress(body, most)
    if len(found) < most and not unpacking.eof:
        raise EOFError("its end is missing")
    return found


def _brotli(body: bytes, most: int) -> bytes:
    unpacking = brotli.Decompressor()
    found = unpacking.process(body, output_buffer_limit=most)
    while len(found) < most and not unpacking.is_finished():
        more = unpacking.process(b"", output_buffer_limit=most)
        if not more:
            raise EOFError("its end is missing")
        found += more
    return bytes(found)


def _zstd(body: bytes, most: int) -> bytes:
    found = b""
    while body and len(found) < most:
        unpacking = zstd.ZstdDecompressor()
        found += unpacking.decompress(body, max_length=most)
        if len(found) < most and not unpacking.eof:
            raise EOFError("its end is missing")
        body = unpacking.unused_data
    return found


_UNPACK: dict[str, Callable[[bytes, int], bytes]] = {
    "gzip": _gzip,
    "x-gzip": _gzip,
    "deflate": _deflate,
    "br": _brotli,
    "zstd": _zstd,
}


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


def _gzip_file(source: BinaryIO) -> Iterator[bytes]:
    return _members(source, 16 + zlib.MAX_WBITS, b"\x1f\x8b")


def _deflate_file(source: BinaryIO) -> Iterator[bytes]:
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


def _brotli_file(source: BinaryIO) -> Iterator[bytes]:
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


def _zstd_file(source: BinaryIO) -> Iterator[bytes]:
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
    "gzip": _gzip_file,
    "x-gzip": _gzip_file,
    "deflate": _deflate_file,
    "br": _brotli_file,
    "zstd": _zstd_file,
}
