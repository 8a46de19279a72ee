"""From a class to all that it calls in the user's own project.

Names are followed through the source: functions, classes and their bases, constants, across modules. What comes from
installed packages does not count, nor do other tasks with markers: they are told apart. What the source does not tell
(a name that is made up while the program runs) is said.
"""

from __future__ import annotations

import ast
import functools
import importlib
import sys
from collections import deque
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

from ozelot import config
from ozelot.errors import ConfigError
from ozelot.model.base import Base
from ozelot.pipeline.declarations import task_classes
from ozelot.staleness.ast_digest import children, digest, names_bound, walk
from ozelot.staleness.project_modules import Source, lacks_source, look_around, source_of

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

_FUNCTIONS = (ast.FunctionDef, ast.AsyncFunctionDef, ast.Lambda)
_IMPORTS = (ast.Import, ast.ImportFrom)

#: What a model says of its table.
_COLUMNS = ast.Assign | ast.AnnAssign

#: What is reached by these, only the running program knows.
_DYNAMIC = {"eval", "exec", "globals", "__import__", "import_module"}


@dataclass(frozen=True)
class Piece:
    """A statement at the top of a module: a function, a class, a constant.

    Attributes:
        parts: the digest of each part, by its name; of a class each method is one, and ``""`` is the rest.
        uses: what the names in it stand for: the label of another piece, or what is not the project's own.
    """

    parts: dict[str, str] = field(default_factory=dict)
    uses: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Code:
    """What a class is made of.

    Attributes:
        roots: the labels of the class and its bases: ``shop.pipeline.LoadPrices``.
        pieces: all that these reach, by label.
        packages: the installed packages that are named in them.
        version: where the class says so itself, in ``code_version``; then there is nothing else.
        not_followed: what the source does not tell, in words.
        is_certain: whether all of it is as it was imported; files may have been changed since.
    """

    roots: list[str]
    pieces: dict[str, Piece]
    packages: frozenset[str] = frozenset()
    version: str | None = None
    not_followed: tuple[str, ...] = ()
    is_certain: bool = True


def code_of(cls: type) -> Code:
    """All that a class calls in the user's own project, the class itself and its bases included."""
    version = getattr(cls, "code_version", None)
    if version is not None:
        return Code([f"{cls.__module__}.{cls.__qualname__}"], {}, version=str(version))
    roots = [base for base in cls.__mro__ if source_of(base.__module__) is not None]
    labels = [f"{base.__module__}.{base.__qualname__.partition('.')[0]}" for base in roots]
    inside = [f"{base.__module__}.{base.__qualname__}" for base in roots if "<locals>" in base.__qualname__]
    waiting = deque((base.__module__, base.__qualname__.partition(".")[0]) for base in roots)
    reached = dict.fromkeys(waiting)
    followed: dict[str, _Followed] = {}
    while waiting:
        module, name = waiting.popleft()
        source = source_of(module)
        if source is None or name not in source.bindings:
            continue
        found = followed[f"{module}.{name}"] = _follow(source, name)
        for other in found.reached:
            if other not in reached:
                reached[other] = None
                waiting.append(other)
    told = {each for found in followed.values() for each in found.not_followed}
    told |= {f"{name} is defined inside a function" for name in inside}
    return Code(
        labels,
        {label: found.piece for label, found in sorted(followed.items())},
        frozenset(package for found in followed.values() for package in found.packages),
        not_followed=tuple(sorted(told)),
        is_certain=all(found.is_certain for found in followed.values()),
    )


@dataclass
class _Followed:
    """What one piece says of itself, and what it reaches in the project."""

    piece: Piece = field(default_factory=Piece)
    reached: dict[tuple[str, str], None] = field(default_factory=dict)
    packages: set[str] = field(default_factory=set)
    not_followed: set[str] = field(default_factory=set)
    is_certain: bool = True


@functools.cache
def _follow(source: Source, name: str) -> _Followed:
    following = _Following(source, name)
    for statement in source.bindings[name]:
        following.take(statement)
    return following.found


