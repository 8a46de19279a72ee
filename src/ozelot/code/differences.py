"""Where two programs differ that may have been moved about.

Both are walked side by side, from the class that is asked about along what each name stands for. So a function that
moved to another module is the same, and one that another import now brings in is not.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping

from ozelot.code.following import Code, Piece


def differences(before: Code, after: Code) -> list[str]:
    """The names of the parts that differ, as they are called now; of what is no more, as it was called.

    Args:
        before: what a class was made of.
        after: what it is made of.
    """
    if before.version is not None or after.version is not None:
        return [] if before.version == after.version else [f"{after.roots[0]}.code_version"]
    found: dict[str, None] = {}
    if len(before.roots) != len(after.roots):
        found.update(dict.fromkeys(after.roots[:1]))
    waiting = deque(zip(before.roots, after.roots, strict=False))
    seen = set(waiting)
    while waiting:
        old, new = waiting.popleft()
        was, now = before.pieces.get(old), after.pieces.get(new)
        if was is None or now is None:
            if was is not now or old != new:  # what is not the project's own goes by its name
                found[new] = None
            continue
        found.update(dict.fromkeys(_differing(new, was, now)))
        for name in was.uses.keys() & now.uses.keys():
            pair = was.uses[name], now.uses[name]
            if pair not in seen:
                seen.add(pair)
                waiting.append(pair)
        if was.parts == now.parts and was.uses.keys() != now.uses.keys():
            found[new] = None  # the same text, with a name that now means something else
    return sorted(found)


def _differing(label: str, was: Piece, now: Piece) -> list[str]:
    names = [name for name in was.parts.keys() | now.parts.keys() if was.parts.get(name) != now.parts.get(name)]
    return [f"{label}.{name}" if name else label for name in names]


def as_data(code: Code) -> dict[str, object]:
    """What is to be kept of it, for JSON."""
    return {
        "version": code.version,
        "roots": code.roots,
        "pieces": {name: [piece.parts, piece.uses] for name, piece in code.pieces.items()},
    }


def from_data(data: Mapping[str, object]) -> Code:
    """What was kept of it.

    Raises:
        TypeError: it is something else.
        ValueError: likewise.
        KeyError: likewise.
    """
    version, roots, pieces = data["version"], data["roots"], data["pieces"]
    if not isinstance(roots, list) or not isinstance(pieces, dict):
        raise TypeError("neither roots nor pieces")
    kept = {str(name): Piece(dict(parts), dict(uses)) for name, (parts, uses) in pieces.items()}
    return Code(list(map(str, roots)), kept, version=None if version is None else str(version))
