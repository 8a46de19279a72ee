"""SQLite files that were made without ozelot, and folders in which they can be read only."""

from __future__ import annotations

import sqlite3
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any


def execute_script(path: Path, statements: str) -> Path:
    """Make or change a file by some statements; returns its path."""
    connection = sqlite3.connect(path)
    connection.executescript(statements)
    connection.close()
    return path


def made_without_ozelot(path: Path) -> Path:
    """A file with a table ``unit`` of one row."""
    return execute_script(
        path, "CREATE TABLE unit (id INTEGER PRIMARY KEY, name TEXT); INSERT INTO unit VALUES (1, 'a')"
    )


def query(path: Path, statement: str) -> list[tuple[Any, ...]]:
    """What a connection of its own sees."""
    connection = sqlite3.connect(path)
    try:
        return connection.execute(statement).fetchall()
    finally:
        connection.close()


class ReadOnlyFolder:
    """A folder and its files, which the scripts run here may read only."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def run(self, code: str, *arguments: object) -> subprocess.CompletedProcess[str]:
        """Run a script that may read the folder and not write to it."""
        for file in self.path.iterdir():
            file.chmod(0o444)
        self.path.chmod(0o555)
        # All is imported first: what runs the tests as root may keep its interpreter where others cannot read it.
        before = (
            "import importlib.metadata, os, sys, sqlalchemy.orm, ozelot.cache, ozelot.client\n"
            "importlib.metadata.version('ozelot')\n"
            "ozelot.client.Client(connection_string='sqlite://').check_connection()\n"
            "if os.getuid() == 0:\n    os.setgroups([]); os.setgid(65534); os.setuid(65534)\n"
        )
        command = [sys.executable, "-c", before + code, *map(str, arguments)]
        return subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)


@contextmanager
def read_only_folder() -> Iterator[ReadOnlyFolder]:
    """A folder that is deleted after the block."""
    # Not tmp_path, whose parents are closed to other users.
    with tempfile.TemporaryDirectory() as name:
        path = Path(name)
        path.chmod(0o755)
        yield ReadOnlyFolder(path)
        path.chmod(0o755)
