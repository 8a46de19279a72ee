"""Where tasks run: threads of this process, the caller's own thread, processes, or an executor of the user's.

Each process of :class:`Processes` is a pool of its own, so that one that dies or is ended takes no other along.
"""

from __future__ import annotations

import logging
import multiprocessing
import os
import signal
import sys
import threading
import time
from collections.abc import Callable
from concurrent.futures import BrokenExecutor, CancelledError, Executor, Future, ProcessPoolExecutor, ThreadPoolExecutor
from contextlib import suppress
from multiprocessing.context import SpawnContext, SpawnProcess
from types import ModuleType
from typing import Any, TypeVar

import luigi

from ozelot.client import Client
from ozelot.db import sqlite_file, transaction
from ozelot.engine.messages import Batch
from ozelot.errors import ConfigError, WorkerError

_R = TypeVar("_R")

log = logging.getLogger(__name__)


class Inline(Executor):
    """Runs what it is handed in the caller's own thread, at once."""

    def submit(self, fn: Callable[..., _R], /, *args: Any, **kwargs: Any) -> Future[_R]:
        """Run it; what it raises comes out here."""
        future: Future[_R] = Future()
        future.set_result(fn(*args, **kwargs))
        return future


class _Process(SpawnProcess):
    """A process that starts without the script of the user.

    What is defined there does not travel, and a script that does not ask for its ``__name__`` would begin a run of its
    own in each process.
    """

    @staticmethod
    def _Popen(process_obj: Any) -> Any:  # noqa: N802 - where multiprocessing looks for it
        script, sys.modules["__main__"] = sys.modules["__main__"], ModuleType("__main__")
        blocked = _block({signal.SIGINT})  # which the new process inherits, until it can say that it ignores it
        try:
            return SpawnProcess._Popen(process_obj)
        finally:
            sys.modules["__main__"] = script
            _unblock({signal.SIGINT} - blocked)


class _Spawn(SpawnContext):
    Process = _Process


class Processes(Executor):
    """A number of processes, each of which can be ended by itself.

    Args:
        number: how many.
    """

    def __init__(self, number: int) -> None:
        # A fresh interpreter each: a fork would copy whatever locks the threads of this one hold.
        self._context = _Spawn()
        self._idle: list[ProcessPoolExecutor | None] = [None] * number
        self._busy: dict[Future[Any], ProcessPoolExecutor] = {}
        self._starting: dict[ProcessPoolExecutor, Future[Any]] = {}
        self._began: dict[Future[Any], float] = {}

    def submit(self, fn: Callable[..., _R], /, *args: Any, **kwargs: Any) -> Future[_R]:
        """Hand it to a process that has nothing to do."""
        self._gather()
        pool = self._idle.pop()
        if pool is not None:
            with suppress(BrokenExecutor):  # it died while it had nothing to do
                return self._hand(pool, fn, *args, **kwargs)
            pool.shutdown(wait=False)
        level = logging.getLogger("ozelot").level
        pool = ProcessPoolExecutor(1, mp_context=self._context, initializer=_begin, initargs=(level,))
        self._starting[pool] = pool.submit(_arrive, *args)
        return self._hand(pool, fn, *args, **kwargs)

    def _hand(self, pool: ProcessPoolExecutor, fn: Callable[..., _R], /, *args: Any, **kwargs: Any) -> Future[_R]:
        future = pool.submit(fn, *args, **kwargs)
        self._busy[future] = pool
        return future

    def seconds_at(self, future: Future[Any]) -> float:
        """How long a process has been at it; starting the process, and what it has to import, do not count."""
        now = time.monotonic()
        starting = self._starting.get(self._busy[future])
        if starting is not None and not starting.done():
            return 0.0
        return now - self._began.setdefault(future, now)

    def end(self, future: Future[Any]) -> None:
        """End the process that is at it, which breaks the future."""
        for process in list(_processes(self._busy[future])):
            process.kill()

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        """End all processes; those that are at something, at once."""
        for future, pool in self._busy.items():
            if not future.done():
                for process in list(_processes(pool)):
                    process.kill()
        for pool in [*self._busy.values(), *(pool for pool in self._idle if pool is not None)]:
            pool.shutdown(wait=wait, cancel_futures=cancel_futures)

    def _gather(self) -> None:
        for future in [future for future in self._busy if future.done()]:
            pool = self._busy.pop(future)
            self._starting.pop(pool, None)
            self._began.pop(future, None)
            broken = getattr(pool, "_broken", False)
            if broken:
                pool.shutdown(wait=False)
            self._idle.append(None if broken else pool)


def _processes(pool: ProcessPoolExecutor) -> list[Any]:
    return list((pool._processes or {}).values())


def _begin(log_level: int) -> None:
    """What each process does first: leave Ctrl-C to the one that started it, end when that one does, log as it does."""
    logging.getLogger("ozelot").setLevel(log_level)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    _unblock({signal.SIGINT})
    threading.Thread(target=_end_with_parent, daemon=True).start()


