"""Natural keys in the input, and the foreign keys that they stand for."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from dataclasses import field as made_by
from typing import Any

import sqlalchemy as sa
from sqlalchemy import orm
from sqlalchemy.orm import InstrumentedAttribute

from ozelot.errors import LoadError
from ozelot.load.columns import Field, Fields
from ozelot.load.rows import Chunk
from ozelot.load.validation import typed
from ozelot.redaction import shown
from ozelot.rows.selection import chain
from ozelot.values.column_rule import Values
from ozelot.values.type_rules import ColumnType, value_type_of

Name = str | tuple[str, ...]
Refs = Mapping[Any, Any]
_SEVERAL = object()
_FEW = 5
_LISTED = 10  # keys in an error
_LONGEST = 200  # characters of such a key
_COUNTED = 100_000  # keys


@dataclass
class Rows:
    """The rows that have a key."""

    first: int
    number: int = 0

    def __str__(self) -> str:
        return f"row {self.first}" if self.number == 1 else f"{self.number:,} rows, the first is {self.first}"


@dataclass
class KeyFaults:
    """Keys that lead to no row, or to several, and the rows of the input that have them."""

    not_found: dict[Any, Rows] = made_by(default_factory=dict)
    of_several: dict[Any, Rows] = made_by(default_factory=dict)

    def add(self, keys: dict[Any, Rows], faults: Iterable[tuple[int, Any]]) -> None:
        """Count rows and their keys."""
        for position, key in faults:
            if key in keys or not self.is_full(keys):
                keys.setdefault(key, Rows(position)).number += 1

    def is_full(self, keys: dict[Any, Rows]) -> bool:
        """Whether there are so many keys that further ones are not kept."""
        return len(keys) >= _COUNTED

    def __bool__(self) -> bool:
        return bool(self.not_found or self.of_several)


@dataclass
class Reference:
    """A natural key of the input.

    Attributes:
        names: of the columns of the input that hold it.
        attributes: of the model that it is the key of.
        target: the column of that model that the foreign key refers to.
        field: what is filled.
        missing: what to do with a key that is not found.
    """

    names: tuple[str, ...]
    attributes: tuple[InstrumentedAttribute[Any], ...]
    target: sa.Column[Any]
    field: Field
    missing: str
    lost: int = 0
    not_found: dict[Any, None] = made_by(default_factory=dict)
    faults: KeyFaults = made_by(default_factory=KeyFaults)
    _known: dict[Any, Any] = made_by(default_factory=dict)
    _domains: tuple[ColumnType, ...] = ()

    @property
    def label(self) -> str:
        return ", ".join(self.names)

    @property
    def _model(self) -> str:
        return ", ".join(f"{attribute.class_.__name__}.{attribute.key}" for attribute in self.attributes)

    def read(self, connection: sa.Connection) -> None:
        """Learn all keys, by one query."""
        self._domains = tuple(value_type_of(attribute.type, connection.dialect) for attribute in self.attributes)
        source = sa.inspect(self.attributes[0].class_).selectable
        query = sa.select(self.target, *self.attributes).select_from(source)
        query = query.where(*(attribute.is_not(None) for attribute in self.attributes))
        known = self._known
        for target, *key in connection.execute(query.execution_options(yield_per=10_000)):
            known_as = key[0] if len(key) == 1 else tuple(key)
            known[known_as] = target if known.setdefault(known_as, target) == target else _SEVERAL

    def fill(self, chunk: Chunk) -> Chunk:
        """Put the foreign keys into a chunk, without the rows that are to be skipped.

        Keys that are not found, where that is an error, and those of several rows are added to ``faults``.

        Raises:
            LoadError: the input has not the columns that it should have.
            Misfits: keys are of another type.
        """
        for name in self.names:
            if name not in chunk.columns:
                raise LoadError(f"The input has no column '{name}', which 'refs' names as the key {self._model}")
        if self.field.name in chunk.columns and self.field.name not in self.names:
            raise LoadError(f"The input has {self.field.where} itself, which 'refs' fills from '{self.label}'")
        parts = []
        for name, domain, attribute in zip(self.names, self._domains, self.attributes, strict=True):
            where = f"{attribute.class_.__name__}.{attribute.key}"
            parts.append(domain.comparable(typed(chunk.columns[name], domain, where, chunk.positions)[0]))
        keys: Values = parts[0] if len(parts) == 1 else list(zip(*parts, strict=True))
        found = list(map(self._known.get, keys))
        if None in found or _SEVERAL in found:
            found, chunk = self._without_gaps(keys, found, chunk)
        chunk.columns[self.field.name] = found
        return chunk

    def _without_gaps(self, keys: Values, found: Values, chunk: Chunk) -> tuple[Values, Chunk]:
        if _SEVERAL in found:
            places = zip(chunk.positions, keys, found, strict=True)
            self.faults.add(self.faults.of_several, [(p, key) for p, key, value in places if value is _SEVERAL])
        gaps = [place for place, value in enumerate(found) if value is None and not _is_null(keys[place])]
        if not gaps:
            return found, chunk
        if self.missing == "error":
            self.faults.add(self.faults.not_found, ((chunk.positions[place], keys[place]) for place in gaps))
            return found, chunk
        self.lost += len(gaps)
        for place in gaps:
            if len(self.not_found) < _FEW:
                self.not_found[shown(self.label, keys[place]) if self._hides else keys[place]] = None
        if self.missing == "null":
            return found, chunk
        dropped = set(gaps)
        kept = [place for place in range(len(found)) if place not in dropped]
        return [found[place] for place in kept], chunk.only(kept)

    @property
    def sentences(self) -> list[str]:
        """What is wrong with the keys, as sentences without their periods."""
        found = []
        if self.faults.not_found:
            allowed = "'skip' or 'null'" if self.field.column.nullable else "'skip'"
            found.append(self._sentence(self.faults.not_found, "not found in"))
            pronoun = "it" if len(self.faults.not_found) == 1 else "them"
            found.append(f"Load {pronoun} into {self._owner} first, or pass missing={allowed}")
        if self.faults.of_several:
            found.append(self._sentence(self.faults.of_several, "found in several rows of"))
            found.append(f"Name further columns of {self._owner} that make the key unique")
        return found

    def _sentence(self, keys: dict[Any, Rows], problem: str) -> str:
        listed = sorted(keys.items(), key=lambda item: -item[1].number)  # of the same number: as they came
        texts = [f"{shown(self.label, key, _LONGEST)} ({rows})" for key, rows in listed[:_LISTED]]
        more = f", and {len(keys) - _LISTED:,} more" if len(keys) > _LISTED else ""
        number = f"{len(keys):,} {'key' if len(keys) == 1 else 'keys'}"
        if self.faults.is_full(keys):
            number, more = f"more than {number}", f", and more than {len(keys) - _LISTED:,} more"
        return f"{self.label}: {number} {problem} {self._model}: {', '.join(texts)}{more}"

    @property
    def _owner(self) -> str:
        return self.attributes[0].class_.__name__

    @property
    def _hides(self) -> bool:
        return shown(self.label, "") == "[hidden]"


def _is_null(key: Any) -> bool:
    return key is None or (isinstance(key, tuple) and None in key)


def references(fields: Fields, refs: Refs | None, missing: Any) -> list[Reference]:
    """The natural keys that a call names.

    Raises:
        LoadError: what they refer to is unclear, or not there.
    """
    found = []
    refs = refs or {}
    how: Any = missing if isinstance(missing, Mapping) else dict.fromkeys(refs, missing)
    if unknown := [name for name in how if name not in refs]:
        raise LoadError(f"'missing' names {unknown[0]!r}, which is not in 'refs'")
    for name, named in refs.items():
        attributes = named if isinstance(named, tuple) else (named,)
        names = name if isinstance(name, tuple) else (name,)
        owners = {getattr(attribute, "class_", None) for attribute in attributes}
        if len(names) != len(attributes) or len(owners) != 1 or None in owners:
            raise LoadError(f"refs[{name!r}] names as many columns of one model as the key has, as in Airline.code")
        way = how.get(name, "error")
        if way not in ("error", "null", "skip"):
            raise LoadError(f"missing is {way!r}: use 'error', 'null' or 'skip'")
        target, filled = _foreign_key(fields, names, sa.inspect(owners.pop()))
        if way == "null" and not filled.column.nullable:
            raise LoadError(f"missing='null' does not go with {filled.where}, which may not be NULL: use 'skip'")
        found.append(Reference(names, attributes, target, filled, way))
    return found


def _foreign_key(fields: Fields, names: tuple[str, ...], referred: orm.Mapper[Any]) -> tuple[sa.Column[Any], Field]:
    """The column referred to, and the one to fill."""
    tables = chain(referred)
    candidates = {
        key.parent: key.column
        for table in fields.tables
        for key in table.foreign_keys
        if key.column.table in tables
        and key.constraint is not None
        and len(key.constraint.columns) == 1
        and not any(key.parent in f.columns and len(f.columns) > 1 for f in fields.all)
    }
    name = names[0] if len(names) == 1 else ""
    relationship = fields.mapper.relationships.get(name)
    if relationship is not None:
        candidates = {c: t for c, t in candidates.items() if c in relationship.local_columns}
    elif name in fields.by_name and set(fields.by_name[name].columns) & candidates.keys():
        candidates = {c: t for c, t in candidates.items() if c in fields.by_name[name].columns}
    filled = {column: fields.mapper.get_property_by_column(column).key for column in candidates}
    model, label = fields.model.__name__, ", ".join(names)
    if not candidates:
        raise LoadError(f"refs: {model} has no foreign key of one column to {referred.class_.__name__} for '{label}'")
    if len(candidates) > 1:
        told = ", ".join(sorted(filled.values()))
        raise LoadError(
            f"refs: '{label}' could mean each of {told}, which refer to {referred.class_.__name__}: name the column of "
            "the input like one of them, or like its relationship"
        )
    ((column, target),) = candidates.items()
    return target, fields.by_name[filled[column]]
