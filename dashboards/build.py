"""Write the dashboards and the rules: ``python -m dashboards.build``."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Final

import yaml
from grafana_foundation_sdk.builders import dashboard
from grafana_foundation_sdk.cog.encoder import JSONEncoder
from grafana_foundation_sdk.models import dashboard as models

from dashboards.overview import OVERVIEW
from dashboards.panels import DATASOURCE, Row, built
from dashboards.promql import full_name
from dashboards.rules import alerts, recording_rules
from dashboards.simulation import SIMULATION

__all__ = ["files", "main"]

HERE: Final = Path(__file__).parent
_MADE: Final = "# Made by `make dashboards` from dashboards/rules.py; change it there.\n"


def _variables(made: dashboard.Dashboard) -> None:
    made.with_variable(
        dashboard.DatasourceVariable("datasource").label("Prometheus").type("prometheus")
    )
    made.with_variable(dashboard.DatasourceVariable("traces").label("Traces").type("tempo"))
    narrowed = ""
    for name in ("job", "instance", "pool"):
        query = f"label_values({full_name('build_info')}{narrowed}, {name})"
        made.with_variable(
            dashboard.QueryVariable(name)
            .label(name.capitalize())
            .datasource(DATASOURCE)
            .query(query)
            .refresh(models.VariableRefresh.ON_TIME_RANGE_CHANGED)
            .sort(models.VariableSort.ALPHABETICAL_ASC)
            .multi(True)
            .include_all(True)
            .current(models.VariableOption(selected=True, text="All", value="$__all"))
            .all_value(".*")
        )
        matcher = f'{name}=~"${name}"'
        narrowed = f"{{{matcher}}}" if not narrowed else f"{narrowed[:-1]}, {matcher}}}"


def _dashboard(
    uid: str, title: str, says: str, rows: Sequence[Row], other: tuple[str, str], refresh: str
) -> str:
    made = (
        dashboard.Dashboard(title)
        .uid(uid)
        .description(says)
        .tags(["twinclock"])
        .editable()
        .tooltip(models.DashboardCursorSync.CROSSHAIR)
        .time("now-1h", "now")
        .refresh(refresh)
        .timezone("browser")
        .link(
            dashboard.DashboardLink(other[1])
            .type(models.DashboardLinkType.LINK)
            .url(f"/d/{other[0]}")
            .keep_time(True)
            .include_vars(True)
        )
        .link(
            dashboard.DashboardLink("Traces")
            .type(models.DashboardLinkType.LINK)
            .url(
                '/explore?left={"datasource":"${traces}","queries":[{"refId":"A",'
                '"queryType":"traceql","query":"{ span.workerpool.pool.name =~ \\".+\\" }"}]}'
            )
            .target_blank(True)
        )
    )
    _variables(made)
    for row in rows:
        made.with_row(dashboard.Row(row.title))
        for panel in row.panels:
            made.with_panel(built(panel))
    return json.dumps(made.build(), cls=JSONEncoder, indent=2, sort_keys=True) + "\n"


def files() -> dict[str, str]:
    """Everything that is built.

    Returns:
        The contents of each file by its path under ``dashboards/``.
    """
    return {
        "json/overview.json": _dashboard(
            "twinclock-overview",
            "twinclock: overview",
            "What the worker pools do now.",
            OVERVIEW,
            ("twinclock-simulation", "Simulation"),
            "30s",
        ),
        "json/simulation.json": _dashboard(
            "twinclock-simulation",
            "twinclock: simulation",
            "Runs that never happened over the one that did, one instance each.",
            SIMULATION,
            ("twinclock-overview", "Overview"),
            "",
        ),
        "rules/recording.yml": _MADE + _yaml(recording_rules()),
        "rules/alerts.yml": _MADE + _yaml(alerts()),
    }


def _yaml(document: object) -> str:
    return yaml.safe_dump(document, sort_keys=False, width=100, allow_unicode=True)


def main() -> None:
    """Write every file that is built."""
    for name, text in files().items():
        path = HERE / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
        print(path.relative_to(HERE.parent))


if __name__ == "__main__":
    main()
