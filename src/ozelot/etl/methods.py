"""Methods of a task that can be called on its class, too."""

from __future__ import annotations

import functools
import types
from collections.abc import Callable
from typing import Any, Concatenate, Generic, ParamSpec, TypeVar, cast

_P = ParamSpec("_P")
_R = TypeVar("_R")


class on_class_or_task(Generic[_P, _R]):  # noqa: N801 - a decorator
    """A method that, called on the class, acts on the task with default parameters, or on a task that it is given."""

    def __init__(self, function: Callable[Concatenate[Any, _P], _R]) -> None:
        self.function = function
        functools.update_wrapper(self, function)  # type: ignore[arg-type]

    def __get__(self, task: object, cls: type) -> Callable[_P, _R]:
        if task is not None:
            return cast("Callable[_P, _R]", types.MethodType(self.function, task))

        @functools.wraps(self.function)
        def on_default(*args: _P.args, **kwargs: _P.kwargs) -> _R:
            if args and isinstance(args[0], cls):  # as in ORMTask.clear(self)
                return self.function(*args, **kwargs)
            return self.function(cls(), *args, **kwargs)

        return cast("Callable[_P, _R]", on_default)


class on_either:  # noqa: N801 - a decorator
    """A method whose first argument is the task, or the class where it is called on that."""

    def __init__(self, function: Callable[..., Any]) -> None:
        self.function = function
        functools.update_wrapper(self, function)  # type: ignore[arg-type]

    def __get__(self, task: object, cls: type) -> Any:
        return types.MethodType(self.function, cls if task is None else task)
