"""A file from the web: taken up where it broke off, checked, and in its place only when it is whole."""

from __future__ import annotations

import hashlib
import json
import os
import re
from collections.abc import Mapping
from pathlib import Path

from ozelot import config
from ozelot.cache.asking import Asker
from ozelot.cache.getting import user_agent
from ozelot.cache.hosts import Hosts, shared_folder
from ozelot.cache.request import ERROR_CONNECTION_ERROR, ERROR_OFFLINE, Answer, Request, Unreachable, is_good
from ozelot.cache.secrets import masked, without
from ozelot.cache.waiting import Timer
from ozelot.cache.web import Web
from ozelot.errors import ConfigError, FetchError, NotInCache
from ozelot.own_files import refuse_own_file

_PIECE = 1 << 20  # bytes


def download(
    url: str,
    path: Path,
    *,
    checksum: str | None = None,
    headers: Mapping[str, str] | None = None,
    rate_limit: float | None = None,
) -> str:
    """Fetch a file, unless it is there. Of several processes that want it at once, one does.

    Args:
        url: the address.
        path: where it is to be; ``.part`` and ``.part.json`` beside it hold what came so far.
        checksum: ``sha256:`` (or another algorithm of :mod:`hashlib`) and the digest in hexadecimal.
        headers: to be sent.
        rate_limit: seconds between two requests to that server.

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
    part = _Part(path)
    timer = Timer()
    hosts = Hosts(shared_folder(), timer)
    web = Web(timeout=float("inf"), max_bytes=0)
    try:
        with hosts.alone(f"file {path.absolute()}"):
            if path.exists():
                return ""
            if config.flag("OFFLINE"):
                told = f"No file from {masked(url)}: {path} is not there, and OFFLINE is set"
                raise NotInCache(told, url=masked(url), status=ERROR_OFFLINE)
            asker = Asker(lambda asked: part.fetch(web, asked), hosts, timer, tries=4)
            reply = asker.ask(request, every=rate_limit, at_once=None)
            if not is_good(reply.status):
                told = without(reply.told, request.secrets) or f"HTTP status {reply.status}"
                raise FetchError(
                    f"No file from {masked(url)}: {told}. What came so far stays; run it again to go on",
                    url=masked(url),
                    status=reply.status,
                    tries=reply.tries,
                )
            found = part.digest(algorithm)
            if digest and found != digest.lower():
                part.delete()
                raise FetchError(
                    f"What came from {masked(url)} is not what was expected: its {algorithm} is {found}, not {digest}. "
                    "Has the file changed there?",
                    url=masked(url),
                    status=ERROR_CONNECTION_ERROR,
                )
            return part.put_in_place(found if algorithm == "sha256" else part.digest("sha256"))
    finally:
        web.close()
        hosts.close()


class _Part:
    """What came of a file so far, and how to tell whether the server still has the same."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._file = path.with_name(f"{path.name}.part")
        self._note = path.with_name(f"{path.name}.part.json")
        for each in (path, self._file, self._note, _receipt(path)):
            refuse_own_file(each, "A download")

    def fetch(self, web: Web, request: Request) -> Answer:
        """Fetch the rest of it."""
        known = self._known()
        headers = dict(request.headers)
        at = self._file.stat().st_size if known and self._file.exists() else 0
        if at:
            headers |= {"Range": f"bytes={at}-", "If-Range": known}
        with web.sent(Request(str(request), "GET", headers)) as response:
            found = {name.lower(): value for name, value in response.headers.items()}
            status = response.status_code
            if status == 416:  # there is no more of it, or it was another one
                self.delete()
                raise Unreachable("the server has no more of it than came already; once more from its begin")
            if status == 206 and not re.match(rf"bytes {at}-", found.get("content-range", "")):
                self.delete()
                raise Unreachable(f"the server sends another part than bytes {at}-")
            if not is_good(status):
                return Answer(status, response.raw.read(65536, decode_content=False), found)
            self._file.parent.mkdir(parents=True, exist_ok=True)
            with self._file.open("ab" if status == 206 else "wb") as file:
                if status != 206:
                    self._note.write_text(json.dumps(_validator(found)), encoding="utf-8")
                for piece in response.raw.stream(_PIECE, decode_content=False):
                    file.write(piece)
                file.flush()
                os.fsync(file.fileno())
            return Answer(200, b"", found)

    def _known(self) -> str:
        try:
            return str(json.loads(self._note.read_text(encoding="utf-8")))
        except (OSError, ValueError):
            return ""

    def digest(self, algorithm: str) -> str:
        """The checksum of what came."""
        with self._file.open("rb") as file:
            return hashlib.file_digest(file, algorithm).hexdigest()

    def put_in_place(self, found: str) -> str:
        """It is whole, with that SHA-256, which is returned."""
        _receipt(self._path).write_text(json.dumps({"sha256": found}), encoding="utf-8")
        self._file.replace(self._path)
        self.delete()
        return found

    def delete(self) -> None:
        """Forget what came."""
        self._file.unlink(missing_ok=True)
        self._note.unlink(missing_ok=True)


def discard(path: Path) -> bool:
    """Delete a file that :func:`download` fetched, with what else it left; whether it was still that.

    A file that somebody else put there, or changed, stays.
    """
    _Part(path).delete()
    receipt = _receipt(path)
    try:
        fetched = json.loads(receipt.read_text(encoding="utf-8"))["sha256"]
    except (OSError, ValueError, KeyError, TypeError):
        return False
    is_ours = False
    if path.exists():
        with path.open("rb") as file:
            is_ours = hashlib.file_digest(file, "sha256").hexdigest() == fetched
    if is_ours:
        path.unlink()
    receipt.unlink()
    return is_ours


def _receipt(path: Path) -> Path:
    return path.with_name(f"{path.name}.fetched.json")


def _validator(headers: Mapping[str, str]) -> str:
    """What tells one version of a file from another, for certain; nothing where the server says nothing of that."""
    tag = headers.get("etag", "")
    return tag if tag and not tag.startswith("W/") else headers.get("last-modified", "")
