"""Pages in a file: found, kept, and deleted. Any number of threads and processes may do so at once."""

from __future__ import annotations

import datetime
import hashlib
import json
import os
import sqlite3
import sys
import threading
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

from ozelot.cache import file_format
from ozelot.cache.file_format import Holds
from ozelot.cache.request import Request, is_good, key_of_address
from ozelot.db import sqlite_file
from ozelot.errors import ConfigError
from ozelot.redaction import encodable

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd

_OPTIONS: dict[int, int] = {zstd.CompressionParameter.compression_level: 3, zstd.CompressionParameter.checksum_flag: 1}
_COLUMNS = "url, method, xpath, status, fetched, checked, final_url, redirects, headers, encoding, hash, size"

_KEEP = f"INSERT OR REPLACE INTO cached_page (key, address, {_COLUMNS}, body) VALUES ({', '.join('?' * 15)})"  # noqa: S608


class Entry(NamedTuple):
    """A page as it is kept, or the failure to get it.

    Attributes:
        url: what was asked for, without what is secret in it.
        method: such as ``GET``.
        xpath: of the part that is kept; None: the whole page.
        status: the HTTP status, or a code in its place.
        fetched: when it came, in seconds since 1970, UTC.
        checked: when the server last said that it is still so.
        final_url: where redirects led.
        redirects: the status and the address of each.
        headers: those that matter, by lower-case name.
        encoding: of the body.
        hash: SHA-256 of the body.
        size: of the body, in bytes.
        body: what was sent, without compression; None where it was not asked for.
    """

    url: str
    method: str
    xpath: str | None
    status: int
    fetched: float
    checked: float
    final_url: str
    redirects: Sequence[tuple[int, str]]
    headers: Mapping[str, str]
    encoding: str
    hash: bytes
    size: int
    body: bytes | None


def content_of(status: int, digest: bytes) -> str:
    """What a task that read an entry was made from, as text: SHA-256 of the page, or the status where there is none.

    The body of a failure does not count: servers write times and request numbers into it.
    """
    return digest.hex() if is_good(status) else f"status {status}"


