"""Requirements that a task yields while it runs, over the starts of its ``run()``, which begins again after each."""

from __future__ import annotations

from dataclasses import dataclass, field

import luigi
from luigi.task import DynamicRequirements

from ozelot.etl.identity import task_label


@dataclass(slots=True)
class LateRequirements:
    """What the ``run()`` of one task has requested.

    Attributes:
        complete: the labels of requirements that were found complete; they are not looked for again before the end.
        last: the labels that the last start waited for.
        requested: the labels that this start has requested so far.
    """

    complete: set[str] = field(default_factory=set)
    last: set[str] = field(default_factory=set)
    requested: set[str] = field(default_factory=set)

    @property
    def repeats(self) -> bool:
        """Whether this start has requested again what the last one waited for."""
        return self.last <= self.requested

    def is_complete(self, requirements: DynamicRequirements) -> bool:
        """Whether requirements that are yielded now are complete."""
        tasks = requirements.flat_requirements
        if not all(isinstance(task, luigi.Task) for task in tasks):
            return bool(requirements.complete())
        labels = [task_label(task) for task in tasks]
        self.requested.update(labels)
        if requirements.custom_complete is not None:
            return bool(requirements.complete())
        if not self.complete.issuperset(labels):
            if not requirements.complete():
                return False
            self.complete.update(labels)
        return True
