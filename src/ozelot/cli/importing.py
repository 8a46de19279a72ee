"""Importing the modules of a project, and saying in one line what is wrong with one."""

from __future__ import annotations

import importlib
import re
from types import ModuleType

from ozelot import config
from ozelot.errors import ConfigError
from ozelot.etl.asked import place


class NoSuchModule(ConfigError):
    """What names a pipeline names no module that there is."""


def import_models() -> None:
    """Import what ``MODELS`` names, and the module of the pipeline, so that all models are known.

    Raises:
        ConfigError: a module cannot be imported, or neither setting is there.
    """
    models = config.MODELS
    names = re.split(r"[\s,]+", models) if isinstance(models, str) else list(models or [])
    if config.PIPELINE:
        names.append(str(config.PIPELINE).partition(":")[0].strip())
    names = [name for name in names if name]
    if not names:
        raise unnamed("No models are named", "MODELS = 'module' (or PIPELINE = 'module:Class')")
    for name in names:
        imported(name)


def unnamed(what: str, setting: str) -> ConfigError:
    """The error for a setting that is missing; with no file that could hold it, the folder may be the wrong one."""
    if config.project_file() is None:
        here = "there is no project_config.py in this folder: call ozelot in the folder of the project"
        return ConfigError(f"{what}, and {here}, or set {setting} in one here, or add --pipeline module:Class")
    return ConfigError(f"{what}: set {setting} in project_config.py, or add --pipeline module:Class")


def imported(name: str) -> ModuleType:
    """A module of the user.

    Raises:
        ConfigError: it is not there, or fails to import; names the line of it that matters.
    """
    try:
        return importlib.import_module(name)
    except (Exception, SystemExit) as exc:  # whatever a user's module may raise
        missing = getattr(exc, "name", None) if isinstance(exc, ModuleNotFoundError) else None
        if missing and f"{name}.".startswith(f"{missing}."):
            raise NoSuchModule(
                f"No module '{name}' in this folder or on the path: call ozelot in the folder of the project"
            ) from None
        told = next(iter(str(exc).splitlines()), "")
        if isinstance(exc, SyntaxError):
            where, told = f"{exc.filename}, line {exc.lineno}", exc.msg
        else:
            file, line = place(exc)
            where = f"{file}, line {line}"
        raise ConfigError(f"Cannot import {name}: {where}: {type(exc).__name__}: {told}") from exc
