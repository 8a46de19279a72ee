"""What goes in by any way comes out by any way as the same value, or is rejected: never as another one.

Each type that a database supports is given each value in each form. The ordinary run takes a fixed sample of this
matrix, ``OZELOT_TEST_NIGHTLY=1`` all of it.
"""

from __future__ import annotations

import datetime
import os
import random
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

import pyarrow as pa
import pytest
import sqlalchemy as sa
from sqlalchemy import orm

from ozelot.client import Client
from ozelot.errors import FrameError, LoadError
from ozelot.orm import bulk
from tests.fidelity.column_types import Typed, types_of, values_of
from tests.fidelity.forms import FORMS, OF_PYTHON, as_backend, of_backend, same, values_in

NIGHTLY = bool(os.environ.get("OZELOT_TEST_NIGHTLY"))
_SAMPLE = 40  # pairs of a type and a value, on each database
_NAMED = 40  # faults in a message
_REJECTED = object()

pytestmark = [
    pytest.mark.slow,
    pytest.mark.filterwarnings("ignore:Type object"),  # of SQLAlchemy, on its own YEAR and BIT
]
BACKENDS = ("pandas", "polars", "arrow")


@dataclass(frozen=True)
class Held:
    """A type with the model that has a column of it."""

    typed: Typed
    model: Any


def held_by(db: Client) -> list[Held]:
    """The types of a database, with their tables in it."""
    kind = {"mysql": "mariadb"}.get(db.engine.dialect.name, db.engine.dialect.name)

    class Own(orm.DeclarativeBase):
        pass

    found = []
    for typed in types_of(kind):
        attributes = {
            "__tablename__": f"of_{typed.name}",
            "id": orm.mapped_column(sa.Integer, primary_key=True),
            "value": orm.mapped_column(typed.type, nullable=True),
        }
        found.append(Held(typed, type(f"Of_{typed.name}", (Own,), attributes)))
    with db.engine.begin() as connection:
        Own.metadata.create_all(connection)
    return found


def pairs(held: list[Held]) -> list[tuple[Held, Any]]:
    """The types with their values: all of them, or a sample that is the same each time."""
    every = [(one, value) for one in held for value in values_of(one.typed, large=NIGHTLY)]
    return every if NIGHTLY else random.Random(18).sample(every, _SAMPLE)


@contextmanager
def undone(db: Client) -> Iterator[orm.Session]:
    """A session whose changes are rolled back."""
    with db.create_session() as session:
        yield session
        session.rollback()


def raw(session: orm.Session, model: Any) -> list[str]:
    """What the driver reads."""
    column = sa.type_coerce(sa.column("value"), sa.types.NullType())
    query = sa.select(column).select_from(sa.table(model.__tablename__)).order_by(sa.text("id"))
    return [repr(value) for (value,) in session.connection().execute(query)]


def read(session: orm.Session, model: Any) -> list[Any]:
    """What a session reads."""
    session.expire_all()
    return list(session.scalars(sa.select(model.value).order_by(model.id)))


def added(db: Client, model: Any, value: Any) -> Any:
    """What the driver reads after ``session.add``; or that something refuses the value."""
    with undone(db) as session, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            session.add(model(value=value))
            session.flush()
            return raw(session, model)
        except Exception:  # noqa: BLE001 - of a driver, of a type, of the database
            return _REJECTED


def rows_of(model: Any, form: str, value: Any) -> Iterator[Any]:
    """A value in a form, by itself and with a missing one; nothing where the form does not hold it."""
    for values in ([value], [value, None]):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            try:
                rows = FORMS[form](model, values)
                held = value if form in OF_PYTHON or form == "reader" else values_in(rows)[0]
            except Exception:  # noqa: BLE001 - of a library that has no such values
                return
        if isinstance(held, float) and not isinstance(value, float):
            held = value  # a library may make floats of integers, which a load may not take for integers again
        yield rows, len(values), held


def loaded(db: Client, one: Held, form: str, value: Any, by_add: Any) -> Iterator[str]:
    """What is wrong with loads of a value in a form."""
    for rows, number, held in rows_of(one.model, form, value):
        where = f"{one.typed.name} {value!r:.60} as {form}, {number} rows"
        with undone(db) as session:
            try:
                bulk.load(session, one.model, rows)
            except LoadError as exc:
                if "\n" in str(exc):
                    yield f"{where}: the error has several lines: {exc}"
                continue
            except Exception as exc:  # noqa: BLE001 - told below
                yield f"{where}: {type(exc).__name__}: {str(exc).splitlines()[0]:.120}"
                continue
            try:
                found = raw(session, one.model)
            except Exception as exc:  # noqa: BLE001 - told
                yield f"{where}: the driver cannot read what is stored: {str(exc).splitlines()[0]:.80}"
                continue
            if by_add is not _REJECTED and form in OF_PYTHON and one.typed.family != "json" and found[:1] != by_add:
                yield f"{where}: load stores {found[0]:.60}, and add {by_add[0]:.60}"
                continue
            try:
                (back, *_) = read(session, one.model)
            except Exception as exc:  # noqa: BLE001 - told
                yield f"{where}: a session cannot read {found[0]:.60}: {type(exc).__name__}: {exc!s:.80}"
                continue
            if not is_exact(one.typed, held, back):
                yield f"{where}: a session reads {back!r:.60}"


