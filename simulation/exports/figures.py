"""The report's figures: bokeh models, which a script in the page then draws and switches.

The timeline's renderers are named by what they draw, and filled when a run is chosen; the others
are named ``RUN|WHAT``, and shown and hidden. Instants are seconds since the first submission.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

import numpy as np
from bokeh.models import (
    BoxZoomTool,
    ColumnDataSource,
    FactorRange,
    HoverTool,
    Model,
    Range1d,
    ResetTool,
    TapTool,
    WheelZoomTool,
)
from bokeh.plotting import figure

from simulation.exports.columns import WHATS
from simulation.render.numbers import TITLES
from simulation.timeline.attempts import KINDS
from simulation.timeline.lateness import slowest
from simulation.timeline.levels import Levels, levels
from simulation.timeline.sentences import duration
from simulation.whatif.timed import TimedRun

__all__ = ["COLOURS", "KIND_COLOURS", "RUN_COLOURS", "interval_figure", "late_figure"]
__all__ += ["over_time_figures", "timeline_figure"]

# Okabe and Ito's palette, which people with any kind of colour vision can tell apart; each shade
# here has a contrast of 3 or more against white and against the dark page.
COLOURS: Final = {
    "ok": "#2f8f6b",
    "error": "#d55e00",
    "timeout": "#b8860b",
    "cancelled": "#7f7f8a",
    "running": "#3f8fd0",
    "abandoned": "#a8a8b3",
}
KIND_COLOURS: Final = {
    "queue": "#3f8fd0",
    "limits": "#9467bd",
    "backoff": "#b8860b",
    "running": "#2f8f6b",
}
RUN_COLOURS: Final = ("#3f8fd0", "#d55e00", "#2f8f6b", "#b65d9a", "#b8860b", "#7f7f8a")
_TOLD: Final = ("task", "attempt", "name", "took", "end")
#: Room for the axis on the left, the same in all figures over time, so that they line up.
_LEFT: Final = 74
_DASHES: Final = ("solid", "dashed", "dotdash", "dotted", [8, 2, 2, 2], [2, 2])
_NS: Final = 1e9


def _base(title: str, height: int, **options: Any) -> Any:
    made = figure(
        title=title,
        height=height,
        sizing_mode="stretch_width",
        tools=[],
        toolbar_location="above",
        min_border_right=12,
        lod_threshold=5_000,
        **options,
    )
    made.toolbar.logo = None
    return made


def _seconds(ns: Sequence[int | float], first_ns: int) -> Any:
    return (np.array(ns, dtype=np.float64) - first_ns) / _NS


def timeline_figure(runs: Sequence[TimedRun]) -> Any:
    """Attempts by worker; the page's script fills it with the run that is chosen.

    Args:
        runs: the runs; the first is shown at first.

    Returns:
        The figure, named ``timeline``, with a renderer for each of ``WHATS``.
    """
    first = runs[0].timeline
    made = _base(
        "Attempts by worker",
        430,
        name="timeline",
        min_border_left=_LEFT,
        x_range=Range1d(start=0, end=max(first.makespan_ns, 1) / _NS, name="time"),
        y_range=Range1d(start=first.workers()[1] + 0.7, end=0.3),
    )
    made.add_tools(WheelZoomTool(dimensions="width"), BoxZoomTool(dimensions="width"))
    made.xaxis.axis_label = "seconds since the first submission"
    made.yaxis.axis_label = "worker"
    made.ygrid.grid_line_color = None
    bars = []
    for what in WHATS:
        columns: dict[str, list[Any]] = {name: [] for name in ("y", "left", "right", *_TOLD)}
        look: dict[str, Any] = {"fill_alpha": 0, "line_width": 2.5, "line_color": "#c2185b"}
        if what == "abandoned":
            look = {"fill_color": COLOURS[what], "fill_alpha": 0.7, "line_color": None}
        elif what in COLOURS:
            look = {"fill_color": COLOURS[what], "line_color": None}
        if what == "retry":
            source = ColumnDataSource({"x": [], "y0": [], "y1": []})
            made.segment(x0="x", y0="y0", x1="x", y1="y1", source=source, name=what, line_width=2.5)
            continue
        height = {"abandoned": 0.3, "critical": 0.94}.get(what, 0.8)
        bar = made.hbar(
            y="y",
            left="left",
            right="right",
            height=height,
            source=ColumnDataSource(columns),
            name=what,
            **look,
        )
        if what in COLOURS:
            bars.append(bar)
    bold = ColumnDataSource({"y": [], "left": [], "right": []})
    made.hbar(
        y="y",
        left="left",
        right="right",
        height=0.86,
        source=bold,
        name="selected",
        fill_alpha=0,
        line_width=3,
    )
    steps = ColumnDataSource({"x0": [], "y0": [], "x1": [], "y1": []})
    made.segment(
        x0="x0",
        y0="y0",
        x1="x1",
        y1="y1",
        source=steps,
        name="selected-waits",
        line_width=2,
        line_dash="dashed",
    )
    tip = [("task", "@name"), ("attempt", "@attempt"), ("ran", "@took"), ("end", "@end")]
    hover = HoverTool(renderers=bars, tooltips=tip, point_policy="follow_mouse")
    made.add_tools(hover, TapTool(renderers=bars), ResetTool())
    return made


def over_time_figures(runs: Sequence[TimedRun], time: Model) -> dict[str, Any]:
    """Busy workers, the queue and what has ended, over time, of all runs over each other.

    Args:
        runs: the runs.
        time: the range of the time axis, which the timeline has, too.

    Returns:
        The figures by name.
    """
    shown: list[tuple[str, list[Levels]]] = [("Busy workers", []), ("Tasks waiting", [])]
    shown += [("Tasks ended", [])]
    for run in runs:
        busy, waiting, ended = levels(run.timeline)
        for (_, series), one in zip(shown, (busy, waiting, ended), strict=True):
            series.append(one)
    figures: dict[str, Any] = {}
    for name, (title, series) in zip(("busy", "waiting", "ended"), shown, strict=True):
        made = _base(title, 210, x_range=time, name="over-time", min_border_left=_LEFT)
        made.y_range.start = 0
        lines = []
        for index, (run, one) in enumerate(zip(runs, series, strict=True)):
            source = ColumnDataSource(
                {
                    "x": _seconds(one.instants, run.timeline.first_ns),
                    "y": np.array(one.values, dtype=np.int32),
                }
            )
            lines.append(
                made.step(
                    x="x",
                    y="y",
                    source=source,
                    mode="after",
                    name=f"{index}|line",
                    line_width=1.8,
                    line_color=RUN_COLOURS[index % len(RUN_COLOURS)],
                    line_dash=_DASHES[index % len(_DASHES)],
                )
            )
        made.add_tools(WheelZoomTool(dimensions="width"), BoxZoomTool(dimensions="width"))
        made.add_tools(ResetTool())
        figures[name] = made
    figures["ended"].xaxis.axis_label = "seconds since the first submission"
    return figures


def late_figure(run: TimedRun, count: int) -> Any:
    """The slowest tasks, and where their time went.

    Args:
        run: the run.
        count: how many tasks.

    Returns:
        The figure.
    """
    tasks = slowest(run.timeline, count)
    rows = [
        f"{place}. {(task.name or str(task.number))[:40]}" for place, task in enumerate(tasks, 1)
    ]
    made = _base(
        "The slowest tasks, and where their time went",
        90 + 24 * len(rows),
        y_range=FactorRange(factors=rows[::-1]),
        name="late",
    )
    made.x_range.start = 0
    made.xaxis.axis_label = "seconds"
    made.ygrid.grid_line_color = None
    splits = [run.splitter.split(task) for task in tasks]
    left = np.zeros(len(rows))
    for kind in KINDS:
        spent = np.array([getattr(split, f"{kind}_ns") for split in splits]) / _NS
        if not spent.any():
            continue
        source = ColumnDataSource(
            {
                "y": rows,
                "left": left,
                "right": left + spent,
                "took": [duration(one * _NS) for one in spent],
            }
        )
        bar = made.hbar(
            y="y",
            left="left",
            right="right",
            height=0.7,
            source=source,
            name=f"late|{kind}",
            fill_color=KIND_COLOURS[kind],
            line_color=None,
        )
        made.add_tools(HoverTool(renderers=[bar], tooltips=[("task", "@y"), (kind, "@took")]))
        left = left + spent
    return made


def interval_figure(names: Sequence[str], outcomes: Sequence[dict[str, Any]]) -> Any:
    """Measures in seconds with their intervals, setting by setting.

    Args:
        names: the settings.
        outcomes: an interval a measure, of each.

    Returns:
        The figure.
    """
    measures = [name for name in outcomes[0] if TITLES[name][1] == "s"]
    rows = [
        (TITLES[measure][0], f"{index + 1}. {name}"[:44])
        for measure in measures
        for index, name in enumerate(names)
    ]
    made = _base(
        "Predicted, with 95% intervals",
        90 + 22 * len(rows),
        y_range=FactorRange(factors=rows[::-1], range_padding=0.02),
        name="intervals",
    )
    made.x_range.start = 0
    made.xaxis.axis_label = "seconds"
    made.ygrid.grid_line_color = None
    made.yaxis.group_label_orientation = "horizontal"
    for index, outcome in enumerate(outcomes):
        mine = [row for row in rows if row[1].startswith(f"{index + 1}. ")]
        data = {
            "y": mine,
            "mean": [outcome[measure].mean for measure in measures],
            "low": [outcome[measure].low for measure in measures],
            "high": [outcome[measure].high for measure in measures],
        }
        source = ColumnDataSource(data)
        colour = RUN_COLOURS[index % len(RUN_COLOURS)]
        made.segment(
            x0="low",
            y0="y",
            x1="high",
            y1="y",
            source=source,
            line_width=5,
            line_alpha=0.5,
            line_color=colour,
            name=f"{index}|interval",
        )
        dots = made.scatter(
            x="mean",
            y="y",
            source=source,
            size=9,
            fill_color=colour,
            line_color=None,
            name=f"{index}|mean",
        )
        tip = [("mean", "@mean{0.000}"), ("from", "@low{0.000}"), ("to", "@high{0.000}")]
        made.add_tools(HoverTool(renderers=[dots], tooltips=tip))
    return made
