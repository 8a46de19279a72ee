"""Consistency checks: what must hold of the data, as SQL where the data is.

::

    class TestFlights(tasks.ORMTestTask):
        checks = [
            row_count(Flight, 20_000, 30_000),
            not_null(Flight.number, Flight.scheduled),
            between(Flight.distance, 10, lambda: config.FARTHEST),
            references(Flight.plane_id, at_least=0.8, severity="warn"),
        ]

On a task that loads, ``checks`` are made when ``run()`` has ended, in its transaction; ``self.check(...)`` asks at
once.
"""

from __future__ import annotations

from ozelot.checks.builtin import (
    between,
    fraction,
    fresh,
    holds,
    matches,
    no_orphans,
    no_rows,
    not_null,
    one_of,
    references,
    row_count,
    unique,
)
from ozelot.checks.check import Check, Result
from ozelot.checks.runner import checked

__all__ = [
    "Check",
    "Result",
    "between",
    "checked",
    "fraction",
    "fresh",
    "holds",
    "matches",
    "no_orphans",
    "no_rows",
    "not_null",
    "one_of",
    "references",
    "row_count",
    "unique",
]
