"""Rules of good dashboards, held with a PromQL parser."""

from __future__ import annotations

from typing import Any

import promql_parser
import pytest

from telemetry.names import METRICS, PREFIX
from tests.dashboards.queries import NAMES, asked, dashboard, expressions, panels, variables, walk

#: Stands in for ``$__rate_interval``, so that a parser takes it and it can be told.
WINDOW_SECONDS = 7919
_PARTS = ("_bucket", "_sum", "_count", "_total", "")


def faults(expr: str) -> list[str]:
    """What is wrong with a query."""
    found = []
    for node, inside in walk(promql_parser.parse(asked(expr, f"{WINDOW_SECONDS}s"))):
        if isinstance(node, promql_parser.MatrixSelector):
            if node.range.total_seconds() != WINDOW_SECONDS:
                found.append("a window other than $__rate_interval")
            if not isinstance(inside[-1], promql_parser.Call):
                found.append("a window outside a function")
        if not isinstance(node, promql_parser.VectorSelector):
            continue
        name = node.name
        kinds = {
            METRICS[short].kind
            for part in _PARTS
            if name.endswith(part)
            and (short := name.removesuffix(part).removeprefix(PREFIX)) in METRICS
        }
        if not name.startswith(PREFIX) or not kinds:
            found.append(f"{name} is no metric")
            continue
        given = {matcher.name for matcher in node.matchers.matchers}
        found += [
            f"{name} without a matcher of {label}"
            for label in ("job", "instance", "pool")
            if label not in given
        ]
        counts = kinds & {"counter", "histogram"}
        calls = [one.func.name for one in inside if isinstance(one, promql_parser.Call)]
        if counts and not {"rate", "increase"} & set(calls):
            found.append(f"{name} counts up, and is not inside rate")
        if "gauge" in kinds and calls:
            found.append(f"{name} is a gauge, inside {calls}")
    return found


@pytest.mark.parametrize("name", NAMES)
def test_every_query_is_sound(name: str) -> None:
    found = {(title, expr): faults(expr) for title, expr in expressions(name)}
    assert found
    assert not any(found.values()), {where: what for where, what in found.items() if what}


COMMON = 'job=~"$job", instance=~"$instance", pool=~"$pool"'


@pytest.mark.parametrize(
    ("expr", "told"),
    [
        (f"sum(rate(workerpool_task_finished_total{{{COMMON}}}[$__rate_interval]))", "no metric"),
        (
            "sum(workerpool_queue_depth{job=~'$job', pool=~'$pool'})",
            "without a matcher of instance",
        ),
        (f"sum(workerpool_tasks_finished_total{{{COMMON}}})", "not inside rate"),
        (f"sum(rate(workerpool_tasks_finished_total{{{COMMON}}}[5m]))", "a window other than"),
        (f"sum(rate(workerpool_queue_depth{{{COMMON}}}[$__rate_interval]))", "is a gauge"),
        (f"sum(workerpool_queue_wait_seconds_bucket{{{COMMON}}})", "not inside rate"),
    ],
)
def test_the_rules_find_what_they_are_for(expr: str, told: str) -> None:
    assert any(told in fault for fault in faults(expr)), faults(expr)


@pytest.mark.parametrize("name", NAMES)
def test_every_panel_says_what_it_shows(name: str) -> None:
    for panel in panels(name):
        title = panel["title"]
        assert len(panel["description"]) > 20, title
        assert panel["fieldConfig"]["defaults"]["unit"], title
        assert panel["datasource"]["uid"] == "${datasource}", title
        for target in panel["targets"]:
            assert target["datasource"]["uid"] == "${datasource}", title
            assert target["legendFormat"], title
    titles = [panel["title"] for panel in dashboard(name)["panels"]]
    kinds = [panel["type"] for panel in dashboard(name)["panels"]]
    assert kinds[0] == "row"
    assert len(titles) == len(kinds)


@pytest.mark.parametrize("name", NAMES)
def test_panels_lie_beside_each_other_not_over(name: str) -> None:
    taken: set[tuple[int, int]] = set()
    for panel in dashboard(name)["panels"]:
        at: dict[str, Any] = panel["gridPos"]
        cells = {
            (x, y)
            for x in range(at["x"], at["x"] + at["w"])
            for y in range(at["y"], at["y"] + at["h"])
        }
        assert at["x"] + at["w"] <= 24
        assert not cells & taken, panel["title"]
        taken |= cells


@pytest.mark.parametrize("name", NAMES)
def test_variables_are_there_and_each_is_used(name: str) -> None:
    names = [variable["name"] for variable in dashboard(name)["templating"]["list"]]
    assert names == ["datasource", "traces", "job", "instance", "pool"]
    text = str(dashboard(name)["panels"]) + str(dashboard(name)["links"])
    for variable in names:
        assert f"${variable}" in text or f"${{{variable}}}" in text, variable
    for variable in variables(name):
        assert variable["datasource"]["uid"] == "${datasource}"
        assert variable["current"]["value"] == "$__all"


def test_dashboards_lead_to_each_other_and_to_traces() -> None:
    for name, other in (("overview", "simulation"), ("simulation", "overview")):
        links = {link["title"]: link["url"] for link in dashboard(name)["links"]}
        assert f"/d/twinclock-{other}" in links.values()
        assert "${traces}" in links["Traces"]
    marked = [
        target
        for panel in panels("overview")
        for target in panel["targets"]
        if target.get("exemplar")
    ]
    assert len(marked) >= 3
