"""Into MariaDB and MySQL: INSERT of many rows, as much as fits a packet."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from decimal import Decimal
from typing import Any

import sqlalchemy as sa

from ozelot.db.joined_connection import count_written
from ozelot.load.database_errors import Rows
from ozelot.load.validation import failed
from ozelot.load.writer import Columns, Way, column_names, table_name, unbound
from ozelot.values.column_rule import Values

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
            self._packet = self._connection.scalar(sa.text("SELECT @@max_allowed_packet")) or 2**20
        self.refuse_changed(table, columns, data, positions)
        name = table_name(table, self._dialect)
        head = f"INSERT INTO {name} ({column_names(columns, self._dialect)}) VALUES ("  # noqa: S608 - quoted
        done = []
        told = Rows(self._connection, table, columns, data, positions)
        told.first = 0
        with told.in_words(), self.driver() as driver:
            values = []
            for column, some in zip(columns, self._bound(columns, data, positions), strict=True):
                try:
                    values.append(_literals(some, driver))
                except (TypeError, ValueError) as exc:
                    raise unbound(column, some, positions, lambda value: _literals(value, driver), exc) from exc
            rows = list(map(",".join, zip(*values, strict=True)))
            beside = 4 * len(head) + 1_000
            for some in _fitting(rows, min(_LARGEST, self._packet) - beside):
                if len(some) == 1 and 4 * len(some[0]) > self._packet - beside:
                    literals = [column[told.first] for column in values]
                    self._check_size(len(head), literals, columns, positions[told.first])
                with driver.cursor() as cursor:
                    cursor.execute(f"{head}{'),('.join(some)})")
                    done.append((cursor.lastrowid, len(some)))
                told.first += len(some)
        count_written(self._connection, table.fullname, len(positions))
        return done

    def _check_size(self, head: int, literals: list[str], columns: Columns, position: int) -> None:
        sizes = [len(value.encode()) for value in literals]
        size = head + sum(sizes) + len(sizes) + 10
        if size <= self._packet:
            return
        column = columns[sizes.index(max(sizes))]
        raise failed(
            [
                f"Row {position} takes {size:,} bytes, {max(sizes):,} of them in {column.table.name}.{column.name}; "
                f"the server's max_allowed_packet is {self._packet:,} bytes. Raise it with SET GLOBAL "
                f"max_allowed_packet = {_power_of_two(size)} and connect again (bytes take twice their "
                "size), or keep the value in a file"
            ]
        )

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


def _power_of_two(size: int) -> int:
    return 1 << max(0, size - 1).bit_length()


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
