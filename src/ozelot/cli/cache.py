"""``ozelot cache``: what is in the request cache, and who read it."""

from __future__ import annotations

import datetime
import fnmatch
import hashlib
import re
import sys
from collections import Counter
from collections.abc import Iterator
from typing import Any
from urllib.parse import urlsplit

import typer

from ozelot.cache import ERROR_XPATH_NOT_FOUND, Request, RequestCache
from ozelot.cache.request import key_of_address
from ozelot.cache.storage import Entry, content_of
from ozelot.cli.database import TO_READ, connected
from ozelot.cli.output import confirm, how_many, moment_for_json, say, show_json, show_table, visible
from ozelot.cli.status import task_as_json
from ozelot.errors import ConfigError, ExitCode, FetchError, NotInCache, UsageError
from ozelot.formatting import moment, task_text
from ozelot.redaction import HIDDEN, masked
from ozelot.state import inputs

_UNITS = {"s": 1, "m": 60, "h": 3600, "d": 24 * 3600, "w": 7 * 24 * 3600}
_HEADINGS = ("fetched (UTC)", "status", "bytes", "method", "url", "xpath")

Place = tuple[str, int]

#: What a server says of a page, or a page of a node, that is not there.
_NOT_THERE = 404, 410, ERROR_XPATH_NOT_FOUND


def show_info(*, as_json: bool) -> ExitCode:
    """Show where the cache is, and what it holds of which servers."""
    with RequestCache() as cache:
        servers: Counter[str] = Counter()
        failures = size = 0
        times = []
        for _, entry in cache.store.every():
            servers[urlsplit(entry.url).netloc if "[" not in entry.url else entry.url.split("/")[2]] += 1
            failures += not 200 <= entry.status < 300
            size += entry.size
            times.append(entry.fetched)
        on_disk = cache.path.stat().st_size if cache.path.exists() else 0
        first, last = (_utc(min(times)), _utc(max(times))) if times else (None, None)
        total = servers.total()
        if as_json:
            show_json(
                {"path": str(cache.path), "pages": total, "failures": failures, "bytes": size, "bytes_on_disk": on_disk}
                | {"first": moment_for_json(first), "last": moment_for_json(last), "servers": dict(servers)}
            )
            return ExitCode.OK
        pages_kept = f"{how_many(total, 'page')}, of which {how_many(failures, 'failure')}"
        say(f"{cache.path}: {pages_kept}; {on_disk:,} bytes on disk")
        if times:
            say(f"{size:,} bytes unpacked, fetched from {moment(first)} to {moment(last)} (UTC)")
            show_table(("server", "pages"), [(name, f"{n:,}") for name, n in servers.most_common(20)], right=("pages",))
    return ExitCode.OK


def show_list(pattern: str | None, *, older_than: str | None, as_json: bool) -> ExitCode:
    """List pages, in the order in which they came."""
    with RequestCache() as cache:
        found = [entry for _, entry in _matching(cache, pattern, older_than)]
    if as_json:
        show_json([_as_data(entry) for entry in found])
    elif found:
        show_table(_HEADINGS, [_row(entry) for entry in found], right=("status", "bytes"))
    else:
        say("No such page is kept")
    return ExitCode.OK


def show_page(url: str) -> ExitCode:
    """Show what is known of an address: of each method and xpath that it was asked for with."""
    with RequestCache() as cache:
        found = [entry for _, entry in _matching(cache, url, None, exactly=True)]
    if not found:
        _refuse_what_is_no_address(url)
        told = f"{masked(url)} is not in the request cache {cache.path}"
        raise NotInCache(told, url=masked(url), status=0)
    show_json([_as_data(entry) for entry in found])
    return ExitCode.OK


def print_page(url: str, *, xpath: str | None, refresh: bool) -> ExitCode:
    """Print a page as it came, or the node at an xpath."""
    with RequestCache() as cache:
        if not cache.has(url, xpath):
            _refuse_what_is_no_address(url)
        page = cache.get_page(url, xpath=xpath, refresh=refresh)
    if sys.stdout.isatty() or xpath is not None:
        say(page.text)
    else:
        typer.get_binary_stream("stdout").write(page.content)
    return ExitCode.OK


def _refuse_what_is_no_address(url: str) -> None:
    """Say so of what nobody could be asked for, such as the title of a page."""
    if not re.match(r"https?://", url, re.IGNORECASE):
        raise UsageError(f"{masked(url)} is no address of a page: write all of it, as in https://wiki.example/Thor")


