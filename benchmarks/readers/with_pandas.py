"""pandas: `read_sql` of a select of SQLAlchemy, with its default types."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pandas as pd

from ozelot.client import Client
from readers.query import SELECT


def prepared(database: Client, form: str) -> Callable[[], Any]:
    def read() -> Any:
        with database.engine.connect() as connection:
            return pd.read_sql(SELECT, connection)

    return read
