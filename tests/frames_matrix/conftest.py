"""A database with the samples."""

from __future__ import annotations

import pytest

from ozelot.client import Client
from tests.frames_matrix.table import fill


@pytest.fixture
def samples(db: Client) -> Client:
    fill(db.engine)
    return db
