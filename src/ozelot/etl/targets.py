"""The marker as Luigi sees it: a target that exists when the task is complete."""

from __future__ import annotations

from collections.abc import Callable, Collection
from typing import Any, Self, TypeVar
from weakref import WeakKeyDictionary

import luigi
import sqlalchemy as sa
from sqlalchemy.exc import IntegrityError

from ozelot import client, transaction
from ozelot.errors import MarkerNotFound
from ozelot.etl.identity import (
    legacy_identity,
    parameters_with_keys,
    task_name,
    task_params,
    without_order,
)
from ozelot.orm import target as marker

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
