"""Tasks in JSON: what they are called, and their parameters as values."""

from __future__ import annotations

import contextlib
import datetime
import enum
import json
import math
from collections.abc import Iterable, Mapping
from typing import Any

import luigi

from ozelot.etl.declared import task_of
from ozelot.etl.identity import params_of


def task_as_json(label: str, task: luigi.Task | None = None) -> dict[str, Any]:
    """A task as ``--json`` shows it: ``task`` (its label), ``name`` and ``params``.

    Args:
        label: name and parameter string.
        task: the task; None: it is looked for among the classes that are known. Where there is none, the values of its
            parameters are texts, as in the database.
    """
    name, _, params = label.partition(" ")
    texts = params_of(params) or {}
    if texts and task is None:
        task = task_of(name, params)
    values = {key: value_of_parameter(task, key, text) for key, text in texts.items()}
    return {"task": label, "name": name, "params": values}


def tasks_as_json(labels: Iterable[str], tasks: Mapping[str, luigi.Task] | None = None) -> list[dict[str, Any]]:
    """Tasks as ``--json`` shows them; those that are not among ``tasks`` are looked for."""
    known = tasks or {}
    return [task_as_json(label, known.get(label)) for label in labels]


def value_of_parameter(task: luigi.Task | None, name: str, text: str) -> Any:
    """The value of a parameter in JSON; what JSON has no type for is a text, as Luigi writes it."""
    parameters = {} if task is None else dict(task.get_params())
    if name not in parameters:
        return text
    found = _plain(getattr(task, name))
    with contextlib.suppress(TypeError, ValueError):
        json.dumps(found, allow_nan=False)
        return found
    return text


def _plain(value: Any) -> Any:
    """A value with what JSON has no type for as texts, where these say the same; else as it is."""
    if isinstance(value, enum.Enum):
        return value.name
    if isinstance(value, datetime.date):
        return value.isoformat()
    if isinstance(value, float) and not math.isfinite(value):
        return str(value)
    if isinstance(value, Mapping):
        return {str(key): _plain(each) for key, each in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(each) for each in value]
    if isinstance(value, set | frozenset):
        return sorted(map(_plain, value), key=repr)
    return value
