"""Bodies, and files, as they were before the server compressed them.

urllib3 can unpack them, too, but takes one that breaks off for a whole one.
"""

from __future__ import annotations

import codecs
import sys
import zlib
from collections.abc import Callable

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