class _Following:
    """Follows the names of one piece.

    Args:
        source: the module.
        name: what the piece is called there.
    """

    def __init__(self, source: Source, name: str) -> None:
        self.source = source
        self.name = name
        self.label = f"{source.name}.{name}"
        self.found = _Followed(is_certain=source.is_certain)
        if not source.is_certain:
            self.found.not_followed.add(f"{source.name} was changed since it was imported")

    def take(self, statement: ast.stmt) -> None:
        """Follow a statement that gives the name its value."""
        is_model = _is_model(self.source.name, self.name)
        parts: Iterable[tuple[str, list[ast.AST]]] = [("", [statement])]
        if isinstance(statement, ast.ClassDef):
            parts = _parts_of(statement, is_model)
        digests = self.found.piece.parts
        for part, nodes in parts:
            made, known = digest(*nodes), digests.get(part)
            digests[part] = made if known is None else digest(ast.Constant(known), ast.Constant(made))
        schema = _nodes_of_columns(statement) if is_model else set()
        imported = dict(self.source.imported)
        for node in walk(statement):
            if isinstance(node, _IMPORTS):
                imported |= self.source.targets_of(node)
        for node, local in _with_locals(statement):
            self._take(node, local, imported, is_of_schema=node in schema)

    def _take(
        self, node: ast.AST, local: frozenset[str], imported: dict[str, tuple[str, str | None]], *, is_of_schema: bool
    ) -> None:
        name, found = "", None
        if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Load) and node.id not in local:
            name = node.id
            target = imported.get(name)
            if target is None or target == self.source.imported.get(name):
                found = self._resolve(self.source.name, name)
            else:
                found = self._module(target[0]) if target[1] is None else self._resolve(target[0], target[1])
        elif isinstance(node, ast.Attribute):
            name, found = self._attribute(node, imported)
        elif isinstance(node, ast.Call) and (what := _dynamic(node)):
            self.found.not_followed.add(f"{what} in {self.label}")
        if found is None or found == self.label:
            return
        if not is_of_schema or found.rpartition(".")[::2] in self.found.reached:
            self.found.piece.uses[name] = found

    def _resolve(self, module: str, name: str) -> str | None:
        """What a name of a module stands for, which is reached where it is the project's own; None: a builtin."""
        seen = set()
        while (module, name) not in seen:
            seen.add((module, name))
            source = _settings() if module == "ozelot.config" else source_of(module)
            if source is None or (source.name == "project_config" and name in config.OWN_SETTINGS):
                self._elsewhere(module)
                return f"{module}.{name}"
            if name in source.bindings:
                found = _object(source.name, name)
                if found in task_classes:
                    return f"task {found.get_name()}"
                self.found.reached[source.name, name] = None
                return f"{source.name}.{name}"
            if name not in source.imported:
                return self._behind_stars(source, name)
            module, inner = source.imported[name]
            if inner is None:
                return self._module(module)
            name = inner
        return None

    def _behind_stars(self, source: Source, name: str) -> str | None:
        for star in source.stars:
            if hasattr(sys.modules.get(star), name):
                return self._resolve(star, name)
        return None

    def _module(self, name: str) -> str | None:
        """How a module that is named counts: one of the project by what of it is used."""
        if source_of(name) is not None or name.startswith("ozelot."):
            return None
        self._elsewhere(name)
        return name

    def _elsewhere(self, module: str) -> None:
        """Take note of a module whose source is not to be followed."""
        self.found.packages.add(module.partition(".")[0])
        if lacks_source(module):
            self.found.not_followed.add(f"{module}, which is no Python source")

    def _attribute(self, node: ast.Attribute, imported: dict[str, tuple[str, str | None]]) -> tuple[str, str | None]:
        """What an attribute of a module of the project stands for, by the text that names it."""
        names = [node.attr]
        value = node.value
        while isinstance(value, ast.Attribute):
            names.append(value.attr)
            value = value.value
        if not isinstance(value, ast.Name) or value.id not in imported:
            return "", None
        module, inner = imported[value.id]
        if inner is not None:
            return "", None
        text = ".".join([value.id, *reversed(names)])
        for name in reversed(names):
            if f"{module}.{name}" in sys.modules:
                module = f"{module}.{name}"
            else:
                is_ours = module == "ozelot.config" or source_of(module) is not None
                return text, self._resolve(module, name) if is_ours else None
        return text, None


def _parts_of(cls: ast.ClassDef, is_model: bool) -> Iterator[tuple[str, list[ast.AST]]]:
    """The pieces of a class: itself, and each method."""
    rest: list[ast.stmt] = []
    for statement in cls.body:
        if isinstance(statement, ast.FunctionDef | ast.AsyncFunctionDef):
            yield statement.name, [statement]
        elif is_model and isinstance(statement, _COLUMNS):
            continue  # part of the schema
        elif not {n for node in walk(statement) for n in names_bound(node)} & _NOT_WHAT_IT_MAKES:
            rest.append(statement)
    yield "", [*cls.bases, *cls.keywords, *cls.decorator_list, *rest]


