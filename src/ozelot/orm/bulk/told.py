"""What a database says of rows that it refuses, in words."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import sqlalchemy as sa
from sqlalchemy.exc import DataError, DBAPIError, IntegrityError

from ozelot.errors import LoadError
from ozelot.orm.bulk.chunks import Values

_LINE = re.compile(r"COPY .*, line (\d+)")


@contextmanager
def in_words(
    table: sa.Table, columns: Sequence[sa.Column[Any]], data: Sequence[Values], positions: Sequence[int]
) -> Iterator[None]:
    """Tell in words which rows the database refuses.

    Raises:
        LoadError: it refuses some.
    """
    try:
        yield
    except (IntegrityError, DataError) as exc:
        raise _explained(exc, table, positions) from exc


def _explained(exc: DBAPIError, table: sa.Table, positions: Sequence[int]) -> LoadError:
    said = " ".join(str(exc.orig.args[-1] if exc.orig is not None and exc.orig.args else exc.orig).split())
    return LoadError(f"The database refuses rows of {table.name}: {said}. Nothing of this load is in the database")
