"""connectorx: `read_sql` of text, on a connection of its own."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import connectorx

from ozelot.client import Client
from readers.query import TEXT, address


def prepared(database: Client, form: Any) -> Callable[[], Any]:
    url = address(database, {"mysql": "mysql", "mariadb": "mysql"}.get(database.url.get_backend_name(), "postgresql"))
    return lambda: connectorx.read_sql(url, TEXT, return_type=form)
