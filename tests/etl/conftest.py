"""A central scheduler of Luigi for the tests that ask for one."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.etl.central_scheduler import central_scheduler


@pytest.fixture
def luigid(tmp_path: Path) -> Iterator[int]:
    """The port of a running central scheduler."""
    with central_scheduler(tmp_path) as port:
        yield port
