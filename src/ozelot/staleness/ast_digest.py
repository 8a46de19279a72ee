"""The form of a piece of code: what it says, whatever it looks like.

Two pieces have the same form where Python cannot tell them apart: comments, docstrings, layout, the names of local
variables and annotations that nothing reads do not count. The form is a text of our own with the length of each part in
it, so that no two different pieces look alike, and no version of Python changes it.
"""

from __future__ import annotations

import ast
import hashlib
from collections.abc import Collection, Iterator, Mapping

# Tuples, as they are asked about for every node: to look at a union takes three times as long.
_NAMED = (ast.ExceptHandler, ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef, ast.MatchAs, ast.MatchStar)
_IMPORTS = (ast.Import, ast.ImportFrom)
_FUNCTIONS = (ast.FunctionDef, ast.AsyncFunctionDef, ast.Lambda)
_Function = ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda

#: What Python's own parser adds for its own purposes.
_SKIPPED = {"ctx", "kind", "type_comment", "type_ignores"}

#: Functions that look at local names.
_LOOK_AT_NAMES = {"locals", "vars", "eval", "exec", "dir"}


def digest(*nodes: ast.AST) -> str:
    """The form of pieces of code, one after another, as SHA-256 in hexadecimal."""
    taken = hashlib.sha256()
    for node in nodes:
        taken.update(b"".join(_Form().parts(node)))
    return taken.hexdigest()


def _sized(tag: str, text: str) -> bytes:
    data = text.encode("utf-8", "surrogatepass")
    return f"{tag}{len(data)}:".encode() + data


class _Form:
    """The form of one piece of code; knows which names are local where it is."""

    def __init__(self) -> None:
        self._names: Mapping[str, str] = {}  # what local variables are called instead

    def parts(self, value: object) -> Iterator[bytes]:
        """The form of a node, of a list of them, or of what a node holds."""
        if isinstance(value, ast.AST):
            yield from self._node(value)
        elif isinstance(value, list):
            yield f"l{len(value)}:".encode()
            for each in value:
                yield from self.parts(each)
        elif isinstance(value, str):
            yield _sized("s", value)
        elif isinstance(value, bytes):
            yield f"b{len(value)}:".encode() + value
        else:
            yield _sized(f"{type(value).__name__} ", repr(value))

    def _node(self, node: ast.AST) -> Iterator[bytes]:
        outer = self._names
        if isinstance(node, _FUNCTIONS) and not outer:
            self._names = _placeholders(node)
        fields = [(name, value) for name, value in self._fields(node) if value is not None and value != []]
        yield _sized("n", type(node).__name__) + f"{len(fields)}:".encode()
        for name, value in fields:
            yield _sized("f", name)
            yield from self.parts(value)
        self._names = outer

    def _fields(self, node: ast.AST) -> Iterator[tuple[str, object]]:
        plain = isinstance(node, _FUNCTIONS[:2]) and not node.decorator_list
        for name in node._fields:
            if name in _SKIPPED or (plain and name == "returns"):
                continue
            value = getattr(node, name, None)
            if name == "body" and isinstance(value, list):
                value = [each for each in value if not _does_nothing(each)]
            elif plain and isinstance(value, ast.arguments):
                value = _without_annotations(value)
            elif isinstance(value, str) and _is_name(node, name):
                value = self._names.get(value, value)
            yield name, value


def _is_name(node: ast.AST, field: str) -> bool:
    return (isinstance(node, ast.Name) and field == "id") or (isinstance(node, ast.ExceptHandler) and field == "name")


def _does_nothing(statement: ast.AST) -> bool:
    """Docstrings, ``...`` and ``pass``."""
    return isinstance(statement, ast.Pass) or (
        isinstance(statement, ast.Expr) and isinstance(statement.value, ast.Constant)
    )


