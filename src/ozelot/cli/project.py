"""The project of a command: its modules, and the tasks that are named on the command line."""

from __future__ import annotations

import ast
import difflib
import importlib
import os
import re
import shlex
import sys
from collections.abc import Collection, Iterable
from types import ModuleType
from typing import Any, TypeGuard

import luigi

from ozelot import client, config
from ozelot.cli.database import is_there
from ozelot.cli.output import listed, visible
from ozelot.errors import ConfigError, TaskNotFound
from ozelot.etl.status import recorded
from ozelot.pipeline.declarations import task_of
from ozelot.pipeline.graph import walk
from ozelot.pipeline.marker_target import params_of, task_label, task_name, task_params
from ozelot.pipeline.user_code import is_of_library, place


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


_TASK = re.compile(r"\s*([^\s({]+)\s*(?:\((.*)\)|(\{.*\}))?\s*", re.DOTALL)
LIST_THEM = " List them with: ozelot status"
_PAIR = re.compile(r"\s*(\w+)\s*=\s*(.*?)\s*", re.DOTALL)


def split_task(text: str) -> tuple[str, dict[str, str]]:
    """The name and the parameters of a task, as they were typed.

    Raises:
        TaskNotFound: the text has neither form.
    """
    match = _TASK.fullmatch(text)
    if match is None:
        raise TaskNotFound(f"'{text}' is no task: write Class or Class(name=value)")
    name, arguments, printed = match.groups()
    if printed is not None:
        return name, _printed_params(text, printed)
    params = {}
    for part in _split(arguments or ""):
        pair = _PAIR.fullmatch(part)
        if pair is None:
            raise TaskNotFound(f"'{part.strip()}' in '{text}' is no parameter: write {name}(name=value)")
        params[pair[1]] = _unquoted(pair[2])
    return name, params


def _printed_params(text: str, printed: str) -> dict[str, str]:
    try:
        found = ast.literal_eval(printed)
    except (SyntaxError, ValueError):
        raise TaskNotFound(f"'{text}' is no task: write Class or Class(name=value)") from None
    return {str(name): str(value) for name, value in found.items()} if isinstance(found, dict) else {}


def _split(arguments: str) -> Iterable[str]:
    """The parts between commas, but for commas within quotes or brackets."""
    if not arguments.strip():
        return []
    parts, depth, quote = [""], 0, ""
    for char in arguments:
        if char == "," and not depth and not quote:
            parts.append("")
            continue
        parts[-1] += char
        if quote:
            quote = "" if char == quote else quote
        elif char in "'\"" and parts[-1].rstrip(char).endswith("="):
            quote = char
        else:
            depth += (char in "([{") - (char in ")]}")
    return parts


def _unquoted(value: str) -> str:
    return value[1:-1] if len(value) > 1 and value[0] == value[-1] and value[0] in "'\"" else value


def pipeline_is_named() -> bool:
    """Whether there is a pipeline at hand."""
    return bool(config.PIPELINE)


def pipeline() -> luigi.Task:
    """The root of the pipeline that is configured or named on the command line; imports its models, too.

    Raises:
        ConfigError: none is, or it cannot be imported.
        TaskNotFound: its module has no such task.
    """
    text = config.PIPELINE
    if not text:
        raise unnamed("No pipeline is named", "PIPELINE = 'module:Class'")
    try:
        root = _pipeline(str(text))
    except (NoSuchModule, TaskNotFound) as exc:
        end = "" if str(exc).endswith((".", "?")) else "."
        raise type(exc)(f"{exc}{end} {_where_named()}") from exc
    import_models()
    return root


def _where_named() -> str:
    """A sentence on where the pipeline was named."""
    if "PIPELINE" in vars(config):
        return "The pipeline is named by --pipeline"
    if os.environ.get("OZELOT_PIPELINE"):
        return "The pipeline is named by OZELOT_PIPELINE in the environment"
    return f"The pipeline is named by PIPELINE in {config.project_file()}"