def _nodes_of_columns(statement: ast.stmt) -> set[ast.AST]:
    """All nodes in what a model says of its table."""
    body = getattr(statement, "body", ())
    return {node for each in body if isinstance(each, _COLUMNS) for node in walk(each)}


def _settings() -> Source | None:
    """The source of the project's settings, which are looked up by way of ``ozelot.config``."""
    with suppress(ConfigError):
        config.project_file()
    return source_of("project_config")


def _is_model(module: str, name: str) -> bool:
    found = _object(module, name)
    return isinstance(found, type) and issubclass(found, Base)


def _object(module: str, name: str) -> Any:
    """The class that a name stands for; None where it is none.

    A module that a task imports only when it runs is imported for that: what a class is must not depend on whether
    that has happened yet.
    """
    source = source_of(module)
    if source is None or not any(isinstance(each, ast.ClassDef) for each in source.bindings.get(name, ())):
        return None
    if module not in sys.modules:
        with suppress(Exception):  # it may not be made for being imported here, and then is no class of tasks
            importlib.import_module(module)
            look_around()
    found = getattr(sys.modules.get(module), name, None)
    return found if isinstance(found, type) else None


def _dynamic(call: ast.Call) -> str | None:
    name = getattr(call.func, "id", getattr(call.func, "attr", ""))
    if name == "getattr" and len(call.args) > 1 and not isinstance(call.args[1], ast.Constant):
        return "getattr() of a name that is made up"
    return f"{name}()" if name in _DYNAMIC else None


def _with_locals(statement: ast.AST) -> Iterator[tuple[ast.AST, frozenset[str]]]:
    """All nodes inside a statement, each with the names that are local where it is."""
    waiting = [(statement, frozenset[str]())]
    while waiting:
        node, local = waiting.pop()
        if isinstance(node, _FUNCTIONS):
            local |= _locals_of(node)
        for child in children(node):
            yield child, local
            waiting.append((child, local))


def _locals_of(function: ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda) -> set[str]:
    own: set[str] = set()
    others: set[str] = set()
    for node in walk(function):
        if isinstance(node, ast.Global):
            others.update(node.names)
        elif isinstance(node, ast.arg):
            own.add(node.arg)
        elif not isinstance(node, _IMPORTS):
            own.update(names_bound(node))
    return own - others


def differences(before: Code, after: Code) -> list[str]:
    """The names of the parts that differ, as they are called now; of what is no more, as it was called.

    Args:
        before: what a class was made of.
        after: what it is made of.
    """
    if before.version is not None or after.version is not None:
        return [] if before.version == after.version else [f"{after.roots[0]}.code_version"]
    found: dict[str, None] = {}
    if len(before.roots) != len(after.roots):
        found.update(dict.fromkeys(after.roots[:1]))
    waiting = deque(zip(before.roots, after.roots, strict=False))
    seen = set(waiting)
    while waiting:
        old, new = waiting.popleft()
        was, now = before.pieces.get(old), after.pieces.get(new)
        if was is None or now is None:
            if was is not now or old != new:  # what is not the project's own goes by its name
                found[new] = None
            continue
        found.update(dict.fromkeys(_differing(new, was, now)))
        for name in was.uses.keys() & now.uses.keys():
            pair = was.uses[name], now.uses[name]
            if pair not in seen:
                seen.add(pair)
                waiting.append(pair)
        if was.parts == now.parts and was.uses.keys() != now.uses.keys():
            found[new] = None  # the same text, with a name that now means something else
    return sorted(found)


def _differing(label: str, was: Piece, now: Piece) -> list[str]:
    names = [name for name in was.parts.keys() | now.parts.keys() if was.parts.get(name) != now.parts.get(name)]
    return [f"{label}.{name}" if name else label for name in names]


def as_data(code: Code) -> dict[str, object]:
    """What is to be kept of it, for JSON."""
    return {
        "version": code.version,
        "roots": code.roots,
        "pieces": {name: [piece.parts, piece.uses] for name, piece in code.pieces.items()},
    }


def from_data(data: Mapping[str, object]) -> Code:
    """What was kept of it.

    Raises:
        TypeError: it is something else.
        ValueError: likewise.
        KeyError: likewise.
    """
    version, roots, pieces = data["version"], data["roots"], data["pieces"]
    if not isinstance(roots, list) or not isinstance(pieces, dict):
        raise TypeError("neither roots nor pieces")
    kept = {str(name): Piece(dict(parts), dict(uses)) for name, (parts, uses) in pieces.items()}
    return Code(list(map(str, roots)), kept, version=None if version is None else str(version))
