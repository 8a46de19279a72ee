"""Where the nodes of a network go: the same places each time, and no node on top of another's label.

Lengths are in pixels of the plot as it first appears, y upwards.
"""

import math
from collections.abc import Mapping
from typing import TypeAlias

import networkx as nx
import numpy as np
from numpy.typing import NDArray

Point: TypeAlias = tuple[float, float]
Array: TypeAlias = NDArray[np.float64]

_SEED = 7
_ASPECT = 2.6  # groups are as much wider than high, as screens are
_AIR, _LITTLE_AIR = 1.6, 0.4  # the area of a group, over that of its boxes; of a small group
_GAP = 8.0
_SMALL = 12  # nodes
_ROUNDS = 400


def positions(graph: "nx.Graph[str]", boxes: Mapping[str, Point]) -> dict[str, Point]:
    """The center of every node's box.

    Springs pull neighbors together in each connected group; then boxes that overlap are pushed apart. The
    groups stand in rows, the largest on top, so that those that share nothing do not drift away.

    Args:
        graph: The network.
        boxes: Width and height of each node with its label.
    """
    groups = sorted(nx.connected_components(graph), key=lambda nodes: (-len(nodes), min(nodes)))
    placed: dict[str, Point] = {}
    page_width = left = top = row_height = 0.0
    for group in groups:
        nodes = sorted(group)
        sizes = np.array([boxes[node] for node in nodes], dtype=float)
        centers = _push_apart(_springs(graph, nodes, sizes), sizes)
        low, high = (centers - sizes / 2).min(axis=0), (centers + sizes / 2).max(axis=0)
        width, height = (float(length) for length in high - low)
        page_width = page_width or width
        if left > 0 and left + width > page_width:
            left, top, row_height = 0.0, top - row_height - _GAP, 0.0
        corner = np.array([left - low[0], top - high[1]])
        placed.update({node: (float(x), float(y)) for node, (x, y) in zip(nodes, centers + corner, strict=True)})
        left, row_height = left + width + _GAP, max(row_height, height)
    return placed


def _springs(graph: "nx.Graph[str]", nodes: list[str], sizes: Array) -> Array:
    """The spring layout of one group, spread over a rectangle that its boxes fill loosely.

    Springs crowd the center and throw single nodes far out: half of each coordinate is its rank.
    """
    if len(nodes) == 1:
        return np.zeros((1, 2))
    # A new graph: a subgraph lists its nodes in another order each time that Python starts.
    ordered: nx.Graph[str] = nx.Graph()
    ordered.add_nodes_from(nodes)
    ordered.add_edges_from(graph.edges(nodes))
    found = nx.spring_layout(ordered, seed=_SEED, iterations=400, k=3 / math.sqrt(len(nodes)), method="force")
    points = np.array([found[node] for node in nodes], dtype=float)
    points = _lengthwise(points)
    low, high = points.min(axis=0), points.max(axis=0)
    ranks = np.argsort(np.argsort(points, axis=0, kind="stable"), axis=0, kind="stable") / (len(nodes) - 1)
    even: Array = 0.35 * (points - low) / np.maximum(high - low, 1e-9) + 0.65 * ranks
    air = _AIR if len(nodes) > _SMALL else _LITTLE_AIR
    height = math.sqrt(air * float(sizes.prod(axis=1).sum()) / _ASPECT)
    spread: Array = even * np.array([_ASPECT * height, height])
    return spread


def _lengthwise(points: Array) -> Array:
    """The points, turned so that they extend from left to right more than up and down."""
    points = points - points.mean(axis=0)
    axes = np.linalg.svd(points, full_matrices=False)[2]
    turned: Array = points @ axes.T
    # Which end of an axis comes first is left to chance by the decomposition.
    turned *= np.where(turned[0] < 0, -1.0, 1.0)
    return turned


def _push_apart(centers: Array, sizes: Array) -> Array:
    """The centers, moved until no two boxes overlap, or for a while: what remains is small by then."""
    order = np.sign(np.arange(len(centers))[:, None] - np.arange(len(centers))[None, :])
    for _ in range(_ROUNDS):
        away = centers[:, None, :] - centers[None, :, :]
        overlap = (sizes[:, None, :] + sizes[None, :, :]) / 2 - np.abs(away)
        touching = (overlap > 0.5).all(axis=2) & (order != 0)
        if not touching.any():
            break
        # Along the axis that needs the shorter way; boxes in one place part in the order of their names.
        direction = np.where(away == 0, order[:, :, None], np.sign(away))
        shorter = overlap == overlap.min(axis=2, keepdims=True)
        centers = centers + (0.3 * direction * overlap * (shorter & touching[:, :, None])).sum(axis=1)
    return centers
