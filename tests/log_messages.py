"""What ozelot logs."""

from __future__ import annotations

import logging

import pytest


def messages(caplog: pytest.LogCaptureFixture) -> list[str]:
    """What ozelot logged since the last call, at INFO and above."""
    found = [r.getMessage() for r in caplog.records if r.name.startswith("ozelot") and r.levelno >= logging.INFO]
    caplog.clear()
    return [message for message in found if not message.startswith("Client connecting")]
