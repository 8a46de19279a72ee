"""A file from the web: resumed where it broke off, checked, and in its place only when it is whole."""

from __future__ import annotations

import datetime
import email.utils
import hashlib
import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

import requests

from ozelot import config
from ozelot.cache.decompression import codings, unpack_file
from ozelot.cache.fetcher import user_agent
from ozelot.cache.rate_limit import Hosts, Timer, shared_folder
from ozelot.cache.redirects import target_of
from ozelot.cache.request import ERROR_CONNECTION_ERROR, ERROR_LOCAL_TARGET, ERROR_OFFLINE, Answer, Request, Unreachable
from ozelot.cache.retry import Asker
from ozelot.cache.transport import PARTIAL_CONTENT, Web, check_partial, content_range, headers_of
from ozelot.client import refuse_own_file
from ozelot.errors import ConfigError, FetchError, LocalTargetRefused, NotInCache
from ozelot.redaction import masked, without

_PIECE = 1 << 20  # bytes
_WHOLE = (200, 203)  # other good statuses come without the file: 202 (it is being made), 204 (there is nothing)
_GZIP_TYPES = {"application/gzip", "application/x-gzip", "application/x-gunzip", "application/x-tgz"}


class Version(NamedTuple):
    """What tells one version of a file from another.

    Attributes:
        url: that was asked for, without what is secret in it.
        validator: a strong ETag, or Last-Modified; nothing where the server gives neither.
        total: the size in bytes as it is sent; None where the server does not say.
        encodings: the header Content-Encoding.
    """

    url: str
    validator: str
    total: int | None
    encodings: str

    @property
    def can_be_resumed(self) -> bool:
        """Whether a part of it can be completed, so that the whole is one version for certain."""
        return bool(self.validator) and self.total is not None

    def is_continued_by(self, headers: Mapping[str, str], first: int) -> bool:
        """Whether a partial answer is the rest of this version, from that byte on."""
        part = content_range(headers.get("content-range"))
        if part is None or part.first != first or part.total != self.total:
            return False
        name = "etag" if self.validator.startswith('"') else "last-modified"
        # An answer to If-Range must repeat the ETag, and may omit the rest.
        same = headers.get(name, "" if name == "etag" else self.validator) == self.validator
        return same and headers.get("content-encoding", self.encodings) == self.encodings


