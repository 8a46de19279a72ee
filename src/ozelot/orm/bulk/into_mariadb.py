"""Into MariaDB and MySQL: INSERT of many rows, as much as fits a packet."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from decimal import Decimal
from typing import Any

import sqlalchemy as sa

from ozelot.joined import count_written
from ozelot.orm.bulk.told import Rows
from ozelot.orm.bulk.way import Columns, Way, column_names, table_name
from ozelot.value_lists import Values

_LARGEST = 4 * 2**20  # bytes of a statement; larger ones are not quicker


class IntoMariaDB(Way):
    """Statements whose text is made here, by PyMySQL's own rules but a column at a time."""

    makes_sql = False
    _packet = 0

    def write(self, table: sa.Table, columns: Columns, data: Sequence[Values], positions: Sequence[int]) -> None:
        """As the base class."""
        if columns:
            self._insert(table, columns, data, positions)
        else:
            super().write(table, columns, data, positions)

    def _insert(
        self, table: sa.Table, columns: Columns, data: Sequence[Values], positions: Sequence[int]
    ) -> list[tuple[int, int]]:
        """Insert rows, and say for each statement the id of its first row, and how many rows it had."""
        if not self._packet:
            self._packet = min(_LARGEST, self._connection.scalar(sa.text("SELECT @@max_allowed_packet")) or 2**20)
        self.refuse_changed(table, columns, data, positions)
        name = table_name(table, self._dialect)
        head = f"INSERT INTO {name} ({column_names(columns, self._dialect)}) VALUES ("  # noqa: S608 - quoted
        done = []
        told = Rows(self._connection, table, columns, data, positions)
        told.first = 0
        with told.in_words(), self.driver() as driver:
            values = [_literals(some, driver) for some in self._bound(columns, data)]
            rows = list(map(",".join, zip(*values, strict=True)))
            for some in _fitting(rows, self._packet - 4 * len(head) - 1_000):
                with driver.cursor() as cursor:
                    cursor.execute(f"{head}{'),('.join(some)})")
                    done.append((cursor.lastrowid, len(some)))
                told.first += len(some)
        count_written(self._connection, table.fullname, len(positions))
        return done

    def write_for_ids(
        self, table: sa.Table, columns: Columns, data: Sequence[Values], positions: Sequence[int], key: sa.Column[Any]
    ) -> Values:
        """As the base class; the ids of one statement follow each other."""
        if not columns:
            columns, data = [key], [[None] * len(positions)]
        step = self._connection.scalar(sa.text("SELECT @@auto_increment_increment")) or 1
        done = self._insert(table, columns, data, positions)
        return [first + step * place for first, number in done for place in range(number)]


def _fitting(rows: list[str], size: int) -> list[list[str]]:
    """The rows in parts, each of which takes no more bytes than that, where it has several rows."""
    if len(rows) < 2 or 4 * sum(map(len, rows)) <= size:
        return [rows]
    if sum(len(row.encode()) + 3 for row in rows) <= size:
        return [rows]
    half = len(rows) // 2
    return _fitting(rows[:half], size) + _fitting(rows[half:], size)


def _literals(values: Values, driver: Any) -> list[str]:
    """Values as SQL."""
    kinds = set(map(type, values))
    if kinds == {int}:
        return list(map(str, values))
    if kinds <= {str, type(None)} and _is_plain(values):
        return ["NULL" if value is None else f"'{value}'" for value in values]
    writers: dict[type, Callable[[Any], str]] = {
        type(None): lambda _: "NULL",
        int: str,
        bool: lambda value: str(int(value)),
        float: lambda value: text if "e" in (text := repr(value)) else f"{text}e0",
        Decimal: lambda value: f"{value:f}",
        bytes: lambda value: f"x'{value.hex()}'",
    }
    escape: Callable[[Any], str] = driver.escape
    return [writers.get(type(value), escape)(value) for value in values]


def _is_plain(values: Values) -> bool:
    joined = "".join(value for value in values if value is not None)
    return not any(special in joined for special in "\\'\"\0\n\r\x1a")
