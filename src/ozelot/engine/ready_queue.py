"""Which tasks may run now, and which of them go together to one worker.

A batch holds tasks in an order in which one worker can run them one after another: what a task requires is complete,
or stands before it. Its size follows from how long tasks of its class took so far, so that trivial tasks share the
cost of handing them out, and nobody waits long behind one that takes its time.
"""

from __future__ import annotations

import graphlib
import heapq
import math
import time
from collections import Counter, defaultdict, deque
from collections.abc import Iterable, Iterator, Mapping

import luigi

from ozelot.engine.messages import Job, is_plain

#: How long a batch is meant to take.
_BATCH_SECONDS = 0.1


class Order:
    """The tasks of a run, and what stands between them and their turn.

    Args:
        workers: how many batches run at a time.
        most: the largest number of tasks in a batch.
        limits: how much there is of each resource.
    """

    def __init__(self, workers: int, most: int, limits: Mapping[str, int]) -> None:
        self.jobs: dict[str, Job] = {}
        self.alone: set[str] = set()  # labels of tasks that share no batch
        self.here: set[str] = set()  # labels of tasks that have to run in this process
        self._open: dict[str, set[str]] = {}  # what each task that is not complete waits for
        self._out: set[str] = set()  # labels of tasks that a worker has, or whose next turn is later
        self._dependents: dict[str, list[str]] = {}
        self._ready: list[tuple[float, int, str]] = []
        self._later: list[tuple[float, int, str]] = []
        self._places: dict[str, tuple[float, int]] = {}
        self._workers = workers
        self._most = most
        self._limits = limits
        self._used: Counter[str] = Counter()
        self._needs: dict[str, dict[str, int]] = {}
        self._held: dict[str, dict[str, int]] = {}
        self._seconds: dict[type, float] = {}
        self._paused_until = 0.0

    def add(self, jobs: Iterable[Job], wanted_by: str | None = None) -> None:
        """Add tasks, requirements first; of what they require, what is no task of the run is complete.

        As in Luigi, what is required is at least as urgent as what requires it.
        """
        added = list(jobs)
        least = -math.inf if wanted_by is None else -self._places[wanted_by][0]
        urgency: dict[str, float] = {}
        for job in reversed(added):
            own = urgency[job.label] = max(job.task.priority, urgency.get(job.label, least))
            for other in job.requires:
                urgency[other] = max(own, urgency.get(other, own))
        for job in added:
            self.jobs[job.label] = job
        for job in added:
            task = job.task
            self._places[job.label] = -urgency[job.label], len(self._places)
            if needs := {str(name): int(number) for name, number in task.process_resources().items()}:
                self._needs[job.label] = needs
            if needs or not is_plain(task):
                self.alone.add(job.label)
            self._open[job.label] = set()
            self.wait_for(job.label, job.requires)

    def hold_back(self, label: str) -> None:
        """Never hand out a task."""
        self._out.add(label)
        self._ready = [entry for entry in self._ready if entry[-1] != label]
        heapq.heapify(self._ready)

    def wait_for(self, label: str, others: Iterable[str]) -> None:
        """Let a task wait for those that are to be run; where there is none, it is ready."""
        self._out.discard(label)
        waits = self._open[label]
        for other in others:
            if other in self._open:
                waits.add(other)
                self._dependents.setdefault(other, []).append(label)
        self._offer(label)

    def again(self, label: str, seconds: float = 0.0) -> None:
        """Let a task that was handed out have another turn, at once or later."""
        if seconds:
            heapq.heappush(self._later, (time.monotonic() + seconds, self._places[label][1], label))
        else:
            self._out.discard(label)
            self._offer(label)

    def done(self, label: str) -> None:
        """A task is complete: what waited for nothing else is ready."""
        del self._open[label]
        self._out.discard(label)
        for other in self._dependents.pop(label, ()):
            if other in self._open:  # another runner may have done it before we knew that it could
                self._open[other].discard(label)
                self._offer(other)

    def _offer(self, label: str) -> None:
        if not self._open[label] and label not in self._out:
            heapq.heappush(self._ready, (*self._places[label], label))

    def took(self, label: str, seconds: float) -> None:
        """A task of a class took so long."""
        cls = type(self.jobs[label].task)
        before = self._seconds.get(cls, seconds)
        self._seconds[cls] = max(seconds, (before + seconds) / 2)

    def hold(self, label: str) -> None:
        """Take the resources that a task needs."""
        if needs := self._needs.get(label):
            self._held[label] = dict(needs)
            self._used.update(needs)

    def release(self, label: str, part: Mapping[str, int] | None = None) -> None:
        """Give back what a task holds, or a part of it."""
        held = self._held.get(label, {})
        for name, number in (held.copy() if part is None else part).items():
            given = min(number, held.get(name, 0))
            self._used[name] -= given
            held[name] = held.get(name, 0) - given

    def pause(self, seconds: float) -> None:
        """Hand out no tasks for so long."""
        self._paused_until = time.monotonic() + seconds

    def until_next(self) -> float | None:
        """Seconds until a task has another turn; None: nobody waits for one."""
        now = time.monotonic()
        if self._ready and self._paused_until > now:
            return self._paused_until - now
        return max(0.0, self._later[0][0] - now) if self._later else None

    def has_ready(self) -> bool:
        """Whether there are tasks that wait for nothing but their turn."""
        return bool(self._ready)

    def wanting(self) -> Iterator[tuple[str, str]]:
        """Takes off the ready tasks that need more of a resource than there is at all, with the reason in words."""
        for entry in list(self._ready):
            for name, number in self._needs.get(entry[-1], {}).items():
                if number > self._limit(name):
                    self._ready.remove(entry)
                    yield (
                        entry[-1],
                        f"it needs {number} of the resource '{name}', of which there is {self._limit(name)}: say how "
                        "much there is in luigi.cfg, section [resources]",
                    )
                    break
        heapq.heapify(self._ready)

    def next_batch(self) -> list[str]:
        """Labels of tasks for one worker, taken off; empty where none may run now."""
        now = time.monotonic()
        if now < self._paused_until:
            return []
        while self._later and self._later[0][0] <= now:
            self.again(heapq.heappop(self._later)[2])
        batch: list[str] = []
        aside = []
        budget = _BATCH_SECONDS
        most = min(self._most, math.ceil(len(self._ready) / self._workers))
        while self._ready and len(batch) < most:
            entry = heapq.heappop(self._ready)
            label = entry[-1]
            known = self._seconds.get(type(self.jobs[label].task))
            if not self._fits(label):
                aside.append(entry)
                continue
            if batch and (known is None or known > budget or label in self.alone or self._differs(batch[0], label)):
                aside.append(entry)
                break
            batch.append(label)
            budget -= _BATCH_SECONDS if known is None or label in self.alone else known
            if budget <= 0:
                break
        for entry in aside:
            heapq.heappush(self._ready, entry)
        if not self._ready and batch and batch[0] not in self.alone:
            batch += self._followers(batch, budget)
        self._out.update(batch)
        return batch

    def _differs(self, one: str, other: str) -> bool:
        return (one in self.here) is not (other in self.here)

    def _followers(self, batch: list[str], budget: float) -> list[str]:
        """Tasks that wait for nothing but those of the batch, and may follow them."""
        together = dict.fromkeys(batch)
        new = deque(batch)
        while new:
            for other in self._dependents.get(new.popleft(), ()):
                known = self._seconds.get(type(self.jobs[other].task))
                waits = self._open.get(other)
                if known is None or known > budget or len(together) >= self._most:
                    continue
                if waits is None or len(waits) > len(together):
                    continue
                if other in together or other in self.alone or other in self._out or self._differs(batch[0], other):
                    continue
                if waits <= together.keys():
                    together[other] = None
                    new.append(other)
                    budget -= known
        return list(together)[len(batch) :]

    def _fits(self, label: str) -> bool:
        return all(self._used[name] + n <= self._limit(name) for name, n in self._needs.get(label, {}).items())

    def _limit(self, name: str) -> int:
        return self._limits.get(name, 1)


def causes(requires: Mapping[str, Iterable[str]], failed: Iterable[str]) -> dict[str, str]:
    """What each task that stands on one that failed was not reached because of: the label of a nearest such one."""
    dependents: defaultdict[str, list[str]] = defaultdict(list)
    for label, others in requires.items():
        for other in others:
            dependents[other].append(label)
    found = {label: label for label in failed}
    new = deque(found)
    while new:
        label = new.popleft()
        for other in dependents.get(label, ()):
            if other not in found:
                found[other] = found[label]
                new.append(other)
    return found


def circle_in(requires: Mapping[str, Iterable[str]]) -> list[str]:
    """Labels of which each requires the next, and the last is the first; empty where there are none."""
    try:
        graphlib.TopologicalSorter(requires).prepare()
    except graphlib.CycleError as exc:
        found: list[str] = exc.args[1]
        return found[::-1]
    return []


def limits_of_luigi() -> dict[str, int]:
    """How much there is of each resource, as ``[resources]`` in ``luigi.cfg`` says; of others there is 1."""
    found = luigi.configuration.get_config().getintdict("resources")
    return {str(name): int(number) for name, number in found.items()}
