"""The search: what it finds, that it finds all of it, and that it finds it again."""

from __future__ import annotations

import itertools
import json
import os
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from runtime import WorkerPoolConfig, current_attempt
from runtime.core.states import Cause
from runtime.journal import Journal
from simulation import Fails, Modelled, World, explore, replay_token
from simulation.explore import journals
from simulation.explore.coverage import Coverage
from simulation.explore.faults import FAULTS, OF_FUNCTIONS, Menu
from simulation.explore.properties import Broken
from simulation.explore.search import run_schedule
from simulation.explore.shrink import shrink
from simulation.explore.strategies import Pct, RandomChoice, Systematic
from simulation.explore.tape import Tape, TapeError, departures
from simulation.explore.token import ForeignTokenError, TokenError, read_token, write_token
from simulation.explore.world import told
from simulation.scenario import ScenarioError
from tests.cli.running import simulation
from tests.explore import pools, scenarios
from tools.determinism import digests as seeds_digest
from tools.mutants.__main__ import hunt
from tools.mutants.catalogue import MUTANTS
from tools.mutants.load import LostMutantError, mutated_core

ROOT = Path(__file__).resolve().parents[2]


# ---------------------------------------------------------------- systematic search


def tree(tape: Tape) -> list[int]:
    """A small world of menus that depend on what was chosen before."""
    first = tape.choose(Menu(("", "late", "slow")), 0)
    if first == 1:
        tape.choose(Menu(("", "hang")), 0)
    if tape.choose(Menu(("", "abort", "drain", "wake")), 0) == 2:
        tape.choose(Menu(("", "cancel")), 0)
    return tape.values


@pytest.mark.parametrize("most", [0, 1, 2, 3, 9])
def test_systematic_search_runs_each_tape_within_its_bound_once(most: int) -> None:
    search, ran = Systematic(most), []
    for tape in search.tapes():
        assert not search.exhausted
        ran.append(tuple(tree(tape)))
    assert search.exhausted
    every = {tuple(tree(Tape(word))) for word in itertools.product(range(4), repeat=4)}
    assert len(ran) == len(set(ran))
    assert set(ran) == {word for word in every if departures(word) <= most}
    assert [departures(word) for word in ran] == sorted(departures(word) for word in ran)


def test_exhausted_is_claimed_only_when_the_last_was_run() -> None:
    def explored(schedules: int) -> tuple[int, bool]:
        report = explore(
            scenarios.two, schedules, strategy="systematic", departures=1, faults=["order"]
        )
        assert report.failure is None
        return report.schedules, report.exhausted

    all_there_are, exhausted = explored(10_000)
    assert exhausted
    assert explored(all_there_are) == (all_there_are, True)
    assert explored(all_there_are - 1) == (all_there_are - 1, False)


# ---------------------------------------------------------------- random and PCT


@pytest.mark.parametrize("seed", [0, 3])
def test_pct_finds_a_starvation_ten_times_sooner_than_random(seed: int) -> None:
    only = ["after_timeout", "order"]
    found = explore(scenarios.starved, 60, seed, strategy="pct", faults=only)
    lucky = explore(scenarios.starved, 10 * found.schedules, seed, strategy="random", faults=only)
    assert lucky.failure is None
    assert found.failure is not None
    assert found.failure.name == "unreachable starved"
    assert found.failure.departures == 8, "each of its eight attempts, and nothing else"


def test_what_is_made_small_has_no_fault_that_is_off() -> None:
    """Lower values on the same menu are other faults, and nobody asked for those."""

    def bad(world: World) -> None:
        world.configure(max_workers=1, task_timeout_seconds=3, max_retries=0)
        world.submit("one", Modelled(duration=1))
        world.unreachable(lambda: world.outcome(1) == "timeout", "timed out")

    for name in ("after_timeout", "hang"):
        failure = explore(bad, 200, strategy="random", faults=[name]).failure
        assert failure is not None
        assert any(f"* {name}: attempt 1.1" in line for line in failure.story), failure.story