class Part:
    """What came of a file so far.

    Args:
        path: where the file is to be.
        url: the address, without what is secret in it.
    """

    def __init__(self, path: Path, url: str) -> None:
        self._url = url
        self._path = path
        self.file = path.with_name(f"{path.name}.part")
        self.note = path.with_name(f"{path.name}.part.json")
        self.unpacked = path.with_name(f"{path.name}.part.unpacked")

    def fetch(self, web: Web, request: Request) -> Answer:
        """Fetch the rest of it, or all of it where that is not certain to be the same version.

        Raises:
            Unreachable: it did not come as a whole, or is another version than the part, which is deleted then.
        """
        known = self._known(request.headers)
        first = self.file.stat().st_size if known is not None and self.file.exists() else 0
        headers = dict(request.headers)
        if known is not None and first:
            headers |= {"Range": f"bytes={first}-", "If-Range": known.validator}
        with web.sent(Request(str(request), request.method, headers)) as response:
            found, status = headers_of(response), response.status_code
            if target_of(status, found) is not None:
                return Answer(status, b"", found)
            if known is not None and first:
                if status == 416:
                    raise self._other("the server has no more of it than came already")
                if status == PARTIAL_CONTENT and not known.is_continued_by(found, first):
                    raise self._other("the server sends a part of another version")
            else:
                check_partial(request, Answer(status, b"", found))
            if status not in (*_WHOLE, PARTIAL_CONTENT):
                body = b"" if 200 <= status < 300 else response.raw.read(65536, decode_content=False)
                return Answer(status, body, found)
            resumed = known if first and status == PARTIAL_CONTENT else None
            version = resumed or self._version(status, found)
            self._write(response, version, first if resumed is not None else 0)
        self._unpack(version, found.get("content-type", ""))
        return Answer(200, b"", found)

    def _write(self, response: requests.Response, version: Version, first: int) -> None:
        self.file.parent.mkdir(parents=True, exist_ok=True)
        with self.file.open("ab" if first else "wb") as file:
            if not first:
                self.note.write_text(json.dumps(version._asdict()), encoding="utf-8")
            for piece in response.raw.stream(_PIECE, decode_content=False):
                file.write(piece)
            file.flush()
            os.fsync(file.fileno())
        size = self.file.stat().st_size
        if version.total is not None and size < version.total:
            raise Unreachable(f"the server sent {size:,} of {version.total:,} bytes")
        if version.total is not None and size > version.total:
            raise self._other(f"the server sent more than the {version.total:,} bytes that it announced")

    def _version(self, status: int, headers: Mapping[str, str]) -> Version:
        total = headers.get("content-length", "")
        is_known = total.isdecimal() and status != PARTIAL_CONTENT and "transfer-encoding" not in headers
        encodings = headers.get("content-encoding", "")
        return Version(self._url, _validator(headers), int(total) if is_known else None, encodings)

    def _known(self, headers: Mapping[str, str]) -> Version | None:
        """The version of what came, where it can be resumed."""
        if any(name.lower() == "range" for name in headers):
            return None  # the caller wants a part of it
        try:
            found = json.loads(self.note.read_text(encoding="utf-8"))
            known = Version(str(found["url"]), str(found["validator"]), int(found["total"]), str(found["encodings"]))
        except (OSError, ValueError, TypeError, KeyError):
            return None
        return known if known.can_be_resumed and known.url == self._url else None

    def _other(self, why: str) -> Unreachable:
        self.delete()
        return Unreachable(f"{why}; the download restarts")

    def _unpack(self, version: Version, content_type: str) -> None:
        names = codings(version.encodings)
        # Servers say of a .gz file that it is compressed, which it is meant to be. Browsers leave it as it is, too.
        is_packed_file = self._path.suffix in (".gz", ".tgz") or content_type.split(";")[0].strip() in _GZIP_TYPES
        if is_packed_file and names and names[-1] in ("gzip", "x-gzip"):
            names.pop()
        try:
            for name in reversed(names):
                unpack_file(self.file, self.unpacked, name)
                self.note.unlink(missing_ok=True)  # what follows is not what the server sends
                self.unpacked.replace(self.file)
        except Unreachable:
            self.delete()
            raise

    def delete(self) -> None:
        """Forget what came."""
        for path in (self.file, self.note, self.unpacked):
            path.unlink(missing_ok=True)


def _validator(headers: Mapping[str, str]) -> str:
    """A strong ETag; or Last-Modified, where there is no ETag and the file was at least a second old by then."""
    tag = headers.get("etag", "").strip()
    if tag:
        return tag if tag.startswith('"') else ""
    modified = _moment(headers.get("last-modified"))
    if modified is None:
        return ""
    sent = _moment(headers.get("date")) or datetime.datetime.now(datetime.UTC)
    return headers["last-modified"] if (sent - modified).total_seconds() >= 1 else ""


def _moment(header: str | None) -> datetime.datetime | None:
    try:
        found = email.utils.parsedate_to_datetime(header or "")
    except (ValueError, TypeError, OverflowError):
        return None
    return found if found.tzinfo is not None else found.replace(tzinfo=datetime.UTC)


