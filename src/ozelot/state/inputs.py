"""What a run was made from: input files, cached pages, and the fingerprint of its code."""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Iterable, Mapping
from pathlib import Path
from typing import Any, NamedTuple
from weakref import WeakKeyDictionary

import sqlalchemy as sa
from sqlalchemy import event

from ozelot.client import refuse_own_file
from ozelot.db import transaction
from ozelot.model.base import Base
from ozelot.state.compiled_statement import Prepared
from ozelot.state.runs import DONE, LONG_TEXT, chunks, few, runs, storable
from ozelot.state.version import has_runs

#: Files as each run found them when it began.
run_file = sa.Table(
    "ozelot_run_file",
    Base.metadata,
    sa.Column("run_id", sa.ForeignKey("ozelot_run.id", ondelete="CASCADE"), primary_key=True),
    sa.Column("number", sa.Integer, primary_key=True, autoincrement=False),
    sa.Column("task", LONG_TEXT, nullable=False, comment="whose output it is"),
    sa.Column("path", LONG_TEXT, nullable=False),
    sa.Column("size", sa.BigInteger, nullable=False, comment="bytes"),
    sa.Column("changed", sa.BigInteger, nullable=False, comment="nanoseconds since 1970"),
    sa.Column("content", sa.String(64), nullable=False, comment="SHA-256"),
    mysql_charset="utf8mb4",
)

_ADD_FILE = Prepared(
    sa.insert(run_file).values(
        run_id=sa.bindparam("run"),
        number=sa.bindparam("place"),
        task=sa.bindparam("of_task"),
        path=sa.bindparam("at"),
        size=sa.bindparam("bytes"),
        changed=sa.bindparam("when"),
        content=sa.bindparam("hash"),
    )
)


class Input(NamedTuple):
    """A file that a task is to be made from: the label of the task whose output it is, and where it is."""

    task: str
    path: str

    @property
    def name(self) -> str:
        """What to call it: the name of the file."""
        return Path(self.path).name


class Seen(NamedTuple):
    """A file as it was seen: what it is for, its size in bytes, when it changed, and the SHA-256 of its content."""

    input: Input
    size: int
    changed: int
    content: str


_hashes: dict[tuple[str, int, int], str] = {}


def see(wanted: Input) -> Seen | None:
    """A file as it is now; None where there is none. It is read only where size or time are new to this process.

    Raises:
        ConfigError: it is a file of the database itself.
    """
    try:
        path = Path(wanted.path).resolve()
        now = path.stat()
        key = str(path), now.st_size, now.st_mtime_ns
        if key not in _hashes:
            refuse_own_file(path, wanted.task)
            with path.open("rb") as file:
                _hashes[key] = hashlib.file_digest(file, "sha256").hexdigest()
    except OSError:
        return None
    return Seen(wanted, now.st_size, now.st_mtime_ns, _hashes[key])


def has_changed(seen: Seen, wanted: Input) -> bool | None:
    """Whether a file holds something else than when it was seen; None where it is not there.

    It is read only where its size is the same, and its time is not.
    """
    try:
        now = Path(wanted.path).stat()
    except OSError:
        return None
    if now.st_size != seen.size:
        return True
    if now.st_mtime_ns == seen.changed:
        return False
    found = see(wanted)
    return None if found is None else found.content != seen.content


def record_files(connection: sa.Connection, run_id: int, found: Iterable[Seen]) -> None:
    """Record from which files a run was made, in its transaction."""
    rows = [
        {"run": run_id, "place": place, "of_task": storable(one.input.task), "at": storable(one.input.path)}
        | {"bytes": one.size, "when": one.changed, "hash": one.content}
        for place, one in enumerate(found)
    ]
    if rows:
        _ADD_FILE.execute(connection, *rows)


def files_of_runs(connection: sa.Connection, run_ids: Collection[int]) -> dict[int, list[Seen]]:
    """The files of runs, by run."""
    ids = set(run_ids)
    told = (run_file.c[name] for name in ("run_id", "task", "path", "size", "changed", "content"))
    query = sa.select(*told).order_by(run_file.c.run_id, run_file.c.number)
    if few(ids):
        query = query.where(run_file.c.run_id.in_(ids))
    found: dict[int, list[Seen]] = {}
    for run_id, task, path, size, changed, content in connection.execute(query).all():
        if run_id in ids:
            found.setdefault(run_id, []).append(Seen(Input(task, path), size, changed, content))
    return found


#: Pages as each run read them; a run of a task that is still complete says what its rows were made from.
run_page = sa.Table(
    "ozelot_run_page",
    Base.metadata,
    sa.Column("run_id", sa.ForeignKey("ozelot_run.id", ondelete="CASCADE"), primary_key=True),
    sa.Column("key", sa.String(64), primary_key=True, comment="of the entry in the request cache"),
    sa.Column("address", sa.String(64), nullable=False, index=True, comment="SHA-256 of the URL"),
    sa.Column("content", sa.String(64), nullable=False, comment="SHA-256 of the page"),
    sa.Column("url", LONG_TEXT, nullable=False, comment="without what is secret in it"),
    mysql_charset="utf8mb4",
)

_ADD_PAGE = Prepared(
    sa.insert(run_page).values(
        run_id=sa.bindparam("run"),
        key=sa.bindparam("the_key"),
        address=sa.bindparam("of_address"),
        content=sa.bindparam("of_content"),
        url=sa.bindparam("shown"),
    )
)


