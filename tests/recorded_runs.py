"""The runs that a database has a record of."""

from __future__ import annotations

import sqlalchemy as sa

from ozelot.client import Client
from ozelot.orm.run import Run


def runs(db: Client) -> list[Run]:
    """All of them, as they began."""
    with db.create_session() as session:
        found = list(session.scalars(sa.select(Run).order_by(Run.id)))
        session.expunge_all()
        return found