def download(
    url: str,
    path: Path,
    *,
    checksum: str | None = None,
    headers: Mapping[str, str] | None = None,
    rate_limit: float | None = None,
    refuse_local: bool = False,
) -> str:
    """Fetch a file, unless it is there. Of several processes that want it at once, one does.

    Args:
        url: the address.
        path: where it is to be; ``.part`` and ``.part.json`` beside it hold what came so far.
        checksum: ``sha256:`` (or another algorithm of :mod:`hashlib`) and the digest in hexadecimal.
        headers: to be sent.
        rate_limit: seconds between two requests to that server.
        refuse_local: whether to refuse servers on this machine or its link, as
            :class:`ozelot.cache.RequestCache` does.

    Returns:
        SHA-256 of what was fetched, in hexadecimal; nothing where the file was there.

    Raises:
        FetchError: it cannot be had, or is not what the checksum says; that which came is deleted then.
        ConfigError: the checksum is none, or the path is a file of the database itself.
    """
    algorithm, _, digest = (checksum or "sha256:").partition(":")
    if algorithm not in hashlib.algorithms_guaranteed or algorithm.startswith("shake"):
        raise ConfigError(f"Not a checksum: {checksum!r}. Write it as in sha256:9f86d081884c7d65...")
    request = Request(url, headers={"User-Agent": user_agent(), "Accept-Encoding": "identity", **(headers or {})})
    part = _part_of(path, url)
    timer = Timer()
    hosts = Hosts(shared_folder(), timer)
    web = Web(timeout=float("inf"), max_bytes=0, refuse_local=refuse_local)
    try:
        with hosts.alone(f"file {path.absolute()}"):
            if path.exists():
                return ""
            if config.flag("OFFLINE"):
                told = f"No file from {masked(url)}: {path} is not there, and OFFLINE is set"
                raise NotInCache(told, url=masked(url), status=ERROR_OFFLINE)
            asker = Asker(lambda asked: part.fetch(web, asked), hosts, timer, tries=4)
            reply = asker.ask(request, at_once=None, prepare=lambda asked: (asked, rate_limit))
            if reply.status != 200:
                told = without(reply.told, request.secrets) or f"HTTP status {reply.status}"
                kind = LocalTargetRefused if reply.status == ERROR_LOCAL_TARGET else FetchError
                stays = ". What came so far stays; run it again to go on" if part.file.exists() else ""
                raise kind(
                    f"No file from {masked(url)}: {told}{stays}",
                    url=masked(url),
                    status=reply.status,
                    tries=reply.tries,
                )
            found = _digest(part.file, algorithm)
            if digest and found != digest.lower():
                part.delete()
                raise FetchError(
                    f"What came from {masked(url)} is not what was expected: its {algorithm} is {found}, not {digest}. "
                    "Has the file changed there?",
                    url=masked(url),
                    status=ERROR_CONNECTION_ERROR,
                )
            sha256 = found if algorithm == "sha256" else _digest(part.file, "sha256")
            _receipt(path).write_text(json.dumps({"sha256": sha256}), encoding="utf-8")
            part.file.replace(path)
            part.delete()
            return sha256
    finally:
        web.close()
        hosts.close()


def _part_of(path: Path, url: str) -> Part:
    part = Part(path, masked(url))
    for each in (path, part.file, part.note, part.unpacked, _receipt(path)):
        refuse_own_file(each, "A download")
    return part


def discard(path: Path) -> bool:
    """Delete a file that :func:`download` fetched, with what else it left; whether it was still that.

    A file that somebody else put there, or changed, stays.
    """
    _part_of(path, "").delete()
    receipt = _receipt(path)
    try:
        fetched = json.loads(receipt.read_text(encoding="utf-8"))["sha256"]
    except (OSError, ValueError, KeyError, TypeError):
        return False
    is_ours = False
    if path.exists():
        is_ours = _digest(path, "sha256") == fetched
    if is_ours:
        path.unlink()
    receipt.unlink()
    return is_ours


def _receipt(path: Path) -> Path:
    return path.with_name(f"{path.name}.fetched.json")


def _digest(path: Path, algorithm: str) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, algorithm).hexdigest()