def _block(signals: set[signal.Signals]) -> set[Any]:
    """Let signals wait; returns those that did before."""
    return set(signal.pthread_sigmask(signal.SIG_BLOCK, signals)) if hasattr(signal, "pthread_sigmask") else set()


def _unblock(signals: set[signal.Signals]) -> None:
    if hasattr(signal, "pthread_sigmask"):
        signal.pthread_sigmask(signal.SIG_UNBLOCK, signals)


def _arrive(batch: Batch) -> None:
    """Import what a batch needs; what fails is told when its turn comes."""
    with suppress(Exception):
        for job in batch.jobs:
            _ = job.task


def _end_with_parent() -> None:
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
    os._exit(1)


def is_distributed(executor: Executor) -> bool:
    """Whether it is Dask's, which may hand tasks to other machines."""
    return type(executor).__module__.partition(".")[0] == "distributed"


def seconds_allowed(executor: Executor, task: luigi.Task, by_default: float | None) -> float | None:
    """How long a task may take; None where there is no limit, or none that could be kept."""
    if not isinstance(executor, Processes):
        return None
    own: float | None = task.worker_timeout
    return (by_default if own is None else own) or None  # as with Luigi, 0 means no limit


def how_to_submit(executor: Executor) -> dict[str, Any]:
    """What an executor is to be told with each batch.

    Raises:
        WorkerError: it is Dask's, and has lost its scheduler; what it is handed would never come back.
    """
    if not is_distributed(executor):
        return {}
    if executor._client.status in ("closing", "closed"):  # type: ignore[attr-defined]
        raise WorkerError("Dask's client is closed: its scheduler is gone, or somebody closed it")
    return {"pure": False}  # unasked, Dask takes a batch that comes again for one whose outcome it knows


def died(error: BaseException) -> bool:
    """Whether an error says that a worker is gone, not that something is wrong with what it was handed."""
    return isinstance(error, BrokenExecutor | CancelledError) or gave_up(error)


def gave_up(error: BaseException) -> bool:
    """Whether an executor has tried it again by itself, as Dask does: several workers are gone."""
    return type(error).__name__ == "KilledWorker"


def shares_memory(executor: Executor) -> bool:
    """Whether what it runs sees this process."""
    return isinstance(executor, Inline | ThreadPoolExecutor)


def size_of(executor: Executor) -> int:
    """How many tasks an executor of the user's runs at a time, as far as it tells."""
    if is_distributed(executor):
        return max(1, sum(executor._client.nthreads().values()))  # type: ignore[attr-defined]
    return int(getattr(executor, "_max_workers", 1))


def choose(executor: Executor | str | None, workers: int | None, database: Client) -> tuple[Executor, int, bool]:
    """The executor to use, how many batches to hand it at a time, and whether it is to be shut down at the end.

    Raises:
        ConfigError: the two do not go together, or with the database.
    """
    if workers is not None and workers < 1:
        raise ConfigError(f"workers={workers}: at least one has to work")
    in_memory = sqlite_file.is_in_memory(database.url)
    if transaction.current(database.engine) is not None:
        if executor is not None or (workers or 1) > 1:
            raise ConfigError("Inside an open transaction a pipeline runs with one worker, in the same thread")
        return Inline(), 1, False
    if executor is None or executor == "thread":
        if in_memory and (workers or 1) > 1:
            raise ConfigError("A database in memory belongs to one thread: use one worker, or a file")
        return (Inline() if in_memory else ThreadPoolExecutor(workers or 1, "ozelot")), workers or 1, True
    if in_memory:
        raise ConfigError("A database in memory belongs to one thread: use no executor, or a file")
    if executor == "process":
        number = workers or os.cpu_count() or 1
        return Processes(number), number, True
    if isinstance(executor, str):
        raise ConfigError(f"No executor '{executor}': use 'thread', 'process', or an object such as Dask's")
    if is_distributed(executor) and database.engine.dialect.name == "sqlite":
        raise ConfigError(
            "SQLite is a file of this machine, which Dask's workers on others would not see: use PostgreSQL or "
            "MariaDB, or executor='process' for several processes here"
        )
    if is_distributed(executor) and not executor._client.nthreads():  # type: ignore[attr-defined]
        log.warning("The Dask cluster has no workers yet: waiting for one. Start it with 'dask worker ADDRESS'")
    return executor, workers or size_of(executor), False


def stays_here(task: luigi.Task) -> str:
    """Why a task cannot travel to another process; the empty text where it can."""
    cls = type(task)
    if cls.__module__ == "__main__":
        return f"{cls.__qualname__} is defined in the script itself (__main__), which other processes cannot import"
    if "<locals>" in cls.__qualname__ or cls.__module__ not in sys.modules:
        return f"{cls.__qualname__} is defined inside a function, where other processes cannot find it"
    return ""
