"""What a task stands on, besides the runs of other tasks: their tables, and the files that others provide."""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass

import luigi

from ozelot.etl import asked
from ozelot.etl.columns import columns_of, pairs, updated_by
from ozelot.etl.declared import declaration, task_classes
from ozelot.etl.identity import task_label
from ozelot.orm.files import Input
from ozelot.own_files import own_files, refuse_own_file


@dataclass(frozen=True)
class Needs:
    """What the requirements of a task give it.

    Attributes:
        columns: name and words of what those with markers fill, see :mod:`ozelot.etl.columns`.
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
        outputs = asked.outputs(task)
        bundles = isinstance(task, luigi.WrapperTask) or not outputs
        waiting += asked.requirements(task) if bundles else ()
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
                found += [(str(t.path), task) for t in asked.outputs(task) if isinstance(t, luigi.LocalTarget)]
    for path, task in found:
        refuse_own_file(path, task_label(task), own)
