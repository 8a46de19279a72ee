"""The tables of a few models: creating those of all models takes longer than most tests."""

from __future__ import annotations

from ozelot.client import Client
from ozelot.model.base import table_of
from ozelot.orm.base import Base
from ozelot.state import markers


def create_only(db: Client, *models: type[Base]) -> None:
    markers.prepare(db.engine)
    with db.engine.begin() as connection:
        Base.metadata.create_all(connection, [table_of(model) for model in models])