def refresh(pattern: str, *, rate_limit: float) -> ExitCode:
    """Ask whether pages have changed."""
    counts: Counter[str] = Counter()
    with RequestCache() as cache:
        for _, before in list(_matching(cache, pattern, None)):
            plain = before.method == "GET" and HIDDEN not in before.url
            if not plain or not cache.has(before.url, before.xpath):
                counts["left, as only their pipeline knows how to ask for them"] += 1
                continue
            try:
                page = cache.get_page(before.url, xpath=before.xpath, max_age=-1, rate_limit=rate_limit)
            except FetchError as exc:
                if exc.status == before.status in _NOT_THERE:
                    counts["still not there"] += 1
                    continue
                counts["failed"] += 1
                typer.echo(f"error: {visible(str(exc))}", err=True)
            else:
                counts["unchanged" if page.entry.hash == before.hash else "changed"] += 1
    if not counts:
        say("No such page is kept")
    for what, number in sorted(counts.items()):
        say(f"{how_many(number, 'page')} {what}")
    return ExitCode.INCOMPLETE if counts["failed"] else ExitCode.OK


def clear(pattern: str | None, *, older_than: str | None, yes: bool) -> ExitCode:
    """Forget pages, on consent."""
    with RequestCache() as cache:
        places = [place for place, _ in _matching(cache, pattern, older_than)]
        if not places:
            say("There is no such page to forget")
            return ExitCode.OK
        say(f"To be forgotten in {cache.path}: {how_many(len(places), 'page')}")
        confirm(f"Forget {how_many(len(places), 'page')}?", yes=yes)
        if pattern is None and older_than is None:
            cache.clear()
            gone = len(places)
        else:
            gone = cache.store.forget_all(places)
    say(f"Forgot {how_many(gone, 'page')}")
    return ExitCode.OK


def verify() -> ExitCode:
    """Look whether file and pages are whole."""
    number, broken = 0, []
    with RequestCache() as cache:
        broken += [f"the file: {found}" for found in cache.store.check()]
        for place, entry in cache.store.every():
            number += 1
            try:
                whole = cache.store.body_at(place)
            except ConfigError as exc:
                broken.append(f"{entry.url}: {exc}")
            else:
                if whole is not None and hashlib.sha256(whole.body or b"").digest() != entry.hash:
                    broken.append(f"{entry.url}: it is not what it was when it came")
    for found in broken:
        say(visible(found))
    say(f"{how_many(number, 'page')}: {f'{len(broken):,} broken' if broken else 'all are whole'}")
    return ExitCode.INCOMPLETE if broken else ExitCode.OK


def show_readers(url: str, *, as_json: bool) -> ExitCode:
    """List the tasks that read a page, and whether it is now what they read."""
    with connected(seconds=TO_READ).engine.connect() as connection:
        found = inputs.readers(connection, key_of_address(url))
    with RequestCache() as cache:
        now = {
            Request(url).key(entry.xpath).hex(): content_of(entry.status, entry.hash)
            for _, entry in _matching(cache, url, None)
        }
    told = [(f"{one.name} {one.params}", _compared(one, now), one.content) for one in found]
    if as_json:
        show_json([{**task_as_json(task), "page": state, "read": content} for task, state, content in told])
    elif told:
        show_table(("task", "the page", "read"), [(task_text(task), state, read[:12]) for task, state, read in told])
    else:
        say(f"No complete task is known to have read {visible(masked(url))}")
    return ExitCode.OK


def _compared(reader: inputs.Reader, now: dict[str, str]) -> str:
    if reader.key not in now:
        return "is not there" if reader.content.startswith("status ") else "is not kept"
    return "is the same" if now[reader.key] == reader.content else "has changed"


def _matching(
    cache: RequestCache, pattern: str | None, older_than: str | None, *, exactly: bool = False
) -> Iterator[tuple[Place, Entry]]:
    before = None if older_than is None else datetime.datetime.now().timestamp() - _age(older_than)
    shown = None if pattern is None else masked(pattern)
    for place, entry in cache.store.every():
        is_meant = shown is None or entry.url == shown or (not exactly and fnmatch.fnmatchcase(entry.url, shown))
        if is_meant and (before is None or entry.fetched < before):
            yield place, entry


def _age(text: str) -> float:
    found = re.fullmatch(r"(\d+(?:\.\d+)?)([smhdw])", text.strip())
    if found is None:
        raise UsageError(f"--older-than {text}: write an age as in 30d, 12h or 90m")
    return float(found[1]) * _UNITS[found[2]]


def _utc(seconds: float) -> datetime.datetime:
    return datetime.datetime.fromtimestamp(seconds, datetime.UTC).replace(tzinfo=None)


def _row(entry: Entry) -> tuple[str, ...]:
    when = moment(_utc(entry.fetched))
    return when, str(entry.status), f"{entry.size:,}", entry.method, entry.url, entry.xpath or ""


def _as_data(entry: Entry) -> dict[str, Any]:
    return {
        "url": entry.url,
        "method": entry.method,
        "xpath": entry.xpath,
        "status": entry.status,
        "bytes": entry.size,
        "encoding": entry.encoding,
        "sha256": entry.hash.hex(),
        "fetched": moment_for_json(_utc(entry.fetched)),
        "confirmed": moment_for_json(_utc(entry.checked)),
        "final_url": entry.final_url,
        "redirects": [list(step) for step in entry.redirects],
        "headers": dict(entry.headers),
    }
