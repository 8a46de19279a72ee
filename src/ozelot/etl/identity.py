"""What a task is called in the database and in messages: its name and its parameter string.

Two tasks with the same identity are the same task. The identity holds significant public parameters only, so that
a hidden one (a password, say) is never stored.
"""

from __future__ import annotations

import ast
import json
import shlex
from collections.abc import Collection
from datetime import date, datetime
from typing import Any

import luigi
from luigi.freezing import FrozenOrderedDict

#: The types of most parameters, whose values have no keys.
_WITHOUT_KEYS = frozenset({str, int, float, bool, date, datetime, type(None)})


def task_name(task: luigi.Task | type[luigi.Task]) -> str:
    """The class name, with the task namespace in front where there is one: ``Load`` or ``sales.Load``."""
    return str(task.get_task_family())  # type: ignore[no-untyped-call]


def task_params(task: luigi.Task) -> str:
    """The parameters as text, sorted by name: ``{'a': 'x', 'b': '3'}``; ``{}`` where there are none.

    So are the keys of dictionaries. Quotes and backslashes within values are escaped, so that different parameters
    never look alike, and so is what databases cannot store.
    """
    found: str | None = vars(task).get("_params_as_text")  # parameters never change
    if found is None:
        values = task.to_str_params(only_significant=True, only_public=True) | _in_order(task)
        pairs = [f"'{name}': '{_escaped(values[name])}'" for name in sorted(values)]
        found = vars(task)["_params_as_text"] = "{" + ", ".join(pairs) + "}"
    return found


def parameters_with_keys(task: luigi.Task) -> list[str]:
    """The names of the parameters of a task whose values have keys, which may be written in several orders."""
    if _WITHOUT_KEYS.issuperset(map(type, task.param_kwargs.values())):
        return []
    return [name for name, value in task.param_kwargs.items() if _has_keys(value)]


def without_order(params: str, names: Collection[str]) -> str:
    """A parameter string in a form in which the order of keys in the parameters of these names does not count."""
    values = params_of(params) or {}
    return repr({name: _without_order(value) if name in names else value for name, value in values.items()})


def _without_order(text: str) -> str:
    try:  # pairs, and not dicts, in which 1, 1.0 and true would be equal
        return repr(json.loads(text, object_pairs_hook=lambda pairs: ("object", sorted(pairs, key=repr))))
    except ValueError:
        return text


def _in_order(task: luigi.Task) -> dict[str, str]:
    """The parameters with keys, as text in which these are sorted."""
    if not (names := parameters_with_keys(task)):
        return {}
    shown = parameter_names(type(task))
    parameters = dict(task.get_params())
    return {n: parameters[n].serialize(_sorted(task.param_kwargs[n])) for n in names if n in shown}


def _has_keys(value: object) -> bool:
    if isinstance(value, (tuple, list)):
        return any(map(_has_keys, value))
    if isinstance(value, FrozenOrderedDict) or type(value) is dict:
        return len(value) > 1 or any(map(_has_keys, value.values()))
    return False


def _sorted(value: Any) -> Any:
    if isinstance(value, FrozenOrderedDict) or type(value) is dict:
        pairs = sorted(value.items(), key=lambda pair: (str(pair[0]), type(pair[0]).__name__))
        return type(value)((key, _sorted(each)) for key, each in pairs)
    if type(value) in (tuple, list):
        return type(value)(map(_sorted, value))
    return value


def parameter_names(task: type[luigi.Task]) -> set[str]:
    """The names of the parameters that :func:`task_params` tells: the significant and public ones."""
    public = luigi.parameter.ParameterVisibility.PUBLIC
    return {name for name, p in task.get_params() if p.significant and p.visibility == public}


def params_of(text: str) -> dict[str, str] | None:
    """The parameters that a string of :func:`task_params` tells; None where it is no such string."""
    try:
        found = ast.literal_eval(text.replace("\n", "\\n").replace("\r", "\\r"))
    except (ValueError, SyntaxError):
        return None
    if not isinstance(found, dict) or not all(isinstance(part, str) for pair in found.items() for part in pair):
        return None
    return found


def task_label(task: luigi.Task) -> str:
    """Name and parameters, as messages show them: ``LoadMovies {}``."""
    return f"{task_name(task)} {task_params(task)}"


def task_argument(name: str, params: str) -> str:
    """A task as it is named on a command line, ready to be pasted: ``LoadMovies`` or ``'LoadYear(year=2010)'``."""
    values = params_of(params)
    if not values:
        return shlex.quote(name)
    return shlex.quote(f"{name}({', '.join(f'{key}={value}' for key, value in values.items())})")


def legacy_identity(task: luigi.Task) -> tuple[str, str]:
    """Name and parameter string as ozelot 0.2 spelled them: no namespace, all parameters, nothing escaped."""
    values = task.to_str_params()
    return type(task).__name__, "{" + ", ".join(f"'{name}': '{values[name]}'" for name in sorted(values)) + "}"


def _escaped(value: str) -> str:
    escaped = value.replace("\\", "\\\\").replace("'", "\\'").replace("\0", "\\0")  # PostgreSQL stores no NUL
    return escaped.encode("utf-8", "backslashreplace").decode()  # nor does any database store half a surrogate pair
