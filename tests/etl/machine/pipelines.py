"""Task graphs over the models of a shape, drawn by Hypothesis, and what tasks write."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Any

from hypothesis import strategies as st

from tests.etl.machine.shapes import Shape


@dataclass(frozen=True)
class Node:
    """A task, as the oracle sees it."""

    name: str
    part: int
    creates: tuple[str, ...] = ()
    updates: tuple[tuple[str, str], ...] = ()  # table and column
    requires: tuple[str, ...] = ()  # labels
    asks: tuple[str, ...] = ()  # labels of what it requires only while it runs
    salt: int = 0  # decides what it writes
    strays: bool = False  # refers to rows of tasks that it does not require, too
    way: str = "orm"

    def __repr__(self) -> str:
        given = [(item.name, getattr(self, item.name)) for item in fields(self)[1:]]
        return f"{self.name}({', '.join(f'{name}={value!r}' for name, value in given if value)})"

    @property
    def label(self) -> str:
        return f"{self.name} {{'part': '{self.part}'}}"

    @property
    def bundles(self) -> bool:
        return self.name.startswith("Bundle")


@dataclass(frozen=True)
class Pipeline:
    """Tasks by label, requirements first, and the shape of what they fill."""

    shape: Shape
    nodes: dict[str, Node]

    def __repr__(self) -> str:
        models = [f"{model}" for model in self.shape.models.values()]
        return "\n".join(["", *models, repr(self.shape.links), *map(repr, self.nodes.values())])

    def _repr_pretty_(self, printer: Any, _cycle: bool) -> None:
        printer.text(repr(self))

    def upstream(self, *labels: str) -> set[str]:
        """Those tasks and all that they require, directly or through others."""
        found: set[str] = set()
        new = list(labels)
        while new:
            if (label := new.pop()) not in found:
                found.add(label)
                new += self.nodes[label].requires
        return found

    def creators(self, model: str) -> set[str]:
        """The names of the classes that create rows of a model."""
        return {node.name for node in self.nodes.values() if model in node.creates}

    def updaters(self, column: tuple[str, str]) -> set[str]:
        """The names of the classes that fill a column."""
        return {node.name for node in self.nodes.values() if column in node.updates}

    @property
    def updated(self) -> set[tuple[str, str]]:
        """The columns that tasks fill in rows of others."""
        return {column for node in self.nodes.values() for column in node.updates}


@st.composite
def pipelines(draw: st.DrawFn, shape: Shape) -> Pipeline:
    """Tasks that fill the models of a shape."""
    nodes: dict[str, Node] = {}

    def often() -> bool:
        return draw(st.integers(0, 3)) < 3

    def add(creates: tuple[str, ...], updates: tuple[tuple[str, str], ...], parts: int) -> None:
        wanted = {key.target for model in creates for key in shape.keys(model)} | {table for table, _ in updates}
        earlier = list(nodes)
        name = f"Step{len({node.name for node in nodes.values()})}"
        for part in range(parts):
            needed = [
                label
                for label in earlier
                if any(shape.is_a(made, model) for made in nodes[label].creates for model in wanted) and often()
            ]
            more = draw(st.lists(st.sampled_from(earlier), max_size=1)) if earlier else []
            asks = draw(st.lists(st.sampled_from(earlier), max_size=1)) if earlier and not often() else []
            node = Node(
                name,
                part,
                creates,
                updates,
                requires=tuple(dict.fromkeys([*needed, *more])),
                asks=tuple(asks),
                salt=draw(st.integers(0, 11)),
                strays=not often(),
                way=draw(st.sampled_from(["orm", "bulk", "core", "sessions"])),
            )
            nodes[node.label] = node

    groups: list[list[str]] = []
    for model in shape.models:
        if groups and not often():
            groups[-1].append(model)
        else:
            groups.append([model])
    columns = draw(st.lists(st.sampled_from(shape.updatable()), max_size=2, unique=True))
    for group in groups:
        owned = all(shape.is_owned(model) for model in group)
        add(tuple(group), (), draw(st.integers(1, 2 if owned or not often() else 1)))
    if not often():
        add((draw(st.sampled_from(list(shape.models))),), (), 1)
    for column in columns:
        creates = draw(st.lists(st.sampled_from(list(shape.models)), max_size=1)) if not often() else []
        add(tuple(model for model in creates if column[0] not in shape.chain(model)), (column,), 1)
    if not often():
        add((), (), 1)
    for number in range(draw(st.integers(1, 2))):
        required = draw(st.lists(st.sampled_from(list(nodes)), min_size=1, max_size=4, unique=True))
        node = Node(f"Bundle{number}", 0, requires=tuple(required))
        nodes[node.label] = node
    inner = {label for node in nodes.values() for label in node.requires}
    root = Node("Bundle2", 0, requires=tuple(label for label in nodes if label not in inner))
    nodes[root.label] = root
    return Pipeline(shape, nodes)


@dataclass(frozen=True)
class Insert:
    """Write: a row, with its columns; references are names of rows."""

    model: str
    name: str
    values: dict[str, int | None]
    refs: dict[str, str | None]


@dataclass(frozen=True)
class Fill:
    """Write: a value, or a reference to a row of that name, in a row that is there."""

    table: str
    name: str
    column: str
    value: int | str


@dataclass(frozen=True)
class Link:
    """Write: a row of an association table."""

    table: str
    left: str
    right: str


Write = Insert | Fill | Link
