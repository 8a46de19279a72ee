"""What the tests have in common. That this file is here makes the project importable from them."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from ozelot.client import Client
from ozelot.testing import temporary_client


@pytest.fixture
def client(tmp_path: Path) -> Iterator[Client]:
    """An empty database of the test's own."""
    with temporary_client(tmp_path) as found:
        yield found
