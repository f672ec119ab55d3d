"""Gate and backtest: what stored journals say of a change, and of each other."""

from __future__ import annotations

import math
from pathlib import Path

import pytest

from simulation import Constant, Exponential, Fails, LogNormal, Modelled
from simulation.whatif.backtest import backtest
from simulation.whatif.gate import gate
from tests.whatif.recordings import record

HALF_FAIL_ONCE = [Modelled(1.0, [Fails(), None]), Modelled(1.0)]


def alternate(n: int) -> Modelled:
    return HALF_FAIL_ONCE[n % 2]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("journals")
    (path / "older").mkdir()
    record(path / "older" / "a.jsonl", 40, alternate, max_retries=1)
    record(path / "b.jsonl", 40, alternate, max_retries=2, max_workers=4)
    (path / "notes.txt").write_text("no journal")
    return path


def test_a_change_that_every_run_would_have_stood(folder: Path) -> None:
    found = gate(folder, "success_rate>=0.99", changes={"max_workers": 20})
    assert found.state == "meets"
    assert [Path(one.path).name for one in found.journals] == ["b.jsonl", "a.jsonl"]
    assert all(one.runs == 1 for one in found.journals)  # nothing has to be drawn


def test_a_change_that_falls_short_says_by_how_much(folder: Path) -> None:
    found = gate(folder, ["success_rate>=0.99", "retries<=100"], changes={"max_retries": 0})
    assert found.state == "falls short"
    for journal in found.journals:
        rate, retries = journal.requirements
        assert rate.verdict == "missed"
        assert rate.recorded.mean == 1.0
        assert rate.changed.mean == 0.5  # by construction
        assert rate.short_by == pytest.approx(0.49)
        assert retries.verdict == "met"
        assert retries.short_by == 0


def test_it_asks_about_these_very_runs_not_about_the_next(folder: Path) -> None:
    """Half of the tasks fail once: the next run might have more of them, these have half."""
    found = gate(folder, "retries<=20", changes={"max_workers": 2})
    assert [one.requirements[0].changed.mean for one in found.journals] == [20, 20]
    assert found.state == "meets"


def test_an_interval_over_the_bound_cannot_tell_until_there_are_more_runs(tmp_path: Path) -> None:
    record(tmp_path / "a.jsonl", 60, Modelled(Exponential(1.0), Fails(0.3)), max_retries=0)
    few = gate(tmp_path, "makespan_seconds<84", changes={"max_retries": 3}, runs=4)
    change = few.journals[0].requirements[0].changed
    bound = f"makespan_seconds<{(change.mean + change.high) / 2:.3f}"
    unclear = gate(tmp_path, bound, changes={"max_retries": 3}, runs=4)
    assert unclear.state == "cannot tell"
    assert "reaches over the bound after 4 runs" in str(unclear.journals[0].reason)


def test_what_the_recording_cannot_know_is_not_judged(tmp_path: Path) -> None:
    record(
        tmp_path / "cut.jsonl", 10, Modelled([math.inf, 1.0]), task_timeout_seconds=5, max_retries=1
    )
    found = gate(tmp_path, "success_rate>=0.5", changes={"task_timeout_seconds": 500})
    assert found.state == "cannot tell"
    assert "longer than the recording knows" in str(found.journals[0].reason)
    forced = gate(tmp_path, "success_rate>=0.5", changes={"task_timeout_seconds": 500}, force=True)
    assert forced.state == "meets"


def test_one_broken_journal_is_named_and_the_others_are_judged(tmp_path: Path) -> None:
    record(tmp_path / "good.jsonl", 10, Modelled(1.0))
    (tmp_path / "broken.jsonl").write_text("garbage\n")
    found = gate(tmp_path, "success_rate>=0.99")
    assert found.state == "broken"
    broken, good = found.journals
    assert (broken.state, good.state) == ("broken", "meets")
    assert str(broken.reason).startswith("line 1")


def test_a_journal_that_was_edited_is_broken(tmp_path: Path) -> None:
    path = record(tmp_path / "a.jsonl", 10, Modelled(1.0))
    path.write_bytes(path.read_bytes().replace(b'"slot":1', b'"slot":7', 1))
    found = gate(tmp_path, "success_rate>=0.99")
    assert found.state == "broken"
    assert "its checksum does not match" in str(found.journals[0].reason)
    assert "diverges in out[0].slot" in str(found.journals[0].reason)