@pytest.mark.parametrize("make", [RandomChoice, Pct])
def test_the_same_seed_gives_the_same_tapes(make: type[RandomChoice | Pct]) -> None:
    def some(seed: int) -> list[list[int]]:
        ran = []
        for tape in itertools.islice(make(seed).tapes(), 40):
            ran.append(tree(tape))
        return ran

    assert some(1) == some(1)
    assert some(1) != some(2)


# ---------------------------------------------------------------- shrinking


@pytest.mark.parametrize(
    ("values", "fails", "smallest"),
    [
        ([5, 4, 3, 2, 1], lambda v: True, []),
        ([5, 4, 3, 2, 1], lambda v: max(v) >= 3, [3]),
        ([5, 0, 3, 0, 1], lambda v: v[0] > 1 and v[4] > 0, [2, 1]),
        ([1, 1, 1, 1, 1], lambda v: sum(v) >= 3, [3]),
        ([5, 5, 5, 5, 5], lambda v: all(v[:3]), [1, 1, 1]),
    ],
)
def test_a_shrunk_tape_is_the_smallest(values, fails, smallest) -> None:  # type: ignore[no-untyped-def]
    menu = Menu(("", *["x"] * 5))
    small = shrink(values, lambda tape: fails([tape.choose(menu, 0) for _ in range(5)]))
    assert [value for value in small if value] == smallest
    assert fails([*small, *[0] * (5 - len(small))])


def test_a_failure_is_made_small_and_is_the_same_from_its_token() -> None:
    report = explore(scenarios.no_cancel, 500, strategy="random")
    found = report.failure
    assert found is not None
    assert found.departures == 1
    again = replay_token(scenarios.no_cancel, found.token).failure
    assert again is not None
    assert (again.digest, again.story, again.message) == (found.digest, found.story, found.message)


# ---------------------------------------------------------------- tokens


def test_tokens_tell_a_tape_and_refuse_what_is_damaged() -> None:
    values = [0] * 300 + [1, 0, 200, 0, 0]
    token = write_token(1 << 60, values)
    assert read_token(token) == (1 << 60, values[:-2])
    for place in range(4, len(token)):
        wrong = token[:place] + ("a" if token[place] != "a" else "b") + token[place + 1 :]
        with pytest.raises(TokenError, match="damaged"):
            read_token(wrong)
    for place in range(5, len(token)):
        with pytest.raises(TokenError, match="damaged"):
            read_token(token[:place])
    with pytest.raises(TokenError, match="version"):
        read_token("tc1-" + token[4:])
    with pytest.raises(TokenError, match="no token"):
        read_token("hello")


def test_a_token_of_another_scenario_is_refused() -> None:
    with pytest.raises(ForeignTokenError, match="than two: it fits only the one that printed it"):
        replay_token(scenarios.two, write_token(0, [1], "three"))
    for values in ([0] * 500 + [1], [99]):
        with pytest.raises(TapeError, match="another scenario"):
            replay_token(scenarios.two, write_token(0, values, "two"))


# ---------------------------------------------------------------- properties and coverage


def test_a_sometimes_that_never_was_fails_the_search() -> None:
    failure = explore(scenarios.never, 30).failure
    assert failure is not None
    assert failure.name == "sometimes two at once"


def test_coverage_says_when_more_is_in_vain() -> None:
    coverage = Coverage()
    for seen in ([("a", "b")], [("a", "b"), ("c", "d")], [("a", "b")], [("a", "b")]):
        coverage.add(seen)
    assert coverage.unseen_mass == 0.25
    assert coverage.curve == [(1, 1), (2, 2)]
    report = explore(scenarios.two, 1_500)
    assert report.coverage.unseen_mass < 0.02


def test_coverage_estimates_what_can_be_seen_at_all() -> None:
    coverage = Coverage()
    for n in range(10):
        coverage.add([("a", "b"), ("once", f"{n}"), ("twice", f"{n // 2}")])
    assert coverage.features == 16
    assert coverage.reachable == 16 + round(0.9 * 10 * 9 / (2 * 6))
    summary = coverage.summary()
    assert [summary.at(n) for n in (1, 2, 3, 10)] == [3, 4, 6, 16]