def _pipeline(text: str) -> luigi.Task:
    module_name, colon, rest = text.partition(":")
    if not colon or not module_name.strip() or not rest.strip():
        raise NoSuchModule(f"PIPELINE is '{text}', but must be module:Class, as in staff.pipeline:LoadEverything")
    module = imported(module_name.strip())
    name, params = split_task(rest)
    cls = getattr(module, name, None)
    if not (isinstance(cls, type) and issubclass(cls, luigi.Task)):
        known = [other for other, found in vars(module).items() if _is_task_of(found, module)]
        raise TaskNotFound(f"No task '{name}' in {module.__name__}.{nearest(name, known)}")
    return _made(cls, params)


def _is_task_of(found: object, module: ModuleType) -> bool:
    return isinstance(found, type) and issubclass(found, luigi.Task) and found.__module__ == module.__name__


def _made(cls: type[luigi.Task], params: dict[str, str]) -> luigi.Task:
    values = {name: _parsed(cls, name, value) for name, value in params.items()}
    missing = [
        name
        for name, parameter in cls.get_params()
        if name not in values and not parameter.has_task_value(cls.get_task_family(), name)
    ]
    if missing:
        typed = ", ".join(
            [*(f"{name}={value}" for name, value in params.items()), *(f"{name}=..." for name in missing)]
        )
        raise TaskNotFound(f"{cls.__name__} needs a value for {listed(missing)}: write {cls.__name__}({typed})")
    return cls(**values)


def _parsed(cls: type[luigi.Task], name: str, value: str) -> Any:
    known: dict[str, luigi.Parameter[Any]] = dict(cls.get_params())
    if name not in known:
        raise TaskNotFound(f"{cls.__name__} has no parameter '{name}'.{nearest(name, list(known))}")
    try:
        return known[name].parse(value)
    except Exception as exc:  # noqa: BLE001 - each class of parameters raises what it likes
        raise TaskNotFound(f"'{value}' is no value for the parameter '{name}' of {cls.__name__}: {exc}") from None


def tasks_named(root: luigi.Task, text: str) -> list[luigi.Task]:
    """All tasks in the graph of ``root``, or known to the database, that the text means, requirements first.

    Raises:
        TaskNotFound: there is none.
    """
    if ":" in text.partition("(")[0].partition("{")[0]:
        raise TaskNotFound(f"'{text}' is no task of the pipeline. To name another pipeline, write --pipeline {text}")
    tasks = list(walk(root).tasks.values())
    labels = {task_label(task): task for task in tasks}
    if text.strip() in labels:
        return [labels[text.strip()]]
    if text.strip() in (late := {task_label(task): task for task in late_tasks(labels)}):
        return [late[text.strip()]]
    name, params = split_task(text)
    of_class = [task for task in [*tasks, *late_tasks(labels)] if name in (task_name(task), type(task).__name__)]
    if not of_class:
        _refuse_not_required(root, name, params)
        known = {task_name(task) for task in tasks}
        raise TaskNotFound(f"No task '{name}' in {type(root).__module__}.{nearest(name, known, LIST_THEM)}")
    values = {key: _parsed(type(of_class[0]), key, value) for key, value in params.items()}
    found = [task for task in of_class if all(getattr(task, key, None) == value for key, value in values.items())]
    if not found:
        there = listed([task_label(task) for task in of_class], limit=5)
        another = _of_another_pipeline(type(of_class[0]), values)
        raise TaskNotFound(f"No task {text} in {type(root).__module__}: of {name} there is {there}{another}")
    return found


def _refuse_not_required(root: luigi.Task, name: str, params: dict[str, str]) -> None:
    """Say of a class that is where the pipeline is, and not in its graph, how to run it.

    Raises:
        TaskNotFound: there is such a class.
    """
    for module in filter(None, (sys.modules.get(_home()), sys.modules.get(type(root).__module__))):
        cls = next((c for c in vars(module).values() if _is_named(c, name) and not is_of_library(_file_of(c))), None)
        if cls is None:
            continue
        values = {key: _parsed(cls, key, value) for key, value in params.items()}
        how = _of_another_pipeline(cls, values, "run it")
        if not how:
            unset = ", ".join(f"{key}=..." for key, _ in cls.get_params() if key not in values)
            how = f". To run it: --pipeline {shlex.quote(f'{module.__name__}:{cls.__name__}({unset})')}"
        raise TaskNotFound(
            f"{name} is defined in {module.__name__}, but {type(root).__name__} does not require it, directly or "
            f"through others{how}"
        )


