"""The pytest plugin, in suites of its users."""

from __future__ import annotations

import importlib.metadata

import pytest

import simulation.testing.audit  # else each suite that runs here imports it anew
import simulation.testing.schedules  # noqa: F401
from tests.tidy.test_tidy import ROOT

_REGISTERED = any(
    entry.value == "twinclock_pytest" for entry in importlib.metadata.entry_points(group="pytest11")
)


@pytest.fixture
def suite(pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> pytest.Pytester:
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    return pytester


def run(
    suite: pytest.Pytester, *options: str, cache: bool = False, audit: str | None = "off"
) -> pytest.RunResult:
    """Run a suite: in this process, which is faster, with the cache and the audit as asked for."""
    plugin = () if _REGISTERED else ("-p", "twinclock_pytest")
    audited = () if audit is None else (f"--sim-audit={audit}",)
    kept = () if cache else ("-p", "no:cacheprovider")
    spared = ("-p", "no:hypothesispytest")  # it takes its time, and is not used
    return suite.runpytest_inprocess(*spared, *kept, *plugin, *audited, *options)
