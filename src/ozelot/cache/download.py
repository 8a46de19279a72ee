"""A file from the web: taken up where it broke off, checked, and in its place only when it is whole."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path

from ozelot import config
from ozelot.cache.asking import Asker
from ozelot.cache.getting import user_agent
from ozelot.cache.hosts import Hosts, shared_folder
from ozelot.cache.part import Part
from ozelot.cache.request import ERROR_CONNECTION_ERROR, ERROR_LOCAL_TARGET, ERROR_OFFLINE, Request
from ozelot.cache.secrets import masked, without
from ozelot.cache.waiting import Timer
from ozelot.cache.web import Web
from ozelot.errors import ConfigError, FetchError, LocalTargetRefused, NotInCache
from ozelot.own_files import refuse_own_file


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
