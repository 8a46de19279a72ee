"""The tables of a few models: creating those of all models takes longer than most tests."""

from __future__ import annotations

from ozelot.client import Client
from ozelot.orm import target
from ozelot.orm.base import Base, table_of


def create_only(db: Client, *models: type[Base]) -> None:
    target.prepare(db.engine)
    with db.engine.begin() as connection:
        Base.metadata.create_all(connection, [table_of(model) for model in models])
