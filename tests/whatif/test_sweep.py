"""Sweeps: common luck, comparisons adjusted for their number, the best on fresh seeds."""

from __future__ import annotations

import math
from pathlib import Path

import msgspec
import pytest

from runtime.core.keyed import Purpose, uniform
from simulation import Constant, Fails, LogNormal, Modelled, sweep, what_if
from simulation.scenario import Scenario, read_scenario
from simulation.statistics import paired
from simulation.whatif import sweep as module
from simulation.whatif.answer import DishonestError
from simulation.whatif.grid import MOST_CELLS, grid, parse_value, parse_values
from simulation.whatif.sweep import Sweep
from tests.whatif.recordings import SCENARIO, record


@pytest.fixture(scope="module")
def journal(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("sweep") / "run.jsonl"
    return record(path, model=Modelled(LogNormal(2.0, 0.6), Fails(0.25)), max_retries=1)


@pytest.fixture(scope="module")
def scenario(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("sweep") / "scenario.toml"
    path.write_text(SCENARIO)
    return path


@pytest.fixture(scope="module")
def swept(journal: Path) -> Sweep:
    return sweep(journal, {"max_workers": [4, 8, 16], "max_retries": [1, 3]}, runs=39)


def test_a_grid_has_every_combination_the_last_field_first(swept: Sweep) -> None:
    cells = [tuple(cell.changes.values()) for cell in swept.cells]
    assert cells == [(4, 1), (4, 3), (8, 1), (8, 3), (16, 1), (16, 3)]


def test_each_cell_says_what_a_single_what_if_says(journal: Path, swept: Sweep) -> None:
    """The same figures and the same intervals: a sweep is many what-ifs, no other model."""
    single = what_if(journal, runs=39, max_workers=4, max_retries=3)
    cell = swept.cells[1]
    assert {name: cell.outcome[name] for name in single.variant} == single.variant
    assert {name: cell.difference[name] for name in single.difference} == single.difference
    assert {name: swept.baseline_outcome[name] for name in single.baseline} == single.baseline
    assert swept.fidelity == single.fidelity


def test_the_recorded_setting_is_the_baseline_and_no_comparison(swept: Sweep) -> None:
    unchanged = swept.cells[2]
    assert unchanged.verdict == "same"
    assert unchanged.p_value is None
    assert all(
        one.kind == "not estimable" or one.mean == one.low == one.high == 0
        for one in unchanged.difference.values()
    )
    assert swept.comparisons == 5


def test_amplification_is_attempts_a_task(swept: Sweep) -> None:
    for cell in swept.cells:
        outcome = cell.outcome
        assert outcome["amplification"].mean == pytest.approx(outcome["attempts"].mean / 80)
    assert (
        swept.cells[1].outcome["amplification"].mean > swept.cells[0].outcome["amplification"].mean
    )


def test_the_best_cell_is_run_again_on_fresh_seeds(journal: Path, swept: Sweep) -> None:
    found = swept.confirmed
    assert found is not None
    assert swept.cells[found.cell].changes["max_workers"] == 16
    assert swept.cells[found.cell].verdict == "better"
    assert found.holds
    assert (found.seed, found.runs) == (39, 39)
    again = what_if(journal, runs=39, seed=39, **swept.cells[found.cell].changes)
    assert {name: found.outcome[name] for name in again.variant} == again.variant


def test_the_measure_decides_what_is_best(journal: Path) -> None:
    by_rate = sweep(journal, {"max_retries": [0, 3]}, runs=5, best="success_rate")
    assert by_rate.confirmed is not None
    assert by_rate.confirmed.cell == 1
    by_cost = sweep(journal, {"max_retries": [0, 3]}, runs=5, best="amplification")
    assert by_cost.confirmed is not None
    assert by_cost.confirmed.cell == 0


def test_a_scenario_is_compared_with_its_first_cell(scenario: Path) -> None:
    found = sweep(scenario, {"max_workers": [2, 4]}, runs=10)
    assert found.baseline == "first cell"
    assert found.fidelity is None
    first, second = found.cells
    assert first.verdict == "same"
    assert second.verdict == "better"
    assert second.p_value == second.p_adjusted  # a family of one
    makespans = [
        [sweep(scenario, {"max_workers": [n]}, runs=1, seed=seed).cells[0] for seed in range(10)]
        for n in (2, 4)
    ]
    by_hand = paired(
        *([cell.outcome["makespan_seconds"].mean for cell in cells] for cells in makespans)
    )
    assert second.difference["makespan_seconds"] == by_hand


def test_luck_is_shared_so_differences_are_narrower_than_outcomes(scenario: Path) -> None:
    cell = sweep(scenario, {"max_workers": [4, 5]}, runs=30).cells[1]
    difference = cell.difference["makespan_seconds"]
    outcome = cell.outcome["makespan_seconds"]
    assert difference.correlation > 0.8
    assert difference.high - difference.low < (outcome.high - outcome.low) / 1.5


# ------------------------------------------------------------------------------- many comparisons


def nothing_matters(trial: int) -> Sweep:
    """Twenty cells that differ by luck only: each changes the seed of its jitter, as it were.

    ``max_abandoned_threads`` does nothing where nothing times out, so a keyed draw stands in for
    what is measured.
    """
    scenario = read_scenario(Path("examples/outage.toml"))
    return sweep(
        Scenario(scenario.config, scenario.workload),
        {"max_abandoned_threads": list(range(21))},
        runs=8,
        seed=1000 * trial,
    )


def test_p_values_are_adjusted_for_the_size_of_the_grid(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of sweeps over cells that do not differ, about one in twenty calls any cell better or worse.

    Without Holm two sweeps in three would (1 - 0.95**20).
    """

    def noise(work: object, ask: object) -> list[object]:
        found = []
        for trial in ask.trials:  # type: ignore[attr-defined]
            u = uniform(ask.seed, trial.settings.max_abandoned, 1, Purpose.CHOICE)  # type: ignore[attr-defined]
            side = runs.Side(dict.fromkeys(measures.ALL_MEASURES, 100 + u), True, 0, 0, 0)
            found.append(runs.Ends(side, side))
        return found

    from simulation.whatif import measures, runs

    monkeypatch.setattr(runs, "replicate", noise)
    sweeps = [nothing_matters(trial) for trial in range(60)]
    wrong = sum(
        any(cell.verdict in ("better", "worse") for cell in found.cells) for found in sweeps
    )
    alone = sum(
        any(cell.p_value is not None and cell.p_value < 0.05 for cell in found.cells)
        for found in sweeps
    )
    assert sweeps[0].comparisons == 20
    assert wrong <= 8  # 3 are expected, more than 8 come once in 300 times
    assert alone >= 25
    # the winner of each grid looked good by luck alone: on fresh seeds it seldom does
    held = [found.confirmed.holds for found in sweeps if found.confirmed is not None]
    assert sum(held) <= 8


# --------------------------------------------------------------------------------- the same bytes


@pytest.mark.parametrize("which", ["journal", "scenario"])
def test_the_answer_does_not_depend_on_the_processes(
    which: str, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch
) -> None:
    from concurrent.futures import ThreadPoolExecutor

    from simulation.whatif import parallel

    monkeypatch.setattr(parallel, "WORTH_STARTING_SECONDS", -1.0)
    path = request.getfixturevalue(which)
    vary = {"max_workers": [3, 6], "jitter": ["none", "full"]}
    answers = [
        msgspec.json.encode(sweep(path, vary, runs=5, processes=processes)) for processes in (1, 3)
    ]
    with ThreadPoolExecutor(2) as executor:
        answers.append(msgspec.json.encode(sweep(path, vary, runs=5, client=executor)))
    assert len(set(answers)) == 1
    assert msgspec.json.encode(sweep(path, vary, runs=5, seed=5)) != answers[0]


# -------------------------------------------------------------------------------------- refusals


def test_a_cell_that_cannot_be_known_is_refused_and_the_others_are_told(tmp_path: Path) -> None:
    path = record(
        tmp_path / "cut.jsonl",
        20,
        Modelled([math.inf, 1.0]),
        task_timeout_seconds=5.0,
        max_retries=2,
    )
    vary = {"task_timeout_seconds": [4, 5, 500]}
    with pytest.raises(DishonestError, match="1 of 3 cells cannot be predicted") as caught:
        sweep(path, vary, runs=3)
    answer = caught.value.answer
    assert [cell.verdict for cell in answer.cells] == ["better", "same", "refused"]
    assert "longer than the recording knows" in answer.cells[2].refused
    assert answer.confirmed.cell == 0
    assert sweep(path, vary, runs=3, force=True).cells[2].refused is not None


def test_a_run_that_was_killed_is_refused_before_anything_is_simulated(tmp_path: Path) -> None:
    path = record(tmp_path / "a.jsonl", 20)
    lines = path.read_bytes().splitlines(keepends=True)
    head = lines[0].replace(b'"state":"closed    "', b'"state":"open      "')
    path.write_bytes(head + b"".join(lines[1:25]))
    with pytest.raises(DishonestError, match="had not ended where the journal ends"):
        sweep(path, {"max_workers": [4]})


def test_too_few_tasks_for_a_quantile_tell_no_cells_apart(tmp_path: Path) -> None:
    path = record(tmp_path / "few.jsonl", 20, Modelled(Constant(1.0), Fails(0.1)))
    found = sweep(path, {"max_workers": [1, 2]}, runs=5, best="task_seconds_p99")
    assert {cell.verdict for cell in found.cells} == {"not told apart"}


def test_jitter_kinds_under_one_load(tmp_path: Path) -> None:
    path = record(tmp_path / "retried.jsonl", 40, Modelled(1.0, [Fails(), None]), max_workers=40)
    found = sweep(path, {"jitter": ["none", "full", "equal", "decorrelated"]}, runs=5)
    assert [cell.changes["jitter"] for cell in found.cells] == [
        "none",
        "full",
        "equal",
        "decorrelated",
    ]
    assert found.cells[0].verdict == "same"
    assert (
        found.cells[1].outcome["makespan_seconds"].mean < 3.0
    )  # waits of up to a second, not of one


# ------------------------------------------------------------------------------------- bad input


@pytest.mark.parametrize(
    ("vary", "more", "message"),
    [
        ({}, {}, "nothing varies"),
        ({"max_worker": [1]}, {}, "did you mean max_workers"),
        ({"max_workers": []}, {}, "max_workers: has no values"),
        ({"max_workers": [1, 2, 1]}, {}, "the value 1 is given twice"),
        ({"max_workers": [0]}, {}, "max_workers=0: must be 1 to"),
        ({"max_workers": "12"}, {}, "must be a list of values"),
        ({"max_workers": ["many"]}, {}, "max_workers='many'"),
        ({"task_timeout_seconds": [-1]}, {}, "task_timeout_seconds=-1"),
        ({"max_workers": range(1, 200), "max_retries": range(100)}, {}, "19,900 cells"),
        ({"max_workers": [1]}, {"best": "makespan"}, "did you mean makespan_seconds"),
        ({"max_workers": [1]}, {"best": "zzz"}, "no measure of a run; there are makespan_seconds"),
        ({"max_workers": [1]}, {"runs": 0}, "runs=0"),
        ({"max_workers": [1]}, {"seed": -1}, "seed=-1"),
        ({"max_workers": [1]}, {"changes": {"max_workers": 3}}, "varied, too"),
        ({"max_workers": [1]}, {"processes": 0}, "processes=0"),
        ({"max_workers": [1]}, {"arrivals": "opn"}, "arrivals"),
    ],
)
def test_bad_input(
    scenario: Path, vary: dict[str, object], more: dict[str, object], message: str
) -> None:
    with pytest.raises((ValueError, TypeError), match=message):
        sweep(scenario, vary, **more)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("text", "values"),
    [
        ("10,20,50", [10, 20, 50]),
        ("1:4", [1, 2, 3, 4]),
        ("1:10:4,20", [1, 5, 9, 20]),
        ("0.5, none", [0.5, None]),
    ],
)
def test_values_as_they_are_written(text: str, values: list[object]) -> None:
    assert parse_values("task_timeout_seconds", text) == values


def test_none_is_a_kind_of_jitter() -> None:
    assert parse_values("jitter", "none,full") == ["none", "full"]
    assert parse_value("task_timeout_seconds", "None") is None


@pytest.mark.parametrize(
    "text", ["1,,2", "1:", "5:1", "1:5:0", "1:2:3:4", "a:b", f"1:{MOST_CELLS + 1}"]
)
def test_values_that_cannot_be_read(text: str) -> None:
    with pytest.raises(ValueError, match=r"max_workers[=:]"):
        parse_values("max_workers", text)


def test_the_largest_grid() -> None:
    assert len(grid({"max_workers": range(1, 101), "max_retries": range(100)})) == MOST_CELLS
    assert module.SIGNIFICANT == 0.05
