"""What commands that are called within this process leave behind is put back."""

from __future__ import annotations

import logging
import sys
from collections.abc import Iterator

import pytest

from ozelot import config


@pytest.fixture(autouse=True)
def nothing_left_behind(nothing_configured: None) -> Iterator[None]:
    log = logging.getLogger("ozelot")
    level, path = log.level, list(sys.path)
    yield
    log.setLevel(level)
    sys.path[:] = path
    vars(config).pop("PIPELINE", None)
