"""Whether a task's class can be run: it has a ``run()``, says what it writes, and hides nothing that tasks need."""

from __future__ import annotations

import difflib
import inspect
import re
from collections.abc import Callable, Mapping
from typing import Any, NoReturn, TypeVar

import luigi
import sqlalchemy as sa
from sqlalchemy.orm import InstrumentedAttribute

from ozelot.checks import Check
from ozelot.errors import NotClearable, TaskInvalid
from ozelot.model.base import described, why_no_model
from ozelot.pipeline.declarations import clears_itself, columns_of, declares_nothing, is_strict, listed, task_classes
from ozelot.pipeline.user_code import shown

_F = TypeVar("_F", bound=Callable[..., Any])

_DECLARING = "creates", "object_classes", "updates", "checks"
_DECLARATIONS = frozenset(_DECLARING)

#: What Luigi and ozelot call, and use the result of.
_METHODS = "run", "requires", "output", "complete", "clear", "mark_incomplete", "on_success", "on_failure"

#: Attributes of every task that a parameter would hide: values that ozelot reads, and what Luigi sets on a task.
_RESERVED = {
    *(
        *_DECLARING,
        "target_class",
        "diagram_style",
        "run_done",
        "only_bundles",
        "_session",
        "_marker",
        "_passed",
        "_passed_for_all",
        "_known_params",
    ),
    *("task_id", "param_args", "param_kwargs", "_params_as_text"),
    *("set_tracking_url", "set_status_message", "set_progress_percentage", "decrease_running_resources"),
}


def to_define(method: _F) -> _F:
    """Mark a method of a base class as one that the derived class is to define."""
    method.is_to_define = True  # type: ignore[attr-defined]
    return method


def is_external(task: luigi.Task) -> bool:
    """Whether another program has to complete the task: there is nothing to run."""
    return task.run is None or task.run is NotImplemented


def check_definition(task: luigi.Task) -> None:
    """Make sure that a task's class can be run, and says what it writes.

    Raises:
        TaskInvalid: it cannot, or does not; the message has the file and the line.
        NotClearable: its ``updates`` names something that is not a column.
    """
    cls: Any = type(task)
    state = vars(cls).get("_passed_for_all")
    if state is not None and state == type(cls).changes and _DECLARATIONS.isdisjoint(vars(task)):
        return  # as for nearly all tasks of a graph
    is_orm = cls in task_classes
    used = _what_it_says(task) if is_orm else (id(cls.run),)
    if vars(cls).get("_passed") != used:  # of this class, not of one that it is derived from
        _check(task, cls)
        type.__setattr__(cls, "_passed", used)  # which changes nothing about the class
    if is_orm and declares_nothing(task) and is_strict(task):
        _refuse_undeclared(task, cls)
    if is_orm and not declares_nothing(cls) and not any(_is_computed(cls, name) for name in _DECLARING):
        type.__setattr__(cls, "_passed_for_all", type(cls).changes)


def _is_computed(cls: type, name: str) -> bool:
    """Whether an attribute is a property, which may be different for each task."""
    return hasattr(type(inspect.getattr_static(cls, name)), "__get__")


def refuse_awaitable(task: luigi.Task, result: object) -> None:
    """Make sure that a ``run()`` did not only return a coroutine.

    Raises:
        TaskInvalid: it did.
    """
    if result is None:  # as nearly always
        return
    if inspect.isawaitable(result) or inspect.isasyncgen(result):
        if inspect.iscoroutine(result):
            result.close()
        _refuse(
            type(task),
            "run",
            f"run() returns {described(result)}, which nothing awaits: call asyncio.run(...) inside run()",
        )


def _what_it_says(task: Any) -> tuple[int, ...]:
    """The identities of a task's ``run()`` and declarations."""
    try:
        return id(type(task).run), id(task.creates), id(task.object_classes), id(task.updates), id(task.checks)
    except sa.exc.SQLAlchemyError:  # 'updates = Unit.name' is a descriptor, which refuses to be read from a task
        return ()


def _check(task: Any, cls: Any) -> None:
    for name in _METHODS:
        if _is_async(inspect.getattr_static(cls, name, None)):
            _refuse(
                cls, name, f"{name}() is 'async def', which nothing awaits: use 'def', and call asyncio.run(...) inside"
            )
    if not any(map(_is_ours, cls.__mro__)):
        return
    _check_parameters(cls)
    _check_spelling(cls)
    if cls in task_classes:
        for declaring in (cls, task):  # a task may declare more than its class does
            for name in ("creates", "object_classes"):
                _check_models(cls, name, getattr(declaring, name))
            _check_columns(cls, declaring.updates)
        _check_run(task, cls)


