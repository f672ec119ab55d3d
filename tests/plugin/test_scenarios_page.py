"""What docs/scenarios.md shows of the plugin is what happens."""

from __future__ import annotations

import fnmatch
import re

import pytest

from tests.plugin.conftest import run
from tests.tidy.test_tidy import ROOT

_PAGE = (ROOT / "docs" / "scenarios.md").read_text()


def blocks(kind: str) -> list[str]:
    return re.findall(rf"^```{kind}\n(.*?)^```", _PAGE, re.MULTILINE | re.DOTALL)


def likely(line: str) -> str:
    """A line as a pattern: what goes by hash or by order of a search may be another one."""
    line = line.replace("[", "[[]")
    line = re.sub(r"tc3-\w+|found after \d+ schedules by the \w+", "*", line)
    line = re.sub(r"transition \d+", "transition *", line)
    return re.sub(r"task \d+ '\w+'", "task * '*'", line)


def test_it_passes_as_it_says(suite: pytest.Pytester) -> None:
    both_clocks, race, fruit = blocks("python")
    suite.makepyfile(test_fetch=both_clocks)
    run(suite, audit="on").assert_outcomes(passed=3)
    assert "test_no_update_is_lost" in race
    assert "test_fruit" in fruit


@pytest.mark.parametrize("number", [1, 2])
def test_it_fails_as_it_says(suite: pytest.Pytester, number: int) -> None:
    suite.makepyfile(test_sales=blocks("python")[number])
    result = run(suite, audit="on")
    result.assert_outcomes(failed=1)
    for line in blocks("text")[number - 1].splitlines():
        pattern = likely(line)
        assert any(fnmatch.fnmatchcase(shown, pattern) for shown in result.stdout.lines), line


def test_every_option_and_marker_is_explained() -> None:
    plugin = (ROOT / "twinclock_pytest.py").read_text()
    options = set(re.findall(r'"(--sim-[a-z]+)"', plugin))
    assert len(options) == 4
    assert {option for option in options if option not in _PAGE} == set()
    assert "schedules(" in _PAGE
    assert "no_sim_audit" in _PAGE


def test_every_sentence_is_explained() -> None:
    from runtime.core.states import Cause
    from runtime.core.stories import ended, started

    sentences = {ended(cause) for cause in Cause} | {started(2, 2 * 10**9), started(2, 0)}
    sentences -= {"late result dropped", "failed"}
    assert {sentence for sentence in sentences if f"`{sentence}`" not in _PAGE} == set()
