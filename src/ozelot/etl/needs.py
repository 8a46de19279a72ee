"""What a task stands on, besides the runs of other tasks: their tables, and the files that others provide."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import luigi

from ozelot.etl import asked
from ozelot.etl.columns import columns_of, pairs, updated_by
from ozelot.etl.declared import declaration, task_classes
from ozelot.etl.identity import task_label
from ozelot.orm.files import Input


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
