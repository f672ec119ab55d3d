"""The kinds of panel, each in the one style of these dashboards.

Colours say the same everywhere: green is well, red is failed, orange timed out, grey cancelled.
Nothing connects over a gap: where there is no data, there is none.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final, Literal

from grafana_foundation_sdk.builders import common as common_builders
from grafana_foundation_sdk.builders import dashboard as dashboard_builders
from grafana_foundation_sdk.builders import heatmap, prometheus, stat, timeseries
from grafana_foundation_sdk.models import common, dashboard
from grafana_foundation_sdk.models import heatmap as heatmap_models
from grafana_foundation_sdk.models import prometheus as prometheus_models

__all__ = ["DATASOURCE", "Panel", "Query", "Row", "built"]

DATASOURCE: Final = common.DataSourceRef(type_val="prometheus", uid="${datasource}")
_COLOURS: Final = {
    "ok": "green",
    "error": "red",
    "timeout": "orange",
    "cancelled": "gray",
    "busy": "blue",
    "idle": "green",
    "abandoned": "orange",
    "ready": "blue",
    "delayed": "yellow",
    "limit": "dark-red",
}
_HEIGHT: Final = 8
_STAT_HEIGHT: Final = 4


@dataclass(frozen=True)
class Query:
    """One query of a panel.

    Args:
        expr: PromQL.
        legend: how its series are called, with ``{{label}}``.
        exemplars: whether the traces behind it are marked.
    """

    expr: str
    legend: str
    exemplars: bool = False


@dataclass(frozen=True)
class Panel:
    """One panel.

    Args:
        title: what it shows, in a word or three.
        says: what it tells, and what to look for.
        unit: Grafana's name of the unit.
        queries: what it shows.
        kind: ``lines``; ``stack``, lines on one another; ``stat``, a number; ``heatmap``.
        width: of 24.
        most: the top of its scale, ``None`` for what comes.
        steps: from where a stat is orange and red.
    """

    title: str
    says: str
    unit: str
    queries: Sequence[Query]
    kind: Literal["lines", "stack", "stat", "heatmap"] = "lines"
    width: int = 8
    most: float | None = None
    steps: tuple[float, float] | None = None


@dataclass(frozen=True)
class Row:
    """Panels that answer one question.

    Args:
        title: the question.
        panels: the panels.
    """

    title: str
    panels: Sequence[Panel]


_Built = timeseries.Panel | stat.Panel | heatmap.Panel


def built(panel: Panel) -> _Built:
    """The panel as Grafana takes it.

    Args:
        panel: which.

    Returns:
        Its builder.
    """
    made = _MAKERS[panel.kind](panel)
    made.title(panel.title).description(panel.says).datasource(DATASOURCE).span(panel.width)
    made.unit(panel.unit).min(0)
    if panel.most is not None:
        made.max(panel.most)
    for index, query in enumerate(panel.queries):
        target = (
            prometheus.Dataquery()
            .ref_id(chr(ord("A") + index))
            .datasource(DATASOURCE)
            .expr(query.expr)
            .legend_format(query.legend)
            .range()
            .exemplar(query.exemplars)
        )
        if panel.kind == "heatmap":
            target.format(prometheus_models.PromQueryFormat.HEATMAP)
        made.with_target(target)
    return made


def _lines(panel: Panel) -> timeseries.Panel:
    made = (
        timeseries.Panel()
        .height(_HEIGHT)
        .line_width(1)
        .fill_opacity(40 if panel.kind == "stack" else 5)
        .show_points(common.VisibilityMode.NEVER)
        .legend(
            common_builders.VizLegendOptions()
            .display_mode(common.LegendDisplayMode.TABLE)
            .placement(common.LegendPlacement.BOTTOM)
            .show_legend(True)
            .calcs(["mean", "max", "lastNotNull"])
        )
        .tooltip(
            common_builders.VizTooltipOptions()
            .mode(common.TooltipDisplayMode.MULTI)
            .sort(common.SortOrder.DESCENDING)
        )
    )
    if panel.kind == "stack":
        made.stacking(common_builders.StackingConfig().mode(common.StackingMode.NORMAL))
    for name, colour in _COLOURS.items():
        if any(name in query.legend or "{{" in query.legend for query in panel.queries):
            made.override_by_name(
                name,
                [
                    dashboard.DynamicConfigValue(
                        id_val="color", value={"mode": "fixed", "fixedColor": colour}
                    )
                ],
            )
    return made


def _stat(panel: Panel) -> stat.Panel:
    made = (
        stat.Panel()
        .height(_STAT_HEIGHT)
        .graph_mode(common.BigValueGraphMode.AREA)
        .no_value("nothing yet")
        .reduce_options(common_builders.ReduceDataOptions().calcs(["lastNotNull"]))
    )
    steps = [dashboard.Threshold(color="green", value=None)]
    if panel.steps is not None:
        orange, red = panel.steps
        steps += [
            dashboard.Threshold(color="orange", value=orange),
            dashboard.Threshold(color="red", value=red),
        ]
    made.thresholds(
        dashboard_builders.ThresholdsConfig().mode(dashboard.ThresholdsMode.ABSOLUTE).steps(steps)
    )
    return made


def _heatmap(panel: Panel) -> heatmap.Panel:
    return (
        heatmap.Panel()
        .height(_HEIGHT)
        .calculate(False)
        .y_axis(heatmap.YAxisConfig().unit(panel.unit))
        .color(
            heatmap.HeatmapColorOptions()
            .mode(heatmap_models.HeatmapColorMode.SCHEME)
            .scheme("Oranges")
            .steps(64)
        )
    )


_MAKERS: Final[dict[str, Callable[[Panel], _Built]]] = {
    "lines": _lines,
    "stack": _lines,
    "stat": _stat,
    "heatmap": _heatmap,
}
