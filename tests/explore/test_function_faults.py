"""Each fault, in worlds of ordinary functions: it strikes, and alone shows a bug of its own."""

from __future__ import annotations

import itertools

import pytest

from runtime import engine
from runtime.core import Core
from runtime.core.errors import InvalidTransition
from runtime.core.records import Instruction, Stimulus, TimeElapsed
from runtime.journal import Journal
from simulation import World, explore, replay_token
from simulation.explore import journals
from simulation.explore.faults import FAULTS
from simulation.explore.search import run_schedule
from simulation.explore.strategies import Systematic
from simulation.explore.tape import departures
from tests.explore import bugs, pools

#: What no decision shows.
UNSEEN = {"observer", "twice", "journal_cut", "journal_flip", "disk_full"}
#: Those that a core and a reader without bugs withstand, so that they need a planted one.
PLANTED = {"wake", "twice", "journal_cut", "journal_flip", "disk_full"}


@pytest.mark.parametrize("fault", FAULTS)
def test_each_fault_strikes_and_the_pool_withstands_it(fault: str) -> None:
    """Every single one, wherever it can strike once."""
    ordinary = run_schedule(pools.polite)
    assert ordinary.pools[0].strikes == []
    changed = ran = 0
    for tape in itertools.islice(Systematic(1).tapes(), 40):
        world = World(tape, 0, frozenset([fault]))
        pools.polite(world)
        world.run()
        struck = world.pools[0].strikes
        named = [line.split()[2].rstrip(":") for line in struck]
        assert set(named) == ({fault} if departures(tape.values) else set()), struck
        # a burst tells of itself, and of each attempt that it strikes
        assert len(named) == departures(tape.values) or fault == "burst"
        changed += world.digest != ordinary.digest
        ran += 1
    assert ran > 1
    # a wake for nothing changes something only in an instant in which a deadline is due as well
    assert (changed > 0) != (fault in UNSEEN) or fault == "wake"


def found_again(scenario: bugs.Scenario, fault: str) -> None:
    """The fault alone finds it; it is small, and the same from its token."""
    assert explore(scenario, 1, faults=[]).failure is None
    found = explore(scenario, 150, faults=[fault]).failure
    assert found is not None, f"{fault} does not show it"
    assert found.departures <= 2
    assert any(f" {fault}: " in line for line in found.story)
    again = replay_token(scenario, found.token).failure  # whichever faults are on then
    assert again is not None
    assert (again.digest, again.story, again.message) == (found.digest, found.story, found.message)


@pytest.mark.parametrize("fault", bugs.BUGS)
def test_a_bug_that_only_this_fault_shows_is_found(fault: str) -> None:
    scenario, kin = bugs.BUGS[fault]
    others = [name for name in FAULTS if name not in {fault, *kin}]
    missed = explore(scenario, 60, 3, faults=others).failure
    assert missed is None, (missed.message, missed.story)
    found_again(scenario, fault)


def test_there_is_a_bug_for_each_fault() -> None:
    assert set(bugs.BUGS) | PLANTED == set(FAULTS)


class _TakesTwice(Core):
    def handle(self, now_ns: int, stimulus: Stimulus) -> list[Instruction]:
        try:
            return super().handle(now_ns, stimulus)
        except InvalidTransition:
            return []


class _FearsToBeWoken(Core):
    def handle(self, now_ns: int, stimulus: Stimulus) -> list[Instruction]:
        if type(stimulus) is TimeElapsed and now_ns < self.wake_at_ns:
            raise AssertionError("woken too early")
        return super().handle(now_ns, stimulus)


@pytest.mark.parametrize(("fault", "core"), [("twice", _TakesTwice), ("wake", _FearsToBeWoken)])
def test_a_core_that_does_not_withstand_it_is_found(
    fault: str, core: type[Core], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(engine, "Core", core)
    found_again(pools.polite, fault)


@pytest.mark.parametrize("fault", ["journal_cut", "journal_flip", "disk_full"])
def test_a_reader_that_believes_a_damaged_journal_is_found(
    fault: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def believe(name: str, data: bytes) -> Journal:
        return Journal(name, None, [], complete=True, digest="")  # type: ignore[arg-type]

    monkeypatch.setattr(journals, "parse_journal", believe)
    found_again(pools.polite, fault)


def test_an_observer_that_raises_is_counted() -> None:
    found = []
    for tape in itertools.islice(Systematic(1).tapes(), 2):
        world = World(tape, 0, frozenset(["observer"]))
        pools.polite(world)
        found.append(world.pools[0].get_summary_metrics()["observer_errors"])
    assert found == [0, 1]


def test_what_hangs_returns_when_nothing_else_is_left() -> None:
    """Without a timeout, too: faults are over then."""
    for tape in itertools.islice(Systematic(1).tapes(), 20):
        world = World(tape, 0, frozenset(["hang", "lost_timer"]))
        bugs.a_card_is_charged_once(world)
        world.run()
        assert world.pools[0].get_summary_metrics()["completed"] == 1
