"""Settings, and where they come from.

A setting is looked up when it is first needed, never at import: what the program assigned
(``config.DATABASE_URL = ...``) comes before the environment (``OZELOT_DATABASE_URL``), that before a module
``project_config`` on the path, that before the default. ``config.NAME`` also gives any other upper-case name
that ``project_config.py`` defines.

========================  ==========================================  ==============================
setting                   meaning                                     default
========================  ==========================================  ==============================
``DATABASE_URL``          SQLAlchemy URL of the database              ``sqlite:///ozelot.db``
``DEFAULT_DB_PARAMS``     the same as a dictionary, see below         none
``LOG_LEVEL``             level of the ``ozelot`` logger              ``INFO``
``REQUEST_CACHE_PATH``    file of the web request cache               ``ozelot_web_cache.db``
``OFFLINE``               nobody on the web is asked                  False
``USER_AGENT``            what to call oneself on the web             the pipeline, and ozelot
``DOT_EXECUTABLE``        the ``dot`` program of Graphviz             looked for on the ``PATH``
``STRICT_WRITES``         undeclared writes of tasks are errors       True
``PIPELINE``              ``module:Class``, the root for ``ozelot``   none
``MODELS``                modules that hold models for ``ozelot``     what the pipeline imports
``CODE_PACKAGES``         packages whose version is part of the code  none
========================  ==========================================  ==============================

``DEFAULT_DB_PARAMS`` has the keys ``driver``, ``host``, ``port``, ``user``, ``password`` and ``database``, all
but ``driver`` and ``database`` optional. ``'password': None`` asks the keyring, ``''`` means none.
"""

from __future__ import annotations

import difflib
import importlib
import importlib.util
import logging
import os
import re
import sys
import threading
import time
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any

from ozelot.errors import ConfigError

if TYPE_CHECKING:
    from sqlalchemy import URL

    logger: logging.Logger
    logger_handler: logging.Handler
    logger_formatter: logging.Formatter

#: A template for ``DEFAULT_DB_PARAMS``.
TEMPLATE_DB_PARAMS: dict[str, Any] = {
    "driver": "postgresql+psycopg",
    "host": "my.server.com",
    "port": 5432,
    "user": "myuser",
    "password": None,
    "database": "mydb",
}

_DEFAULTS: dict[str, Any] = {
    "DATABASE_URL": "sqlite:///ozelot.db",
    "DEFAULT_DB_PARAMS": None,
    "LOG_LEVEL": logging.INFO,
    "REQUEST_CACHE_PATH": "ozelot_web_cache.db",
    "OFFLINE": False,
    "USER_AGENT": None,
    "DOT_EXECUTABLE": None,
    "STRICT_WRITES": True,
    "PIPELINE": None,
    "MODELS": None,
    "CODE_PACKAGES": None,
}

#: What ozelot itself reads: where things are, and how they run, not what tasks make.
OWN_SETTINGS = frozenset(_DEFAULTS)

#: How alike a name and a setting are, from 0 to 1, where one is a slip of the other.
_CLOSE = 0.88

#: Settings that are text, and so can come from the environment.
_FROM_ENVIRONMENT = frozenset(_DEFAULTS) - {"DEFAULT_DB_PARAMS"}


def __getattr__(name: str) -> Any:
    # Only names that the module does not hold come here: what a program assigned wins by itself.
    if name == "logger":
        show_logs()
        return logging.getLogger("ozelot")
    if name in ("logger_handler", "logger_formatter"):
        show_logs()
        return _handler if name == "logger_handler" else _handler.formatter
    if not name.isupper():
        raise AttributeError(f"module 'ozelot.config' has no attribute '{name}'")
    if name in _FROM_ENVIRONMENT and (value := os.environ.get(f"OZELOT_{name}")):
        return value
    project = _project_config()
    if project is not None and hasattr(project, name):
        return getattr(project, name)
    if name in _DEFAULTS:
        return _DEFAULTS[name]
    where = f"define it in {project.__file__}" if project else "there is no project_config.py on the path"
    raise AttributeError(f"No setting '{name}': {where}")


#: When ``project_config`` was imported by way of this module, in seconds since 1970.
project_imported = 0.0


def _project_config() -> ModuleType | None:
    if "project_config" in sys.modules:
        return sys.modules["project_config"]
    spec = importlib.util.find_spec("project_config")
    if spec is None:
        return None
    if spec.origin is None:
        folder = next(iter(spec.submodule_search_locations or ["project_config"]))
        raise ConfigError(f"{folder} is a folder, but ozelot looks for a file project_config.py: rename the folder")
    try:
        global project_imported
        project_imported = time.time()
        return importlib.import_module("project_config")
    except (Exception, SystemExit) as exc:  # noqa: BLE001 - whatever a user's file may raise; the cause is kept
        line = _last_line_in(spec.origin, exc)
        told = next(iter(str(exc).splitlines()), "")
        if isinstance(exc, SyntaxError):
            told, exc.text = exc.msg, None
        # A traceback would show lines of the file, and so maybe a password; the one that matters is named.
        raise ConfigError(f"Cannot read {spec.origin}{line}: {type(exc).__name__}: {told}") from exc.with_traceback(
            None
        )


