"""ADBC: the driver's Arrow table, on a connection of its own; for pandas, made a frame of Arrow's default types."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from typing import Any

from ozelot.client import Client
from readers.query import TEXT, address


def prepared(database: Client, form: str) -> Callable[[], Any]:
    kind = database.url.get_backend_name()
    if kind not in ("sqlite", "postgresql"):
        raise RuntimeError("there is no ADBC driver for it")
    dbapi = importlib.import_module(f"adbc_driver_{kind}.dbapi")
    url = str(database.url.database) if kind == "sqlite" else address(database, "postgresql")

    def read() -> Any:
        with dbapi.connect(url) as connection, connection.cursor() as cursor:
            cursor.execute(TEXT)
            found = cursor.fetch_arrow_table()
        return found.to_pandas() if form == "pandas" else found

    return read
