"""What the committed dashboards ask, as a server is asked it."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import promql_parser

DASHBOARDS = Path(__file__).resolve().parents[2] / "dashboards"
NAMES = ("overview", "simulation")


def dashboard(name: str) -> dict[str, Any]:
    """A committed dashboard."""
    found: dict[str, Any] = json.loads((DASHBOARDS / "json" / f"{name}.json").read_text())
    return found


def panels(name: str) -> list[dict[str, Any]]:
    """Its panels, without the rows."""
    return [panel for panel in dashboard(name)["panels"] if panel["type"] != "row"]


def expressions(name: str) -> Iterator[tuple[str, str]]:
    """The title of each panel with each of its queries."""
    for panel in panels(name):
        for target in panel["targets"]:
            yield panel["title"], target["expr"]


def variables(name: str) -> list[dict[str, Any]]:
    """The variables that ask the server."""
    return [one for one in dashboard(name)["templating"]["list"] if one["type"] == "query"]


def asked(expr: str, window: str = "10s") -> str:
    """A query as Grafana sends it, every variable standing at *All*."""
    for name in ("job", "instance", "pool"):
        expr = expr.replace(f"${name}", ".*")
    return expr.replace("$__rate_interval", window)


def walk(node: Any, inside: tuple[Any, ...] = ()) -> Iterator[tuple[Any, tuple[Any, ...]]]:
    """Every node of a parsed query, with those that it stands in, the innermost last."""
    yield node, inside
    below: list[Any] = [
        getattr(node, name)
        for name in ("lhs", "rhs", "expr", "vector_selector", "param")
        if getattr(node, name, None) is not None
    ]
    if isinstance(node, promql_parser.Call):
        below += list(node.args)
    for one in below:
        if not isinstance(one, str):
            yield from walk(one, (*inside, node))
