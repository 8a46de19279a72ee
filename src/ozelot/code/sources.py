"""The modules of the user's own project, as they were when they were imported."""

from __future__ import annotations

import ast
import importlib.util
import inspect
import os
import sys
import sysconfig
import time
from pathlib import Path
from types import ModuleType

from ozelot.code.form import names_bound

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
        imports = [node for node in ast.walk(statement) if isinstance(node, ast.Import | ast.ImportFrom)]
        if isinstance(statement, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            self.bindings.setdefault(statement.name, []).append(statement)
            return
        for node in imports:
            self.imported.update(self.targets_of(node))
        if not isinstance(statement, ast.Import | ast.ImportFrom):
            for name in {name for node in ast.walk(statement) for name in names_bound(node)} - self.imported.keys():
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
            elif f"{module}.{alias.name}" in sys.modules:
                found[alias.asname or alias.name] = f"{module}.{alias.name}", None
            else:
                found[alias.asname or alias.name] = module, alias.name
        return found


_taken: dict[str, Source | None] = {}


def source_of(name: str) -> Source | None:
    """The source of an imported module of the project; None of others, and where there is none to be had."""
    if name not in _taken:
        module = sys.modules.get(name)
        if module is None:
            return None
        _taken[name] = _take(module) if is_of_project(module) else None
    return _taken[name]


def is_of_project(module: ModuleType) -> bool:
    """Whether a module is the user's own: it comes from a file, and was not installed."""
    path = getattr(module, "__file__", None)
    if not path or module.__name__.partition(".")[0] == "ozelot":
        return False
    real = os.path.realpath(path)
    return not real.startswith(_INSTALLED) and "site-packages" not in Path(real).parts


def _take(module: ModuleType) -> Source | None:
    try:
        text = inspect.getsource(module)
        changed = Path(str(module.__file__)).stat().st_mtime
    except (OSError, TypeError, UnicodeDecodeError):
        return None
    is_package = hasattr(module, "__path__")
    return Source(module.__name__, text, is_package=is_package, is_certain=changed <= _STARTED)
