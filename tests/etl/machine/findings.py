"""What ``verify`` must find, by the oracle."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterator

from ozelot.etl.verify import Kind
from tests.etl.machine.oracle import Oracle
from tests.etl.machine.rows import DONE


def findings(oracle: Oracle) -> set[tuple[str, str]]:
    """What ``verify`` says: kind and place."""
    found = {(Kind.UNKNOWN.value, marker) for marker in oracle.markers - oracle.pipeline.nodes.keys()}
    found |= _markers(oracle) | _owned(oracle) | set(_unowned(oracle)) | _values(oracle) | _dangling(oracle)
    return found | _upstream(oracle)


def _upstream(oracle: Oracle) -> set[tuple[str, str]]:
    legacy = [label for label in oracle.markers & oracle.pipeline.nodes.keys() if oracle.done_run(label) is None]
    return {(Kind.UPSTREAM.value, label) for label in legacy if not oracle.pipeline.upstream(label) <= oracle.markers}


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


def _shared(oracle: Oracle) -> set[str]:
    """The tables of models that tasks create whose rows do not know their run."""
    nodes = oracle.pipeline.nodes.values()
    return {t for n in nodes for m in n.creates if not oracle.shape.is_owned(m) for t in oracle.shape.chain(m)}


def _mixed(oracle: Oracle, label: str) -> set[str]:
    """The tables in which a task also creates rows that do not know their run."""
    unowned = [model for model in oracle.pipeline.nodes[label].creates if not oracle.shape.is_owned(model)]
    return {table for model in unowned for table in oracle.shape.chain(model)}


def _owner(oracle: Oracle, model: str) -> str | None:
    return next((table for table in oracle.shape.chain(model) if oracle.shape.models[table].owned), None)


def _owned(oracle: Oracle) -> set[tuple[str, str]]:
    there: defaultdict[int | None, Counter[str]] = defaultdict(Counter)
    for row in oracle.rows.values():
        if oracle.shape.is_owned(row.model):
            there[row.run].update(oracle.shape.chain(row.model))
    owned = [model for model in oracle.shape.models if oracle.shape.is_owned(model)]
    found = set()
    for number, run in oracle.runs.items():
        if run.state == DONE and run.label in oracle.markers:
            counts = run.counts or {}
            for model in owned:
                owner = _owner(oracle, model)
                for table in oracle.shape.chain(model):
                    if table == owner or (counts.get(owner or "", 0) and table not in _mixed(oracle, run.label)):
                        found |= _compared(run.label, counts.get(table, 0), there[number][table])
        elif there[number]:
            found.add((Kind.LEFT.value, run.label))
    return found


def _unowned(oracle: Oracle) -> Iterator[tuple[str, str]]:
    creators: defaultdict[str, set[str]] = defaultdict(set)
    filling: defaultdict[str, set[str]] = defaultdict(set)
    for node in oracle.pipeline.nodes.values():
        for model in node.creates:
            for table in oracle.shape.chain(model):
                filling[table].add(node.name)
            if not oracle.shape.is_owned(model):
                creators[model].add(node.name)
    complete = {label.partition(" ")[0] for label in oracle.markers}
    for model, names in creators.items():
        if names.isdisjoint(complete) and any(row.model == model for row in oracle.rows.values()):
            yield Kind.LEFT.value, model
    owned = {table for model in oracle.shape.models for table in [_owner(oracle, model)] if table}
    of_owned = {t for m in oracle.shape.models if oracle.shape.is_owned(m) for t in oracle.shape.chain(m)}
    already = {table for table in of_owned if any(_owned_in(oracle, table))}
    for table, names in filling.items():
        if table in owned or (table in of_owned - _shared(oracle)) or table in already:
            continue
        ran = [run for run in oracle.runs.values() if run.state == DONE and table in (run.counts or {})]
        done = [run for run in ran if run.label in oracle.markers]
        if not done:
            continue
        recorded = sum((run.counts or {})[table] for run in ran)
        number = len(oracle.rows_in(table))
        if number < recorded or (number > recorded and not _is_unknown(oracle, names)):
            filled = {run.label for run in done if (run.counts or {})[table]} or {run.label for run in done}
            where = filled.pop() if len(filled) == 1 else table
            yield (Kind.MISSING if number < recorded else Kind.ADDED).value, where


def _owned_in(oracle: Oracle, table: str) -> Iterator[bool]:
    """Whether something was found in a table that also holds rows that know their run."""
    for number, run in oracle.runs.items():
        if run.state == DONE and run.label in oracle.markers:
            counts = run.counts or {}
            for model in oracle.shape.models:
                owner = _owner(oracle, model)
                is_told = counts.get(owner or "", 0) and table not in _mixed(oracle, run.label)
                if owner and table in oracle.shape.chain(model) and (table == owner or is_told):
                    rows = [
                        row for row in oracle.rows_in(table) if row.run == number and oracle.shape.is_owned(row.model)
                    ]
                    yield len(rows) != counts.get(table, 0)


def _is_unknown(oracle: Oracle, names: set[str]) -> bool:
    """Whether a task ran of which it is not recorded how many rows it wrote."""
    for label in oracle.markers & oracle.pipeline.nodes.keys():
        if label.partition(" ")[0] in names and oracle.done_run(label) is None:
            return True
    done = [run for run in oracle.runs.values() if run.state == DONE]
    return any(run.counts is None and run.label.partition(" ")[0] in names for run in done)


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
        if run.counts and oracle.values_in(column) < run.counts[".".join(column)]
    }


def _dangling(oracle: Oracle) -> set[tuple[str, str]]:
    return {
        (Kind.DANGLING.value, table)
        for row in oracle.rows.values()
        for table in oracle.shape.chain(row.model)
        for key in oracle.shape.models[table].keys
        if (name := row.refs[key.column]) is not None and name not in oracle.rows
    }
