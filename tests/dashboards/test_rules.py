"""What is built is committed; the rules hold before promtool; each alert has its section."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import yaml

from dashboards.build import files
from dashboards.rules import ALERTS
from tests.dashboards.prometheus import promtool
from tests.dashboards.queries import DASHBOARDS

HERE = Path(__file__).parent


@pytest.mark.parametrize("name", files())
def test_building_gives_what_is_committed(name: str) -> None:
    committed = (DASHBOARDS / name).read_text()
    assert files()[name] == committed, f"dashboards/{name} is not what is built: make dashboards"


def test_promtool_takes_the_rules() -> None:
    for name in ("recording.yml", "alerts.yml"):
        assert "SUCCESS" in promtool("check", "rules", "--lint=all", DASHBOARDS / "rules" / name)


def test_the_rules_do_what_they_say() -> None:
    assert "SUCCESS" in promtool("test", "rules", HERE / "rules_test.yml")


def test_every_alert_is_tested_both_ways() -> None:
    tests = yaml.safe_load((HERE / "rules_test.yml").read_text())["tests"]
    fires, is_silent = set(), set()
    for test in tests:
        for case in test.get("alert_rule_test", []):
            (fires if case.get("exp_alerts") else is_silent).add(case["alertname"])
    names = {alert.name for alert in ALERTS}
    assert fires == names
    assert is_silent == names


def test_every_alert_has_a_section_in_the_runbook_that_says_what_to_do() -> None:
    text = (DASHBOARDS / "RUNBOOK.md").read_text()
    sections = re.split(r"^## ", text, flags=re.MULTILINE)[1:]
    assert [section.splitlines()[0] for section in sections] == [alert.name for alert in ALERTS]
    for section in sections:
        for word in ("**Says.**", "**Look.**", "**Do.**"):
            assert word in section, section.splitlines()[0]
    rules = (DASHBOARDS / "rules" / "alerts.yml").read_text()
    for alert in ALERTS:
        assert f"runbook_url: dashboards/RUNBOOK.md#{alert.name.lower()}" in rules


def test_panels_that_the_runbook_names_are_there() -> None:
    built = files()["json/overview.json"]
    text = (DASHBOARDS / "RUNBOOK.md").read_text().replace("\n", " ")
    named = set(re.findall(r"(?<![\w`])_([A-Z][A-Za-z0-9 ,]+)_", text)) - {"Overview"}
    assert len(named) > 8
    for panel in named:
        assert f'"title": "{panel}"' in built, panel
