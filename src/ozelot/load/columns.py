"""What a load fills: the columns of a model's tables, what each takes, and what it gets where the input has nothing."""

from __future__ import annotations

import difflib
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import sqlalchemy as sa
from sqlalchemy import orm

from ozelot.errors import LoadError
from ozelot.load.validation import Fault, Misfits, typed
from ozelot.redaction import is_secret
from ozelot.rows.selection import chain, owner_of
from ozelot.state.runs import current_run_id
from ozelot.values.column_rule import KnownValues, Reason, Values
from ozelot.values.type_rules import ColumnType, value_type_of

Default = Callable[[dict[str, Values], int], Values]


@dataclass(frozen=True)
class Field:
    """A column that can be filled.

    Attributes:
        name: the attribute of the model.
        columns: of that attribute: several where a derived model's key is that of its base.
        where: ``Model.attribute``, for messages.
        domain: what it takes.
        default: what makes the values of rows that have none, if Python does.
        by_database: whether the database, or SQL, has a default.
        required: whether each row must have a value.
    """

    name: str
    columns: tuple[sa.Column[Any], ...]
    where: str
    domain: ColumnType
    default: Default | None
    by_database: bool
    required: bool

    @property
    def column(self) -> sa.Column[Any]:
        """The column; of several that of the model's own table."""
        return self.columns[0]


class Fields:
    """The columns of a model.

    Args:
        model: the model.
        dialect: of the database.

    Attributes:
        tables: in the order in which their rows are written: those of base models first.
        by_name: the fields by the names of attributes, and of columns where these differ.
    """

    def __init__(self, model: type[Any], dialect: sa.Dialect) -> None:
        self.model = model
        self.mapper: orm.Mapper[Any] = sa.inspect(model)
        self.tables = chain(self.mapper)[::-1]
        self.all = [
            self._field(attribute, dialect)
            for attribute in self.mapper.column_attrs
            if any(isinstance(column, sa.Column) for column in attribute.columns)
        ]
        self.by_name = {column.name: field for field in self.all for column in field.columns}
        self.by_name |= {field.name: field for field in self.all}

    def _field(self, attribute: orm.ColumnProperty[Any], dialect: sa.Dialect) -> Field:
        columns = tuple(column for column in attribute.columns if isinstance(column, sa.Column))
        column = columns[0]
        default = self._default(columns[-1])
        by_database = column.server_default is not None or _counts_itself(columns[-1]) or _needs_sql(column)
        return Field(
            name=attribute.key,
            columns=columns,
            where=f"{self.model.__name__}.{attribute.key}",
            domain=value_type_of(column.type, dialect),
            default=default,
            by_database=by_database,
            required=not column.nullable and default is None and not by_database,
        )

    def _default(self, column: sa.Column[Any]) -> Default | None:
        mapper = self.mapper
        if self._is_of_run(column):
            return lambda _, number: _same(current_run_id(), number)
        if column is mapper.polymorphic_on and mapper.polymorphic_identity is not None:
            return lambda _, number: _same(mapper.polymorphic_identity, number)
        if column is mapper.version_id_col and callable(mapper.version_id_generator):
            generate: Any = mapper.version_id_generator
            return lambda _, number: [generate(None) for _ in range(number)]
        default: Any = column.default
        if default is None or default.is_clause_element or default.is_sequence:
            return None
        if default.is_scalar:
            return lambda _, number: _same(default.arg, number)
        return lambda columns, number: [default.arg(_Context(columns, place)) for place in range(number)]

    def _is_of_run(self, column: sa.Column[Any]) -> bool:
        owner = owner_of(self.mapper)
        return owner is not None and column is owner.c.run_id

    @cached_property
    def only_by_sqlalchemy(self) -> bool:
        """Whether something must be part of the SQL of an insert: defaults, or how values are bound."""
        return any(
            _needs_sql(column) or column.type._has_bind_expression for field in self.all for column in field.columns
        )

    @cached_property
    def calls_back(self) -> bool:
        """Whether functions of the user are called for each row."""
        columns = [column for field in self.all for column in field.columns]
        return (
            bool(self.mapper.validators)
            or any(
                column.default is not None and column.default.is_callable and not self._is_of_run(column)
                for column in columns
            )
            or any(isinstance(column.type, sa.types.TypeDecorator) for column in columns)
        )

    def of_input(self, names: Iterable[str], also: Iterable[str]) -> dict[str, Field]:
        """The fields that columns of the input go to.

        Args:
            names: of these columns.
            also: names that are known for another reason.

        Raises:
            LoadError: a name is unknown, or two mean one column.
        """
        found: dict[str, Field] = {}
        for name in names:
            if name in self.by_name:
                field = self.by_name[name]
                if field.column.computed is not None:
                    raise LoadError(f"{field.where} cannot be loaded: the database computes it")
                if field in found.values():
                    raise LoadError(f"The input has {field.where} twice, also as '{name}'")
                found[name] = field
            elif name not in also:
                near = difflib.get_close_matches(name, [field.name for field in self.all], 1)
                hint = f"Did you mean '{near[0]}'?" if near else f"It has {', '.join(f.name for f in self.all)}"
                raise LoadError(f"{self.model.__name__} has no column '{name}'. {hint}")
        return found


