"""What a task is called in the database and in messages: its name and its parameter string.

Two tasks with the same identity are the same task. The identity holds significant public parameters only, so that
a hidden one (a password, say) is never stored.
"""

from __future__ import annotations

import ast
import shlex

import luigi


def task_name(task: luigi.Task | type[luigi.Task]) -> str:
    """The class name, with the task namespace in front where there is one: ``Load`` or ``sales.Load``."""
    return str(task.get_task_family())  # type: ignore[no-untyped-call]


def task_params(task: luigi.Task) -> str:
    """The parameters as text, sorted by name: ``{'a': 'x', 'b': '3'}``; ``{}`` where there are none.

    Quotes and backslashes within values are escaped, so that different parameters never look alike, and so is what
    databases cannot store.
    """
    found: str | None = vars(task).get("_params_as_text")  # parameters never change
    if found is None:
        values = task.to_str_params(only_significant=True, only_public=True)
        pairs = [f"'{name}': '{_escaped(values[name])}'" for name in sorted(values)]
        found = vars(task)["_params_as_text"] = "{" + ", ".join(pairs) + "}"
    return found


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