def _is_named(found: object, name: str) -> TypeGuard[type[luigi.Task]]:
    return isinstance(found, type) and issubclass(found, luigi.Task) and name in (found.__name__, task_name(found))


def _file_of(cls: type) -> str:
    return getattr(sys.modules.get(cls.__module__), "__file__", None) or ""


def _home() -> str:
    """The name of the module of the pipeline."""
    return str(config.PIPELINE).partition(":")[0].strip()


def _of_another_pipeline(cls: type[luigi.Task], values: dict[str, Any], what: str = "run another one") -> str:
    """A sentence on how to run a task that is not in the graph; empty where its class cannot be named, or not so."""
    named = [name for name in (_home(), cls.__module__) if getattr(sys.modules.get(name), cls.__name__, None) is cls]
    try:
        task = cls(**values)
    except Exception:  # noqa: BLE001 - a parameter is missing, or its class raises what it likes
        return ""
    if not named:
        return ""
    return (
        f". To {what}: --pipeline {shlex.quote(visible(f'{named[0]}:{_typed(cls.__name__, task)}').removesuffix('()'))}"
    )


def late_tasks(labels: Collection[str]) -> list[luigi.Task]:
    """Tasks that the database knows and no ``requires()`` tells, such as requirements that turned up while others ran.

    Args:
        labels: of the tasks that are known anyway.
    """
    if not is_there(client.get_client()):
        return []
    found = [task_of(entry.name, entry.params) for entry in recorded() if entry.label not in labels]
    return [task for task in found if task is not None]


def gone_named(text: str) -> list[tuple[str, str]]:
    """Names and parameter strings of the tasks that a text means, and that only the database knows any more."""
    if not is_there(client.get_client()):
        return []
    name, params = split_task(text)
    return [
        (entry.name, entry.params)
        for entry in recorded()
        if name in (entry.name, entry.name.rpartition(".")[2])
        and params.items() <= (params_of(entry.params) or {}).items()
        and task_of(entry.name, entry.params) is None
    ]


def task_named(root: luigi.Task, text: str | None) -> luigi.Task:
    """The one task in the graph of ``root`` that the text means; the root itself without a text.

    Raises:
        TaskNotFound: it means none, or several.
    """
    if text is None:
        return root
    found = tasks_named(root, text)
    if len(found) > 1:
        name = type(found[0]).__name__
        raise TaskNotFound(
            f"{text} means {len(found)} tasks: {listed([task_label(task) for task in found], limit=5)}. "
            f"Name one, as in '{_typed(name, found[0])}'"
        )
    return found[0]


def _typed(name: str, task: luigi.Task) -> str:
    params = task.to_str_params(only_significant=True, only_public=True)
    return f"{name}({', '.join(f'{key}={params[key]}' for key in sorted(params))})"


def identity(text: str) -> tuple[str, str | None]:
    """Name and parameter string of a task, to look it up in the database; with no parameters typed, no such string.

    The task may be long gone from the pipeline. Only where parameters are typed as ``Class(name=value)`` does the
    pipeline have to say how they are stored.
    """
    name, params = split_task(text)
    printed = text.strip().removeprefix(name).strip()
    if not params or printed.startswith("{"):
        return name, printed or None
    task = task_named(pipeline(), text)
    return task_name(task), task_params(task)


def nearest(name: str, known: Collection[str], hint: str = "") -> str:
    """A sentence to put behind an error: what was probably meant, else what there is."""
    near = difflib.get_close_matches(name, known, n=1, cutoff=0.5)
    if near:
        return f" Did you mean {visible(near[0])}?{hint}"
    return f" There is {listed(sorted(known), limit=5)}" if known else ""
