"""What is complete, but made by other code, of other inputs, into other tables or on other runs than today's.

What was not recorded (by ozelot 0.2, or where the code was not known) is unknown, and never counts as stale.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Collection, Iterable, Mapping
from typing import Any

import sqlalchemy as sa

from ozelot import client
from ozelot.errors import ConfigError
from ozelot.etl.compared import Reason, Recorded, Verdict, last_made
from ozelot.etl.declared import is_orm_task, keys_of
from ozelot.etl.fingerprints import changes, code, fingerprint_of, of_others, read
from ozelot.etl.graph import Graph
from ozelot.etl.needs import needs_of
from ozelot.orm import fingerprint
from ozelot.orm import target as marker
from ozelot.orm.fingerprint import Fingerprint
from ozelot.orm.run import chunks, runs
from ozelot.orm.version import has_runs


def judge(graph: Graph, labels: Collection[str]) -> dict[str, Verdict]:
    """What is known of tasks of a graph that are complete, by label; the number of queries does not depend on theirs.

    Args:
        graph: the graph.
        labels: of the tasks; those without a marker are left out.
    """
    tasks = {label: graph.tasks[label] for label in graph.tasks if label in labels}
    keys = {keys_of(task)[0]: label for label, task in tasks.items() if is_orm_task(task)}
    if not keys:
        return {}
    with client.get_client().engine.connect() as connection:
        known = Recorded(connection, keys) if has_runs(connection) else None
    found = {label: Verdict(unknown=["by which run it was made"]) for label in keys.values()}
    for key, label in keys.items():
        if known is not None and key in known.made:
            found[label] = known.verdict(graph, label, key)
    _follow(graph, found, {} if known is None else known.built_on(keys))
    return found


def accept(tasks: Iterable[Any]) -> dict[str, list[Reason]]:
    """Say that today's code and tables count as those that made what these tasks loaded; changes their records only.

    Returns:
        What changed since, by the label of each task of which a run is recorded.

    Raises:
        ConfigError: the code of one of them is not known, as its file was changed since it was imported.
    """
    database = client.get_client()
    marker.prepare(database.engine)
    found: dict[str, list[Reason]] = {}
    today: dict[Fingerprint, list[int]] = {}
    with database.engine.begin() as connection:
        wanted = {keys_of(task)[0]: task for task in tasks}
        made = last_made(connection, wanted)
        texts = fingerprint.kept(connection, {one.fingerprint for one in made.values() if one.fingerprint})
        for key, one in made.items():
            task = wanted[key]
            if not code(type(task)).is_certain:
                raise ConfigError(f"The code of {type(task).__name__} was changed since it was imported: start anew")
            needs = needs_of(task.deps())
            now = fingerprint_of(task, needs.columns)
            was = read(texts.get(one.fingerprint or "", ""))
            found[f"{task.get_name()} {task.get_param_string()}"] = [
                Reason(*each) for each in changes(was, read(now.parts), of_others(task, needs))
            ]
            today.setdefault(now, []).append(one.run_id)
        fingerprint.keep(connection, today)
        for now, run_ids in today.items():
            for some in chunks(run_ids):
                connection.execute(sa.update(runs).where(runs.c.id.in_(some)).values(fingerprint=now.digest))
    return found


def _follow(graph: Graph, found: Mapping[str, Verdict], built_on: Mapping[str, set[str]]) -> None:
    """Say of what stands on something stale that it does."""
    above: dict[str, list[str]] = {}
    for label in found:
        for other in dict.fromkeys([*graph.requires[label], *sorted(built_on.get(label, ()))]):
            above.setdefault(other, []).append(label)
    waiting = deque((label, label) for label, verdict in found.items() if verdict.reasons)
    while waiting:
        label, stale = waiting.popleft()
        for other in above.get(label, ()):
            if not found[other].stands_on:
                found[other].stands_on = stale
                waiting.append((other, stale))
