"""The loop that hands out tasks, hears what became of them, and goes on from there."""

from __future__ import annotations

import logging
import queue
import random
import threading
import time
from collections import Counter, deque
from collections.abc import Collection
from concurrent.futures import CancelledError, Executor, Future, ThreadPoolExecutor
from contextlib import suppress
from typing import Any, cast

import luigi

from ozelot import client
from ozelot.db import sqlite_file
from ozelot.engine import executors
from ozelot.engine.events import Event, Failure, Kind, Progress, Ran, RunResult
from ozelot.engine.interruption import Interruption
from ozelot.engine.luigi_hooks import became_by, failed
from ozelot.engine.messages import Batch, Became, Note, Outcome, announce, job_of
from ozelot.engine.ready_queue import Order, causes, circle_in, limits_of_luigi
from ozelot.engine.worker import run_batch, run_elsewhere
from ozelot.errors import DatabaseFileError, GraphError, OutputMissing, TimedOut, WorkerError
from ozelot.etl.completion import complete, to_run
from ozelot.pipeline.declarations import refuse_shared_columns
from ozelot.pipeline.definition import is_external
from ozelot.pipeline.graph import Graph, walk
from ozelot.pipeline.marker_target import task_label
from ozelot.pipeline.user_code import LateRequirements
from ozelot.staleness.fingerprint import refuse_own_inputs

log = logging.getLogger(__name__)

#: How often what workers report is looked at, and how often a progress hears that time passes.
_LOOK, _TICK = 0.1, 1.0  # seconds

#: Another runner is at a task: seconds until it is looked for again, at first and at most.
_SOON, _LATEST = 0.05, 1.0

#: How often a task is begun anew that lost its connection or its worker.
_LOST = 3

#: No connection was to be had: seconds to wait for the database, and between two attempts, at first and at most.
_PATIENCE, _FIRST_PAUSE, _LONGEST_PAUSE = 60.0, 0.1, 5.0

#: Two such failures that are further apart have different causes.
_SAME_OUTAGE = 30.0

#: How many starts of a task in a row may yield other requirements than the start before.
_MOST_FORGOTTEN = 10

#: PostgreSQL keeps claims in shared memory, of a few thousand in all.
_MOST, _MOST_ON_SERVERS = 250, 64


