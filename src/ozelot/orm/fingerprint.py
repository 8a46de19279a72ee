"""What tasks were made of when they ran: each fingerprint once, however many runs have it."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any, NamedTuple
from weakref import WeakKeyDictionary

import sqlalchemy as sa
from sqlalchemy import event

from ozelot import transaction
from ozelot.orm.base import Base
from ozelot.orm.run import LONG_TEXT, chunks

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