def _without_annotations(arguments: ast.arguments) -> ast.arguments:
    def bare(argument: ast.arg | None) -> ast.arg | None:
        return None if argument is None else ast.arg(argument.arg)

    return ast.arguments(
        posonlyargs=[ast.arg(each.arg) for each in arguments.posonlyargs],
        args=[ast.arg(each.arg) for each in arguments.args],
        vararg=bare(arguments.vararg),
        kwonlyargs=[ast.arg(each.arg) for each in arguments.kwonlyargs],
        kw_defaults=arguments.kw_defaults,
        kwarg=bare(arguments.kwarg),
        defaults=arguments.defaults,
    )


def _placeholders(function: _Function) -> dict[str, str]:
    """Names for the local variables of a function, in the order in which they turn up; not for its parameters.

    None where the function may look at its own names, and none for a name that is anything else somewhere in it.
    """
    seen = _Scopes()
    seen.walk(function, ())
    if seen.called & _LOOK_AT_NAMES:
        return {}
    local = [name for name in seen.bound if name not in seen.fixed]
    return {name: f"<{place}>" for place, name in enumerate(local)}


class _Scopes:
    """Which names a function binds, and which of its names are not its own to change."""

    def __init__(self) -> None:
        self.bound: dict[str, None] = {}
        self.fixed: set[str] = set()
        self.called: set[str] = set()

    def walk(self, function: ast.AST, around: tuple[Collection[str], ...]) -> None:
        """Look at a function (or a comprehension) inside those whose names are given."""
        nodes = _inside(function)
        parameters = set(_parameters(function))
        self.fixed |= parameters
        scopes = (*around, parameters.union(*map(names_bound, nodes)))
        for node in nodes:
            if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Load):
                if not any(node.id in scope for scope in scopes):
                    self.fixed.add(node.id)  # it is global here
            elif isinstance(node, ast.Global | ast.Nonlocal):
                self.fixed.update(node.names)
            elif isinstance(node, ast.Name | ast.ExceptHandler):
                self.bound.update(dict.fromkeys(names_bound(node)))
            else:
                self.fixed.update(names_bound(node))
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Name):
                self.called.add(node.func.id)
            if isinstance(node, _SCOPES):
                self.walk(node, scopes)


_SCOPES = (*_FUNCTIONS, ast.ListComp, ast.SetComp, ast.DictComp, ast.GeneratorExp, ast.ClassDef)


def _inside(scope: ast.AST) -> list[ast.AST]:
    """All nodes of a scope, those of scopes in it left out, but not they themselves."""
    found = []
    stack = children(scope)[::-1]
    while stack:
        node = stack.pop()
        found.append(node)
        if not isinstance(node, _SCOPES):
            stack += children(node)[::-1]
    return found


def children(node: ast.AST) -> list[ast.AST]:
    """The nodes right below one; in half the time that :mod:`ast` takes, and most of all time goes here."""
    found = []
    for name in node._fields:
        if name in _SKIPPED:
            continue
        value = getattr(node, name, None)
        if value.__class__ is list:
            found += [each for each in value if isinstance(each, ast.AST)]
        elif isinstance(value, ast.AST):
            found.append(value)
    return found


def walk(node: ast.AST) -> list[ast.AST]:
    """A node and all below it."""
    found = [node]
    for each in found:
        found += children(each)
    return found


def names_bound(node: ast.AST) -> Collection[str]:
    """The names to which a node (and nothing inside it) gives a value."""
    if isinstance(node, ast.Name):
        return () if isinstance(node.ctx, ast.Load) else (node.id,)
    if isinstance(node, _IMPORTS):
        return [(alias.asname or alias.name).partition(".")[0] for alias in node.names]
    if isinstance(node, ast.MatchMapping):
        return [node.rest] if node.rest else ()
    name = node.name if isinstance(node, _NAMED) else None
    return (name,) if name else ()


def _parameters(scope: ast.AST) -> Iterator[str]:
    if isinstance(scope, _FUNCTIONS):
        arguments = scope.args
        every = [*arguments.posonlyargs, *arguments.args, *arguments.kwonlyargs, arguments.vararg, arguments.kwarg]
        yield from (each.arg for each in every if each is not None)
