"""What a run writes: drawn by nobody, but always the same for the same task on the same rows."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from tests.etl.machine.pipelines import Fill, Insert, Link, Write
from tests.etl.machine.rows import Row

if TYPE_CHECKING:
    from tests.etl.machine.oracle import Oracle


class Script:
    """What a run writes: always the same for the same task on the same rows."""

    def __init__(self, oracle: Oracle, label: str, serial: int, *, by_hand: bool = False) -> None:
        self.oracle, self.shape, self.serial = oracle, oracle.shape, serial
        self.node = oracle.pipeline.nodes[label]
        self.upstream = oracle.pipeline.upstream(label, *self.node.asks)
        self.reserved = oracle.pipeline.updated
        self.everything = self.node.strays or by_hand

    def seen(self, table: str) -> list[Row]:
        """The rows of a table that the task may know of."""
        runs = self.oracle.runs
        return [
            row
            for row in self.oracle.rows_in(table)
            if self.everything or (row.run in runs and runs[row.run or 0].label in self.upstream)
        ]

    def writes(self) -> Iterator[Write]:
        """The writes; the oracle's rows are changed along with them."""
        new = []
        for position, model in enumerate(self.node.creates):
            for number in range((self.node.salt + position) % 4):
                if (insert := self.insert(model, number)) is not None:
                    new.append(insert.name)
                    yield insert
        for number, name in enumerate(new):
            yield from self._close_circles(name, number)
            yield from self._link(name, number)
        for table, column in self.node.updates:
            for number, row in enumerate(self.seen(table)):
                if (self.node.salt + number) % 3 and (value := self._value(table, column, number)) is not None:
                    self.oracle.set(row.name, column, value)
                    yield Fill(table, row.name, column, value)

    def _pick(self, table: str, number: int) -> str | None:
        rows = self.seen(table)
        return rows[(self.node.salt + 3 * number) % len(rows)].name if rows else None

    def insert(self, model: str, number: int) -> Insert | None:
        """A row, unless there is nothing that it could refer to."""
        refs: dict[str, str | None] = {}
        values: dict[str, int | None] = {}
        for table in self.shape.chain(model):
            column = self.shape.models[table].value
            values[column] = None if (table, column) in self.reserved else number or None
            for position, key in enumerate(self.shape.models[table].keys):
                empty = key.nullable and (self.node.salt + number + position) % 3 == 0
                given = not empty and (table, key.column) not in self.reserved
                refs[key.column] = self._pick(key.target, number + position) if given else None
                if refs[key.column] is None and not key.nullable:
                    return None
        name = f"{self.node.name}.{self.oracle.next_number()}"
        self.oracle.rows[name] = Row(name, model, values, refs, self.serial)
        return Insert(model, name, values, refs)

    def _close_circles(self, name: str, number: int) -> Iterator[Fill]:
        row = self.oracle.rows[name]
        for table in self.shape.chain(row.model):
            for key in self.shape.models[table].keys:
                simple = not self.shape.models[key.target].composite and (table, key.column) not in self.reserved
                if not (key.nullable and simple and row.refs[key.column] is None and (self.node.salt + number) % 2):
                    continue
                if (target := self._pick(key.target, number)) is not None:
                    self.oracle.set(name, key.column, target)
                    yield Fill(table, name, key.column, target)

    def _link(self, name: str, number: int) -> Iterator[Link]:
        for table, ends in self.shape.links.items():
            for side, end in enumerate(ends):
                if self.shape.is_a(self.oracle.rows[name].model, end):
                    other = self._pick(ends[1 - side], number)
                    if other is not None:
                        pair = (name, other) if side == 0 else (other, name)
                        if (table, *pair) not in self.oracle.links:
                            self.oracle.links.add((table, *pair))
                            yield Link(table, *pair)

    def _value(self, table: str, column: str, number: int) -> int | str | None:
        if column == self.shape.models[table].value:
            return number + 1
        key = next(key for key in self.shape.models[table].keys if key.column == column)
        return self._pick(key.target, number)
