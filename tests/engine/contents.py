"""What is in the database: all tables and markers by one statement, and so of one moment, past the package."""

from __future__ import annotations

from collections import Counter
from typing import Any

import sqlalchemy as sa

from ozelot.orm.run import Run
from ozelot.orm.target import ORMTargetMarker
from tests.engine.library import AUTHORS, BOOKS, LIBRARY, Author, Book, Review

Contents = Counter[tuple[str, ...]]


def _text(column: Any) -> Any:
    return sa.func.coalesce(sa.cast(column, sa.String(200)), "NULL")


_EVERYTHING = sa.union_all(
    sa.select(sa.literal("author"), _text(Author.name), _text(Author.rating)),
    sa.select(sa.literal("book"), _text(Book.name) + " by " + Author.name, _text(Book.version))
    .join(Author, Author.id == Book.author_id)
    .join(Run, Run.id == Book.run_id)
    .where(Run.state == "done"),
    sa.select(sa.literal("any book"), sa.literal(""), sa.literal("")).select_from(Book),
    sa.select(sa.literal("review"), _text(Book.name), _text(Review.stars)).join(Book, Book.id == Review.book_id),
    sa.select(sa.literal("marker"), _text(ORMTargetMarker.name) + " " + ORMTargetMarker.params, sa.literal("")),
)


def engine_for(url: str) -> sa.Engine:
    """An engine that knows nothing of the package."""
    return sa.create_engine(url, isolation_level="AUTOCOMMIT", poolclass=sa.NullPool)


def look(connection: sa.Connection) -> Contents:
    """All there is."""
    return Counter(tuple(map(str, row)) for row in connection.execute(_EVERYTHING))


def contents(url: str) -> Contents:
    """All there is, read through a connection of its own."""
    with engine_for(url).connect() as connection:
        return look(connection)


def library(version: str = "") -> Contents:
    """What is there when the library is complete."""
    rating = str(len(version) + 1)
    found: Contents = Counter()
    for n in range(1, AUTHORS + 1):
        found["author", f"author {n}", rating if n < AUTHORS else "NULL"] += 1
    for year in (1990, 1991, 1992):
        for n in range(BOOKS):
            found["book", f"book {n} of {year} by author {1 + n % AUTHORS}", version] += 1
            found["any book", "", ""] += 1
            if year < 1992:
                found["review", f"book {n} of {year}", "5" if version else "1"] += 1
    found.update(("marker", label, "") for label in LIBRARY)
    return found


def markers(found: Contents) -> set[str]:
    """Labels of the tasks that are complete."""
    assert all(number == 1 for (table, *_), number in found.items() if table == "marker")
    return {row[1] for row in found if row[0] == "marker"}


def runs(url: str) -> list[tuple[str, str, str]]:
    """Label, state and reason of each recorded run."""
    with engine_for(url).connect() as connection:
        rows = connection.execute(sa.select(Run.name, Run.params, Run.state, Run.error).order_by(Run.id)).all()
    return [(f"{name} {params}", state, (error or "").strip().split("\n")[-1]) for name, params, state, error in rows]