class Store:
    """A file of pages; it is made when the first one is kept.

    Args:
        path: the file.
        largest: bytes; what claims to be larger than that is not unpacked.
    """

    def __init__(self, path: Path, largest: int) -> None:
        self.path = path
        self._largest = largest
        self.renew()

    def renew(self) -> None:
        """Forget all connections, as a forked child must."""
        self._reader: sqlite3.Connection | None = None
        self._writer: sqlite3.Connection | None = None
        self._holds = Holds(False, False)
        self._inode = self._written = 0  # of the file that is open to read, to write
        self._reading = threading.RLock()  # around each use of the one connection, and of the other
        self._writing = threading.RLock()

    def close(self) -> None:
        """Close the file; it is opened again when needed."""
        with self._writing, self._reading:
            for connection in (self._writer, self._reader):
                if connection is not None:
                    connection.close()
            self._writer = self._reader = None

    def find(self, request: Request, xpath: str | None, *, body: bool = True) -> Entry | None:
        """What is kept of a request."""
        with self._reading_file() as connection:
            if connection is None:
                return None
            if self._holds.pages:
                query = f"SELECT {_COLUMNS}, {'body' if body else 'NULL'} FROM cached_page WHERE key = ?"  # noqa: S608
                row = connection.execute(query, (request.key(xpath),)).fetchone()
                if row is not None:
                    return self._entry(row)
            if self._holds.of_0_2 and request.method == "GET" and not request.headers and not request.body:
                query = f"{_FROM_0_2} WHERE url = ? AND xpath IS ? ORDER BY id LIMIT 1"
                row = connection.execute(query, (encodable(str(request)), xpath)).fetchone()
                if row is not None:
                    return _entry_of_0_2(row)
        return None

    def keep(self, request: Request, entry: Entry) -> None:
        """Keep a page, in place of what was kept of the same request."""
        body = entry.body or b""
        values = (
            request.key(entry.xpath),
            key_of_address(request),
            *entry[:6],
            entry.final_url,
            json.dumps(entry.redirects),
            json.dumps(dict(entry.headers)),
            *entry[9:12],
            zstd.compress(body, options=_OPTIONS),
        )
        with self._transaction() as connection:
            connection.execute(_KEEP, values)
            if self._holds.of_0_2:
                connection.execute(
                    "DELETE FROM cachedrequest WHERE url = ? AND xpath IS ?", (encodable(str(request)), entry.xpath)
                )

    def still_so(self, request: Request, entry: Entry) -> None:
        """Note that the server says that a page has not changed: when, and its headers."""
        with self._transaction() as connection:
            connection.execute(
                "UPDATE cached_page SET checked = ?, headers = ? WHERE key = ?",
                (entry.checked, json.dumps(dict(entry.headers)), request.key(entry.xpath)),
            )

    def forget(self, request: Request, xpath: str | None) -> int:
        """Delete what is kept of a request, and say how many that were."""
        if self.find(request, xpath, body=False) is None:
            return 0
        with self._transaction() as connection:
            gone = connection.execute("DELETE FROM cached_page WHERE key = ?", (request.key(xpath),)).rowcount
            if self._holds.of_0_2:
                old = (encodable(str(request)), xpath)
                gone += connection.execute("DELETE FROM cachedrequest WHERE url = ? AND xpath IS ?", old).rowcount
        return gone

    def forget_all(self, entries: Collection[tuple[str, int]]) -> int:
        """Delete entries that :meth:`every` told of, and say how many were still there."""
        gone = 0
        with self._transaction() as connection:
            for table, number in entries:
                gone += connection.execute(f"DELETE FROM {table} WHERE id = ?", (number,)).rowcount  # noqa: S608
        return gone

    def every(self) -> Iterator[tuple[tuple[str, int], Entry]]:
        """All that is kept, in the order in which it came, without the bodies; each with where it is."""
        for table, columns in (("cachedrequest", ""), ("cached_page", _COLUMNS)):
            last = -1
            while rows := self._some(table, columns, last):
                for number, *row in rows:
                    yield (table, number), self._entry((*row, None)) if columns else _entry_of_0_2(row, body=False)
                    last = number

    def _some(self, table: str, columns: str, after: int) -> list[Any]:
        with self._reading_file() as connection:
            if connection is None or not (self._holds.pages if columns else self._holds.of_0_2):
                return []
            query = f"SELECT id, {columns} FROM cached_page" if columns else _FROM_0_2.replace("SELECT", "SELECT id,")  # noqa: S608
            return connection.execute(f"{query} WHERE id > ? ORDER BY id LIMIT 500", (after,)).fetchall()

    def contents(self, keys: Collection[bytes]) -> dict[bytes, str]:
        """What those entries with these keys that are kept hold, as :func:`content_of` says it."""
        wanted = list(keys)
        found: dict[bytes, str] = {}
        with self._reading_file() as connection:
            if connection is not None and self._holds.pages:
                for start in range(0, len(wanted), 500):
                    some = wanted[start : start + 500]
                    query = f"SELECT key, status, hash FROM cached_page WHERE key IN ({', '.join('?' * len(some))})"  # noqa: S608
                    rows = connection.execute(query, some).fetchall()
                    found.update({key: content_of(status, digest) for key, status, digest in rows})
        return found

    def body_at(self, place: tuple[str, int]) -> Entry | None:
        """An entry that :meth:`every` told of, with its body."""
        table, number = place
        with self._reading_file() as connection:
            if connection is None:
                return None
            if table == "cached_page":
                query = f"SELECT {_COLUMNS}, body FROM cached_page WHERE id = ?"  # noqa: S608
            else:
                query = f"{_FROM_0_2} WHERE id = ?"
            row = connection.execute(query, (number,)).fetchone()
            return None if row is None else self._entry(row) if table == "cached_page" else _entry_of_0_2(row)

    def delete_file(self) -> None:
        """Delete the file.

        Raises:
            ConfigError: it is no request cache.
        """
        with self._writing:
            with self._reading_file():
                pass  # refuses a file that is none
            self.close()
            for suffix in ("", "-wal", "-shm"):
                Path(f"{self.path}{suffix}").unlink(missing_ok=True)

    def check(self) -> list[str]:
        """What SQLite finds wrong with the file; nothing where it is whole."""
        with self._reading_file() as connection:
            if connection is None:
                return []
            try:
                found = [str(row[0]) for row in connection.execute("PRAGMA integrity_check(20)")]
            except sqlite3.DatabaseError as exc:
                return [str(exc)]
        return [] if found == ["ok"] else found

    @contextmanager
    def _reading_file(self) -> Iterator[sqlite3.Connection | None]:
        """The connection to read with; None where there is no file."""
        with self._reading:
            try:
                inode = os.stat(self.path).st_ino  # noqa: PTH116 - at each hit: a third of what Path takes
            except OSError:
                yield None
                return
            try:
                if self._reader is None or inode != self._inode:
                    if self._reader is not None:
                        self._reader.close()  # somebody deleted the file, and another one was made
                    self._reader, self._holds = file_format.connect(self.path)
                    self._inode = inode
                elif not self._holds.pages:  # another process may have kept the first page
                    self._holds = file_format.look(self._reader, self.path)
                yield self._reader
            except sqlite3.DatabaseError as exc:
                raise file_format.damaged(self.path, exc) from exc

    @contextmanager
    def _transaction(self) -> Iterator[sqlite3.Connection]:
        with self._writing:
            with self._reading_file() as reader:
                is_new = reader is None
            try:
                if self._writer is None or is_new or self._inode != self._written:
                    self._open_writer()
                connection = self._writer
                assert connection is not None
                sqlite_file.begin(connection)  # switches a new file to WAL, whatever other processes are doing with it
                try:
                    file_format.create(connection)
                    yield connection
                    connection.execute("COMMIT")
                except BaseException:
                    if connection.in_transaction:
                        connection.execute("ROLLBACK")
                    raise
            except sqlite3.OperationalError as exc:
                raise ConfigError(
                    f"Cannot write to the request cache {self.path} ({exc}): name another file in REQUEST_CACHE_PATH"
                ) from exc
            except sqlite3.DatabaseError as exc:
                raise file_format.damaged(self.path, exc) from exc

    def _open_writer(self) -> None:
        if self._writer is not None:
            self._writer.close()
        self._writer, holds = file_format.connect(self.path)
        self._writer.execute("PRAGMA synchronous = NORMAL")
        self._written = os.stat(self.path).st_ino  # noqa: PTH116
        self._holds = Holds(self._holds.pages, holds.of_0_2)

    def _entry(self, row: Sequence[Any]) -> Entry:
        """A row as it should be.

        Raises:
            ConfigError: it is not.
        """
        try:
            url, method, xpath, status, fetched, checked, final, redirects, headers, encoding, hashed, size, packed = (
                row
            )
            body = None
            if packed is not None:
                if not 0 <= size <= self._largest:
                    raise ValueError(f"a page of {size:,} bytes, where {self._largest:,} are allowed")
                unpacking = zstd.ZstdDecompressor()
                body = unpacking.decompress(packed, max_length=size + 1)
                if len(body) != size or not (unpacking.eof or not size):
                    raise ValueError("a page is not of the size that is noted")
            return Entry(
                url,
                method,
                xpath,
                int(status),
                float(fetched),
                float(checked),
                final or url,
                json.loads(redirects) if redirects != "[]" else (),
                json.loads(headers) if headers != "{}" else {},
                encoding,
                hashed,
                size,
                body,
            )
        except (zstd.ZstdError, ValueError, TypeError, RecursionError) as exc:
            raise file_format.damaged(self.path, exc) from exc


_FROM_0_2 = "SELECT url, xpath, content, status_code, queried_on FROM cachedrequest"


def _entry_of_0_2(row: Sequence[Any], *, body: bool = True) -> Entry:
    url, xpath, content, status, queried = row
    text = str(content or "").encode("utf-8", "replace")
    try:
        when = datetime.datetime.fromisoformat(queried).timestamp()
    except (TypeError, ValueError):
        when = 0.0
    kept = text if body else None
    found = hashlib.sha256(text).digest()
    code = status if isinstance(status, int) else 0
    return Entry(str(url), "GET", xpath, code, when, when, str(url), (), {}, "utf-8", found, len(text), kept)
