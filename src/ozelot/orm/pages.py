"""Which web pages a run read: what it found in the request cache, or put there; and which were not there."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import NamedTuple

import sqlalchemy as sa

from ozelot.orm.base import Base
from ozelot.orm.prepared import Prepared
from ozelot.orm.run import DONE, LONG_TEXT, few, runs, storable
from ozelot.orm.version import has_runs

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

_ADD = Prepared(
    sa.insert(run_page).values(
        run_id=sa.bindparam("run"),
        key=sa.bindparam("the_key"),
        address=sa.bindparam("of_address"),
        content=sa.bindparam("of_content"),
        url=sa.bindparam("shown"),
    )
)


def record(connection: sa.Connection, run_id: int, pages: Mapping[bytes, tuple[bytes, str, str]]) -> None:
    """Record what a run read, in its transaction.

    Args:
        connection: of that transaction.
        run_id: the record of the run.
        pages: as :class:`ozelot.transaction.OpenTransaction` collects them.
    """
    rows = [
        {"run": run_id, "the_key": key.hex(), "of_address": address.hex(), "of_content": content}
        | {"shown": storable(url)}
        for key, (address, url, content) in pages.items()
    ]
    if rows:
        _ADD.execute(connection, *rows)


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


def of_runs(connection: sa.Connection, run_ids: Collection[int]) -> dict[int, list[Page]]:
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
