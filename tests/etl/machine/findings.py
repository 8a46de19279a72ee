"""What ``verify`` must find, by the oracle."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterator

from ozelot.etl.findings import Kind
from tests.etl.machine.oracle import Oracle
from tests.etl.machine.rows import DONE


def findings(oracle: Oracle) -> set[tuple[str, str]]:
    """What ``verify`` says: kind and place."""
    found = {(Kind.UNKNOWN.value, marker) for marker in oracle.markers - oracle.pipeline.nodes.keys()}
    return found | _markers(oracle) | _owned(oracle) | set(_unowned(oracle)) | _values(oracle) | _dangling(oracle)


def _markers(oracle: Oracle) -> set[tuple[str, str]]:
    found = set()
    for label in oracle.markers & oracle.pipeline.nodes.keys():
        ran = any(run.label == label for run in oracle.runs.values())
        if ran and oracle.done_run(label) is None:
            found.add((Kind.MARKER.value, label))
        elif not ran and (models := oracle.pipeline.nodes[label].creates):
            unowned = [m for m in models if not oracle.shape.is_owned(m)]
            if not any(row.model in unowned for row in oracle.rows.values()):
                found.add((Kind.MISSING.value, label))
    return found


def _owned(oracle: Oracle) -> set[tuple[str, str]]:
    there: defaultdict[int | None, Counter[str]] = defaultdict(Counter)
    for row in oracle.rows.values():
        if oracle.shape.is_owned(row.model):
            there[row.run].update(oracle.shape.chain(row.model))
    found = set()
    for number, run in oracle.runs.items():
        if run.state == DONE and run.label in oracle.markers:
            node = oracle.pipeline.nodes[run.label]
            shared = {t for m in node.creates if not oracle.shape.is_owned(m) for t in oracle.shape.chain(m)}
            of_owned = {t for m in node.creates if oracle.shape.is_owned(m) for t in oracle.shape.chain(m)}
            for table in of_owned - shared:
                found |= _compared(run.label, (run.counts or {})[table], there[number][table])
        elif there[number]:
            found.add((Kind.LEFT.value, run.label))
    return found


def _unowned(oracle: Oracle) -> Iterator[tuple[str, str]]:
    groups: defaultdict[frozenset[str], set[str]] = defaultdict(set)
    own: dict[str, set[str]] = {}
    for node in oracle.pipeline.nodes.values():
        if unowned := frozenset(m for m in node.creates if not oracle.shape.is_owned(m)):
            groups[unowned].add(node.name)
        own[node.name] = {t for m in node.creates if oracle.shape.is_owned(m) for t in oracle.shape.chain(m)}
    complete = {label.partition(" ")[0] for label in oracle.markers}
    covered = {model for models, names in groups.items() if names & complete for model in models}
    for model in {model for models in groups for model in models} - covered:
        if any(row.model == model for row in oracle.rows.values()):
            yield Kind.LEFT.value, model
    fills = Counter(
        table
        for models, names in groups.items()
        if names & complete
        for table in {table for model in models for table in oracle.shape.chain(model)}
    )
    for models, names in groups.items():
        ran = [run for run in oracle.runs.values() if run.state == DONE and run.label.partition(" ")[0] in names]
        if any(run.label in oracle.markers for run in ran):
            last = ran[-1]
            there = oracle.counted(row.name for row in oracle.rows.values() if row.model in models)
            for table in {table for model in models for table in oracle.shape.chain(model)}:
                recorded = (last.counts or {})[table]
                told_apart = table not in own[last.label.partition(" ")[0]]
                if told_apart and (there[table] < recorded or fills[table] == 1):
                    yield from _compared(last.label, recorded, there[table])


def _compared(label: str, recorded: int, found: int) -> set[tuple[str, str]]:
    if recorded == found:
        return set()
    return {((Kind.MISSING if found < recorded else Kind.ADDED).value, label)}


def _values(oracle: Oracle) -> set[tuple[str, str]]:
    return {
        (Kind.VALUES.value, run.label)
        for run in oracle.runs.values()
        if run.state == DONE and run.label in oracle.markers
        for column in oracle.pipeline.nodes[run.label].updates
        if oracle.values_in(column) < (run.counts or {})[".".join(column)]
    }


def _dangling(oracle: Oracle) -> set[tuple[str, str]]:
    return {
        (Kind.DANGLING.value, table)
        for row in oracle.rows.values()
        for table in oracle.shape.chain(row.model)
        for key in oracle.shape.models[table].keys
        if (name := row.refs[key.column]) is not None and name not in oracle.rows
    }
