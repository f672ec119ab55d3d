"""The compose file: what can be held without containers."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import yaml

from tests.dashboards.prometheus import promtool
from tests.dashboards.queries import DASHBOARDS


def compose() -> dict[str, Any]:
    found: dict[str, Any] = yaml.safe_load((DASHBOARDS / "compose.yaml").read_text())
    return found


def test_every_file_that_is_mounted_is_there() -> None:
    for service in compose()["services"].values():
        for volume in service["volumes"]:
            source = volume.split(":")[0]
            assert not source.startswith(".") or (DASHBOARDS / source).exists(), source


def test_images_are_pinned_and_ports_are_this_machines_alone() -> None:
    for name, service in compose()["services"].items():
        assert re.search(r":v?\d+\.\d+\.\d+$", service["image"]), name
        assert all(port.startswith("127.0.0.1:") for port in service["ports"]), name


def test_prometheus_takes_its_configuration(tmp_path: Path) -> None:
    text = (DASHBOARDS / "provisioning" / "prometheus.yml").read_text()
    local = text.replace("/etc/prometheus/rules", str(DASHBOARDS / "rules"))
    (tmp_path / "prometheus.yml").write_text(local)
    assert "SUCCESS" in promtool("check", "config", tmp_path / "prometheus.yml")


def test_an_exemplar_leads_to_a_trace_store_that_is_there() -> None:
    file = DASHBOARDS / "provisioning" / "datasources" / "datasources.yml"
    sources = {one["uid"]: one for one in yaml.safe_load(file.read_text())["datasources"]}
    (leads,) = sources["prometheus"]["jsonData"]["exemplarTraceIdDestinations"]
    assert leads == {"name": "trace_id", "datasourceUid": "tempo"}
    hosts = {re.sub(r"https?://([^:/]+).*", r"\1", one["url"]) for one in sources.values()}
    assert hosts <= set(compose()["services"])
