"""Random data models: what a model of up to four tables may be, its tables, and rows for them."""

from __future__ import annotations

import datetime
import decimal
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import sqlalchemy as sa
from hypothesis import strategies as st

from ozelot.state.runs import LONG_TEXT, MOMENT

TABLES = ("t0", "t1", "t2", "t3")
ROWS = 3

Makes = Callable[[], sa.types.TypeEngine[Any]]

#: By name: the type, the value of a row by its number, and a server default.
TYPES: dict[str, tuple[Makes, Callable[[int], Any], str]] = {
    "small": (sa.SmallInteger, lambda n: n, "7"),
    "integer": (sa.Integer, lambda n: n * 1000, "0"),
    "big": (sa.BigInteger, lambda n: n * 10**12, "5"),
    "text 5": (lambda: sa.String(5), lambda n: f"x{n}", "it's"),
    "text 20": (lambda: sa.String(20), lambda n: "longer than five" + str(n), "50%"),
    "long text": (lambda: LONG_TEXT, lambda n: "text " * n + str(n), ""),
    "narrow number": (lambda: sa.Numeric(6, 2), lambda n: decimal.Decimal(n) / 4, "1.50"),
    "wide number": (lambda: sa.Numeric(16, 4), lambda n: decimal.Decimal(n) / 8, "2"),
    "double": (sa.Double, lambda n: n / 8, "0.5"),
    "boolean": (sa.Boolean, lambda n: bool(n % 2), "1"),
    "date": (sa.Date, lambda n: datetime.date(2020, 1, 1 + n), "2020-01-01"),
    "moment": (lambda: MOMENT, lambda n: datetime.datetime(2020, 1, 1, n), "2020-01-01 00:00:00"),
    "two values": (lambda: sa.Enum("a", "b", name="kind_of_two"), lambda n: "ab"[n % 2], "a"),
    "bytes": (sa.LargeBinary, lambda n: b"\0%d" % n, ""),
    "json": (sa.JSON, lambda n: {"n": n}, ""),
}
_NOT_UNIQUE = ("long text", "bytes", "json", "boolean", "two values")
_WITHOUT_DEFAULT = ("long text", "bytes", "json", "boolean")


@dataclass(frozen=True)
class RandomColumn:
    """A column: its type, or what it refers to."""

    type: str
    nullable: bool = True
    default: bool = False
    key: str = ""  # "", "index", "unique", or "unique index"
    target: str = ""
    rule: str | None = None


@dataclass(frozen=True)
class RandomTable:
    """A table: its columns by name; by two of them rows may be told apart."""

    columns: tuple[tuple[str, RandomColumn], ...]
    composite: bool = False
    together: bool = False  # the first two columns are unique together


RandomModel = dict[str, RandomTable]


def _plain(name: str, nullable: bool, default: bool, key: str) -> RandomColumn:
    if name in _NOT_UNIQUE:
        key = ""
    return RandomColumn(name, nullable, default and name not in _WITHOUT_DEFAULT, key)


columns = st.builds(
    _plain, st.sampled_from(list(TYPES)), st.booleans(), st.booleans(), st.sampled_from(["", "", "index", "unique"])
)
references = st.builds(
    lambda target, nullable, rule, index: RandomColumn("integer", nullable, False, index, target, rule),
    st.sampled_from(TABLES),
    st.booleans(),
    st.sampled_from([None, None, "CASCADE"]),
    st.sampled_from(["index", "unique", ""]),
)
tables = st.builds(
    lambda plain, keys, composite, together: RandomTable(tuple({**plain, **keys}.items()), composite, together),
    st.dictionaries(st.sampled_from(["c0", "c1", "c2", "c3"]), columns, min_size=1, max_size=4),
    st.dictionaries(st.sampled_from(["r0", "r1"]), references, max_size=2),
    st.sampled_from([False] * 7 + [True]),
    st.sampled_from([False] * 3 + [True]),
)