@pytest.mark.parametrize(
    ("require", "changes", "message"),
    [
        ("success>=0.99", {}, "no measure of a run"),
        ("success_rate>=0.99", {"workers": 3}, "no setting"),
        ("success_rate>=0.99", {"max_workers": -3}, "max_workers=-3"),
        ([], {}, "no target"),
    ],
)
def test_bad_input(folder: Path, require: str, changes: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        gate(folder, require, changes=changes)


def test_folders_that_are_none(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="there is no journal"):
        gate(tmp_path, "success_rate>=0.99")
    with pytest.raises(ValueError, match="there is no such folder"):
        backtest(tmp_path / "none")
    (tmp_path / "file").write_text("")
    with pytest.raises(ValueError, match="is no folder"):
        gate(tmp_path / "file", "success_rate>=0.99")


# --------------------------------------------------------------------------------------- backtest


def test_what_is_certain_is_predicted_exactly(tmp_path: Path) -> None:
    """Three runs of the same 30 tasks of 2 s, ten days apart; the earlier one predicts."""
    for n, workers in enumerate((5, 10, 3)):
        model = Modelled(Constant(2.0))
        record(tmp_path / f"{n}.jsonl", 30, model, max_workers=workers, epoch=1e9 + n * 864_000)
    found = backtest(tmp_path)
    assert [
        (Path(pair.earlier).name, Path(pair.later).name, pair.changes["max_workers"])
        for pair in found.pairs
    ] == [("0.jsonl", "1.jsonl", 10), ("0.jsonl", "2.jsonl", 3), ("1.jsonl", "2.jsonl", 3)]
    for pair in found.pairs:
        makespan = pair.judged[0]
        assert makespan.error == 0
        assert makespan.held is True
    assert found.coverage["makespan_seconds"].mean == 1.0


def test_intervals_hold_about_as_often_as_they_say(tmp_path: Path) -> None:
    """Ten runs, each with luck of its own; only half the spread would hold in two of three."""
    for n in range(10):
        model = Modelled(LogNormal(2.0, 0.5), Fails(0.1))
        record(
            tmp_path / f"{n:02}.jsonl",
            40,
            model,
            seed=n,
            max_workers=6 + 2 * (n % 2),
            epoch=1e9 + n,
        )
    found = backtest(tmp_path)
    assert 9 <= len(found.pairs) <= 18  # the newest of each of the two settings
    makespans = [pair.judged[0] for pair in found.pairs]
    held = [one.held for one in makespans]
    assert sum(map(bool, held)) / len(held) >= 0.8
    assert found.median_error["makespan_seconds"] < 0.3
    assert found.worst_error["makespan_seconds"] == max(abs(one.error) for one in makespans)


def test_an_order_by_name_does_not_matter_the_epoch_does(tmp_path: Path) -> None:
    record(tmp_path / "a.jsonl", 10, Modelled(1.0), max_workers=5, epoch=2e9)
    record(tmp_path / "b.jsonl", 10, Modelled(1.0), max_workers=2, epoch=1e9)
    (pair,) = backtest(tmp_path).pairs
    assert Path(pair.earlier).name == "b.jsonl"
    assert pair.changes == {"max_workers": 5}


def test_other_work_is_not_compared(tmp_path: Path) -> None:
    record(tmp_path / "a.jsonl", 10, Modelled(1.0))
    record(tmp_path / "b.jsonl", 11, Modelled(1.0), epoch=2e9)
    with pytest.raises(ValueError, match="no two of its 2 usable journals did the same work"):
        backtest(tmp_path)


def test_a_broken_journal_is_named(tmp_path: Path) -> None:
    record(tmp_path / "a.jsonl", 10, Modelled(1.0))
    record(tmp_path / "b.jsonl", 10, Modelled(1.0), epoch=2e9)
    (tmp_path / "c.jsonl").write_bytes(b"")
    found = backtest(tmp_path, runs=5)
    (unused,) = found.unused
    assert unused.broken
    assert unused.path.endswith("c.jsonl")
    assert len(found.pairs) == 1
