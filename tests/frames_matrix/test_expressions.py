"""A session and every backend return the same values for any expression, or the frame raises an error.

With ``OZELOT_TEST_NIGHTLY=1`` all expressions are queried, otherwise a sample.
"""

from __future__ import annotations

import datetime as dt
import json
import math
import os
import random
import uuid
from collections.abc import Iterator
from contextlib import suppress
from decimal import Decimal
from itertools import islice
from typing import Any

import pytest

from ozelot.client import Client
from ozelot.errors import FrameError
from tests.frames_matrix.expressions import queries
from tests.frames_matrix.table import BERLIN, Color
from tests.frames_matrix.values import BACKENDS, in_pieces, in_session, whole

#: For expressions that make no sense, which are queried, too.
pytestmark = [
    pytest.mark.slow,
    pytest.mark.filterwarnings("ignore::sqlalchemy.exc.SAWarning"),
    pytest.mark.filterwarnings("ignore::sqlalchemy.exc.SADeprecationWarning"),
]

NIGHTLY = bool(os.environ.get("OZELOT_TEST_NIGHTLY"))
SAMPLE = 60  # takes seconds


def chosen() -> list[tuple[str, Any]]:
    found = list(queries())
    return found if NIGHTLY else random.Random(1).sample(found, SAMPLE)


def in_frames(samples: Client, query: Any, backend: str) -> Iterator[tuple[str, list[Any] | FrameError]]:
    """The values of a frame, whole and in pieces; or the error."""
    try:
        yield "whole", whole(samples, query, backend)
    except FrameError as exc:
        yield "whole", exc
    for rows in (1, 2):
        try:
            yield f"pieces of {rows}", in_pieces(samples, query, backend, rows)
        except FrameError as exc:
            yield f"pieces of {rows}", exc


def is_same(expected: Any, value: Any, backend: str) -> bool:
    """Whether a frame's value is that of the session, as its backend is documented to hold it."""
    if expected is None or value is None:
        return expected is None and (value is None or (backend == "pandas" and _is_nan(value)))
    if backend == "pandas" and _is_nan(value):
        return _is_nan(expected)
    if backend != "pandas":
        if isinstance(expected, uuid.UUID):
            return bool(value == str(expected))
        if isinstance(expected, Color):
            return bool(value == expected.name)
        if isinstance(value, str) and value != expected:
            with suppress(json.JSONDecodeError):
                return bool(json.loads(value) == expected)
    if _is_nan(expected):
        return _is_nan(value)
    if _is_number(expected) and _is_number(value):
        return bool(expected == value)
    if (
        isinstance(expected, dt.datetime)
        and expected.tzinfo == BERLIN
        and expected.replace(tzinfo=None) != (value.replace(tzinfo=None))
    ):
        return False
    return isinstance(value, type(expected)) and bool(value == expected)


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float | Decimal) and not isinstance(value, bool)


def _is_nan(value: Any) -> bool:
    return isinstance(value, float | Decimal) and math.isnan(value)


def test_a_frame_returns_the_values_of_a_session_or_raises(samples: Client) -> None:
    wrong: list[str] = []
    raised: dict[str, str] = {}
    attempts = 0
    for name, query in chosen():
        try:
            expected = in_session(samples, query)
        except Exception:  # noqa: BLE001 - the database refuses it, or a type of the session does
            continue
        for backend in BACKENDS:
            for form, found in in_frames(samples, query, backend):
                attempts += 1
                where = f"{name}: {backend}, {form}"
                if isinstance(found, FrameError):
                    raised[where] = str(found)
                elif len(found) != len(expected) or not all(
                    is_same(one, other, backend) for one, other in zip(expected, found, strict=True)
                ):
                    wrong.append(f"{where}: {found!r:.150}, not {expected!r:.150}")
    assert not wrong, "\n".join(islice(wrong, 30))
    assert all("cast(" in message for message in raised.values())
    # SQLite returns values of any type for a union or a CASE, and no backend has a type for text and numbers.
    assert len(raised) < attempts / (5 if samples.engine.dialect.name == "sqlite" else 20), "\n".join(
        islice(raised, 30)
    )
