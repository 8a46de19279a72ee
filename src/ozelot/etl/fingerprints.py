"""What a task is made of: its code, and the tables and columns that it fills and stands on."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from importlib import metadata
from typing import Any
from weakref import WeakKeyDictionary

from ozelot import config
from ozelot.code.differences import as_data, differences, from_data
from ozelot.code.following import Code, code_of
from ozelot.etl.columns import columns_of, known, told, updated_by, updated_by_any
from ozelot.etl.declared import declaration
from ozelot.etl.needs import Needs
from ozelot.orm.fingerprint import Fingerprint


@dataclass(frozen=True)
class Parts:
    """What a task is, or was, made of.

    Attributes:
        code: its code; None: it is not known.
        schema: what each table and column was, by name; None: it is not known.
        packages: the versions of installed packages that the project says to count.
    """

    code: Code | None = None
    schema: dict[str, str] | None = None
    packages: dict[str, str] = field(default_factory=dict)


def parts_of(task: Any, columns: frozenset[tuple[str, str]]) -> Parts:
    """What a task is made of now.

    Args:
        task: the task.
        columns: name and words of what its requirements fill.
    """
    made_of = code(type(task))
    packages = {name: _version(name) for name in _counted() if name in made_of.packages}
    return Parts(made_of if made_of.is_certain else None, {**dict(columns), **told(columns_of(task))}, packages)


def fingerprint_of(task: Any, columns: frozenset[tuple[str, str]]) -> Fingerprint:
    """What a task is made of now, for the record of its run."""
    of_class = _fingerprints.setdefault(type(task), {})
    key = declaration(task)[1:], columns, known()
    found = of_class.get(key)
    if found is None:
        found = of_class[key] = _written(parts_of(task, columns))
    return found


_fingerprints: WeakKeyDictionary[type, dict[Any, Fingerprint]] = WeakKeyDictionary()
_codes: WeakKeyDictionary[type, Code] = WeakKeyDictionary()


def _written(parts: Parts) -> Fingerprint:
    code = None if parts.code is None else as_data(parts.code)
    data = {"code": code, "schema": parts.schema, "packages": parts.packages}
    text = json.dumps(data, sort_keys=True, separators=(",", ":"))
    return Fingerprint(hashlib.sha256(text.encode()).hexdigest(), text)


def read(text: str) -> Parts:
    """What was recorded; nothing is known where it is something else."""
    try:
        data = json.loads(text)
        code = None if data["code"] is None else from_data(data["code"])
        return Parts(code, dict(data["schema"]), dict(data["packages"]))
    except (ValueError, TypeError, KeyError, AttributeError):
        return Parts()


def changes(was: Parts, now: Parts, of_others: Collection[str]) -> list[tuple[str, str, str]]:
    """What differs: kind, words, and the column where it is one, of each part; what is not known does not.

    Args:
        was: what a task was made of.
        now: what it is made of.
        of_others: the columns that do not count, as they are another task's.
    """
    found = []
    if was.code is not None and now.code is not None:
        found += [("code", name, "") for name in differences(was.code, now.code)]
    if was.schema is not None and now.schema is not None:
        before, after = ({k: v for k, v in each.items() if k not in of_others} for each in (was.schema, now.schema))
        found += [("schema", words, name) for name, words in _compared(before, after)]
    if was.code is not None:
        found += [("package", words, "") for _, words in _compared(was.packages, now.packages)]
    return found


def of_others(task: Any, needs: Needs) -> frozenset[str]:
    """The columns that neither a task nor what it requires updates, but another task does."""
    return updated_by_any() - updated_by(task) - needs.updated


def _compared(was: Mapping[str, str], now: Mapping[str, str]) -> list[tuple[str, str]]:
    found = []
    for name in sorted(was.keys() | now.keys()):
        if name not in was:
            found.append((name, f"{name} added"))
        elif name not in now:
            found.append((name, f"{name} is no more"))
        elif was[name] != now[name]:
            found.append((name, f"{name}: {now[name]}, was {was[name]}"))
    return found


def code(cls: type) -> Code:
    """The code of a class of tasks, as :func:`ozelot.code.following.code_of` finds it."""
    cls = vars(cls).get("__wrapped__", cls)  # a copy by luigi.task.externalize() has the code of its original
    if cls not in _codes:
        _codes[cls] = code_of(cls)
    return _codes[cls]


def _counted() -> list[str]:
    """The packages that the project says to count."""
    named = config.CODE_PACKAGES
    return [part.strip() for part in named.split(",")] if isinstance(named, str) else list(named or ())


def _version(package: str) -> str:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        names = metadata.packages_distributions().get(package)
        return metadata.version(names[0]) if names else "not installed"
