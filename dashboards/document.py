"""What each panel and each alert says, as the documentation has it."""

from __future__ import annotations

from collections.abc import Sequence

from dashboards.overview import OVERVIEW
from dashboards.panels import Row
from dashboards.rules import ALERTS
from dashboards.simulation import SIMULATION

__all__ = ["markdown"]


def _table(rows: Sequence[Row]) -> list[str]:
    lines = ["| panel | what it says |", "| --- | --- |"]
    for row in rows:
        lines.append(f"| _{row.title}_ | |")
        lines += [f"| {panel.title} | {panel.says} |" for panel in row.panels]
    return lines


def markdown() -> str:
    """The tables of ``docs/dashboards.md``.

    Returns:
        Markdown.

    Example:
        >>> print(markdown().splitlines()[0])
        ### Overview
    """
    lines = ["### Overview", "", *_table(OVERVIEW), "", "### Simulation", "", *_table(SIMULATION)]
    lines += [
        "",
        "### Alerts",
        "",
        "| alert | says | after | severity |",
        "| --- | --- | --- | --- |",
    ]
    lines += [
        f"| {alert.name} | {alert.summary} | {alert.lasts} | {alert.severity} |" for alert in ALERTS
    ]
    return "\n".join(lines) + "\n"
