"""The values that a query of one column returns: by a session, and in a frame or its pieces."""

from __future__ import annotations

from typing import Any

import pandas as pd
import polars as pl
import pyarrow as pa

from ozelot.client import Client

BACKENDS = ["pandas", "polars", "arrow"]


def in_session(client: Client, query: Any) -> list[Any]:
    """The values by a session."""
    with client.create_session() as session:
        return [row[0] for row in session.execute(query)]


def values(frame: Any) -> list[Any]:
    """The values of a frame, as Python has them."""
    if isinstance(frame, pa.Table):
        return list(frame.column(0).to_pylist())
    if isinstance(frame, pl.DataFrame):
        return frame.to_series(0).to_list()
    assert isinstance(frame, pd.DataFrame)
    return [
        value.to_pydatetime() if isinstance(value, pd.Timestamp) else value
        for value in (_none_if_missing(value) for value in frame.iloc[:, 0].astype(object))
    ]


def _none_if_missing(value: Any) -> Any:
    return None if value is pd.NA or value is pd.NaT else value


def whole(client: Client, query: Any, backend: str) -> list[Any]:
    """The values in one frame."""
    return values(client.frame(query, backend=backend))  # type: ignore[call-overload]


def in_pieces(client: Client, query: Any, backend: str, rows: int) -> list[Any]:
    """The values in frames of so many rows."""
    pieces: Any = client.frames(query, rows=rows, backend=backend)  # type: ignore[call-overload]
    if backend == "arrow":
        pieces = (pa.Table.from_batches([batch]) for batch in pieces)
    return [value for piece in pieces for value in values(piece)]
