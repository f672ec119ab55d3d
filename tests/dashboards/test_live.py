"""A real run, scraped by a real Prometheus: every panel has something to show."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from prometheus_client import CollectorRegistry, generate_latest

from examples.observe import Traffic
from telemetry import serve
from tests.dashboards.prometheus import Server, promtool, running, until
from tests.dashboards.queries import NAMES, asked, expressions, variables

SCRAPES = """
global:
  scrape_interval: 200ms
scrape_configs:
  - job_name: twinclock
    static_configs:
      - targets: ["{target}"]
"""


@pytest.fixture(scope="module")
def live(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Server, CollectorRegistry]]:
    registry = CollectorRegistry()
    over = threading.Event()
    traffic = Traffic(registry)
    thread = threading.Thread(target=traffic.run, args=(over,))
    thread.start()
    try:
        with serve(port=0, registry=registry) as endpoint:
            target = endpoint.url.removeprefix("http://").removesuffix("/metrics")
            folder = tmp_path_factory.mktemp("prometheus")
            with running(folder, SCRAPES.format(target=target)) as server:
                outcomes = "sum by (outcome) (increase(workerpool_tasks_finished_total[1m])) > 0"
                until(lambda: len(server.query(outcomes)) == 4, "every outcome, scraped")
                yield server, registry
    finally:
        over.set()
        thread.join()


def empty(server: Server, queries: Iterator[tuple[str, str]]) -> list[tuple[str, str]]:
    """Those queries that have nothing to show."""
    return [(title, expr) for title, expr in queries if not server.query(asked(expr))]


@pytest.mark.parametrize("name", NAMES)
def test_every_query_of_every_panel_has_something_to_show(
    live: tuple[Server, CollectorRegistry], name: str
) -> None:
    server, _ = live
    left: list[tuple[str, str]] = list(expressions(name))

    def all_shown() -> bool:
        nonlocal left
        left = empty(server, iter(left))
        return not left

    try:
        until(all_shown, "every query")
    except AssertionError as error:
        raise AssertionError(f"nothing to show: {left}") from error


@pytest.mark.parametrize("name", NAMES)
def test_every_variable_has_values(live: tuple[Server, CollectorRegistry], name: str) -> None:
    server, _ = live
    found = {one["name"]: server.label_values(asked(one["query"])) for one in variables(name)}
    assert found["job"] == ["twinclock"]
    assert found["pool"] == ["observed"]
    assert len(found["instance"]) == 1


def test_a_misspelt_metric_in_a_panel_is_found(live: tuple[Server, CollectorRegistry]) -> None:
    server, _ = live
    title, expr = next(expressions("overview"))
    until(lambda: server.query(asked(expr)), title)
    misspelt = expr.replace("tasks_finished", "task_finished")
    assert misspelt != expr
    assert empty(server, iter([(title, misspelt)])) == [(title, misspelt)]


def test_promtool_takes_what_is_exposed(live: tuple[Server, CollectorRegistry]) -> None:
    said = promtool("check", "metrics", stdin=generate_latest(live[1]).decode())
    assert said.strip() == ""


def test_recording_rules_come_to_something_on_a_real_run(
    live: tuple[Server, CollectorRegistry], tmp_path: Path
) -> None:
    from dashboards.rules import recording_rules

    server, _ = live
    for rule in recording_rules()["groups"][0]["rules"]:
        until(lambda expr=rule["expr"]: server.query(expr), rule["record"])