def record_pages(connection: sa.Connection, run_id: int, pages: Mapping[bytes, tuple[bytes, str, str]]) -> None:
    """Record what a run read, in its transaction.

    Args:
        connection: of that transaction.
        run_id: the record of the run.
        pages: as :class:`ozelot.db.transaction.OpenTransaction` collects them.
    """
    rows = [
        {"run": run_id, "the_key": key.hex(), "of_address": address.hex(), "of_content": content}
        | {"shown": storable(url)}
        for key, (address, url, content) in pages.items()
    ]
    if rows:
        _ADD_PAGE.execute(connection, *rows)


class Page(NamedTuple):
    """A page that a run read.

    Attributes:
        key: of the entry in the request cache, in hexadecimal.
        content: its SHA-256, in hexadecimal; ``status 404`` and the like where there was no page.
        url: its address.
    """

    key: str
    content: str
    url: str

    @property
    def is_failure(self) -> bool:
        """Whether there was no page."""
        return self.content.startswith("status ")


def pages_of_runs(connection: sa.Connection, run_ids: Collection[int]) -> dict[int, list[Page]]:
    """The pages that runs read, by run."""
    ids = set(run_ids)
    query = sa.select(run_page.c.run_id, run_page.c.key, run_page.c.content, run_page.c.url).order_by(run_page.c.url)
    if few(ids):
        query = query.where(run_page.c.run_id.in_(ids))
    found: dict[int, list[Page]] = {}
    for run_id, *page in connection.execute(query):
        if run_id in ids:
            found.setdefault(run_id, []).append(Page(*page))
    return found


class Reader(NamedTuple):
    """A task that read a page, in the last run that counts.

    Attributes:
        name: of the task.
        params: its parameter string.
        key: of the entry in the request cache, in hexadecimal.
        content: SHA-256 of what it read, in hexadecimal; ``status 404`` and the like where there was no page.
    """

    name: str
    params: str
    key: str
    content: str


def readers(connection: sa.Connection, address: bytes) -> list[Reader]:
    """The tasks whose rows were made from what an address gave, and were not cleared since.

    Args:
        connection: to the database; may be read-only.
        address: SHA-256 of the URL.
    """
    if not has_runs(connection):
        return []
    query = (
        sa.select(runs.c.name, runs.c.params, run_page.c.key, run_page.c.content)
        .join(runs, runs.c.id == run_page.c.run_id)
        .where(run_page.c.address == address.hex(), runs.c.state == DONE)
        .order_by(runs.c.name, runs.c.params, runs.c.id.desc())
    )
    last: dict[tuple[str, str, str], Reader] = {}
    for row in connection.execute(query):
        last.setdefault((row.name, row.params, row.key), Reader(*row))
    return list(last.values())


fingerprints = sa.Table(
    "ozelot_fingerprint",
    Base.metadata,
    sa.Column("digest", sa.String(64), primary_key=True, comment="SHA-256 of the parts"),
    sa.Column("parts", LONG_TEXT, nullable=False, comment="JSON"),
    mysql_charset="utf8mb4",
)


class Fingerprint(NamedTuple):
    """What a task is made of.

    Attributes:
        digest: SHA-256 of ``parts``, in hexadecimal.
        parts: JSON, the same text for the same parts.
    """

    digest: str
    parts: str


#: What each database is known to hold.
_kept: WeakKeyDictionary[sa.Engine, set[str]] = WeakKeyDictionary()


@event.listens_for(fingerprints, "after_drop")
def _dropped(_table: sa.Table, connection: sa.Connection, **_kwargs: Any) -> None:
    _kept.pop(connection.engine, None)


def keep(connection: sa.Connection, found: Collection[Fingerprint]) -> None:
    """Make sure that the database holds these; the caller commits."""
    known = _kept.setdefault(connection.engine, set())
    new = {one.digest: one.parts for one in found if one.digest not in known}
    if not new:
        return
    there = {digest for some in chunks(list(new)) for digest in connection.scalars(_among(some))}
    if transaction.current(connection.engine) is None:  # else it may yet be rolled back
        known |= there
    missing = [{"digest": digest, "parts": parts} for digest, parts in new.items() if digest not in there]
    if missing:
        connection.execute(_insert(connection.dialect.name), missing)


def _among(digests: Collection[str]) -> sa.Select[str]:
    return sa.select(fingerprints.c.digest).where(fingerprints.c.digest.in_(digests))


def _insert(dialect: str) -> sa.Insert:
    """To insert what another runner may be inserting at the same moment."""
    if dialect == "sqlite":
        from sqlalchemy.dialects import sqlite

        return sqlite.insert(fingerprints).on_conflict_do_nothing()
    if dialect == "postgresql":
        from sqlalchemy.dialects import postgresql  # takes a while to import, and is needed with PostgreSQL alone

        return postgresql.insert(fingerprints).on_conflict_do_nothing()
    return sa.insert(fingerprints).prefix_with("IGNORE", dialect="mysql").prefix_with("IGNORE", dialect="mariadb")


def kept(connection: sa.Connection, digests: Collection[str]) -> Mapping[str, str]:
    """The parts of those of these that the database holds, by digest."""
    found: dict[str, str] = {}
    for some in chunks(list(digests)):
        query = sa.select(fingerprints.c.digest, fingerprints.c.parts).where(fingerprints.c.digest.in_(some))
        found.update({digest: parts for digest, parts in connection.execute(query)})  # noqa: C416
    return found