class Loop:
    """One run of a graph.

    Args:
        roots: the tasks to complete.
        executor: where tasks run.
        workers: how many batches run at a time.
        keep_going: whether tasks that do not depend on one that failed are still run.
        progress: is called with every event.
        timeout: seconds that a task may take, where it does not say so itself.
    """

    def __init__(
        self,
        roots: list[luigi.Task],
        executor: Executor,
        workers: int,
        *,
        keep_going: bool,
        progress: Progress | None,
        timeout: float | None,
    ) -> None:
        self.executor = executor
        self.keep_going = keep_going
        self.timeout = timeout
        self.result = RunResult()
        self.stopping = threading.Event()
        self.interruption = Interruption(self._interrupted)
        self._progress = progress
        self._database = client.get_client()
        self._shares = executors.shares_memory(executor)
        self._local: Executor | None = None  # for tasks that cannot travel
        self._reports: deque[Outcome | Note | str] = deque()
        self._ended: queue.SimpleQueue[Future[Any]] = queue.SimpleQueue()
        self._running: dict[Future[Any], list[str]] = {}
        self._awaited: dict[str, Future[Any]] = {}  # what each task is part of, of which nothing was heard since
        self._allowed: dict[Future[Any], float] = {}  # seconds; below 0: they are over
        self._refused: tuple[float, float] | None = None  # when no connection was to be had: first, and last
        self._connected: set[Future[Any]] = set()  # what ran when no further connection was to be had
        self._tries: Counter[tuple[str, Became]] = Counter()
        broken: dict[str, Exception] = {}
        self._graph = walk(roots, broken)
        self._filling = refuse_shared_columns(self._graph.tasks)
        refuse_own_inputs(self._graph.tasks.values())
        missing: dict[str, str] = {}
        done = complete(self._graph, broken, missing)
        wanted = [task_label(root) for root in roots]
        labels = to_run(self._graph, set(wanted), done)
        announce(self._graph, wanted, labels)
        most = _MOST if self._database.engine.dialect.name == "sqlite" else _MOST_ON_SERVERS
        self._workers = workers
        self._order = Order(workers, most, limits_of_luigi())
        self._open = set(labels)
        self._file = sqlite_file.in_use(self._database.url)
        self.result.complete = [label for label in self._graph.tasks if label in done and label not in self._open]
        self._add(self._graph, labels, done, missing)
        self._broken = {label: exc for label, exc in broken.items() if label in self._open}

    def run(self) -> RunResult:
        """Run all that is not complete."""
        begin = time.monotonic()
        self._event(Kind.PLANNED)
        with self.interruption:
            try:
                for label, exc in self._broken.items():
                    self._order.hold_back(label)
                    self._graph.tasks[label].trigger_event(luigi.Event.BROKEN_TASK, self._graph.tasks[label], exc)
                    self._give_up(failed(label, exc, 0.0))
                self._hand_out_all()
                sqlite_file.check_same(*self._file)
            finally:
                self.stopping.set()
                if self._local is not None:
                    self._local.shutdown(wait=False)
        failed_open = self._open.intersection(self.result.failed)
        because = causes({label: self._graph.requires[label] for label in self._open}, failed_open)
        for label in self._order.jobs:
            if label in self._open and label not in self.result.failed:
                self.result.not_reached[label] = because.get(label, "")
        self.result.seconds = time.monotonic() - begin
        return self.result

    def _hand_out_all(self) -> None:
        ticked = time.monotonic()
        while True:
            self._hand_out()
            if not self._running and (self.stopping.is_set() or self._order.until_next() is None):
                self._hear()
                if self.stopping.is_set() or not (self._refuse_wanting() or self._refuse_circle()):
                    return
                continue
            wait = min(_LOOK, self._order.until_next() or _LOOK)
            try:
                self._end(self._ended.get(timeout=wait))
                while True:
                    self._end(self._ended.get_nowait())
            except queue.Empty:
                pass
            self._hear()
            self._end_late()
            if self.interruption.came:
                self._tell_of_it()
            if time.monotonic() - ticked > _TICK:
                ticked = time.monotonic()
                self._event(Kind.TICK)

    def _interrupted(self) -> None:
        self.stopping.set()
        if isinstance(self.executor, executors.Inline):  # nobody looks until the task at hand has ended
            with suppress(RuntimeError):  # it was about to print something itself
                self._tell_of_it()

    def _tell_of_it(self) -> None:
        if not self.interruption.was_told:
            self.interruption.was_told = True
            self._event(Kind.STOPPING)

    def _hand_out(self) -> None:
        while len(self._running) < self._workers and not self.stopping.is_set():
            labels = self._order.next_batch()
            if not labels:
                return
            batch = Batch([self._order.jobs[label] for label in labels], self._database.url, self.keep_going)
            for label in labels:
                self._order.hold(label)
            try:
                future = self._submit(batch, labels)
            except Exception as exc:  # noqa: BLE001 - such as an executor of the user's that broke, or was shut down
                future = Future()
                future.set_exception(exc)
            self._running[future] = labels
            self._awaited.update(dict.fromkeys(labels, future))
            task = self._order.jobs[labels[0]].task
            seconds = executors.seconds_allowed(self.executor, task, self.timeout)
            if seconds and labels[0] not in self._order.here:
                self._allowed[future] = seconds
            future.add_done_callback(self._ended.put)
            if isinstance(self.executor, executors.Inline):
                return  # it has run already

    def _submit(self, batch: Batch, labels: list[str]) -> Future[Any]:
        if self._shares or labels[0] in self._order.here:
            executor = self.executor if self._shares else self._local_executor()
            return executor.submit(run_batch, batch, self._reports.append, self.stopping.is_set)
        for label in labels:
            self._reports.append(label)
        return self.executor.submit(run_elsewhere, batch, **executors.how_to_submit(self.executor))

    def _local_executor(self) -> Executor:
        if self._local is None:
            self._local = ThreadPoolExecutor(self._workers, "ozelot")
        return self._local

    def _end(self, future: Future[Any]) -> None:
        """A worker has ended its batch, or died over it."""
        labels = self._running.pop(future)
        sqlite_file.check_same(*self._file)
        allowed = self._allowed.pop(future, 0.0)
        error = CancelledError() if future.cancelled() else future.exception()
        if error is None:
            self._reports.extend(future.result() or ())
        self._hear()
        if isinstance(error, DatabaseFileError):
            raise error  # what ran may be lost, and nothing else can be recorded
        if error is not None and allowed < 0:
            error = TimedOut(f"took longer than {-allowed:g} s, and was ended")
            self._heard(failed(labels[0], error, -allowed))
        elif error is not None:
            if not isinstance(error, Exception):
                raise error
            died = executors.died(error)
            told = WorkerError(f"its worker died ({type(error).__name__}: {error})") if died else error
            again = died and not (len(labels) == 1 and executors.gave_up(error))
            for label in labels:
                if self._awaited.get(label) is future:
                    if died:
                        self._order.alone.add(label)  # so that one that ends its worker takes no other along again
                    self._heard(failed(label, told, 0.0, Became.LOST if again else became_by(error)))
        for label in labels:
            self._order.release(label)

    def _end_late(self) -> None:
        """End what takes longer than it may."""
        for future, seconds in self._allowed.items():
            processes = cast(executors.Processes, self.executor)
            if 0 < seconds < processes.seconds_at(future):
                self._allowed[future] = -seconds
                processes.end(future)

    def _hear(self) -> None:
        while self._reports:
            report = self._reports.popleft()
            if isinstance(report, str):
                self._event(Kind.STARTED, report)
            elif isinstance(report, Note):
                self._order.release(report.label, report.gives_back)
                if report.text:
                    self._event(Kind.MESSAGE, report.label, text=report.text)
            else:
                self._heard(report)

    def _heard(self, outcome: Outcome) -> None:
        label = outcome.label
        self._awaited.pop(label, None)
        if outcome.became in (Became.DONE, Became.COMPLETE):
            self._refused = None
        if isinstance(outcome.exception, DatabaseFileError):
            raise outcome.exception  # what ran may be lost, and nothing else can be recorded
        if outcome.became is Became.DONE:
            self._order.took(label, outcome.seconds)
            self.result.ran[label] = Ran(outcome.seconds, outcome.rows, outcome.notes)
            self._complete(label, Kind.DONE, outcome)
            if outcome.reason:
                self._give_up(outcome)
        elif outcome.became is Became.COMPLETE:
            self.result.elsewhere.append(label)
            self._complete(label, Kind.ELSEWHERE, outcome)
        elif outcome.became is Became.BUSY:
            number = self._try(label, outcome.became)
            if number == 1:
                self._event(Kind.WAITING, label)
            self._order.again(label, min(_LATEST, _SOON * 1.5**number))
        elif outcome.became is Became.LEFT:
            self._order.again(label)
        elif outcome.became is Became.WAITS:
            self._wait(label, [job.task for job in outcome.wanted], outcome.late or LateRequirements())
        elif outcome.became is Became.REFUSED:
            self._wait_for_database(outcome)
        elif outcome.became is Became.LOST and self._try(label, outcome.became) <= _LOST:
            self._order.alone.add(label)  # so that one that loses its connection takes no other along again
            self._retry(outcome, self._tries[label, outcome.became], first=0.1)
        else:
            self._failed(outcome)

    def _complete(self, label: str, kind: Kind, outcome: Outcome) -> None:
        self._open.discard(label)
        self._order.done(label)
        self._event(kind, label, seconds=outcome.seconds, rows=outcome.rows, notes=outcome.notes)

    def _try(self, label: str, became: Became) -> int:
        self._tries[label, became] += 1
        return self._tries[label, became]

    def _retry(self, outcome: Outcome, number: int, *, first: float) -> None:
        seconds = min(300.0, first * 2 ** (number - 1)) * random.uniform(1.0, 1.2)  # noqa: S311 - no secret
        self._event(Kind.RETRY, outcome.label, seconds=seconds, text=outcome.reason)
        self._order.again(outcome.label, seconds)

    def _wait_for_database(self, outcome: Outcome) -> None:
        """Try again once a server that restarts is back, or tasks that hold all connections have ended."""
        now = time.monotonic()
        if self._refused is None or now - self._refused[1] > _SAME_OUTAGE:
            self._refused = now, now
            self._connected = set(self._running)
            self._say_once(f"Waiting for the database. {outcome.reason}")
        self._refused = self._refused[0], now
        waited = now - self._refused[0]
        if waited > _PATIENCE and self._connected.isdisjoint(self._running):
            self._give_up(outcome)
            self.stopping.set()
            return
        pause = min(_LONGEST_PAUSE, max(_FIRST_PAUSE, waited / 2)) * random.uniform(1.0, 1.2)  # noqa: S311 - no secret
        self._order.again(outcome.label)
        self._order.pause(pause)

    def _failed(self, outcome: Outcome) -> None:
        task: Any = self._order.jobs[outcome.label].task
        number = self._try(outcome.label, Became.FAILED)
        if number < (task.retry_count or 1) and not self.stopping.is_set():
            self._retry(outcome, number, first=getattr(task, "retry_seconds", 1.0))
        else:
            self._give_up(outcome)

    def _give_up(self, outcome: Outcome) -> None:
        is_complete = outcome.became is Became.DONE
        failure = Failure(outcome.reason, outcome.traceback, outcome.exception, outcome.seconds, is_complete)
        self.result.failed[outcome.label] = failure
        self._event(Kind.FAILED, outcome.label, seconds=outcome.seconds, text=outcome.reason)
        if not self.keep_going:
            self.stopping.set()

    def _wait(self, label: str, wanted: list[luigi.Task], late: LateRequirements) -> None:
        """A task asked for requirements while it ran."""
        self._tries[label, Became.WAITS] = 0 if late.repeats else self._tries[label, Became.WAITS] + 1
        try:
            if self._tries[label, Became.WAITS] == _MOST_FORGOTTEN:
                raise GraphError(
                    f"{_MOST_FORGOTTEN} starts of {label} in a row did not yield again what the start before had "
                    f"yielded; the last one yielded {task_label(wanted[0])}. run() begins again once a requirement is "
                    "complete: let it yield the same requirements each time"
                )
            found = walk(wanted)
            if label in found.tasks:
                raise GraphError(f"Requirements run in a circle: {label} -> {task_label(wanted[0])} -> ... -> {label}")
            self._filling = refuse_shared_columns({**self._filling, **found.tasks})
            refuse_own_inputs(found.tasks.values())
            new = Graph({name: found.tasks[name] for name in found.tasks if name not in self._order.jobs}, {})
            lost: dict[str, str] = {}
            done = complete(new, missing=lost) | {
                name for name in found.tasks if name in self._order.jobs and name not in self._open
            }
            labels = to_run(found, {task_label(task) for task in wanted}, done)
            added = [name for name in labels if name not in self._order.jobs]
            if not labels and (missing := next((task for task in wanted if not task.complete()), None)) is not None:
                raise OutputMissing(f"it asked for {task_label(missing)}, which is not complete although it ran")
        except Exception as exc:  # noqa: BLE001 - whatever requires() raises
            self._heard(failed(label, exc, 0.0, became_by(exc)))
            return
        announce(found, map(task_label, wanted), labels)
        self._graph.tasks.update({name: found.tasks[name] for name in added})
        self._graph.requires.update({name: found.requires[name] for name in added})
        self._graph.requires[label] = [*self._graph.requires[label], *map(task_label, wanted)]
        self._open.update(added)
        self._add(found, added, done, lost, wanted_by=label)
        late.last = set(map(task_label, wanted))
        self._order.jobs[label].late = late
        self._event(Kind.PAUSED, label)
        self._order.wait_for(label, labels)

    def _add(
        self,
        graph: Graph,
        labels: list[str],
        done: set[str],
        missing: Collection[str],
        wanted_by: str | None = None,
    ) -> None:
        for label in labels:
            if is_external(graph.tasks[label]):
                self._order.here.add(label)
            elif not self._shares and (why := executors.stays_here(graph.tasks[label])):
                self._say_once(f"{why}: it runs in a thread of this process")
                self._order.here.add(label)
            if self.timeout or graph.tasks[label].worker_timeout:
                self._order.alone.add(label)
                if not isinstance(self.executor, executors.Processes):
                    self._say_once("No time limit is kept: a thread cannot be stopped. Use processes (--processes)")
        self._order.add([job_of(graph, label, done, missing) for label in labels], wanted_by)

    def _say_once(self, text: str) -> None:
        if self._try(text, Became.LEFT) == 1:
            log.warning("%s", text)
            self._event(Kind.MESSAGE, text=text)

    def _refuse_wanting(self) -> bool:
        """Nothing runs, and what is ready may not: it never will."""
        ready = self._order.has_ready()
        for label, why in self._order.wanting():
            self._give_up(failed(label, WorkerError(why), 0.0))
        return ready

    def _refuse_circle(self) -> bool:
        """Nothing runs, and nothing is ready: requirements that turned up late may wait for each other."""
        waiting = self._open.difference(self.result.failed)
        if not (circle := circle_in({label: waiting.intersection(self._graph.requires[label]) for label in waiting})):
            return False
        self._give_up(failed(circle[0], GraphError(f"Requirements run in a circle: {' -> '.join(circle)}"), 0.0))
        return True

    def _event(self, kind: Kind, label: str = "", **more: Any) -> None:
        if self._progress is not None:
            total = len(self.result.complete) + len(self._order.jobs)
            self._progress(Event(kind, label, total=total, complete=total - len(self._open), **more))
