"""The modules of the user's own project, as they were when they were imported."""

from __future__ import annotations

import ast
import importlib.machinery
import importlib.util
import inspect
import os
import sys
import sysconfig
import time
from pathlib import Path
from types import ModuleType

from ozelot import config
from ozelot.staleness.ast_digest import names_bound, walk

_STARTED = time.time()

_INSTALLED = tuple(
    {os.path.join(os.path.realpath(path), "") for name, path in sysconfig.get_paths().items() if "lib" in name}  # noqa: PTH118
)


class Source:
    """The source of one module.

    Args:
        name: of the module.
        text: the source.
        is_certain: whether that is what was imported; not where the file was changed since the program began.

    Attributes:
        bindings: the statements at the top of the module that give each name its value.
        imported: what an imported name stands for: a module, and the name in it, or None for the module itself.
        stars: the modules of which all names are imported.
    """

    def __init__(self, name: str, text: str, *, is_package: bool, is_certain: bool) -> None:
        self.name = name
        self.is_certain = is_certain
        self.bindings: dict[str, list[ast.stmt]] = {}
        self.imported: dict[str, tuple[str, str | None]] = {}
        self.stars: list[str] = []
        self._package = name if is_package else name.rpartition(".")[0]
        for statement in ast.parse(text).body:
            self._enter(statement)

    def _enter(self, statement: ast.stmt) -> None:
        if isinstance(statement, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            self.bindings.setdefault(statement.name, []).append(statement)
            return
        nodes = walk(statement)
        for node in nodes:
            if isinstance(node, ast.Import | ast.ImportFrom):
                self.imported.update(self.targets_of(node))
        if not isinstance(statement, ast.Import | ast.ImportFrom):
            for name in {name for node in nodes for name in names_bound(node)} - self.imported.keys():
                self.bindings.setdefault(name, []).append(statement)

    def targets_of(self, node: ast.Import | ast.ImportFrom) -> dict[str, tuple[str, str | None]]:
        """What the names stand for that an import binds."""
        if isinstance(node, ast.Import):
            return {
                alias.asname or alias.name.partition(".")[0]: (
                    alias.name if alias.asname else alias.name.partition(".")[0],
                    None,
                )
                for alias in node.names
            }
        module = node.module or ""
        if node.level:
            module = importlib.util.resolve_name("." * node.level + module, self._package)
        found: dict[str, tuple[str, str | None]] = {}
        for alias in node.names:
            if alias.name == "*":
                self.stars.append(module)
            elif _is_module(module, alias.name):
                found[alias.asname or alias.name] = f"{module}.{alias.name}", None
            else:
                found[alias.asname or alias.name] = module, alias.name
        return found


_taken: dict[str, tuple[object, Source | None]] = {}

#: When each module was seen to be imported.
_imported: dict[str, float] = {}


def look_around() -> None:
    """Take note of what has been imported by now: a file that changes later is not what runs."""
    now = time.time()
    for name in sys.modules.keys() - _imported.keys():
        _imported[name] = now


def source_of(name: str) -> Source | None:
    """The source of a module of the project; None of others, and where there is none to be had.

    Of one that is still to be imported, as a task may do when it runs, what its file says now.
    """
    module = sys.modules.get(name)
    if module is None:
        path = _file_of(name)
        return _take(name, path, None) if path is not None and is_of_project(name, path) else None
    spec = getattr(module, "__spec__", None)  # another one once it is reloaded
    if name not in _taken or _taken[name][0] is not spec:
        path = getattr(module, "__file__", None)
        _taken[name] = spec, _take(name, path, module) if is_of_project(name, path) else None
    return _taken[name][1]


def lacks_source(name: str) -> bool:
    """Whether a module is the project's own, but has no source to look at, such as one in C."""
    module = sys.modules.get(name)
    path = getattr(module, "__file__", None) if module is not None else _file_of(name)
    return is_of_project(name, path) and source_of(name) is None


def is_of_project(name: str, path: str | None) -> bool:
    """Whether a module is the user's own: it comes from a file, and was not installed."""
    if not path or name.partition(".")[0] == "ozelot":
        return False
    real = os.path.realpath(path)
    return not real.startswith(_INSTALLED) and "site-packages" not in Path(real).parts


def _file_of(name: str) -> str | None:
    """Where a module would be imported from; nothing is imported for that."""
    package = name.rpartition(".")[0]
    path = None
    if package in sys.modules:
        path = getattr(sys.modules[package], "__path__", None)
    elif package and (file := _file_of(package)) is not None and Path(file).name == "__init__.py":
        path = [str(Path(file).parent)]
    if package and path is None:
        return None
    spec = importlib.machinery.PathFinder.find_spec(name, path)
    return None if spec is None else spec.origin


def _is_module(package: str, name: str) -> bool:
    """Whether a name in a package is a module, be it one that is still to be imported."""
    found = getattr(sys.modules.get(package), name, None)
    if found is not None:
        return isinstance(found, ModuleType)
    return f"{package}.{name}" in sys.modules or _file_of(f"{package}.{name}") is not None


def _take(name: str, path: str | None, module: ModuleType | None) -> Source | None:
    try:
        file = Path(str(path))
        text = file.read_text(encoding="utf-8") if module is None else inspect.getsource(module)
        found = file.stat()
        changed = max(found.st_mtime, found.st_ctime)  # what was unpacked or copied here may have an older time
        is_package = file.name == "__init__.py" if module is None else hasattr(module, "__path__")
        when = config.project_imported if name == "project_config" else 0.0
        is_certain = module is None or changed <= (when or _imported.get(name, _STARTED))
        return Source(name, text, is_package=is_package, is_certain=is_certain)
    except (OSError, TypeError, SyntaxError, ValueError):  # a module in C, or in another encoding
        return None