def _same(value: Any, number: int) -> Values:
    return KnownValues([value] * number, [type(value)], bounds=(value, value) if type(value) is int else None)


def _counts_itself(column: sa.Column[Any]) -> bool:
    return column is getattr(column.table, "_autoincrement_column", None) or column.identity is not None


def _needs_sql(column: sa.Column[Any]) -> bool:
    default: Any = column.default
    return default is not None and bool(default.is_clause_element or default.is_sequence)


class _Context:
    """What a default function of SQLAlchemy may ask for the values of its row."""

    def __init__(self, columns: dict[str, Values], place: int) -> None:
        self._columns, self._place = columns, place

    @property
    def current_parameters(self) -> dict[str, Any]:
        return {name: values[self._place] for name, values in self._columns.items()}

    def get_current_parameters(self, isolate_multiinsert_params: bool = True) -> dict[str, Any]:
        return self.current_parameters


_ANYTHING = ColumnType()


def validated(mapper: orm.Mapper[Any], columns: dict[str, Values], positions: Sequence[int]) -> dict[str, Values]:
    """The columns as the methods return them, with further attributes that they set.

    A method gets an instance that has the attributes of its row, in the order of the columns, up to its own.

    Args:
        mapper: of the model.
        columns: the values, by the names of attributes.
        positions: of the rows in the input.

    Raises:
        Misfits: a method raised errors.
    """
    methods: dict[str, Any] = {name: method for name, (method, _) in mapper.validators.items() if name in columns}
    if not methods:
        return columns
    columns = {name: typed(values, _ANYTHING, name, positions)[0] for name, values in columns.items()}
    made: dict[str, Values] = {name: [] for name in columns}
    besides: dict[str, Values] = {}
    steps = [(name, methods.get(name), made[name].append) for name in columns]
    mapped = {attribute.key for attribute in mapper.column_attrs} - columns.keys()
    misfits = Misfits()
    for place, row in enumerate(zip(*columns.values(), strict=True)):
        instance = mapper.class_manager.new_instance()
        attributes = vars(instance)
        for (name, method, _), value in zip(steps, row, strict=True):
            if method is not None:
                try:
                    value = method(instance, name, value)
                except Exception as exc:  # noqa: BLE001 - told with its row
                    where = f"{mapper.class_.__name__}.{name}"
                    reason = Reason("" if is_secret(where) else f"{type(exc).__name__}: {exc}")
                    misfits.add(Misfits(where, "what its validator accepts", [Fault(positions[place], value, reason)]))
                    misfits.__cause__ = misfits.__cause__ or exc
            attributes[name] = value
        for name, _, keep in steps:  # at the end: a later method may have set it anew
            keep(attributes[name])
        if len(attributes) > len(columns) + 1:  # the state of the instance is the one more
            for name in attributes.keys() & mapped:
                besides.setdefault(name, [None] * len(positions))[place] = attributes[name]
    if misfits:
        raise misfits
    return made | besides
