"""Starting a run, and what its caller may say about it."""

from __future__ import annotations

from collections.abc import Iterable
from concurrent.futures import Executor

import luigi

from ozelot import client, transaction
from ozelot.engine import executors
from ozelot.engine.loop import Loop
from ozelot.engine.told import Progress, RunResult
from ozelot.errors import Interrupted
from ozelot.pooler import refuse_pooler


def refuse_pooled(database: client.Client) -> None:
    """Check that the connections of a run can hold its locks; inside an open transaction, it takes none.

    Raises:
        ConfigError: there is a pooler that leaves them behind.
    """
    if transaction.current(database.engine) is None:
        with database.engine.connect() as connection:
            refuse_pooler(connection)


def run(
    roots: luigi.Task | Iterable[luigi.Task],
    *,
    workers: int | None = None,
    executor: Executor | str | None = None,
    keep_going: bool = True,
    progress: Progress | None = None,
    timeout: float | None = None,
) -> RunResult:
    """Run a task (or several) and everything upstream that is not complete.

    Tasks run as under Luigi: with its events, hooks, priorities, resources, retries and dynamic requirements.
    Several runs of one database, in whatever processes, help each other: none runs what another one is at.

    Args:
        roots: the tasks.
        workers: how many tasks run at a time; by default 1, or as many as the executor takes.
        executor: ``"thread"`` (the default), ``"process"`` for transforms that keep a processor busy, or an object,
            such as that of ``dask_client.get_executor()``. Tasks travel there by their names and parameters.
        keep_going: after a failure, go on with what does not depend on it.
        progress: is called in this thread with every :class:`~ozelot.engine.told.Event`.
        timeout: seconds that a task may take, where its ``worker_timeout`` does not say so; needs processes.

    Returns:
        What ran, what was complete, what failed and why, and what was not reached.

    Raises:
        ConfigError: the executor does not go with the database, or with the number of workers, or a pooler would leave
            the locks of the run behind.
        GraphError: requirements run in a circle, two task classes share a name, or two tasks fill one column.
        Interrupted: Ctrl-C. The first one lets running tasks end; a second one ends at once.
    """
    tasks = [roots] if isinstance(roots, luigi.Task) else list(roots)
    refuse_pooled(client.get_client())
    chosen, number, is_ours = executors.choose(executor, workers, client.get_client())
    wait = True
    try:
        loop = Loop(tasks, chosen, number, keep_going=keep_going, progress=progress, timeout=timeout)
        result = loop.run()
    except KeyboardInterrupt:
        wait = False
        raise
    finally:
        if is_ours:
            chosen.shutdown(wait=wait, cancel_futures=True)
    if loop.interruption.came:
        raise Interrupted(result)
    return result
