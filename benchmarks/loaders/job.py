"""What every way is asked to do."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from ozelot.client import Client


@dataclass
class Job:
    """Rows to load.

    Attributes:
        kind: of the database.
        client: on it, with its tables made and empty.
        size: how many rows.
        form: in which form they are handed in.
        folder: for files.
        run_id: of a run that rows can belong to.
        table: the name of the table to fill; that of a way that makes its own is another.
    """

    kind: str
    client: Client
    size: int
    form: str
    folder: Path
    run_id: int
    table: str = "sample"
