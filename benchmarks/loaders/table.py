"""The table that all fill, and the rows, in each form that a way may want them."""

from __future__ import annotations

import datetime
from collections.abc import Iterator
from typing import Any

from sqlalchemy import Double, Index, String
from sqlalchemy.orm import Mapped, mapped_column

from ozelot.orm.base import Base
from ozelot.orm.run import TaskOwned

FIRST_DAY = datetime.date(2013, 1, 1)
DAYS = [FIRST_DAY + datetime.timedelta(days=n) for n in range(365)]
COLUMNS = ("name", "value", "number", "day", "flag", "code")


class Sample(TaskOwned, Base):
    """Six columns; besides them an id, and the run, with an index as every foreign key has."""

    name: Mapped[str] = mapped_column(String(50))
    value: Mapped[float | None] = mapped_column(Double)
    number: Mapped[int]
    day: Mapped[datetime.date]
    flag: Mapped[bool]
    code: Mapped[str | None] = mapped_column(String(10))
    __table_args__ = (Index("ix_sample_number", "number"),)


def row(n: int) -> tuple[Any, ...]:
    """The row at a place; every 50th has a gap, and names have letters of more than one byte."""
    return (
        f"Messung {n} für {n % 1000}",
        None if n % 50 == 0 else n * 0.37,
        (n * 7919) % 1_000_003,
        DAYS[n % 365],
        n % 3 == 0,
        None if n % 50 == 1 else f"C{n % 100:02}",
    )


def dicts(size: int, **more: Any) -> Iterator[dict[str, Any]]:
    """The rows, made as they are asked for."""
    for n in range(size):
        name, value, number, day, flag, code = row(n)
        yield {"name": name, "value": value, "number": number, "day": day, "flag": flag, "code": code, **more}


def arrow(size: int, **more: Any) -> Any:
    """An Arrow table, whose types are those of the columns."""
    import pyarrow as pa

    kinds = dict(
        zip(COLUMNS, (pa.string(), pa.float64(), pa.int32(), pa.date32(), pa.bool_(), pa.string()), strict=True)
    )
    step = 100_000
    batches = [
        pa.RecordBatch.from_pydict(
            dict(
                zip(COLUMNS, map(list, zip(*map(row, range(start, min(start + step, size))), strict=True)), strict=True)
            ),
            pa.schema(kinds),
        )
        for start in range(0, size, step)
    ]
    table = pa.Table.from_batches(batches)
    for name, value in more.items():
        table = table.append_column(name, pa.array([value] * size, pa.int32()))
    return table


def frame(size: int, **more: Any) -> Any:
    """A data frame of pandas; dates are objects, as it has no type for them."""
    return arrow(size, **more).to_pandas()