@st.composite
def pairs(draw: st.DrawFn) -> tuple[RandomModel, RandomModel]:
    """A model, and what has become of it: each table and each column may be as it was."""
    names = draw(st.lists(st.sampled_from(TABLES), min_size=1, unique=True))
    before = {name: draw(tables) for name in sorted(names)}
    after: RandomModel = {}
    for name in TABLES:
        fate = draw(st.sampled_from(["keep", "change", "change", "change", "new", "gone"]))
        old = before.get(name)
        if fate == "new" or (old is None and fate == "change" and draw(st.booleans())):
            after[name] = draw(tables)
        elif old is not None and fate == "keep":
            after[name] = old
        elif old is not None and fate == "change":
            after[name] = draw(_changed(old))
    return _sound(before), _sound(after)


@st.composite
def _changed(draw: st.DrawFn, old: RandomTable) -> RandomTable:
    found = {}
    for name, column in old.columns:
        fate = draw(st.sampled_from(["keep", "keep", "loosen", "change", "gone"]))
        if fate == "keep":
            found[name] = column
        elif fate == "loosen":
            found[name] = replace(column, nullable=True, key="", default=False)
        elif fate == "change":
            found[name] = draw(references if column.target else columns)
    found |= dict(draw(tables).columns[:1])
    return RandomTable(tuple(found.items()), old.composite, draw(st.booleans()) and old.together)


def _sound(model: RandomModel) -> RandomModel:
    """The same without what cannot be: references to no table, or by half a key; circles that no row could begin."""
    found = {}
    for name, table in model.items():
        kept = []
        for own, column in table.columns:
            if not column.target:
                kept.append((own, column))
            elif column.target in model and not model[column.target].composite:
                nullable = column.nullable or column.target >= name
                kept.append((own, replace(column, nullable=nullable)))
        found[name] = replace(table, columns=tuple(kept))
    return found


def metadata_of(model: RandomModel) -> sa.MetaData:
    """The tables of a model."""
    metadata = sa.MetaData()
    for name, table in model.items():
        parts: list[Any] = [sa.Column("id", sa.Integer, primary_key=True, autoincrement=not table.composite)]
        if table.composite:
            parts.append(sa.Column("half", sa.Integer, primary_key=True, autoincrement=False))
        for own, column in table.columns:
            made, _, default = TYPES[column.type]
            options: dict[str, Any] = {"server_default": default} if column.default else {}
            if column.target:
                parts.append(
                    sa.Column(
                        own,
                        sa.Integer,
                        sa.ForeignKey(f"{column.target}.id", ondelete=column.rule, name=f"fk_{name}_{own}"),
                        nullable=column.nullable,
                        index="index" in column.key,
                        unique=column.key == "unique",
                    )
                )
            else:
                unique = "unique" in column.key
                index = "index" in column.key
                parts.append(sa.Column(own, made(), nullable=column.nullable, unique=unique, index=index, **options))
        if table.together and len(table.columns) > 1:
            names = [own for own, column in table.columns[:2] if column.type not in _NOT_UNIQUE]
            if len(names) == 2:
                parts.append(sa.UniqueConstraint(*names, name=f"uq_{name}_{'_'.join(names)}"))
        sa.Table(name, metadata, *parts)
    return metadata


def fill(connection: sa.Connection, model: RandomModel, metadata: sa.MetaData) -> None:
    """Add rows to all tables, with NULL where it may be, values that are there twice, and references in circles."""
    for name in sorted(model):
        table = model[name]
        together = any(isinstance(part, sa.UniqueConstraint) for part in metadata.tables[name].constraints)
        for number in range(1, ROWS + 1):
            row: dict[str, Any] = {"id": number, "half": number} if table.composite else {"id": number}
            for own, column in table.columns:
                distinct = number if "unique" in column.key or together else number % 2
                if column.target:
                    row[own] = None if column.target >= name else distinct or 1
                else:
                    empty = column.nullable and (number + len(own + name)) % 3 == 0
                    row[own] = sa.null() if empty else TYPES[column.type][1](distinct)
            connection.execute(sa.insert(metadata.tables[name]).values(row))
    for name, table in model.items():
        for own, column in table.columns:
            if column.target >= name and column.target:
                update = sa.update(metadata.tables[name]).where(metadata.tables[name].c.id > 1)
                connection.execute(update.values({own: metadata.tables[name].c.id - 1}))
