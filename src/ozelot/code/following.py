"""From a class to all that it calls in the user's own project.

Names are followed through the source: functions, classes and their bases, constants, across modules. What comes from
installed packages does not count, nor do other tasks with markers: they are told apart. What the source does not tell
(a name that is made up while the program runs) is said.
"""

from __future__ import annotations

import ast
import sys
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from ozelot.code.form import digest, names_bound
from ozelot.code.sources import Source, source_of
from ozelot.etl.declared import task_classes
from ozelot.orm.base import Base

#: Attributes of a task that say when and where it runs, not what it makes.
_NOT_WHAT_IT_MAKES = {
    "batchable",
    "code_version",
    "diagram_style",
    "disable_hard_timeout",
    "disable_window",
    "owner_email",
    "priority",
    "resources",
    "retry_count",
    "retry_seconds",
    "strict_writes",
    "worker_timeout",
}

#: What is reached by these, only the running program knows.
_DYNAMIC = {"eval", "exec", "globals", "__import__", "import_module"}


@dataclass(frozen=True)
class Code:
    """What a class is made of.

    Attributes:
        parts: the digest of each piece, by its name: ``shop.pipeline.parse_price``.
        not_followed: what the source does not tell, in words.
    """

    parts: dict[str, str] = field(default_factory=dict)
    not_followed: list[str] = field(default_factory=list)


def code_of(cls: type) -> Code:
    """All that a class calls in the user's own project, the class itself and its bases included."""
    version = getattr(cls, "code_version", None)
    if version is not None:
        return Code({f"{cls.__module__}.{cls.__qualname__}.code_version": digest(ast.Constant(str(version)))})
    found = _Following()
    for base in cls.__mro__:
        if source_of(base.__module__) is not None:
            found.follow_class(base)
    found.run()
    return Code(dict(sorted(found.parts.items())), sorted(found.not_followed))


class _Following:
    def __init__(self) -> None:
        self.parts: dict[str, str] = {}
        self.not_followed: set[str] = set()
        self._seen: set[tuple[str, str]] = set()
        self._waiting: deque[tuple[str, str]] = deque()
        self._own: set[type] = set()

    def follow_class(self, cls: type) -> None:
        """Reach a class that is part of what is asked about."""
        self._own.add(cls)
        if "<locals>" in cls.__qualname__:
            self.not_followed.add(f"{cls.__module__}.{cls.__qualname__} is defined inside a function")
        self._reach(cls.__module__, cls.__qualname__.partition(".")[0])

    def run(self) -> None:
        """Follow all that was reached, and what that reaches."""
        while self._waiting:
            module, name = self._waiting.popleft()
            source = source_of(module)
            if source is None:
                continue
            if name in source.bindings:
                if _object(module, name) in task_classes and _object(module, name) not in self._own:
                    continue
                if not source.is_certain:
                    self.not_followed.add(f"{module} was changed since the program began")
                for statement in source.bindings[name]:
                    self._take(source, name, statement)
            elif name in source.imported:
                target, inner = source.imported[name]
                if inner is not None:
                    self._reach(target, inner)
            else:
                for star in source.stars:
                    self._reach(star, name)

    def _reach(self, module: str, name: str) -> None:
        if (module, name) not in self._seen:
            self._seen.add((module, name))
            self._waiting.append((module, name))

    def _take(self, source: Source, name: str, statement: ast.stmt) -> None:
        label = f"{source.name}.{name}"
        if isinstance(statement, ast.ClassDef):
            for part, nodes in _parts_of(statement, _is_model(source.name, name)):
                self._add(f"{label}.{part}" if part else label, *nodes)
        else:
            self._add(label, statement)
        self._follow(source, label, statement)

    def _add(self, label: str, *nodes: ast.AST) -> None:
        known = self.parts.get(label)
        made = digest(*nodes)
        self.parts[label] = made if known is None else digest(ast.Constant(known), ast.Constant(made))

    def _follow(self, source: Source, label: str, statement: ast.stmt) -> None:
        """Reach what a piece of code names."""
        imported = dict(source.imported)
        for node in ast.walk(statement):
            if isinstance(node, ast.Import | ast.ImportFrom):
                imported |= source.targets_of(node)
        for node, local in _with_locals(statement, frozenset()):
            if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Load) and node.id not in local:
                target = imported.get(node.id)
                if target is None or target == source.imported.get(node.id):
                    self._reach(source.name, node.id)
                elif target[1] is not None:
                    self._reach(target[0], target[1])
            elif isinstance(node, ast.Attribute):
                self._follow_attribute(node, imported)
            elif isinstance(node, ast.Call) and (what := _dynamic(node)):
                self.not_followed.add(f"{what} in {label}")

    def _follow_attribute(self, node: ast.Attribute, imported: dict[str, tuple[str, str | None]]) -> None:
        names = [node.attr]
        value = node.value
        while isinstance(value, ast.Attribute):
            names.append(value.attr)
            value = value.value
        if not isinstance(value, ast.Name) or value.id not in imported:
            return
        module, inner = imported[value.id]
        if inner is not None:
            return
        for name in reversed(names):
            if f"{module}.{name}" in sys.modules:
                module = f"{module}.{name}"
            else:
                self._reach("project_config" if module == "ozelot.config" else module, name)
                return


def _parts_of(cls: ast.ClassDef, is_model: bool) -> Iterator[tuple[str, list[ast.AST]]]:
    """The pieces of a class: itself, and each method."""
    rest: list[ast.stmt] = []
    for statement in cls.body:
        if isinstance(statement, ast.FunctionDef | ast.AsyncFunctionDef):
            yield statement.name, [statement]
        elif is_model and isinstance(statement, ast.Assign | ast.AnnAssign):
            continue  # columns are part of the schema
        elif not {n for node in ast.walk(statement) for n in names_bound(node)} & _NOT_WHAT_IT_MAKES:
            rest.append(statement)
    yield "", [*cls.bases, *cls.keywords, *cls.decorator_list, *rest]


def _is_model(module: str, name: str) -> bool:
    found = _object(module, name)
    return isinstance(found, type) and issubclass(found, Base)


def _object(module: str, name: str) -> Any:
    """What a name stands for now; None where that could not be looked up in a table."""
    found = getattr(sys.modules.get(module), name, None)
    return found if isinstance(found, type) else None


def _dynamic(call: ast.Call) -> str | None:
    name = getattr(call.func, "id", getattr(call.func, "attr", ""))
    if name == "getattr" and len(call.args) > 1 and not isinstance(call.args[1], ast.Constant):
        return "getattr() of a name that is made up"
    return f"{name}()" if name in _DYNAMIC else None


def _with_locals(node: ast.AST, local: frozenset[str]) -> Iterator[tuple[ast.AST, frozenset[str]]]:
    """All nodes inside one, each with the names that are local where it is."""
    if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda):
        own = {
            name
            for each in ast.walk(node)
            if not isinstance(each, ast.Import | ast.ImportFrom)
            for name in names_bound(each)
        }
        own |= {each.arg for each in ast.walk(node.args) if isinstance(each, ast.arg)}
        inner = local | (own - {name for each in ast.walk(node) if isinstance(each, ast.Global) for name in each.names})
    else:
        inner = local
    for child in ast.iter_child_nodes(node):
        yield child, inner
        yield from _with_locals(child, inner)