def _check_parameters(cls: type[luigi.Task]) -> None:
    bases = [base for base in cls.__mro__ if _is_ours(base) or base is luigi.Task]
    for name, _ in cls.get_params():
        found = next((vars(base)[name] for base in bases if name in vars(base)), None)
        is_part = name in _RESERVED or callable(found) or hasattr(type(found), "__get__")
        if is_part and not isinstance(found, luigi.Parameter):
            _refuse(cls, name, f"'{name}' is a parameter, but every task has its own '{name}': rename the parameter")


def _check_spelling(cls: type[luigi.Task]) -> None:
    """Refuse a name that is almost one that ozelot reads, where the value fits, and the right name is not used."""
    own = _own_attributes(cls)
    for meant, fits in _MEANT.items():
        if meant in own or (cls not in task_classes and meant != "requires"):
            continue
        for name, value in own.items():
            if fits(name, value, meant):
                _refuse(cls, name, f"'{name}' has no meaning for ozelot: rename it to '{meant}'")


def _check_run(task: luigi.Task, cls: type[luigi.Task]) -> None:
    if is_external(task):
        return
    if not callable(cls.run):
        what = described(inspect.getattr_static(cls, "run"))
        _refuse(cls, "run", f"run is {what}, not a method: write 'def run(self)', or 'run = None' for an external task")
    if not getattr(inspect.getattr_static(cls, "run"), "is_to_define", False):
        return
    hidden = next((base for base in cls.__mro__ if "run" in vars(base) and not _is_library(base)), None)
    if hidden is not None:
        _refuse(cls, "", f"run() of {hidden.__name__} is hidden by ORMTask: name {hidden.__name__} first in the bases")
    typos = [name for name, value in _own_attributes(cls).items() if _is_almost_method(name, value, "run")]
    if typos:
        _refuse(cls, typos[0], f"it has no run(), but {typos[0]}(): rename it to run()")
    owner: Any = next((base for base in cls.__mro__ if "creates" in vars(base)), cls)
    if getattr(task, "checks", ()) or (_writes_nothing(task) and not _is_ours(owner)):
        return
    if _is_ours(owner) and _writes_nothing(task):
        _refuse(cls, "", "it checks nothing: add 'checks = [...]', or define run()")
    _refuse(cls, "", "it has no run(): define run(), or derive it from ORMWrapperTask if it only bundles other tasks")


def _own_attributes(cls: type) -> dict[str, Any]:
    """What a class and its bases define, but for those of ozelot and Luigi."""
    bases = [base for base in reversed(cls.__mro__) if not _is_library(base)]
    return {name: value for base in bases for name, value in vars(base).items()}


def _writes_nothing(task: Any) -> bool:
    return task.creates is not None and not any(map(listed, (task.creates, task.object_classes, task.updates)))


def _check_models(cls: type[luigi.Task], name: str, value: Any) -> None:
    if value is None:
        return
    if not _is_list(value):
        fits = f"{name} = [{value.__name__ if isinstance(value, type) else getattr(value, 'name', 'Model')}]"
        if why_no_model(value):
            fits = f"{name} = [Model, ...]"
        _refuse(cls, name, f"{name} is {described(value)}, not a list: write '{fits}'")
    for each in value:
        if isinstance(each, InstrumentedAttribute):
            _refuse(cls, name, f"{name} names the column {each}: name the model, or the column in 'updates'")
        if why := why_no_model(each):
            _refuse(cls, name, f"{name} names {described(each)}, {why}")


def _check_columns(cls: type[luigi.Task], value: Any) -> None:
    if value is None:
        return
    if not _is_list(value):
        fits = f"updates = [{value}]" if isinstance(value, InstrumentedAttribute) else "updates = [Model.column, ...]"
        _refuse(cls, "updates", f"updates is {described(value)}, not a list: write '{fits}'")
    for each in value:
        if not columns_of(each):
            raise NotClearable(
                f"{cls.get_task_family()} updates {each}, which is no column: 'updates' names mapped columns, as in "
                f"'updates = [Employee.bonus]' ({_place(cls, 'updates')})"
            )
        if why := why_no_model(each.class_):
            _refuse(cls, "updates", f"updates names {each}, a column of {why}")