def is_exact(typed: Typed, given: Any, found: Any) -> bool:
    """Whether what is read is what was given, and not only something near it."""
    if given is None or given != given:
        return found is None or (found != found)
    if typed.family in ("decimal", "decimal as float") and isinstance(given, float):
        scale = getattr(typed.type, "scale", None) or 10  # to which floats are rounded: the one exception
        return bool(abs(Decimal(found) - Decimal(repr(given))) * 2 <= Decimal(10) ** -scale)
    if isinstance(given, list | dict | tuple | set) or typed.family in ("json", "pickle", "array"):
        return True  # as an add stores it, which is compared
    if typed.family == "enum":
        return bool(getattr(found, "name", found) == getattr(given, "name", given))
    if typed.family == "uuid text" or str(typed.type).split("(")[0] in _NORMALIZED:
        return True
    if typed.family == "float" and isinstance(given, int):
        return bool(found == float(given))
    if typed.family in ("decimal", "decimal as float") and not isinstance(found, bool):
        return bool(repr(given) == repr(found) or float(given) == float(found))
    if isinstance(found, datetime.date) and type(found) is not type(given):  # midnight
        return f"{found:%Y-%m-%d}" == f"{given:%Y-%m-%d}"
    return bool(found == given)


#: Types that write their text in a form of their own, on PostgreSQL.
_NORMALIZED = {"INET", "CIDR", "MACADDR", "MACADDR8", "MONEY", "TSVECTOR", "TSQUERY", "JSONPATH"}


def test_what_a_load_takes_it_stores_as_an_add_does_and_exactly(db: Client) -> None:
    held = held_by(db)
    faults: list[str] = []
    for one, value in pairs(held):
        by_add = added(db, one.model, value)
        for form in FORMS:
            faults += loaded(db, one, form, value, by_add)
    told(faults)


def test_a_session_reads_what_each_frame_holds_or_the_frame_is_refused(db: Client) -> None:
    held = held_by(db)
    values: dict[str, tuple[Held, list[Any]]] = {}
    for one, value in pairs(held):
        values.setdefault(one.typed.name, (one, []))[1].append(value)
    faults: list[str] = []
    for one, given in values.values():
        with db.transaction() as session:
            for value in [*given, None]:
                if added(db, one.model, value) is not _REJECTED:
                    session.add(one.model(value=value))
                    session.flush()
        faults += read_in_frames(db, one)
    told(faults)


def read_in_frames(db: Client, one: Held) -> Iterator[str]:
    """What is wrong with the frames of all values of a type."""
    with undone(db) as session:
        try:
            expected = read(session, one.model)
        except Exception as exc:  # noqa: BLE001 - told
            yield f"{one.typed.name}: a session cannot read what was added: {type(exc).__name__}: {exc!s:.80}"
            return
    query = sa.select(one.model.value).order_by(one.model.id)
    for backend in BACKENDS:
        for size in (None, 1, 2):
            client: Any = db
            where = f"{one.typed.name} in {backend}, {'whole' if size is None else f'pieces of {size}'}"
            try:
                frames = (
                    [client.frame(query, backend=backend)]
                    if size is None
                    else list(pieces(client, query, size, backend))
                )
                found = [value for frame in frames for value in values_in(frame)]
            except FrameError:
                continue
            except Exception as exc:  # noqa: BLE001 - told
                yield f"{where}: {type(exc).__name__}: {str(exc).splitlines()[0]:.120}"
                continue
            yield from differences(where, one.typed.family, backend, expected, found)


def differences(where: str, family: str, backend: str, expected: list[Any], found: list[Any]) -> Iterator[str]:
    """Where a frame has other values than a session."""
    if len(expected) != len(found):
        yield f"{where}: {len(found)} rows of {len(expected)}"
        return
    for value, other in zip(expected, found, strict=True):
        if not same(as_backend(value, backend, family), of_backend(other, backend, family)):
            yield f"{where}: a session reads {value!r:.60}, and the frame has {other!r:.60}"


def pieces(db: Any, query: Any, size: int, backend: str) -> Iterator[Any]:
    """A result in frames of so many rows."""
    found = db.frames(query, rows=size, backend=backend)
    if backend != "arrow":
        yield from found
        return
    for batch in found:
        yield pa.Table.from_batches([batch])


def told(faults: list[str]) -> None:
    """Fail with the first faults."""
    if faults:
        pytest.fail(f"{len(faults)} faults:\n" + "\n".join(faults if NIGHTLY else faults[:_NAMED]))
