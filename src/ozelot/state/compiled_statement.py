"""Statements of the package's own, compiled once and handed to the driver directly.

Through SQLAlchemy a statement costs 60 µs, by far the most of what running a trivial task costs; so, 5 µs.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple
from weakref import WeakKeyDictionary

import sqlalchemy as sa
from sqlalchemy.exc import DBAPIError

from ozelot.db import transaction
from ozelot.db.joined_connection import JoinedConnection
from ozelot.values.checked_types import conversion


class _Form(NamedTuple):
    """A statement as a database takes it: its text, and its parameters with how each is converted."""

    text: str
    values: list[tuple[str, Callable[[Any], Any] | None]]
    by_position: bool


class Prepared:
    """A statement whose parameters are all named by ``bindparam``; it returns no rows.

    Args:
        statement: an insert, update or delete.
    """

    def __init__(self, statement: sa.Insert | sa.Update | sa.Delete) -> None:
        self._statement = statement
        self._forms: WeakKeyDictionary[sa.Dialect, _Form] = WeakKeyDictionary()

    def execute(self, connection: sa.Connection, *parameters: Mapping[str, Any]) -> None:
        """Execute it once for each set of parameters.

        Raises:
            sqlalchemy.exc.DBAPIError: as SQLAlchemy would raise.
        """
        if isinstance(connection.connection, JoinedConnection):  # which is to see what SQLAlchemy announces
            connection.execute(self._statement, parameters)
            return
        form = self._form(connection.dialect)
        if not connection.in_transaction():
            connection.begin()
        transaction.begin(connection)
        cursor = connection.connection.cursor()
        try:
            if len(parameters) == 1:
                cursor.execute(form.text, _values(form, parameters[0]))
            else:
                cursor.executemany(form.text, [_values(form, each) for each in parameters])
        except connection.dialect.loaded_dbapi.Error as exc:
            error = connection.dialect.loaded_dbapi.Error
            raise DBAPIError.instance(form.text, None, exc, error, dialect=connection.dialect) from exc
        finally:
            cursor.close()

    def _form(self, dialect: sa.Dialect) -> _Form:
        form = self._forms.get(dialect)
        if form is None:
            compiled: Any = self._statement.compile(dialect=dialect)
            by_position = bool(compiled.positional)
            names = compiled.positiontup if by_position else compiled.binds
            values = [(name, conversion(compiled.binds[name].type, dialect)) for name in names]
            form = self._forms[dialect] = _Form(str(compiled), values, by_position)
        return form


def _values(form: _Form, parameters: Mapping[str, Any]) -> Any:
    if form.by_position:
        return [parameters[name] if convert is None else convert(parameters[name]) for name, convert in form.values]
    return {name: parameters[name] if convert is None else convert(parameters[name]) for name, convert in form.values}