def every_state(world: World) -> None:
    """At its third second a task is in each of the seven states."""
    world.configure(max_workers=4, task_timeout_seconds=2, max_retries=0)
    world.submit("succeeds", Modelled(duration=1))
    world.submit("fails", Modelled(duration=1, outcome=Fails()))
    world.submit("times out", Modelled(duration=9))
    world.submit("is delayed", Modelled(duration=1, outcome=[Fails(), None]), max_retries=1)
    for n in range(5):
        world.submit(f"runs or waits {n}", Modelled(duration=1.5), at_seconds=1.75)


def test_cancel_abort_drain_and_resize_meet_every_state() -> None:
    faults = ["cancel", "abort", "drain", "resize"]
    met = explore(every_state, 250, faults=faults).coverage.met
    every = {"READY", "RUNNING", "DELAYED", "SUCCEEDED", "FAILED", "TIMED_OUT", "CANCELLED"}
    stimuli_told = "CancelRequested", "AbortRequested", "DrainRequested", "ResizeRequested"
    for stimulus in stimuli_told:
        assert {state for state, stimuli in met.items() if stimulus in stimuli} >= every, stimulus


def write_scenario(tmp_path: Path, properties: str) -> str:
    path = tmp_path / "scenario.toml"
    path.write_text(
        "[pool]\nmax_workers = 2\ntask_timeout_seconds = 5\n[[tasks]]\ncount = 5\nduration = 2\n"
        f"[properties]\n{properties}\n"
    )
    return str(path)


@pytest.mark.parametrize(
    ("properties", "name"),
    [
        ('always = ["running <= 2"]\nsometimes = ["delayed >= 1"]', None),
        ('always = ["running <= 1"]', "always running <= 1"),
        ('unreachable = ["cancelled > 0"]', "unreachable cancelled > 0"),
        ('sometimes = ["running > 2"]', "sometimes running > 2"),
        ('always = ["now_seconds < 5", "abandoned != 9"]', "always now_seconds < 5"),
    ],
)
def test_properties_of_a_file(tmp_path: Path, properties: str, name: str | None) -> None:
    failure = explore(write_scenario(tmp_path, properties), 60).failure
    assert (failure.name if failure is not None else None) == name


@pytest.mark.parametrize(
    ("properties", "words"),
    [
        ('always = ["lost > 1"]', "[properties]: always = 'lost > 1': no count 'lost': there are"),
        ('sometimes = ["running is 2"]', "must be a count, a comparison, a number"),
        ('never = ["running > 2"]', "never"),
    ],
)
def test_properties_of_a_file_that_make_no_sense(
    tmp_path: Path, properties: str, words: str
) -> None:
    with pytest.raises(ScenarioError, match=re.escape(words)):
        explore(write_scenario(tmp_path, properties), 1)


# ---------------------------------------------------------------- liveness


def stuck(world: World) -> None:
    """Everything hangs where faults let it; then it has to end."""
    world.configure(max_workers=2, task_timeout_seconds=None, max_retries=2, backoff_base_seconds=4)
    for n in range(6):
        world.submit(f"s{n}", Modelled(duration=3, outcome=[Fails(), None]))


def test_what_is_left_ends_within_its_bound_and_no_later(monkeypatch: pytest.MonkeyPatch) -> None:
    hang = next(  # both workers hang for ever, so four tasks never start until faults are over
        tape
        for tape in Systematic(2).tapes()
        for world in [World(tape, 0, frozenset(["hang"]))]
        if stuck(world) is None and world.run() is None and len(world.strikes) == 2
    )
    bounds = []
    bound = World._bound

    def noted(world: World) -> Callable[[], int]:
        made = bound(world)
        bounds.append((world.now_ns, made))
        return made

    monkeypatch.setattr(World, "_bound", noted)
    run = World(Tape(hang.values), 0, frozenset(["hang"]))
    stuck(run)
    run.run()
    (began, last), ended = bounds[0], run.now_ns
    assert 0 < ended - began <= last() - began <= 8 * (ended - began), "a bound that says something"
    monkeypatch.setattr(World, "_bound", lambda world: lambda: ended - 1)
    late = World(Tape(hang.values), 0, frozenset(["hang"]))
    stuck(late)
    with pytest.raises(Broken, match="liveness"):
        late.run()


