"""Carriers, runs and hash seeds agree on every decision of a scenario."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from tests.tidy.test_tidy import ROOT
from tests.world.scenarios import scenario


@pytest.mark.parametrize("seed", range(60))
def test_the_carriers_and_two_runs_agree(seed: int) -> None:
    first = scenario(seed, "thread")
    assert scenario(seed, "greenlet") == first
    assert scenario(seed, "thread") == first


_PROGRAM = """
from tests.world.scenarios import scenario
print([scenario(seed, carrier)[0] for seed in range(10) for carrier in ("thread", "greenlet")])
"""


def test_processes_of_other_hash_seeds_agree() -> None:
    told = {
        subprocess.run(
            [sys.executable, "-c", _PROGRAM],
            env={**os.environ, "PYTHONHASHSEED": seed, "PYTHONPATH": "."},
            cwd=ROOT,
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        for seed in ("0", "1", "4711")
    }
    assert len(told) == 1
    assert told.pop().count("sha256:") == 20


_IN_EVERY_PYTHON = """
from tests.world.scenarios import scenario
print([scenario(seed, "thread") for seed in range(20)])
"""


def test_every_python_here_runs_the_threads_of_tasks_alike() -> None:
    pythons = [sys.executable, *map(str, sorted(ROOT.glob(".venvs/*/bin/python")))]
    told = {
        subprocess.run(
            [python, "-c", _IN_EVERY_PYTHON],
            env={**os.environ, "PYTHONPATH": "."},
            cwd=ROOT,
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        for python in pythons
    }
    assert len(told) == 1
    assert told.pop().count("sha256:") == 20
