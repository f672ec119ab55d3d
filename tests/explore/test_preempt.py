"""Races in plain Python: found between two bytecodes, small, replayed; only if asked for."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from runtime import WorkerPoolConfig
from simulation import World, explore, replay_token
from simulation.explore.faults import FAULTS, check_faults
from simulation.explore.pools import ExploredPool
from simulation.explore.tape import Tape
from tests.explore import races

ROOT = Path(__file__).resolve().parents[2]


@pytest.mark.parametrize("race", races.RACES, ids=lambda race: race.__name__)
def test_a_race_is_found_made_small_and_replayed(race: Callable[[World], None]) -> None:
    assert explore(race, 40, faults=["order", "late", "late_lock"]).failure is None, "not at a lock"
    found = explore(race, 400, faults=["preempt"]).failure
    assert found is not None
    assert found.departures <= 3, "that it is on, and where"
    held_up = [line for line in found.story if " preempt: " in line]
    assert held_up
    assert all(re.search(r"held up at races\.py:\d+ in \w+", line) for line in held_up)
    again = replay_token(race, found.token).failure  # it needs not be said again
    assert again is not None
    assert (again.digest, again.story) == (found.digest, found.story)


def test_what_a_lock_keeps_apart_is_proved_within_two_departures() -> None:
    report = explore(
        races.locked, 5_000, strategy="systematic", departures=2, faults=["preempt", "order"]
    )
    assert report.failure is None
    assert report.exhausted


@pytest.mark.parametrize("strategy", ["systematic", "random", "pct"])
def test_each_strategy_finds_a_lost_update(strategy: str) -> None:
    found = explore(races.attribute, 400, 1, strategy=strategy, faults=["preempt"]).failure
    assert found is not None


def test_it_is_off_unless_it_is_asked_for() -> None:
    assert "preempt" not in FAULTS
    assert check_faults(None) == set(FAULTS)
    assert check_faults(["preempt"]) == {"preempt"}
    tracers = []

    def look(world: World) -> None:
        races.together(world, lambda: tracers.append(sys.gettrace()))

    before = sys.gettrace()
    explore(look, 3, faults=["order"])
    assert set(tracers) == {before}
    tracers.clear()
    explore(look, 3, faults=["preempt"])
    assert None not in tracers
    assert sys.gettrace() is before


def test_greenlets_cannot_be_preempted() -> None:
    with pytest.raises(ValueError, match="needs carrier='thread'"):
        ExploredPool(Tape(), check_faults(["preempt"]), WorkerPoolConfig(), 0, carrier="greenlet")


def test_a_new_process_replays_it_from_its_token() -> None:
    line = [sys.executable, "-m", "simulation", "explore", "tests.explore.races:one_line"]
    first = subprocess.run(
        [*line, "--fault", "preempt"], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert first.returncode == 1, first.stderr
    token = re.search(r"--replay (\S+)", first.stdout)
    assert token is not None
    again = subprocess.run(
        [*line, "--replay", token[1]], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert again.returncode == 1
    assert "is held up at races.py" in again.stdout
