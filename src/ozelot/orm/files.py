"""Which input files a run was made from, and what they held."""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Iterable
from pathlib import Path
from typing import NamedTuple

import sqlalchemy as sa

from ozelot.orm.base import Base
from ozelot.orm.prepared import Prepared
from ozelot.orm.run import LONG_TEXT, few, storable
from ozelot.own_files import refuse_own_file

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

_ADD = Prepared(
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


def record(connection: sa.Connection, run_id: int, found: Iterable[Seen]) -> None:
    """Record from which files a run was made, in its transaction."""
    rows = [
        {"run": run_id, "place": place, "of_task": storable(one.input.task), "at": storable(one.input.path)}
        | {"bytes": one.size, "when": one.changed, "hash": one.content}
        for place, one in enumerate(found)
    ]
    if rows:
        _ADD.execute(connection, *rows)


def of_runs(connection: sa.Connection, run_ids: Collection[int]) -> dict[int, list[Seen]]:
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
