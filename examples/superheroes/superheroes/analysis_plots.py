"""The page of plots: who the characters are, and what became of the films."""

from collections.abc import Sequence
from typing import Any

import pandas as pd
from bokeh.embed import file_html
from bokeh.layouts import column, row
from bokeh.models import BasicTicker, ColumnDataSource, FixedTicker, HoverTool, NumeralTickFormatter, Range1d
from bokeh.models.annotations import Title
from bokeh.models.text import PlainText
from bokeh.models.widgets import Div
from bokeh.plotting import figure
from bokeh.resources import INLINE

_BLUE, _RED, _GREEN, _GREY = "#2f6db3", "#c8452f", "#3b8c6e", "#8a8f98"
_INK, _FAINT = "#1f2933", "#e4e7eb"
_FONT = "Helvetica, Arial, sans-serif"
_TALLEST = 3.5  # m: beyond, there are a few giants, and everyone else would be a dot
_TOOLS = "pan,wheel_zoom,box_zoom,reset,save"


def plots_page(characters: pd.DataFrame, movies: pd.DataFrame) -> str:
    """The page, as HTML that needs nothing but itself."""
    plots = [
        [_decades(characters), _sizes(characters)],
        [_most_appearances(characters), _most_films(characters)],
        [_ratings(movies), _films_a_year(movies)],
    ]
    heading = Div(
        text=(
            f'<h1 style="font:600 26px {_FONT};color:{_INK};margin:12px 0 2px 8px">Superheroes</h1>'
            f'<p style="font:15px {_FONT};color:#52606d;margin:0 0 10px 8px">{len(characters):,} characters '
            f"and {len(movies):,} films. Point at a mark to see what it stands for.</p>"
        )
    )
    rows = [row(*pair, sizing_mode="stretch_width", spacing=24) for pair in plots]
    return file_html(
        column(heading, *rows, sizing_mode="stretch_width", spacing=16),
        resources=INLINE,
        title="Superheroes: plots",
    )


def _plain_figure(title: str, x_label: str | None, y_label: str | None) -> figure:
    """An empty figure in the style of the page."""
    plot = figure(
        title=Title(text=title, text_font_size="16px", text_color=_INK, text_font=_FONT),
        height=380,
        tools=_TOOLS,
        sizing_mode="stretch_width",
    )
    plot.toolbar.logo = None
    plot.toolbar.autohide = True
    plot.outline_line_color = None
    plot.xgrid.grid_line_color = plot.ygrid.grid_line_color = _FAINT
    plot.xaxis.axis_label, plot.yaxis.axis_label = x_label, y_label
    plot.axis.axis_label_text_font_style = "normal"
    plot.axis.axis_label_text_font_size = plot.axis.major_label_text_font_size = "13px"
    plot.axis.axis_label_text_color = plot.axis.major_label_text_color = "#52606d"
    plot.axis.axis_line_color = plot.axis.major_tick_line_color = "#cbd2d9"
    plot.axis.minor_tick_line_color = None
    plot.min_border_right = 24
    return plot


