"""Data models of many shapes, made from numbers: the ground that everything else stands on.

A shape is a description, and costs nothing. Only :func:`defined` makes classes and tables of it, and takes them away at
its end, so that no other test meets them.
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any, cast

import sqlalchemy as sa
from sqlalchemy.orm import mapped_column, relationship

from ozelot.orm.base import Base, model_registry
from ozelot.orm.run import TaskOwned

#: Each shape has one of these for certain, and the others by chance.
FEATURES = ("itself", "joined", "circle", "composite", "diamond", "association", "rules", "two paths")


@dataclass(frozen=True)
class Key:
    """A foreign key: its column (``<column>_half`` is the second one, to a composite key), and what it refers to."""

    column: str
    target: str
    nullable: bool = True
    rule: str | None = None


@dataclass(frozen=True)
class Model:
    """A model: its name (also that of its table), and what is special about it."""

    name: str
    keys: tuple[Key, ...] = ()
    owned: bool = False  # its rows know their run
    base: str | None = None  # joined inheritance
    kinds: bool = False  # with a discriminator for those that derive from it
    composite: bool = False  # a primary key of two columns

    @property
    def value(self) -> str:
        """A nullable column that nobody needs."""
        return "value" if self.base is None else f"extra_{self.name[-1]}"


@dataclass(frozen=True)
class Shape:
    """Models, those that are referred to by keys that are not nullable first, and association tables."""

    number: int
    models: dict[str, Model]
    links: dict[str, tuple[str, str]]

    def chain(self, model: str) -> list[str]:
        """The tables that hold a row of a model."""
        base = self.models[model].base
        return [model] if base is None else [model, *self.chain(base)]

    def root(self, model: str) -> str:
        """The table that holds its name."""
        return self.chain(model)[-1]

    def is_owned(self, model: str) -> bool:
        """Whether its rows know their run, by its own table or by that of its base."""
        return any(self.models[name].owned for name in self.chain(model))

    def keys(self, model: str) -> list[Key]:
        """The foreign keys of all tables of a model."""
        return [key for name in reversed(self.chain(model)) for key in self.models[name].keys]

    def is_a(self, model: str, other: str) -> bool:
        """Whether each row of a model has a row in the table of the other."""
        return other in self.chain(model)

    def dropped_with(self, model: str) -> set[str]:
        """The models whose tables refer to the table of a model, directly or through others, and that model."""
        found = {model}
        while True:
            more = {
                name
                for name, other in self.models.items()
                if other.base in found or any(key.target in found for key in other.keys)
            }
            if more <= found:
                return found
            found |= more

    def updatable(self) -> list[tuple[str, str]]:
        """Columns that a task may fill in rows of others, with the model whose table has them."""
        found = [(model.name, model.value) for model in self.models.values()]
        for model in self.models.values():
            found += [(model.name, k.column) for k in model.keys if k.nullable and not self.models[k.target].composite]
        return found


def shape(number: int) -> Shape:
    """The shape of that number, always the same."""
    chance = random.Random(number)
    feature = FEATURES[number % len(FEATURES)]

    def has(other: str, probability: float) -> bool:
        return feature == other or chance.random() < probability

    names = [f"s{number}{letter}" for letter in "abcde"[: chance.randint(3, 5)]]
    first, second, last = names[0], names[1], names[-1]
    models: dict[str, Model] = {}
    for position, name in enumerate(names):
        composite = position == 0 and has("composite", 0.1)
        models[name] = Model(name, owned=chance.random() < 0.5, composite=composite)

    def refer(name: str, target: str, *, nullable: bool) -> None:
        rules = [None, "CASCADE", "RESTRICT", *(["SET NULL"] if nullable and not models[target].composite else [])]
        rule = chance.choice(rules) if has("rules", 0.3) else None
        keys = models[name].keys
        models[name] = replace(models[name], keys=(*keys, Key(f"{name[-1]}_ref{len(keys)}", target, nullable, rule)))

    if has("joined", 0.4) and not models[first].composite:
        variant = chance.choice(["no", "base", "derived"])
        models[first] = replace(models[first], owned=variant == "base", kinds=chance.random() < 0.5)
        models[second] = replace(models[second], owned=variant == "derived", base=first)
        if len(names) > 3 and chance.random() < 0.5:  # a third level
            models[names[2]] = replace(models[names[2]], owned=False, base=second)
    for position, name in enumerate(names[1:], 1):
        for _ in range(chance.randint(0 if models[name].base else 1, 2)):
            refer(name, chance.choice(names[:position]), nullable=chance.random() < 0.5)
    if has("two paths", 0.2):
        refer(last, first, nullable=False)
        refer(last, first, nullable=chance.random() < 0.5)
    if has("diamond", 0.2):
        for name, target in ((second, first), (names[2], first), (last, second), (last, names[2])):
            if name != target and models[name].base is None:
                refer(name, target, nullable=False)
    if has("itself", 0.2):
        name = chance.choice([name for name in names if not models[name].composite])
        refer(name, name, nullable=True)
    if has("circle", 0.2):
        refer(first, last, nullable=True)
    links = {}
    if has("association", 0.2):
        pairs = [(one, other) for one in names for other in names if one < other]
        pairs = [pair for pair in pairs if not any(models[name].composite for name in pair)]
        for pair in chance.sample(pairs, min(len(pairs), chance.randint(1, 2))):
            links[f"s{number}{pair[0][-1]}{pair[1][-1]}"] = pair
    return Shape(number, models, links)


@contextmanager
def defined(found: Shape) -> Iterator[dict[str, Any]]:
    """The classes of a shape by name, and its association tables, until the block ends."""
    classes: dict[str, Any] = {}
    for name, (left, right) in found.links.items():
        pairs = zip(SIDES, (left, right), strict=True)
        ends: list[sa.Column[Any]] = [
            sa.Column(side, sa.ForeignKey(f"{end}.id"), primary_key=True) for side, end in pairs
        ]
        classes[name] = sa.Table(name, Base.metadata, *ends)
    position = {name: number for number, name in enumerate(found.models)}
    for name, model in found.models.items():
        late = {key.column for key in model.keys if position[key.target] > position[name]}
        classes[name] = _define(found, model, late, classes)
    for name, (left, right) in found.links.items():
        _associate(classes[name], classes[left], classes[right])
    sa.orm.configure_mappers()
    try:
        yield classes
    finally:
        for name in reversed(classes):
            if name in found.models:
                _forget(classes[name])
            Base.metadata.remove(Base.metadata.tables[name])


def _forget(model: type[Base]) -> None:
    # SQLAlchemy offers to dispose of all models of a registry only, and these are to go alone.
    del model_registry[model.__name__]
    manager = sa.orm.attributes.manager_of_class(model)
    Base.registry._dispose_manager_and_mapper(manager)
    Base.registry._managers.pop(manager)


#: The columns of association tables.
SIDES = ("left_id", "right_id")


def _define(found: Shape, model: Model, late: set[str], classes: dict[str, Any]) -> Any:
    columns: dict[str, Any] = {model.value: mapped_column(sa.Integer, nullable=True)}
    args: list[Any] = []
    mapper: dict[str, Any] = {}
    if model.base is not None:
        columns["id"] = mapped_column(sa.ForeignKey(f"{model.base}.id"), primary_key=True)
    else:
        columns["name"] = mapped_column(sa.String(60), nullable=False)
    if model.kinds:
        columns["kind"] = mapped_column(sa.String(20))
        mapper["polymorphic_on"] = "kind"
    if found.models[found.root(model.name)].kinds:
        mapper["polymorphic_identity"] = model.name
    if model.composite:
        columns["id"] = mapped_column(sa.Integer, primary_key=True, autoincrement=False)
        columns["half"] = mapped_column(sa.Integer, primary_key=True, autoincrement=False)
    for key in model.keys:
        given: dict[str, Any] = {"name": f"fk_{model.name}_{key.column}", "ondelete": key.rule}
        given["use_alter"] = key.column in late
        own, other = [key.column], [f"{key.target}.id"]
        if found.models[key.target].composite:
            own, other = [key.column, f"{key.column}_half"], [f"{key.target}.id", f"{key.target}.half"]
        for column in own:
            columns[column] = mapped_column(sa.Integer, nullable=key.nullable)
        args.append(sa.ForeignKeyConstraint(own, other, **given))
    # Ids that are not used again tell a reference to nothing from one to a row that came later.
    options = {"sqlite_autoincrement": True} if model.base is None and not model.composite else {}
    bases = (TaskOwned,) if model.owned else ()
    columns |= {"__tablename__": model.name, "__table_args__": (*args, options), "__mapper_args__": mapper}
    if model.base is not None:  # there may be other keys to the base
        mapper["inherit_condition"] = columns["id"].column == classes[model.base].__table__.c.id
    return cast(Any, type(model.name.upper(), (*bases, classes[model.base] if model.base else Base), columns))


def _associate(table: sa.Table, left: Any, right: Any) -> None:
    ends = [table.c[side] == end.__table__.c.id for side, end in zip(SIDES, (left, right), strict=True)]
    found = relationship(right, secondary=table, primaryjoin=ends[0], secondaryjoin=ends[1], viewonly=True)
    setattr(left, table.name, found)
