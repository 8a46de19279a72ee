"""The tasks that act a drawn pipeline out.

The classes are always the same ones. What they create, update and require is set for each example (:func:`staged`);
what they write is a script that the oracle makes for each run (:mod:`tests.etl.machine.script`).
"""

from __future__ import annotations

import os
from collections.abc import Generator, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import luigi
import sqlalchemy as sa

from ozelot.etl import tasks
from tests.etl.machine.pipelines import Fill, Insert, Node, Pipeline, Write
from tests.etl.machine.shapes import SIDES


class Stopped(Exception):
    """The task was told to fail."""


@dataclass
class Stage:
    """What the tasks act out.

    Attributes:
        script: what the next run writes.
        fail_after: after how many writes it fails.
        die: where the process ends: 'row' (after ``fail_after`` writes), 'flush', or 'commit'.
    """

    pipeline: Pipeline
    classes: dict[str, Any]
    script: list[Write] = field(default_factory=list)
    fail_after: int | None = None
    die: str = ""

    def play(self, task: tasks.ORMTask, way: str) -> None:
        """Write what the script says."""
        batch: list[Insert] = []
        for number, write in enumerate(self.script):
            if number == self.fail_after:
                break
            if batch and not (isinstance(write, Insert) and _goes_with(batch, write)):
                self._insert_many(task, batch)
            if way == "bulk" and isinstance(write, Insert) and len(self.pipeline.shape.chain(write.model)) == 1:
                batch.append(write)
            elif way == "sessions":
                with task.client.create_session() as session:
                    self._write(session, write, way)
                    session.commit()
            else:
                self._write(task.session, write, way)
        if batch:
            self._insert_many(task, batch)
        if self.die == "row":
            os._exit(9)
        task.session.flush()
        if self.die == "flush":
            os._exit(9)
        if self.die == "commit":
            sa.event.listen(task.client.engine, "commit", lambda _connection: os._exit(9))
        if self.fail_after is not None and not self.die:
            raise Stopped

    def _write(self, session: Any, write: Write, way: str) -> None:
        if isinstance(write, Insert):
            model, columns = self.classes[write.model], self._columns(session, write)
            if way == "core" and len(self.pipeline.shape.chain(write.model)) == 1:
                session.execute(sa.insert(model.__table__), columns)
            else:
                session.add(model(**columns))
        elif isinstance(write, Fill):
            table = self.classes[write.table].__table__
            value: Any = write.value
            if isinstance(value, str):
                key = next(k for k in self.pipeline.shape.models[write.table].keys if k.column == write.column)
                columns = dict(
                    zip(self._names(write.column, key.target), self.key(session, key.target, value), strict=True)
                )
            else:
                columns = {write.column: value}
            (own, *_) = self.key(session, write.table, write.name)
            session.execute(sa.update(table).where(table.c.id == own).values(columns))
        else:
            left, right = self.pipeline.shape.links[write.table]
            ends = [self.key(session, left, write.left)[0], self.key(session, right, write.right)[0]]
            session.execute(sa.insert(self.classes[write.table]), dict(zip(SIDES, ends, strict=True)))

    def _insert_many(self, task: tasks.ORMTask, batch: list[Insert]) -> None:
        rows = [self._columns(task.session, write) for write in batch]
        task.session.execute(sa.insert(self.classes[batch[0].model]), rows)
        batch.clear()

    def _columns(self, session: Any, write: Insert) -> dict[str, Any]:
        shape = self.pipeline.shape
        columns: dict[str, Any] = {"name": write.name, **write.values}
        for key in shape.keys(write.model):
            target = write.refs[key.column]
            names = self._names(key.column, key.target)
            values = self.key(session, key.target, target) if target is not None else [None] * len(names)
            columns |= dict(zip(names, values, strict=True))
        if shape.models[write.model].composite:
            number = int(write.name.rpartition(".")[2])
            columns |= {"id": number, "half": number % 2}
        if shape.models[write.model].kinds:
            columns["kind"] = write.model
        return columns

    def _names(self, column: str, target: str) -> list[str]:
        return [column, f"{column}_half"] if self.pipeline.shape.models[target].composite else [column]

    def key(self, session: Any, model: str, name: str) -> list[Any]:
        """The primary key of the row of that name."""
        table = self.classes[self.pipeline.shape.root(model)].__table__
        return list(session.execute(sa.select(*table.primary_key.columns).where(table.c.name == name)).one())


def _goes_with(batch: list[Insert], write: Insert) -> bool:
    names = {other.name for other in batch}
    return write.model == batch[0].model and names.isdisjoint(name for name in write.refs.values() if name)


_stage: list[Stage] = []


class _Acting:
    part = luigi.IntParameter()

    def requires(self) -> list[luigi.Task]:
        return [task_of(label) for label in self.node.requires]

    @property
    def node(self) -> Node:
        return _stage[0].pipeline.nodes[f"{type(self).__name__} {{'part': '{self.part}'}}"]


class Step(_Acting, tasks.ORMTask):
    """Derived from for each class of tasks."""

    creates: Any = ()
    updates: Any = ()
    strict_writes = True

    def run(self) -> Any:
        if self.node.asks:
            return self._ask_and_play()
        _stage[0].play(self, self.node.way)
        return None

    def _ask_and_play(self) -> Generator[Any, Any, None]:
        yield [task_of(label) for label in self.node.asks]
        _stage[0].play(self, self.node.way)


class Bundle(_Acting, tasks.ORMWrapperTask):
    """Derived from for each class of wrappers."""


_CLASSES = {
    f"{base.__name__}{number}": type(f"{base.__name__}{number}", (base,), {})
    for base, most in ((Step, 12), (Bundle, 3))
    for number in range(most)
}


def task_of(label: str) -> Any:
    """The task of that label."""
    node = _stage[0].pipeline.nodes[label]
    return _CLASSES[node.name](part=node.part)


@contextmanager
def staged(pipeline: Pipeline, classes: dict[str, Any]) -> Iterator[Stage]:
    """Let the task classes act out a pipeline until the block ends."""
    stage = Stage(pipeline, classes)
    luigi.task_register.Register.clear_instance_cache()
    for node in pipeline.nodes.values():
        cls: Any = _CLASSES[node.name]
        if not node.bundles:
            cls.creates = [classes[model] for model in node.creates]
            cls.updates = [getattr(classes[table], column) for table, column in node.updates]
    _stage.append(stage)
    try:
        yield stage
    finally:
        _stage.clear()
        for cls in _CLASSES.values():
            if issubclass(cls, Step):
                cls.creates = cls.updates = ()
