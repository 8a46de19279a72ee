"""The page of plots: when, with whom, where to and in which weather flights are late."""

from collections.abc import Sequence
from typing import Any

import pandas as pd
from bokeh.embed import file_html
from bokeh.layouts import column, row
from bokeh.models import BasicTicker, ColumnDataSource, HoverTool, LinearColorMapper, NumeralTickFormatter, Range1d
from bokeh.models.annotations import Title
from bokeh.models.widgets import Div
from bokeh.palettes import RdYlBu11
from bokeh.plotting import figure
from bokeh.resources import INLINE

_BLUE, _RED, _GREY = "#2f6db3", "#c8452f", "#8a8f98"
_INK, _FAINT = "#1f2933", "#e4e7eb"
_FONT = "Helvetica, Arial, sans-serif"
_MONTHS = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"]
_LATE = 15  # minutes: what the industry calls late


def page(flights: pd.DataFrame, destinations: pd.DataFrame) -> str:
    """The page, as HTML that needs nothing but itself."""
    plots = [
        [_months(flights), _hours(flights)],
        [_airlines(flights), _weather(flights)],
        [_map(destinations), _made_up(flights)],
    ]
    heading = Div(
        text=(
            f'<h1 style="font:600 26px {_FONT};color:{_INK};margin:12px 0 2px 8px">Flights from New York, 2013</h1>'
            f'<p style="font:15px {_FONT};color:#52606d;margin:0 0 10px 8px">{len(flights):,} flights. Late: by more '
            f"than {_LATE} minutes. Point at a mark to see what it stands for.</p>"
        )
    )
    rows = [row(*pair, sizing_mode="stretch_width", spacing=24) for pair in plots]
    laid_out = column(heading, *rows, sizing_mode="stretch_width", spacing=16)
    return file_html(laid_out, resources=INLINE, title="Flights from New York, 2013")


