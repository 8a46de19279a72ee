"""The fingerprint of a task: its code, the columns that it uses, and what is upstream of it."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Collection, Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from importlib import metadata
from typing import Any
from weakref import WeakKeyDictionary

import luigi
import sqlalchemy as sa
from sqlalchemy import event, orm

from ozelot import config
from ozelot.client import own_files, refuse_own_file
from ozelot.model.base import Base
from ozelot.pipeline import user_code
from ozelot.pipeline.declarations import created_models, declaration, task_classes, updated_columns
from ozelot.pipeline.marker_target import task_label
from ozelot.rows.selection import Model, tables_of
from ozelot.staleness.code_closure import Code, as_data, code_of, differences, from_data
from ozelot.state.inputs import Fingerprint, Input

_mappers = 0


@dataclass(frozen=True)
class _Signatures:
    """What was found in the models and tasks that were imported so far.

    Attributes:
        made_from: the counts of :func:`known` at that time.
        words: what each name stands for.
        updated: the columns that some task updates.
        pairs: name and words of sets of names, as they were asked for.
    """

    made_from: tuple[int, int, int]
    words: dict[str, str]
    updated: frozenset[str]
    pairs: dict[frozenset[str], frozenset[tuple[str, str]]] = field(default_factory=dict)


_current = _Signatures((-1, -1, -1), {}, frozenset())


@event.listens_for(orm.Mapper, "after_mapper_constructed")
def _count(_mapper: orm.Mapper[Any], _cls: type) -> None:
    global _mappers
    _mappers += 1


def columns_of(task: Any) -> frozenset[str]:
    """The names of what a task, or a class of tasks, fills: ``table.column``, and ``table (a, b)`` for keys of several.

    Among them are columns of its rows that another task says to update: which tasks there are depends on what has been
    imported, so they are told apart where columns are compared.
    """
    models: list[Model] = created_models(task)
    if not models:
        return updated_by(task)
    tables = {table.fullname for table in tables_of(models)}
    return updated_by(task) | {name for name in _look().words if _table_of(name) in tables}


def updated_by(task: Any) -> frozenset[str]:
    """The names of the columns that a task, or a class of tasks, says to update."""
    return frozenset(_name(column) for column in updated_columns(task))


def updated_by_any() -> frozenset[str]:
    """The names of the columns that some task says to update: they are that one's, not of who creates the rows."""
    return _look().updated


def told(names: Iterable[str]) -> dict[str, str]:
    """What each of these names stands for now, where it is still there: ``VARCHAR(50) NOT NULL``."""
    words = _look().words
    return {name: words[name] for name in sorted(names) if name in words}


def pairs(names: frozenset[str]) -> frozenset[tuple[str, str]]:
    """The same as :func:`told`, as pairs."""
    found = _look()
    if names not in found.pairs:
        found.pairs[names] = frozenset((name, found.words[name]) for name in names if name in found.words)
    return found.pairs[names]


def known() -> tuple[int, int, int]:
    """How many tables, mapped classes and classes of tasks have been imported: what is told here follows from them."""
    return len(Base.metadata.tables), _mappers, len(task_classes)


def _look() -> _Signatures:
    """The signatures of what has been imported by now; a new object each time, as several threads may ask at once."""
    global _current
    now = known()
    found = _current
    if now != found.made_from:
        words: dict[str, str] = {}
        for table in list(Base.metadata.tables.values()):
            words.update({_name(column): _words(column) for column in table.columns})
            for constraint in table.constraints:
                columns: Collection[Any] = getattr(constraint, "columns", ())
                if isinstance(constraint, sa.UniqueConstraint | sa.ForeignKeyConstraint) and len(columns) > 1:
                    words[f"{table.fullname} ({', '.join(column.name for column in columns)})"] = _kind(constraint)
        updated = {_name(column) for cls in list(task_classes) for each in _listed(cls) for column in _columns(each)}
        found = _current = _Signatures(now, words, frozenset(updated))
    return found


def _listed(cls: Any) -> Iterable[Any]:
    return cls.updates if isinstance(cls.updates, list | tuple | set | frozenset) else ()


