"""Loading rows: from chunks of any input to what the database takes, all or nothing; and the report of it."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from dataclasses import field as dataclass_field
from typing import Any

import sqlalchemy as sa
from sqlalchemy import orm

from ozelot.db import transaction
from ozelot.db.joined_connection import count_whole
from ozelot.db.sql_analysis import Target
from ozelot.errors import LoadError
from ozelot.load.columns import Field, Fields, validated
from ozelot.load.key_lookup import Refs, references
from ozelot.load.rows import Chunk, chunks_of
from ozelot.load.validation import Fault, Misfits, cleaned, failed
from ozelot.load.writer import Way
from ozelot.load.writer_mysql import IntoMariaDB
from ozelot.load.writer_postgresql import IntoPostgreSQL
from ozelot.load.writer_sqlite import IntoSQLite
from ozelot.model.base import described, why_no_model
from ozelot.redaction import shown
from ozelot.values.column_rule import Reason, Values


@dataclass(frozen=True)
class LoadReport:
    """What came of a load.

    Attributes:
        table: the table that was filled; of a derived model its own.
        rows: how many rows came in.
        written: how many of them are in the table now.
        skipped: how many are not, by the reference whose key was not found.
        set_to_null: how many have NULL in place of a key that was not found, by reference.
        not_found: the first few keys that were not found, by reference.
        seconds: how long it took, what the input took to be made included.
    """

    table: str
    rows: int
    written: int
    skipped: Mapping[str, int] = dataclass_field(default_factory=dict)
    set_to_null: Mapping[str, int] = dataclass_field(default_factory=dict)
    not_found: Mapping[str, tuple[Any, ...]] = dataclass_field(default_factory=dict)
    seconds: float = 0.0

    def __str__(self) -> str:
        told = [f"{self.written:,} of {self.rows:,} rows into {self.table}"]
        told += [f"{number:,} skipped ({self._why(name)})" for name, number in self.skipped.items()]
        told += [f"{number:,} with NULL ({self._why(name)})" for name, number in self.set_to_null.items()]
        return f"{', '.join(told)}, {self.seconds:.2f} s"

    @property
    def left_out(self) -> dict[str, int]:
        """What did not get into the table as it came, in words, and how often."""
        aside = {f"{self.table} skipped ({name})": number for name, number in self.skipped.items()}
        return aside | {f"{self.table} with NULL ({name})": number for name, number in self.set_to_null.items()}

    def _why(self, name: str) -> str:
        return f"{name} not found, such as {', '.join(shown(name, key) for key in self.not_found.get(name, ()))}"


_FILL = "Fill in the values, or let the column be NULL: nullable=True"
_ADD = "Add it, give the column a default, or let it be NULL: nullable=True"
_LOOKS_ON_S = 10.0  # after the first fault, for others
_WAYS: dict[tuple[str, str], type[Way]] = {
    ("sqlite", "pysqlite"): IntoSQLite,
    ("postgresql", "psycopg"): IntoPostgreSQL,
    ("mysql", "pymysql"): IntoMariaDB,
    ("mariadb", "pymysql"): IntoMariaDB,
}


def load(
    session: orm.Session,
    model: type[Any],
    rows: Any,
    *,
    refs: Refs | None = None,
    missing: str | Mapping[Any, str] = "error",
) -> LoadReport:
    """Write rows into the table of a model, by the fastest way that the database has.

    All or nothing: on an error, what the transaction did before stays, and nothing of the load.

    Args:
        session: whose transaction the rows become a part of; what it has pending is written first.
        model: the model.
        rows: a pandas or polars DataFrame (its index is ignored), an Arrow table or reader, or an iterable of dicts or
            of instances of the model. Names are those of its attributes, or of its columns.
        refs: natural keys: ``{"carrier": Airline.code}`` says that the column ``carrier`` of the input holds codes of
            airlines, and fills the foreign key to them. Of several columns: ``{("a", "b"): (Other.a, Other.b)}``.
        missing: what to do with a key that is not found: ``"error"``, ``"null"`` or ``"skip"`` (leave the row out), or
            a dict that says so for each.

    Returns:
        What came of it.

    Raises:
        LoadError: the rows do not fit the model.
        UndeclaredWrite: the task that runs does not declare the model.
    """
    if not isinstance(model, type) or sa.inspect(model, raiseerr=False) is None:
        raise LoadError(f"load() expects a model and has {described(model)}{_what_to_load(model)}")
    began = time.perf_counter()
    with session.begin_nested():
        found = _Load(session, model, rows, refs, missing)
        found.run()
    report = found.report(time.perf_counter() - began)
    opened = transaction.of_pool(session.connection().engine.pool)
    if opened is not None:
        opened.run.note(report.left_out)
    return report


def _what_to_load(model: Any) -> str:
    """What to write where something that is not a model was to be loaded."""
    if isinstance(model, sa.Table):
        return f". Write its rows with session.execute(insert({model.name}), rows)"
    why = why_no_model(type(model) if sa.inspect(model, raiseerr=False) is not None else model)
    return f", {why}" if why else f": write load({type(model).__name__}, ...)"


class _Load:
    """One load."""

    def __init__(self, session: orm.Session, model: type[Any], rows: Any, refs: Refs | None, missing: Any) -> None:
        self._session = session
        dialect = session.connection().dialect
        self._fields = Fields(model, dialect)
        self._references = references(self._fields, refs, missing)
        key = (dialect.name, dialect.driver)
        way = Way if self._fields.only_by_sqlalchemy else _WAYS.get(key, Way)
        self._chunks = chunks_of(rows, model, way.rows, way.at_hand)
        tables = self._fields.tables
        targets = [Target(table.fullname, "insert", model=model if table is tables[-1] else None) for table in tables]
        self._way = way(session, targets)
        # Functions of the user may use the database, too.
        self._shares_connection = len(tables) > 1 or self._fields.calls_back
        self._rows = self._written = 0
        self._skipped: dict[str, int] = {}
        self._highest: dict[sa.Column[Any], int] = {}
        self._misfits = Misfits()
        self._lacking: dict[str, None] = {}  # sentences on columns that the input has not

    def run(self) -> None:
        """Load all."""
        with self._way.driver():
            pass  # what may not be written is refused before the input is read
        connection = self._session.connection()
        for reference in self._references:
            reference.read(connection)
        with self._way:
            self._put_all()
            self._way.finish()
        for key, highest in self._highest.items():
            self._way.after_given(key, highest)

    def report(self, seconds: float) -> LoadReport:
        """What came of it."""
        by_null = {r.label: r.lost for r in self._references if r.missing == "null" and r.lost}
        return LoadReport(
            table=self._fields.tables[-1].name,
            rows=self._rows,
            written=self._written,
            skipped=self._skipped,
            set_to_null=by_null,
            not_found={r.label: tuple(r.not_found) for r in self._references if r.not_found},
            seconds=seconds,
        )

    def _put_all(self) -> None:
        """Write all rows; from the first fault on, only look for others, so that one error names them all.

        Raises:
            LoadError: rows do not fit.
        """
        ended, began, faulty_since = True, time.monotonic(), None
        try:
            for chunk in self._chunks:
                read_in = time.monotonic() - began
                self._rows += len(chunk)
                self._put(chunk)
                if chunk.is_last_at_hand or self._shares_connection:
                    self._way.finish()
                began = time.monotonic()
                if self._is_faulty:
                    self._way.finish()
                    faulty_since = faulty_since or began
                    if began - faulty_since + read_in > _LOOKS_ON_S:  # reading the next rows may take as long
                        ended = False
                        break
        except Exception as exc:
            if self._is_faulty:
                raise self._error(f"Rows from {self._rows:,} on were not checked: {exc}") from exc
            raise
        if self._is_faulty:
            rest = [] if ended else [f"Rows from {self._rows:,} on were not checked"]
            raise self._error(*rest) from self._misfits.__cause__

    @property
    def _is_faulty(self) -> bool:
        return bool(self._misfits or self._lacking) or any(reference.faults for reference in self._references)

    def _error(self, *others: str) -> LoadError:
        of_keys = [sentence for reference in self._references for sentence in reference.sentences]
        return failed([*self._misfits.sentences, *self._lacking, *of_keys, *others])

    def _put(self, chunk: Chunk) -> None:
        """Check rows, and write them unless there are faults."""
        of_keys: set[str] = set()  # columns whose keys have faults
        for reference in self._references:
            before = len(chunk)
            try:
                chunk = reference.fill(chunk)
            except Misfits as exc:
                self._note(exc)
                of_keys.add(reference.field.name)
            if before > len(chunk):
                label = reference.label
                self._skipped[label] = self._skipped.get(label, 0) + before - len(chunk)
            if reference.faults:
                of_keys.add(reference.field.name)
        if not len(chunk):
            return
        also = {name for reference in self._references for name in reference.names}
        fields = self._fields.of_input(chunk.columns, also)
        given = {field.name: chunk.columns[name] for name, field in fields.items()}
        if not chunk.are_instances:
            try:
                given = validated(self._fields.mapper, given, chunk.positions)
            except Misfits as exc:
                self._note(exc)
                return
        filled: dict[str, Values] = {}
        nulls: set[str] = set()
        for field in self._fields.all:
            if field.name in given and field.name not in of_keys:
                try:
                    values, has_nulls = cleaned(given[field.name], field.domain, field.where, chunk.positions)
                except Misfits as exc:
                    self._note(exc)
                    values, has_nulls = given[field.name], False  # so that no default is asked for
                filled[field.name] = values
                if has_nulls:
                    nulls.add(field.name)
        for field in self._fields.all:
            if field.name not in of_keys:
                self._fill(field, filled, nulls, chunk)
        if self._is_faulty:
            return
        for part in self._parts(filled, nulls, chunk):
            self._write(part)
        self._written += len(chunk)

    def _fill(self, field: Field, filled: dict[str, Values], nulls: set[str], chunk: Chunk) -> None:
        """Give a column its default where the input has none, and see that it has what it needs."""
        if field.name in filled and field.name not in nulls:
            return
        if field.default is not None:
            if self._is_faulty:  # no function can do with values of another type
                return
            made = field.default(filled, len(chunk))
            given = filled.get(field.name)
            if given is not None:
                made = [new if value is None else value for value, new in zip(given, made, strict=True)]
            try:
                filled[field.name], has_nulls = cleaned(made, field.domain, field.where, chunk.positions)
            except Misfits as exc:
                self._note(exc)
                return
            nulls.discard(field.name)
            if not has_nulls:
                return
            nulls.add(field.name)
        if not field.required:
            return
        if field.name not in filled:
            message = f"{field.where} expects a value in each row; the input has no column '{field.name}'"
            self._lacking |= dict.fromkeys([message, _ADD])
            return
        gaps = [p for p, value in zip(chunk.positions, filled[field.name], strict=True) if value is None]
        missing = Reason("", remedy=_FILL)
        self._note(Misfits(field.where, "a value in each row", [Fault(place, None, missing) for place in gaps]))

    def _note(self, misfits: Misfits) -> None:
        self._misfits.add(misfits)
        self._misfits.__cause__ = self._misfits.__cause__ or misfits.__cause__

    def _parts(self, filled: dict[str, Values], nulls: set[str], chunk: Chunk) -> Sequence[Chunk]:
        """The rows, apart by which of them leave a column to the database."""
        left = [
            field.name
            for field in self._fields.all
            if field.name in nulls
            and (field.by_database or (self._way.makes_sql and isinstance(field.column.type, sa.JSON)))
        ]
        if not left:
            return [Chunk(filled, chunk.positions)]
        whole = Chunk(filled, chunk.positions)
        by_pattern: dict[tuple[bool, ...], list[int]] = {}
        patterns = zip(*([value is None for value in filled[name]] for name in left), strict=True)
        for place, pattern in enumerate(patterns):
            by_pattern.setdefault(pattern, []).append(place)
        parts = []
        for pattern, places in by_pattern.items():
            part = whole.only(places)
            for name, is_null in zip(left, pattern, strict=True):
                if is_null:
                    del part.columns[name]
            parts.append(part)
        return parts

    def _write(self, part: Chunk) -> None:
        """Write rows to all tables of the model."""
        fields = [field for field in self._fields.all if field.name in part.columns]
        columns = {column: part.columns[field.name] for field in fields for column in field.columns}
        for place, table in enumerate(self._fields.tables):
            own = [column for column in columns if column.table is table]
            data = [columns[column] for column in own]
            key = table._autoincrement_column
            last = place == len(self._fields.tables) - 1
            if key is not None and key not in columns and not last:
                ids = self._way.write_for_ids(table, own, data, part.positions, key)
                name = self._fields.mapper.get_property_by_column(key).key
                columns |= dict.fromkeys(self._fields.by_name[name].columns, ids)
            else:
                self._way.write(table, own, data, part.positions)
                if key is not None and key in columns:
                    self._highest[key] = max(self._highest.get(key, 0), max(columns[key]))
            count_whole(self._session.connection(), table.fullname, len(part))
