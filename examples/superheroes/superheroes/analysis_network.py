"""The network of films and the characters in them, to move about in."""

import math
from collections.abc import Iterator
from textwrap import fill
from typing import Any

import networkx as nx
import pandas as pd
from bokeh.core.properties import value
from bokeh.embed import file_html
from bokeh.layouts import column
from bokeh.models import ColumnDataSource, CustomJS, HoverTool, Range1d, WheelZoomTool
from bokeh.models.glyphs import Text
from bokeh.models.widgets import Div
from bokeh.plotting import figure
from bokeh.resources import INLINE

from superheroes.analysis_layout import Point, positions

MOVIE, CHARACTER = "film", "character"
_LOOKS = {MOVIE: ("#c8452f", "square"), CHARACTER: ("#2f6db3", "circle")}
_INK, _FONT = "#1f2933", "Helvetica, Arial, sans-serif"
_LETTER_WIDTH, _LINE_HEIGHT = 5.6, 12.0  # of a label, in pixels
# More is neither quick to lay out nor possible to read; networkx wants SciPy from 500 nodes on.
_MOST_MOVIES, _MOST_CHARACTERS = 150, 300

# What is under the pointer and its neighbors stay, and show their names; all else fades.
_HIGHLIGHT = """
const hit = cb_data.index.indices
const at = hit.length > 0 ? hit[hit.length - 1] : -1
if (at === shown.data.at[0]) return
shown.data.at[0] = at
const near = new Set(at < 0 ? [] : [at, ...nodes.data.neighbors[at]])
nodes.data.alpha = Array.from(nodes.data.kind, (_, i) => at < 0 || near.has(i) ? 1 : 0.1)
nodes.data.label_alpha = Array.from(nodes.data.kind, (kind, i) =>
    at < 0 ? (kind === movie ? 1 : 0) : (near.has(i) ? 1 : 0))
nodes.data.back_alpha = Array.from(nodes.data.kind, (_, i) => near.has(i) ? 0.75 : 0)
edges.data.alpha = Array.from(edges.data.start, (start, i) =>
    at < 0 ? 0.45 : (start === at || edges.data.end[i] === at ? 0.9 : 0.03))
nodes.change.emit()
edges.change.emit()
"""


def network_page(characters: pd.DataFrame, movies: pd.DataFrame, appearances: pd.DataFrame) -> str:
    """The page, as HTML that needs nothing but itself."""
    graph = network(characters, movies, appearances)
    left_out = appearances["movie_id"].nunique() + appearances["character_id"].nunique() - len(graph)
    remark = f" {left_out:,} more that have fewer links are left out." if left_out else ""
    heading = Div(
        text=(
            f'<h1 style="font:600 26px {_FONT};color:{_INK};margin:12px 0 2px 8px">Who is in which film</h1>'
            f'<p style="font:15px {_FONT};color:#52606d;margin:0 0 6px 8px">{_count(graph, MOVIE):,} films and '
            f"{_count(graph, CHARACTER):,} characters.{remark} Point at one to see its neighbors; "
            "drag to move, scroll to zoom.</p>"
        )
    )
    return file_html(
        column(heading, _plot(graph, _places(graph)), sizing_mode="stretch_width"),
        resources=INLINE,
        title="Superheroes: films and characters",
    )


def network(characters: pd.DataFrame, movies: pd.DataFrame, appearances: pd.DataFrame) -> "nx.Graph[str]":
    """The graph of films and characters: those with most links, if there are too many."""
    links = appearances[["movie_id", "character_id"]].drop_duplicates()
    links = links[links["movie_id"].isin(_most_frequent(links["movie_id"], _MOST_MOVIES))]
    links = links[links["character_id"].isin(_most_frequent(links["character_id"], _MOST_CHARACTERS))]
    graph: nx.Graph[str] = nx.Graph()
    for key, name, year in _rows(movies[movies["id"].isin(links["movie_id"])], "id", "name", "year"):
        full = name if pd.isna(year) else f"{name} ({year})"
        graph.add_node(f"m{key}", kind=MOVIE, name=full, label=fill(name, 18))
    for key, name, universe in _rows(
        characters[characters["id"].isin(links["character_id"])], "id", "name", "universe"
    ):
        short = name if pd.isna(universe) else name.removesuffix(f" ({universe})")
        full = name if pd.isna(universe) else f"{short} ({universe})"
        graph.add_node(f"c{key}", kind=CHARACTER, name=full, label=fill(short, 18))
    for movie, character in _rows(links, "movie_id", "character_id"):
        graph.add_edge(f"m{movie}", f"c{character}")
    return graph


def _most_frequent(ids: "pd.Series[Any]", most: int) -> list[Any]:
    """The values that occur most often; of equally frequent ones the smaller."""
    counts = ids.value_counts().sort_index().sort_values(ascending=False, kind="stable")
    return counts.index[:most].tolist()


def _rows(frame: pd.DataFrame, *names: str) -> Iterator[tuple[Any, ...]]:
    return zip(*(frame[name].tolist() for name in names), strict=True)


