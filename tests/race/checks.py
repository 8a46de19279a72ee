"""What must be in the database after a race: each task's rows once, one marker, one run that is done."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from typing import Any, TypeVar

import sqlalchemy as sa
from sqlalchemy.orm import Session

import ozelot
from ozelot.client import Client
from ozelot.orm.run import Run
from ozelot.orm.target import ORMTargetMarker
from tests.race.pipeline import ROWS, All, Part, Size, Source, Total

_T = TypeVar("_T")


def labels(tasks: int) -> list[str]:
    """The tasks of the pipeline as runs and markers name them, but for the root."""
    size = Size(tasks)
    classes = {"LoadSource": size.sources, "LoadParts": size.parts, "LoadTotal": size.totals}
    return [f"{name} {{'number': '{number}'}}" for name, count in classes.items() for number in range(count)]


def _amounts(number: int) -> list[int]:
    """Of the sources with that number."""
    return [10 * number + row for row in range(ROWS)]


def _part_amounts(number: int) -> list[int]:
    return [amount + number for amount in _amounts(number) + _amounts(number + 1)]


def expected(tasks: int) -> dict[str, Counter[tuple[Any, ...]]]:
    """All rows of each table, with the task that made each, computed without a database."""
    size = Size(tasks)
    task = "{} {{'number': '{}'}}".format
    parts = {number: _part_amounts(number) for number in range(size.parts)}
    totals = {number: [a for n in range(4) for a in parts[4 * number + n]] for number in range(size.totals)}
    return {
        "source": Counter((task("LoadSource", n), n, a) for n in range(size.sources) for a in _amounts(n)),
        "part": Counter((task("LoadParts", n), n, a - n, a) for n, of in parts.items() for a in of),
        "total": Counter((task("LoadTotal", n), n, len(of), sum(of)) for n, of in totals.items()),
    }


def found(session: Session) -> dict[str, Counter[tuple[Any, ...]]]:
    """The same, as it is in the database; of each part also the amount of the source that it refers to."""
    made_by = Run.name + " " + Run.params
    queries = {
        "source": sa.select(made_by, Source.number, Source.amount).join(Run, Source.run_id == Run.id),
        "part": sa.select(made_by, Part.number, Source.amount, Part.amount).join(Run, Part.run_id == Run.id).join(
            Source, Part.source_id == Source.id
        ),
        "total": sa.select(made_by, Total.number, Total.parts, Total.amount).join(Run, Total.run_id == Run.id),
    }  # fmt: skip
    return {table: Counter(tuple(row) for row in session.execute(query)) for table, query in queries.items()}


def markers(session: Session) -> Counter[str]:
    """How many markers each task has."""
    return Counter(session.scalars(sa.select(ORMTargetMarker.name + " " + ORMTargetMarker.params)))


def runs(session: Session) -> Counter[tuple[str, str]]:
    """How many runs of each task there are, and how they ended."""
    query = sa.select(Run.name + " " + Run.params, Run.state)
    return Counter((label, state) for label, state in session.execute(query))


def by_process(session: Session) -> Counter[int]:
    """How many tasks each process ran well."""
    return Counter(session.scalars(sa.select(Run.process).where(Run.state == "done")))


def once(things: Iterable[_T]) -> Counter[_T]:
    """Each of them once."""
    return Counter(dict.fromkeys(things, 1))


def same(what: str, there: Counter[_T], wanted: Counter[_T]) -> None:
    """Hold what is there to be what is wanted, or say what is missing and what is too much."""
    assert there == wanted, f"{what}: missing {dict(wanted - there)}, too much {dict(there - wanted)}"


def all_is_there_once(database: Client, tasks: int) -> Counter[int]:
    """Hold the database to be what one runner alone would have made of it.

    Args:
        database: to which the client is set, too.
        tasks: how many the pipeline has.

    Returns:
        How many tasks each process ran.
    """
    root = f"All {{'tasks': '{tasks}'}}"
    with database.create_session() as session:
        for table, rows in expected(tasks).items():
            same(f"rows of {table}", found(session)[table], rows)
        same("markers", markers(session), once([*labels(tasks), root]))
        # A wrapper only bundles others: it may run again, and then records its earlier run as cleared.
        again = {(root, "cleared"): runs(session)[root, "cleared"]}
        same("runs", runs(session), once((label, "done") for label in [*labels(tasks), root]) + Counter(again))
        shared = by_process(session)
    assert ozelot.verify(All(tasks=tasks)) == []
    return shared