def _columns(attribute: Any) -> Iterable[sa.Column[Any]]:
    return (column for column in getattr(getattr(attribute, "property", None), "columns", ()))


def _name(column: sa.Column[Any]) -> str:
    return f"{column.table.fullname}.{column.name}"


def _table_of(name: str) -> str:
    return name.rpartition(" (")[0] if name.endswith(")") else name.rpartition(".")[0]


def _kind(constraint: sa.Constraint) -> str:
    if isinstance(constraint, sa.ForeignKeyConstraint):
        return f"REFERENCES {', '.join(key.target_fullname for key in constraint.elements)}"
    return "UNIQUE"


def _words(column: sa.Column[Any]) -> str:
    words = [_type(column.type)]
    words += ["NOT NULL"] if not column.nullable else []
    words += ["PRIMARY KEY"] if column.primary_key else []
    alone = any(isinstance(c, sa.UniqueConstraint) and [*c.columns] == [column] for c in column.table.constraints)
    unique_index = any(index.unique and [*index.columns] == [column] for index in column.table.indexes)
    words += ["UNIQUE"] if column.unique or alone or unique_index else []
    words += [f"REFERENCES {target}" for target in sorted(key.target_fullname for key in column.foreign_keys)]
    if column.server_default is not None:
        words.append(f"DEFAULT {getattr(column.server_default, 'arg', '')}")
    if column.computed is not None:
        words.append(f"AS {column.computed.sqltext}")
    return " ".join(words)


def _type(type_: sa.types.TypeEngine[Any]) -> str:
    if isinstance(type_, sa.Enum):
        return f"ENUM({', '.join(map(repr, type_.enums))})"
    try:
        return str(type_)
    except sa.exc.CompileError:  # a type that only some databases have
        return type(type_).__name__


@dataclass(frozen=True)
class Needs:
    """What the requirements of a task give it.

    Attributes:
        columns: name and words of what those with markers fill, see :mod:`ozelot.staleness.fingerprint`.
        updated: the names of those of them that a requirement says to update.
        inputs: the files of the others.
        elsewhere: labels of those whose output is no file on this machine.
    """

    columns: frozenset[tuple[str, str]] = frozenset()
    updated: frozenset[str] = frozenset()
    inputs: tuple[Input, ...] = ()
    elsewhere: tuple[str, ...] = ()


def needs_of(requirements: Iterable[luigi.Task]) -> Needs:
    """What these requirements give; those without any output stand for what they require themselves."""
    columns: set[str] = set()
    updated: set[str] = set()
    inputs: list[Input] = []
    elsewhere: list[str] = []
    waiting = list(requirements)
    seen: set[object] = set()
    while waiting:
        task = waiting.pop()
        kind: object = declaration(task) if type(task) in task_classes else task
        if kind in seen:
            continue
        seen.add(kind)
        if type(task) in task_classes:
            columns |= columns_of(task)
            updated |= updated_by(task)
            continue
        outputs = user_code.outputs(task)
        bundles = isinstance(task, luigi.WrapperTask) or not outputs
        waiting += user_code.get_requirements(task) if bundles else ()
        for target in () if bundles else outputs:
            if isinstance(target, luigi.LocalTarget):
                inputs.append(Input(task_label(task), str(target.path)))
            else:
                elsewhere.append(task_label(task))
    return Needs(pairs(frozenset(columns)), frozenset(updated), tuple(sorted(inputs)), tuple(sorted(set(elsewhere))))


def refuse_own_inputs(tasks: Iterable[luigi.Task]) -> None:
    """Make sure that no task, such as an input file, has a file of the database itself as its output.

    Raises:
        ConfigError: one has.
    """
    own = own_files()
    found: list[tuple[str, luigi.Task]] = []
    for task in tasks if own else ():
        if type(task) not in task_classes:
            with suppress(Exception):  # an error of the user's output() is reported when its task's turn comes
                found += [(str(t.path), task) for t in user_code.outputs(task) if isinstance(t, luigi.LocalTarget)]
    for path, task in found:
        refuse_own_file(path, task_label(task), own)


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
    """The code of a class of tasks, as :func:`ozelot.staleness.code_closure.code_of` finds it."""
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
