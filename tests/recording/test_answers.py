"""What a user is told: spans, outages, assumptions, arrivals."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from click.testing import CliRunner

from runtime import WorkerPoolConfig
from simulation import Fails, LogNormal, Modelled
from simulation.commands.replay import replay
from simulation.whatif.answer import DishonestError
from simulation.whatif.predict import what_if

from .journals import record
from .test_outages import recorded


def one_never_ends(path: Path) -> Path:
    """A hundred tasks of which one is abandoned each time, and never comes home."""
    config = WorkerPoolConfig(max_workers=10, max_retries=1, task_timeout_seconds=9.0)
    record(path, config, [Modelled(1e8), *[Modelled(LogNormal(1.0, 0.5))] * 99])
    return path


def test_where_it_matters_little_both_ends_are_said(tmp_path: Path) -> None:
    path = one_never_ends(tmp_path / "run.jsonl")
    answer = what_if(path, task_timeout_seconds=40.0, max_retries=0, runs=3, force=True)
    low, high = answer.span["success_rate"]
    assert (low, high) == (0.99, 1.0)
    assert answer.variant["success_rate"].low <= low
    assert answer.variant["success_rate"].high >= high
    assert any("one attempt runs on" in note and "99.0% to 100.0%" in note for note in answer.notes)


def test_where_it_matters_it_is_refused(tmp_path: Path) -> None:
    path = one_never_ends(tmp_path / "run.jsonl")
    with pytest.raises(DishonestError, match="record with a longer timeout"):
        what_if(path, task_timeout_seconds=400.0, runs=3)


def test_an_outage_and_an_assumption_are_notes(tmp_path: Path) -> None:
    recorded(tmp_path / "out.jsonl", max_retries=4, backoff_base_seconds=1.0)
    (note,) = what_if(tmp_path / "out.jsonl", max_retries=6, runs=1, force=True).notes[:1]
    assert "attempts failed, whatever the task: an outage" in note
    config = WorkerPoolConfig(max_retries=0)
    record(tmp_path / "none.jsonl", config, [Modelled(1.0, Fails(0.3))] * 60)
    notes = what_if(tmp_path / "none.jsonl", max_retries=1, runs=1).notes
    assert any("as if their failure had no cause that lasts" in note for note in notes)


def test_arrivals_on_the_command_line(tmp_path: Path) -> None:
    path = tmp_path / "run.jsonl"
    record(path, WorkerPoolConfig(max_workers=2), [Modelled(1.0)] * 6)
    runner = CliRunner()
    done = runner.invoke(
        replay,
        [str(path), "--arrivals", "closed", "--runs", "1", "--json"],
        standalone_mode=False,
    )
    assert done.exception is None
    said = json.loads(done.stdout)
    assert said["changes"] == {"arrivals": "closed"}
    assert said["arrivals"]["used"] == "closed"
    assert "when others end" in said["arrivals"]["why"]
    bad = runner.invoke(replay, [str(path), "--arrivals", "often"], standalone_mode=False)
    assert "must be auto, recorded, closed, or scaled=F" in str(bad.exception)