# ---------------------------------------------------------------- faults


def victim(world: World) -> None:
    world.configure(max_workers=2, task_timeout_seconds=4, max_retries=2, max_abandoned_threads=1)
    for n in range(5):
        outcome = [Fails(), None] if n == 2 else None
        world.submit(f"v{n}", Modelled(duration=2 + n % 2, outcome=outcome), at_seconds=n * 0.5)


@pytest.mark.parametrize("fault", [fault for fault in FAULTS if fault not in OF_FUNCTIONS])
def test_each_fault_strikes_and_changes_what_is_told(fault: str) -> None:
    ordinary = run_schedule(victim)
    assert ordinary.strikes == []
    changed = 0
    for tape in Systematic(1).tapes():
        world = World(tape, 0, frozenset([fault]))
        victim(world)
        world.run()
        if departures(tape.values):
            assert [what.partition(":")[0] for _, what in world.strikes] == [fault]
            changed += [told(step) for step in world.steps] != [told(s) for s in ordinary.steps]
    # a second telling is refused, so that nothing may change, and that is verified in the world;
    # what becomes of the journal is none of the core's business
    assert (changed > 0) != (fault in {"twice", "journal_cut", "journal_flip", "disk_full"})


@pytest.mark.parametrize("fault", ["journal_cut", "journal_flip", "disk_full"])
def test_a_reader_that_believes_a_damaged_journal_is_found(
    fault: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def believe(name: str, data: bytes) -> Journal:
        return Journal(name, None, [], complete=True, digest="")  # type: ignore[arg-type]

    monkeypatch.setattr(journals, "parse_journal", believe)
    found = explore(scenarios.two, 60, faults=[fault]).failure
    assert found is not None
    assert found.name == "a damaged journal never passes for the truth"
    assert found.departures == 1


def test_no_fault_breaks_the_core() -> None:
    report = explore(victim, 800, 5)
    assert report.failure is None, report.failure


# ---------------------------------------------------------------- functions on a pool


def race(world: World) -> None:
    """Two functions of which the first to return wins; with the written order, always task 1."""
    won = []
    with world.pool(WorkerPoolConfig(max_workers=3)) as pool:
        first = pool.submit_task("first", Modelled(duration=2))
        pool.submit_task("second", Modelled(duration=2))
        pool.submit_task("ordinary", lambda: current_attempt().sleep(1) or won.append(pool.now))
        pool.wait_for_all()
    assert won == [1.0]
    ends = [t.task for t in pool.transitions if t.cause == Cause.SUCCEEDED]
    assert ends.index(2) > ends.index(1), f"{first} came second"


def test_functions_on_a_pool_are_explored_shrunk_and_replayed() -> None:
    plain = explore(race, 1, faults=[])
    assert plain.failure is None
    found = explore(race, 200).failure
    assert found is not None
    assert found.departures == 1
    again = replay_token(race, found.token).failure
    assert again is not None
    assert again.digest == found.digest
    assert again.story == found.story


def test_a_lost_update_is_found_by_preemption_at_a_lock() -> None:
    assert explore(pools.counted, 1, faults=[]).failure is None
    found = explore(pools.counted, 200, faults=["order"]).failure
    assert found is not None
    assert "an update was lost" in found.message
    assert found.departures <= 2
    assert any("held up at a lock" in line or "is next" in line for line in found.story)
    again = replay_token(pools.counted, found.token).failure  # whichever faults are on then
    assert again is not None
    assert again.story == found.story


def test_what_a_function_asserts_is_a_find_of_the_command_too() -> None:
    done = command("tests.explore.pools:counted", "--fault", "order")
    assert done.returncode == 1, done.stderr
    assert "an update was lost" in done.stdout
    assert done.stderr == ""
    token = re.search(r"--replay (\S+)", done.stdout)
    assert token is not None
    again = command("tests.explore.pools:counted", "--replay", token[1])
    assert again.returncode == 1
    assert "an update was lost" in again.stdout


# ---------------------------------------------------------------- determinism


def test_the_same_seed_is_the_same_run() -> None:
    for seed in range(100):
        digests = {explore(scenarios.two, 2, seed, strategy="random").digest for _ in range(2)}
        assert len(digests) == 1


@pytest.mark.parametrize(
    "python", [sys.executable, *map(str, sorted(ROOT.glob(".venvs/*/bin/python")))]
)
def test_forty_seeds_give_one_digest_under_any_hash_seed_and_python(python: str) -> None:
    environment = {**os.environ, "PYTHONHASHSEED": "4711", "PYTHONPATH": str(ROOT)}
    line = [python, "-m", "tools.determinism", "--seeds", "40", "--print"]
    told = subprocess.run(
        line, cwd=ROOT, env=environment, check=True, capture_output=True, text=True
    )
    assert told.stdout.strip() == seeds_digest(40)


# ---------------------------------------------------------------- planted bugs


FIXED = [
    "a retry too many",
    "a timer leaks after a loss",
    "abort misses delayed tasks",
    "an old attempt's result is taken: no fence",
    "an inverted priority",
    "jitter is reused by each retry",
    "workers are stopped twice",
]


@pytest.mark.parametrize("mutant", [m for m in MUTANTS if m.name in FIXED], ids=lambda m: m.name)
def test_planted_bugs_are_found_and_made_small(mutant) -> None:  # type: ignore[no-untyped-def]
    found = hunt(mutant, (25, 100))
    assert found is not None
    assert found.failure.departures <= 2


def test_every_planted_bug_still_has_its_place() -> None:
    assert len(MUTANTS) >= 40
    assert len({mutant.name for mutant in MUTANTS}) == len(MUTANTS)
    for mutant in MUTANTS:
        assert mutated_core(mutant).__name__ == "Core"
    with pytest.raises(LostMutantError, match="0 times"):
        mutated_core(MUTANTS[0]._replace(old="this stands nowhere"))


# ---------------------------------------------------------------- the command


def command(*arguments: str) -> subprocess.CompletedProcess[str]:
    return simulation("explore", *arguments)


def in_another_process(*arguments: str) -> subprocess.CompletedProcess[str]:
    line = [sys.executable, "-m", "simulation", "explore", *arguments]
    return subprocess.run(line, cwd=ROOT, capture_output=True, text=True, check=False)


def test_the_command_prints_what_replays_the_failure() -> None:
    target = "tests.explore.scenarios:no_cancel"
    first = command(target, "--json")
    assert (first.returncode, first.stderr) == (1, "")
    failure = json.loads(first.stdout)["failure"]
    again = in_another_process(target, "--replay", failure["token"], "--json")
    assert again.returncode == 1
    assert json.loads(again.stdout)["failure"]["digest"] == failure["digest"]
    shown = command(target)
    assert f"explore {target} --replay {failure['token']}" in shown.stdout
    assert shown.stderr == ""


def test_the_command_says_in_one_line_what_is_wrong() -> None:
    target = "tests.explore.scenarios:two"
    assert command(target, "--schedules", "20").returncode == 0
    for wrong in (
        ["tests.explore.scenarios:nobody"],
        ["no_such_module:f"],
        ["no.toml"],
        [target, "--replay", "tc3-zzzz"],
        [target, "--fault", "nonsense"],
        ["examples/outage.toml", "--fault", "raise"],
        [target, "--strategy", "luck"],
    ):
        done = command(*wrong)
        assert done.returncode == 2, wrong
        assert len(done.stderr.splitlines()) == 1, done.stderr
