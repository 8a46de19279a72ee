"""ozelot: `client.frame`."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pandas  # noqa: F401 - which pyarrow does itself, where it is installed, with its first array

import ozelot.frames  # noqa: F401 - what the first frame would import
from ozelot.client import Client
from readers.query import SELECT


def prepared(database: Client, form: Any) -> Callable[[], Any]:
    return lambda: database.frame(SELECT, backend=form)