def _decades(characters: pd.DataFrame) -> figure:
    years = characters["first_appearance_year"].dropna().astype(int)
    counts = (years // 10 * 10).value_counts().sort_index()
    return _columns(
        "Characters by the decade of their first appearance",
        "first appearance",
        "characters",
        [int(decade) for decade in counts.index],
        [int(count) for count in counts],
        step=10,
        suffix="s",
    )


def _films_a_year(movies: pd.DataFrame) -> figure:
    counts = movies["year"].dropna().astype(int).value_counts().sort_index()
    return _columns(
        "Films a year",
        "year of release",
        "films",
        [int(year) for year in counts.index],
        [int(count) for count in counts],
        step=1,
        suffix="",
    )


def _columns(
    title: str, x_label: str, y_label: str, starts: list[int], counts: list[int], *, step: int, suffix: str
) -> figure:
    """Columns, one each `step` years: a decade's column is named by its first year."""
    data: dict[str, Any] = {"start": starts, "label": [f"{start}{suffix}" for start in starts], "count": counts}
    plot = _plain_figure(title, x_label, y_label)
    bars = plot.vbar(x="start", top="count", width=0.8 * step, color=_BLUE, source=ColumnDataSource(data))
    plot.add_tools(HoverTool(renderers=[bars], tooltips=[(x_label, "@label"), (y_label, "@count")]))
    plot.y_range = Range1d(start=0, end=1.08 * max(counts, default=1))
    plot.xgrid.grid_line_color = None
    plot.yaxis.ticker = plot.xaxis.ticker = BasicTicker(min_interval=1)
    plot.yaxis.formatter = NumeralTickFormatter(format="0,0")
    if step > 1:
        plot.xaxis.ticker = FixedTicker(ticks=starts)
        plot.xaxis.major_label_overrides = {start: f"{start}{suffix}" for start in starts}
    return plot


def _sizes(characters: pd.DataFrame) -> figure:
    measured = characters.dropna(subset=["height", "weight"])
    shown = measured[measured["height"] <= _TALLEST]
    giants = len(measured) - len(shown)
    title = "Height and weight" + (f" ({giants} taller than {_TALLEST} m left out)" if giants else "")
    plot = _plain_figure(title, "height (m)", "weight (kg)")
    gender = shown["gender"].fillna("").str.split(" ").str[0]
    groups = [
        ("female", _RED, "circle", gender == "Female"),
        ("male", _BLUE, "square", gender == "Male"),
        ("other or unknown", _GREY, "triangle", ~gender.isin(["Female", "Male"])),
    ]
    names = ["name", "universe", "height", "weight"]
    some = [group for group in groups if group[3].any()] or groups[:1]
    for label, color, marker, chosen in some:
        plot.scatter(
            "height",
            "weight",
            source=ColumnDataSource(_columns_of(shown[chosen], names)),
            marker=marker,
            size=9,
            color=color,
            alpha=0.6,
            legend_label=label,
        )
    plot.add_tools(
        HoverTool(
            tooltips=[
                ("name", "@name"),
                ("universe", "@universe"),
                ("height", "@height{0.00} m"),
                ("weight", "@weight{0,0} kg"),
            ]
        )
    )
    plot.yaxis.formatter = NumeralTickFormatter(format="0,0")
    plot.legend.location = "top_left"
    plot.legend.border_line_color = None
    plot.legend.background_fill_alpha = 0.8
    plot.legend.label_text_font_size = "13px"
    return plot


def _most_appearances(characters: pd.DataFrame) -> figure:
    counted = characters.dropna(subset=["number_of_appearances"])
    most = counted.nlargest(15, "number_of_appearances")
    return _bars("Most appearances, in comics and on screen", "appearances", most, "number_of_appearances", _BLUE)


def _most_films(characters: pd.DataFrame) -> figure:
    most = characters[characters["films"] > 0].nlargest(15, "films")
    return _bars("Characters in most films", "films", most, "films", _RED)


def _bars(title: str, x_label: str, rows: pd.DataFrame, value: str, color: str) -> figure:
    """Bars from the longest at the top down; two characters of one name keep a bar each."""
    places = list(range(len(rows), 0, -1))
    labels = [_short(name, universe) for name, universe in zip(rows["name"], rows["universe"], strict=True)]
    source = ColumnDataSource(
        {**_columns_of(rows, ["name", "universe"]), "place": places, "value": rows[value].astype(int).tolist()}
    )
    plot = _plain_figure(title, x_label, None)
    bars = plot.hbar(y="place", right="value", height=0.75, color=color, source=source)
    plot.add_tools(
        HoverTool(
            renderers=[bars],
            tooltips=[("name", "@name"), ("universe", "@universe"), (x_label, "@value{0,0}")],
        )
    )
    plot.x_range = Range1d(start=0, end=1.05 * float(rows[value].max()) if len(rows) else 1)
    plot.ygrid.grid_line_color = None
    plot.xaxis.ticker = BasicTicker(min_interval=1)
    plot.yaxis.ticker = FixedTicker(ticks=places)
    # Plain text: a name such as `$$x$$` is no formula to be set.
    plot.yaxis.major_label_overrides = {
        place: PlainText(text=label) for place, label in zip(places, labels, strict=True)
    }
    plot.xaxis.formatter = NumeralTickFormatter(format="0,0")
    return plot


def _ratings(movies: pd.DataFrame) -> figure:
    rated = movies.dropna(subset=["budget_inflation_adjusted", "imdb_rating"]).copy()
    rated["millions"] = rated["budget_inflation_adjusted"] / 1e6
    source = ColumnDataSource(_columns_of(rated, ["name", "year", "millions", "imdb_rating"]))
    plot = _plain_figure("What a budget buys", "budget (million dollars, adjusted for inflation)", "IMDb rating")
    plot.scatter("millions", "imdb_rating", source=source, size=10, color=_GREEN, alpha=0.65)
    plot.add_tools(
        HoverTool(
            tooltips=[
                ("film", "@name (@year)"),
                ("budget", "@millions{0,0.0} million dollars"),
                ("rating", "@imdb_rating{0.0}"),
            ]
        )
    )
    return plot


def _columns_of(rows: pd.DataFrame, names: Sequence[str]) -> dict[str, Any]:
    """Plain lists, with a word where a value is missing, so that the browser never shows `NaN`."""
    plain = rows[list(names)].astype(object)
    columns = plain.where(plain.notna(), "unknown").to_dict(orient="list")
    return {str(name): values for name, values in columns.items()}


def _short(name: Any, universe: Any) -> str:
    text = f"{name}" if pd.isna(universe) or f"({universe})" in name else f"{name} ({universe})"
    return text if len(text) <= 36 else f"{text[:35]}…"