def _last_line_in(path: str, exc: BaseException) -> str:
    if isinstance(exc, SyntaxError):
        return f" (line {exc.lineno})" if exc.filename == path else ""
    line, trace = 0, exc.__traceback__
    while trace is not None:
        if trace.tb_frame.f_code.co_filename == path:
            line = trace.tb_lineno
        trace = trace.tb_next
    return f" (line {line})" if line else ""


def project_file() -> str | None:
    """The path of ``project_config.py``; None where there is none on the Python path."""
    project = _project_config()
    return None if project is None else project.__file__


def misspelled() -> dict[str, str]:
    """Names of ``project_config.py`` that nothing in its folder uses, and the setting that each was probably to be."""
    project = _project_config()
    if project is None or project.__file__ is None:
        return {}
    found = {}
    for name in vars(project):
        if name.isupper() and name not in OWN_SETTINGS:
            near = difflib.get_close_matches(name, OWN_SETTINGS, n=1, cutoff=_CLOSE)
            if near and not hasattr(project, near[0]):
                found[name] = near[0]
    return {name: near for name, near in found.items() if _uses(Path(project.__file__).parent, name) < 2}


def _uses(folder: Path, name: str) -> int:
    """How often a word is in the Python files of a folder, its definition included."""
    number = 0
    for parent, folders, files in os.walk(folder):
        folders[:] = [inner for inner in folders if not inner.startswith(".") and inner != "site-packages"]
        for file in files:
            if file.endswith(".py"):
                text = Path(parent, file).read_text(encoding="utf-8", errors="replace")
                number += len(re.findall(rf"\b{name}\b", text))
    return number


def database() -> str | URL | dict[str, Any]:
    """The configured database: a URL or a dictionary of parameters.

    What the program assigned comes before the environment, and that before ``project_config.py``. Where one of them
    holds both, the program's ``DATABASE_URL`` counts, but the file's ``DEFAULT_DB_PARAMS``, as in 0.2.
    """
    url, params = globals().get("DATABASE_URL"), globals().get("DEFAULT_DB_PARAMS")
    if not url and params is None:
        url = os.environ.get("OZELOT_DATABASE_URL")
    if not url and params is None:
        params = __getattr__("DEFAULT_DB_PARAMS")
    if url or params is None:
        found: str | URL = url or __getattr__("DATABASE_URL")
        return found
    if not isinstance(params, dict):
        raise ConfigError("DEFAULT_DB_PARAMS must be a dictionary with 'driver' and 'database'")
    return params


def flag(name: str) -> bool:
    """A setting that is on or off, also as text from the environment.

    Raises:
        ConfigError: it is neither.
    """
    value = getattr(sys.modules[__name__], name)
    found = {"1": True, "true": True, "yes": True, "on": True, "0": False, "false": False, "no": False, "off": False}
    if (text := str(value).lower()) not in found:
        raise ConfigError(f"{name} is {value!r}: use True or False")
    return found[text]


_showing = threading.Lock()
_is_shown = False


class _TerminalHandler(logging.StreamHandler[Any]):
    """Writes to the stderr of the moment, and falls silent once the application configures logging itself."""

    def emit(self, record: logging.LogRecord) -> None:
        if logging.getLogger().handlers or logging.getLogger("ozelot").handlers != [self]:
            return
        self.stream = sys.stderr
        super().emit(record)


_handler = _TerminalHandler()
# The name is spelled out: lines look as in 0.2, although each module has a logger of its own.
_handler.setFormatter(logging.Formatter("%(asctime)s - ozelot - %(levelname)s - %(message)s"))


def show_logs() -> None:
    """Show ozelot's log lines in scripts and shells; does nothing where logging is configured already.

    Called by what a user calls first (a client, the request cache, a completion check), never at import. A handler that
    the program removes is not added again.
    """
    global _is_shown
    root = logging.getLogger("ozelot")
    if _is_shown or root.hasHandlers():
        return
    level = sys.modules[__name__].LOG_LEVEL
    try:
        number = logging.getLevelNamesMapping()[str(level).upper()] if not str(level).isdecimal() else int(level)
    except KeyError:
        raise ConfigError(f"LOG_LEVEL is {level!r}: use DEBUG, INFO, WARNING, ERROR or a number") from None
    with _showing:
        if root.handlers:
            return  # another thread was first
        if root.level == logging.NOTSET:
            root.setLevel(number)
        root.addHandler(_handler)
        _is_shown = True
