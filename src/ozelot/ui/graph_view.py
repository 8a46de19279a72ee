"""What the page draws: boxes and arrows, few enough to be read."""

from __future__ import annotations

from collections import deque
from collections.abc import Collection, Iterable
from typing import Any
from urllib.parse import quote

from ozelot.ui.snapshot import Look, Node, Pipeline

#: More tasks than that are drawn by class; more boxes than the other are not drawn at all.
MOST_TASKS, MOST_BOXES = 120, 300
_LONGEST = 60  # characters of a line in a box


def drawing(pipeline: Pipeline, *, by: str = "", around: str = "", states: Collection[Look] = ()) -> dict[str, Any]:
    """Boxes and arrows as data for the script that lays them out.

    Args:
        pipeline: the tasks.
        by: ``task`` or ``class``; empty: by task where these are few.
        around: the key of a task: only what is near it.
        states: only tasks in these states.
    """
    kept: list[str] = [key for key, node in pipeline.nodes.items() if not states or node.look in states]
    if around:
        kept = _near(pipeline, around)
    if by == "task" or around or (by != "class" and len(kept) <= MOST_TASKS):
        drawn = _last(kept, MOST_BOXES)
        boxes = [_task_box(pipeline.nodes[key], key == around) for key in drawn]
        arrows = [(one, key) for key in drawn for one in pipeline.nodes[key].requires]
        return _drawn(boxes, arrows, len(kept), "task")
    classes: dict[str, list[str]] = {}
    for key in kept:
        classes.setdefault(pipeline.nodes[key].name, []).append(key)
    boxes = [_class_box(pipeline, name, classes[name]) for name in _last(classes, MOST_BOXES)]
    arrows = [
        (f"class:{pipeline.nodes[one].name}", f"class:{pipeline.nodes[key].name}")
        for key in kept
        for one in pipeline.nodes[key].requires
        if one in pipeline.nodes
    ]
    return _drawn(boxes, arrows, len(classes), "class")


def _drawn(boxes: list[dict[str, Any]], arrows: Iterable[tuple[str, str]], number: int, kind: str) -> dict[str, Any]:
    there = {box["id"] for box in boxes}
    kept = dict.fromkeys((one, other) for one, other in arrows if one in there and other in there and one != other)
    return {"kind": kind, "boxes": boxes, "arrows": [list(pair) for pair in kept], "left_out": number - len(boxes)}


def _last(keys: Iterable[str], number: int) -> list[str]:
    """Those nearest to the root, which stands last."""
    return [*keys][-number:]


def _near(pipeline: Pipeline, key: str) -> list[str]:
    """A task, and what is at most two steps up or down from it, the nearest first kept."""
    required_by: dict[str, list[str]] = {}
    for other, node in pipeline.nodes.items():
        for one in node.requires:
            required_by.setdefault(one, []).append(other)
    found = {key: None}
    for step in (lambda one: pipeline.nodes[one].requires, lambda one: required_by.get(one, ())):
        todo = deque([(key, 0)])
        while todo and len(found) < MOST_TASKS:
            one, depth = todo.popleft()
            for other in step(one) if depth < 2 else ():
                if other in pipeline.nodes and other not in found and len(found) < MOST_TASKS:
                    found[other] = None
                    todo.append((other, depth + 1))
    return [other for other in pipeline.nodes if other in found]


def _task_box(node: Node, is_center: bool) -> dict[str, Any]:
    params = node.params[1:-1].strip()
    return {
        "id": node.key,
        "href": f"/tasks/{node.key}",
        "title": _cut(node.name),
        "lines": [_cut(params)] if params else [],
        "state": node.look.css,
        "words": str(node.look),
        "center": is_center,
    }


def _class_box(pipeline: Pipeline, name: str, keys: list[str]) -> dict[str, Any]:
    if len(keys) == 1:
        return _task_box(pipeline.nodes[keys[0]], False) | {"id": f"class:{name}"}
    counts = pipeline.counts(keys)
    return {
        "id": f"class:{name}",
        "href": f"/tasks?name={quote(name, safe='')}",
        "title": _cut(name),
        "lines": [f"{len(keys):,} tasks"],
        "state": next(iter(counts)).css,
        "words": told(counts, len(keys)),
        "parts": [[look.css, number] for look, number in counts.items()],
        "center": False,
    }


def told(counts: dict[Look, int], number: int) -> str:
    """The states of several tasks in words."""
    if len(counts) == 1:
        return f"all {next(iter(counts))}" if number > 1 else str(next(iter(counts)))
    return ", ".join(f"{count:,} {look}" for look, count in counts.items())


def _cut(text: str) -> str:
    return text if len(text) <= _LONGEST else f"{text[:_LONGEST]}…"