def _plot(graph: "nx.Graph[str]", places: dict[str, Point]) -> figure:
    nodes, edges = _sources(graph, places)
    plot = figure(
        height=860,
        sizing_mode="stretch_width",
        tools="pan,reset,save",
        toolbar_location="right",
    )
    plot.x_range, plot.y_range = _ranges(places)
    plot.toolbar.logo = None
    plot.axis.visible = plot.grid.visible = False
    plot.outline_line_color = "#e4e7eb"
    zoom = WheelZoomTool()
    plot.add_tools(zoom)
    plot.toolbar.active_scroll = zoom

    plot.segment("x0", "y0", "x1", "y1", source=edges, line_color="#9aa5b1", line_alpha="alpha", line_width=1)
    marks = plot.scatter(
        "x",
        "y",
        source=nodes,
        size="size",
        marker="marker",
        fill_color="color",
        fill_alpha="alpha",
        line_color="white",
        line_alpha="alpha",
    )
    # The legend has marks of its own, which do not fade.
    for kind, (color, marker) in _LOOKS.items():
        plot.scatter([math.nan], [math.nan], marker=marker, color=color, size=12, legend_label=kind)
    labels = Text(
        x="x",
        y="y",
        text="label",
        y_offset="label_offset",
        text_alpha="label_alpha",
        text_align="center",
        text_baseline="top",
        text_font=value(_FONT),
        text_font_size="10.5px",
        text_line_height=1.05,
        text_color=_INK,
        background_fill_color="white",
        background_fill_alpha="back_alpha",
    )
    plot.add_glyph(nodes, labels)
    shown = ColumnDataSource({"at": [-1]})
    highlight = CustomJS(args={"nodes": nodes, "edges": edges, "shown": shown, "movie": MOVIE}, code=_HIGHLIGHT)
    plot.add_tools(
        HoverTool(
            renderers=[marks],
            tooltips=[("name", "@name"), ("is a", "@kind"), ("neighbors", "@degree")],
            callback=highlight,
        )
    )
    plot.legend.location = "top_left"
    plot.legend.label_text_font_size = "14px"
    plot.legend.border_line_color = None
    return plot


def _places(graph: "nx.Graph[str]") -> dict[str, Point]:
    """Where the marks go: a film's at the upper end of its box, with the label below it."""
    boxes, shift = {}, {}
    for node, data in graph.nodes(data=True):
        size = _size(graph, node)
        if data["kind"] == CHARACTER:
            boxes[node], shift[node] = (size + 34, size + 9), 0.0  # room for some of its name, when it shows
            continue
        lines = data["label"].split("\n")
        height = size + _LINE_HEIGHT * len(lines) + 8
        boxes[node] = (max(size, _LETTER_WIDTH * max(map(len, lines))) + 6, height)
        shift[node] = (height - size) / 2 - 2
    return {node: (x, y + shift[node]) for node, (x, y) in positions(graph, boxes).items()}


def _size(graph: "nx.Graph[str]", node: str) -> float:
    """The diameter of a mark: characters in many films are larger."""
    return 15.0 if graph.nodes[node]["kind"] == MOVIE else 6 + 1.6 * graph.degree[node] ** 0.7


def _sources(graph: "nx.Graph[str]", places: dict[str, Point]) -> tuple[ColumnDataSource, ColumnDataSource]:
    """The nodes and the edges, as columns; characters before films, so that films lie on top."""
    order = sorted(graph, key=lambda node: graph.nodes[node]["kind"])
    number = {node: position for position, node in enumerate(order)}
    kinds = [graph.nodes[node]["kind"] for node in order]
    sizes = [_size(graph, node) for node in order]
    nodes: dict[str, Any] = {
        "x": [places[node][0] for node in order],
        "y": [places[node][1] for node in order],
        "kind": kinds,
        "name": [graph.nodes[node]["name"] for node in order],
        "label": [graph.nodes[node]["label"] for node in order],
        "degree": [graph.degree[node] for node in order],
        "neighbors": [sorted(number[other] for other in graph[node]) for node in order],
        "size": sizes,
        "marker": [_LOOKS[kind][1] for kind in kinds],
        "color": [_LOOKS[kind][0] for kind in kinds],
        "alpha": [1.0] * len(order),
        "label_alpha": [1.0 if kind == MOVIE else 0.0 for kind in kinds],
        "back_alpha": [0.0] * len(order),
        "label_offset": [size / 2 + 2 for size in sizes],
    }
    ends = list(graph.edges)
    edges: dict[str, Any] = {
        "x0": [places[start][0] for start, _ in ends],
        "y0": [places[start][1] for start, _ in ends],
        "x1": [places[end][0] for _, end in ends],
        "y1": [places[end][1] for _, end in ends],
        "start": [number[start] for start, _ in ends],
        "end": [number[end] for _, end in ends],
        "alpha": [0.45] * len(ends),
    }
    return ColumnDataSource(nodes), ColumnDataSource(edges)


def _ranges(places: dict[str, Point]) -> tuple[Range1d, Range1d]:
    """What the plot shows at first: everything, and a margin for the labels."""
    xs, ys = [x for x, _ in places.values()] or [0.0], [y for _, y in places.values()] or [0.0]
    return Range1d(start=min(xs) - 60, end=max(xs) + 60), Range1d(start=min(ys) - 55, end=max(ys) + 40)


def _count(graph: "nx.Graph[str]", kind: str) -> int:
    return sum(data["kind"] == kind for _, data in graph.nodes(data=True))