def _figure(title: str, x_label: str, y_label: str | None, **options: Any) -> figure:
    plot = figure(
        title=Title(text=title, text_font_size="16px", text_color=_INK, text_font=_FONT),
        height=380,
        tools="pan,wheel_zoom,box_zoom,reset,save",
        sizing_mode="stretch_width",
        **options,
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


def _source(found: pd.DataFrame) -> ColumnDataSource:
    """Plain lists: what a browser knows."""
    return ColumnDataSource({str(name): found[name].tolist() for name in found})


def _months(flights: pd.DataFrame) -> figure:
    found = (
        flights.assign(flew=flights["departure_delay"].notna())
        .groupby("month")["flew"]
        .agg(["sum", "size"])
        .reset_index()
    )
    found = found.assign(cancelled=found["size"] - found["sum"], label=[_MONTHS[month - 1] for month in found["month"]])
    plot = _figure("Flights a month", "month", "flights", x_range=_MONTHS)
    kinds = ["sum", "cancelled"]
    bars = plot.vbar_stack(
        kinds, x="label", width=0.8, color=[_BLUE, _RED], source=_source(found), legend_label=["flew", "cancelled"]
    )
    plot.add_tools(
        HoverTool(
            renderers=[*bars], tooltips=[("month", "@label"), ("flew", "@sum{0,0}"), ("cancelled", "@cancelled{0,0}")]
        )
    )
    plot.yaxis.formatter = NumeralTickFormatter(format="0,0")
    plot.legend.orientation, plot.legend.location = "horizontal", "top_right"
    plot.legend.background_fill_alpha = 0.8
    if len(found):
        plot.y_range = Range1d(start=0, end=1.3 * int(found["size"].max()))  # room for the legend
    return plot


def _late(flights: pd.DataFrame, by: str) -> pd.DataFrame:
    """The part of flights that left late, and how many these are, by the values of a column."""
    flew = flights.dropna(subset=["departure_delay"])
    late = (flew["departure_delay"] > _LATE).astype("float64")
    found = flew.assign(late=late).groupby(by, observed=True)["late"].agg(["mean", "size"])
    return found.rename(columns={"mean": "late", "size": "flights"}).reset_index()


def _columns(title: str, x_label: str, found: pd.DataFrame, x: str, labels: Sequence[str], color: str) -> figure:
    found = found.assign(label=list(labels))
    plot = _figure(title, x_label, "late", x_range=list(labels) or ["none"])
    bars = plot.vbar(x="label", top="late", width=0.8, color=color, source=_source(found.drop(columns=x)))
    tips = [(x_label, "@label"), ("late", "@late{0 %}"), ("flights", "@flights{0,0}")]
    plot.add_tools(HoverTool(renderers=[bars], tooltips=tips))
    plot.y_range = Range1d(start=0, end=1.1 * (float(found["late"].max()) if len(found) else 1))
    plot.yaxis.formatter = NumeralTickFormatter(format="0 %")
    return plot


def _hours(flights: pd.DataFrame) -> figure:
    found = _late(flights, "hour")
    found = found[found["flights"] >= 20]
    labels = [f"{hour}" for hour in found["hour"]]
    return _columns("Delays grow as the day goes on", "hour of the planned departure", found, "hour", labels, _BLUE)


def _weather(flights: pd.DataFrame) -> figure:
    edges = [-1.0, 0.5, 1.0, 2.0, 3.0, 5.0, 7.0, 9.0, 10.0]
    seen = flights.assign(miles=pd.cut(flights["visibility"], edges)).dropna(subset=["miles"])
    found = _late(seen, "miles")
    labels = [f"to {interval.right:g}" for interval in found["miles"]]
    return _columns("When nobody sees far", "visibility (miles)", found, "miles", labels, _GREY)


def _airlines(flights: pd.DataFrame) -> figure:
    found = _late(flights, "airline").sort_values("late")
    plot = _figure("Who leaves late", "late", None, y_range=found["airline"].tolist() or ["none"])
    bars = plot.hbar(y="airline", right="late", height=0.75, color=_RED, source=_source(found))
    tips = [("airline", "@airline"), ("late", "@late{0 %}"), ("flights", "@flights{0,0}")]
    plot.add_tools(HoverTool(renderers=[bars], tooltips=tips))
    plot.x_range = Range1d(start=0, end=1.1 * (float(found["late"].max()) if len(found) else 1))
    plot.ygrid.grid_line_color = None
    plot.xaxis.formatter = NumeralTickFormatter(format="0 %")
    return plot


def _map(destinations: pd.DataFrame) -> figure:
    plot = _figure("Where they go, and how late they arrive", "longitude", "latitude")
    found = destinations.dropna(subset=["delay"])
    most = max(int(found["flights"].max()), 1) if len(found) else 1
    found = found.assign(size=5 + 25 * (found["flights"].astype("float64") / most) ** 0.5)
    colors = LinearColorMapper(palette=RdYlBu11, low=-5, high=25)
    marks = plot.scatter(
        "longitude",
        "latitude",
        size="size",
        color={"field": "delay", "transform": colors},
        line_color=_GREY,
        alpha=0.85,
        source=_source(found),
    )
    tips = [("airport", "@name (@faa)"), ("flights", "@flights{0,0}"), ("late on average", "@delay{0.0} min")]
    plot.add_tools(HoverTool(renderers=[marks], tooltips=tips))
    return plot


def _made_up(flights: pd.DataFrame) -> figure:
    arrived = flights.dropna(subset=["made_up"])
    miles = arrived["distance"] // 250 * 250
    found = arrived.assign(miles=miles, made_up=arrived["made_up"].astype("float64")).groupby("miles")["made_up"]
    means = found.agg(["mean", "size"]).reset_index()
    plot = _figure("Long flights make up for more", "distance (miles)", "minutes made up, on average")
    bars = plot.vbar(x="miles", top="mean", width=200, color=_BLUE, source=_source(means[means["size"] >= 20]))
    tips = [("miles", "@miles{0,0}"), ("made up", "@mean{0.0} min"), ("flights", "@size{0,0}")]
    plot.add_tools(HoverTool(renderers=[bars], tooltips=tips))
    plot.xaxis.formatter = NumeralTickFormatter(format="0,0")
    plot.yaxis.ticker = BasicTicker(min_interval=1)
    return plot