def _refuse_undeclared(task: Any, cls: type[luigi.Task]) -> None:
    if clears_itself(task) or is_external(task):
        return
    code = getattr(inspect.unwrap(cls.run), "__code__", None)
    found = getattr(inspect.unwrap(cls.run), "__globals__", {})
    models = [name for name in getattr(code, "co_names", ()) if not why_no_model(found.get(name))]
    _refuse(
        cls,
        "",
        f"it does not say what it writes: add 'creates = [{', '.join(models) or 'Model, ...'}]' or "
        f"'updates = [Model.column, ...]' to class {cls.__name__}, or 'creates = ()' if it writes nothing",
    )


def _is_async(found: Any) -> bool:
    for name in ("func", "__func__", "function"):  # of partial(), staticmethod, and what is called on a class or a task
        found = getattr(found, name, found)
    tests = inspect.iscoroutinefunction, inspect.isasyncgenfunction
    return callable(found) and any(test(each) for test in tests for each in (found, type(found).__call__))


def _is_almost_method(name: str, value: object, meant: str) -> bool:
    """Whether a method without arguments is called almost like another one."""
    if name == meant or not inspect.isfunction(value) or value.__code__.co_argcount != 1:
        return False
    return _is_one_off(name.strip("_").lower(), meant)


def _is_one_off(name: str, meant: str) -> bool:
    """Whether two letters are swapped, or one is missing, doubled or another one."""
    if len(name) == len(meant):
        places = [place for place, (one, other) in enumerate(zip(name, meant, strict=True)) if one != other]
        swapped = len(places) == 2 and places[1] == places[0] + 1 and sorted(name) == sorted(meant)
        return len(places) < 2 or swapped
    short, long = sorted((name, meant), key=len)
    return any(short == long[:place] + long[place + 1 :] for place in range(len(long)))


def _like(is_one: Callable[[object], bool]) -> Callable[[str, object, str], bool]:
    """Whether a name is almost another one, and its value is one, or a list, of what belongs there."""

    def fits(name: str, value: object, meant: str) -> bool:
        if not difflib.get_close_matches(name.lower(), [meant], cutoff=0.8):
            return False
        found = listed(value) if _is_list(value) else [value]
        return bool(found) and all(map(is_one, found))

    return fits


#: What ozelot reads, and what tells that an attribute with almost that name was meant to be it.
_MEANT: Mapping[str, Callable[[str, Any, str], bool]] = {
    "creates": _like(lambda one: not why_no_model(one)),
    "object_classes": _like(lambda one: not why_no_model(one)),
    "updates": _like(lambda one: isinstance(one, InstrumentedAttribute)),
    "checks": _like(lambda one: isinstance(one, Check)),
    "strict_writes": _like(lambda one: isinstance(one, bool)),
    "requires": _is_almost_method,
}


def _is_list(value: object) -> bool:
    return listed(value) is value


def _is_ours(cls: type) -> bool:
    return cls.__module__.partition(".")[0] == "ozelot"


def _is_library(cls: type) -> bool:
    return cls is object or cls.__module__.partition(".")[0] in ("ozelot", "luigi")


def _refuse(cls: type[luigi.Task], name: str, text: str) -> NoReturn:
    raise TaskInvalid(f"{cls.__name__}: {text} ({_place(cls, name)})")


def _place(cls: type, name: str) -> str:
    """File and line of an attribute of a class, or of the class."""
    owner = next((base for base in cls.__mro__ if name in vars(base)), cls)
    found = vars(owner).get(name)
    for part in ("func", "__func__", "function"):
        found = getattr(found, part, found)
    if (code := getattr(inspect.unwrap(found) if callable(found) else found, "__code__", None)) is not None:
        return f"{shown(code.co_filename)}, line {code.co_firstlineno}"
    try:
        lines, first = inspect.getsourcelines(owner)
        file = inspect.getsourcefile(owner) or ""
    except (OSError, TypeError):
        return f"class {owner.__qualname__} in {owner.__module__}"
    pattern = re.compile(rf"\s+{re.escape(name)}\s*[:=]")
    line = next((place for place, text in enumerate(lines) if name and pattern.match(text)), 0)
    return f"{shown(file)}, line {first + line}"
