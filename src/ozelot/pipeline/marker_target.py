"""What a task is called in the database and in messages, and the target that its marker is.

Two tasks with the same identity are the same task. The identity holds significant public parameters only, so that
a hidden one (a password, say) is never stored.
"""

from __future__ import annotations

import ast
import json
import shlex
from collections.abc import Callable, Collection
from datetime import date, datetime
from typing import Any, Self, TypeVar
from weakref import WeakKeyDictionary

import luigi
import sqlalchemy as sa
from luigi.freezing import FrozenOrderedDict
from sqlalchemy.exc import IntegrityError

from ozelot import client
from ozelot.db import transaction
from ozelot.errors import MarkerNotFound
from ozelot.state import markers as marker

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


_F = TypeVar("_F", bound=Callable[..., Any])


class ORMTarget(luigi.Target):
    """The marker of one task.

    Args:
        name: the name of the task.
        params: its parameter string.
    """

    def __init__(self, name: str, params: str) -> None:
        self.name = name
        self.params = params
        self._legacy = (name, params)
        self._keys: tuple[str, str] | None = None
        #: Of the parameters with keys, of which an older marker may have another order.
        self._names: Collection[str] = ()

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.name} {self.params})"

    @classmethod
    def from_task(cls, task: luigi.Task) -> Self:
        """The marker of a task."""
        known = vars(task).get("_marker")
        if type(known) is cls:
            return known
        name = getattr(task, "get_name", lambda: task_name(task))()
        params = getattr(task, "get_param_string", lambda: task_params(task))()
        found = cls(name=name, params=params)
        found._legacy = legacy_identity(task)
        found._names = parameters_with_keys(task) or ()
        vars(task)["_marker"] = found
        return found

    @property
    def keys(self) -> tuple[str, ...]:
        """The key of this marker, the one that it has where ozelot 0.2 wrote it, and those of other spellings."""
        if self._keys is None:
            self._keys = marker.marker_key(self.name, self.params), marker.legacy_key(*self._legacy)
        return self._keys if not self._names else self._all_keys(*self._keys)

    def _all_keys(self, key: str, legacy_key: str) -> tuple[str, ...]:
        """All keys, that under which the task is recorded first: an older ozelot did not sort the keys of a dict."""
        engine, names = client.get_client().engine, tuple(self._names)
        found = [
            row
            for name, params in {(self.name, self.params), self._legacy}
            for row in _spellings(engine, name, names).get(without_order(params, names), ())
        ]
        now = [row.key for row in found if row.key == marker.marker_key(row.name, row.params)]
        before = [row.key for row in found if row.key not in now]  # by ozelot 0.2
        first = key if key in now or not now else now[0]
        return tuple(dict.fromkeys([first, *(before or [legacy_key])[:1], key, legacy_key, *now, *before]))

    def exists(self) -> bool:
        """Whether the task is complete."""
        engine = client.get_client().engine
        opened = transaction.current(engine)
        if opened is not None and self.keys[0] in opened.run.reserved and getattr(opened.run.owner, "run_done", False):
            return True  # done() was called: the marker is as good as there
        with engine.connect() as connection:
            found = bool(marker.existing(connection, self.keys))
            if not found and self._names:
                look_again()
                found = bool(marker.existing(connection, self.keys))
            return found

    def create(self) -> bool:
        """Write the marker, where it is not there.

        Returns:
            Whether it was not there. Within the task's own ``run()`` the marker is written at the end.
        """
        engine = client.get_client().engine
        if self._is_reserved(engine):
            return True
        marker.prepare(engine)
        try:
            with engine.begin() as connection:
                if marker.existing(connection, self.keys):
                    return False
                marker.insert(connection, self.name, self.params, self.keys[0])
        except IntegrityError:
            return False  # another runner was faster: the unique index says so
        return True

    def remove(self) -> None:
        """Delete the marker. Within the task's own ``run()`` there is none to delete, and this does nothing.

        Raises:
            MarkerNotFound: it is not there.
        """
        engine = client.get_client().engine
        if self._is_reserved(engine):
            return
        marker.prepare(engine)
        with engine.begin() as connection:
            marker.record_lost_runs(connection, [marker.Identity(self.name, self.params, *self.keys[:2])])
            if not marker.delete(connection, self.keys):
                raise MarkerNotFound(f"No marker to remove: {self.name} {self.params} is not complete")

    def _is_reserved(self, engine: sa.Engine) -> bool:
        opened = transaction.current(engine)
        return opened is not None and self.keys[0] in opened.run.reserved


_Spellings = dict[str, list[marker.MarkerRow]]

#: How the database names tasks whose parameters have keys: by name and those parameters, and then without order.
_seen: WeakKeyDictionary[sa.Engine, dict[tuple[str, tuple[str, ...]], _Spellings]] = WeakKeyDictionary()


def look_again() -> None:
    """Forget in which spellings tasks with dicts as parameters are recorded."""
    _seen.clear()


def _spellings(engine: sa.Engine, name: str, names: tuple[str, ...]) -> _Spellings:
    of_engine = _seen.setdefault(engine, {})
    found = of_engine.get((name, names))
    if found is None:
        found = {}
        with engine.connect() as connection:
            for row in marker.recorded_as(connection, name):
                found.setdefault(without_order(row.params, names), []).append(row)
        of_engine[name, names] = found
    return found


def by_marker(method: _F) -> _F:
    """Say of ``output()`` or ``complete()`` of a task that the marker answers, so that it can be read in bulk."""
    method.by_marker = True  # type: ignore[attr-defined]
    return method


def judged_by_marker(task: luigi.Task) -> bool:
    """Whether the marker alone says if the task is complete: nothing about that was overridden."""
    cls = type(task)
    target_class = getattr(cls, "target_class", None)
    return (
        isinstance(target_class, type)
        and issubclass(target_class, ORMTarget)
        and target_class.exists is ORMTarget.exists
        and getattr(cls.output, "by_marker", False)
        and getattr(cls.complete, "by_marker", False)
    )
