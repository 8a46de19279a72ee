"""What all ways ask for: six columns, as a select and as the text of it."""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa
from loaders.table import COLUMNS, Sample

from ozelot.client import Client

SELECT: sa.Select[*tuple[Any, ...]] = sa.select(*(getattr(Sample, name) for name in COLUMNS))
TEXT = f"SELECT {', '.join(COLUMNS)} FROM sample"


def address(database: Client, scheme: str) -> str:
    """The URL of the database as another package takes it."""
    url = database.url
    if url.get_backend_name() == "sqlite":
        return f"sqlite://{url.database}"
    return url.set(drivername=scheme).render_as_string(hide_password=False)
