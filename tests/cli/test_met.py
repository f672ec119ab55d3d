"""``--backend`` and ``--calibration`` mean the same in every command that simulates a journal."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import msgspec
import pytest

from runtime.journal import read_journal
from simulation import Modelled
from simulation.exports.html import export_html
from simulation.machine.calibration import Calibration
from simulation.whatif import predict, timed
from simulation.whatif.gate import gate
from simulation.whatif.timed import simulated_run
from tests.cli.running import bad, simulation
from tests.whatif.recordings import record

TASKS = 12
#: One call at a time, where the recording had none of it: the tasks stand in line.
BACKEND = '[backends.api]\ngroups = ["default"]\nlimit = 1\nrecorded = false\n'


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("met")
    record(path / "run.jsonl", TASKS, Modelled(1.0), max_workers=4)
    (path / "api.toml").write_text(BACKEND)
    machine = Calibration(1, "", 2, True, 0, 0, 0, 0, {1: 1.0})
    (path / "machine.json").write_bytes(msgspec.json.encode(machine))
    return path


def makespan(folder: Path, *arguments: object) -> float:
    """What each command says the run takes."""
    command, *rest = arguments
    journal = folder / "run.jsonl"
    out = folder / "out"
    if command == "gate":
        require = "--require", "makespan_seconds<1e9"
        told = json.loads(simulation("gate", folder, *require, *rest, "--json").stdout)
        return float(told["journals"][0]["requirements"][0]["changed"]["mean"])
    if command == "why":
        told = json.loads(simulation("why", journal, *rest, "--json").stdout)
        return float(told["critical"]["makespan_ns"] / 1e9)
    if command == "replay":
        told = json.loads(simulation("replay", journal, *rest, "--runs", 1, "--json").stdout)
        return float(told["variant"]["makespan_seconds"]["mean"])
    variant = "--variant", "max_workers=4"
    done = simulation("export", journal, "--to", command, "-o", out, *variant, *rest[2:])
    assert done.returncode == 0, done.stderr
    assert command == "chrome"
    events = json.loads(out.read_bytes())["traceEvents"]
    slices = [one for one in events if one["ph"] == "X" and one["pid"] == 2]
    return max(one["ts"] + one["dur"] for one in slices) / 1e6


@pytest.mark.parametrize("command", ["replay", "gate", "why", "chrome"])
def test_a_backend_that_serves_one_at_a_time(folder: Path, command: str) -> None:
    set_ = "--set", "max_workers=4"
    assert makespan(folder, command, *set_) == pytest.approx(TASKS / 4)
    backend = "--backend", folder / "api.toml"
    assert makespan(folder, command, *set_, *backend) == pytest.approx(TASKS)
    machine = "--calibration", folder / "machine.json"
    assert makespan(folder, command, *set_, *backend, *machine) == pytest.approx(TASKS)


def test_a_backend_alone_is_a_question_too(folder: Path) -> None:
    backend = "--backend", folder / "api.toml"
    assert makespan(folder, "why", *backend) == pytest.approx(TASKS)
    assert makespan(folder, "replay", *backend) == pytest.approx(TASKS)
    out = folder / "out"
    done = simulation("export", folder / "run.jsonl", "--to", "html", "-o", out, *backend)
    bad(done, 2, "--backend: goes with --variant")


def test_a_gate_takes_them_from_python(folder: Path) -> None:
    found = gate(folder, "makespan_seconds<4", backends=folder / "api.toml")
    assert found.backends == [str(folder / "api.toml")]
    told = simulation(
        *("gate", folder, "--require", "makespan_seconds<4", "--backend", folder / "api.toml")
    )
    assert told.returncode == 1
    assert "the recorded setting, backend" in told.stdout
    assert "api.toml" in told.stdout
    assert found.state == "falls short"
    assert gate(folder, "makespan_seconds<4").state == "meets"


@pytest.mark.parametrize("variants", [[], [("3 workers", {"max_workers": 3})]])
def test_a_page_simulates_what_it_shows_and_no_more(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, variants: list[tuple[str, dict[str, int]]]
) -> None:
    """One run to see how well the recording is reproduced; replications for a variant only."""
    journal = read_journal(record(tmp_path / "run.jsonl", 40, max_workers=4))
    pairs: list[str] = []

    def counted(name: str) -> Callable[..., object]:
        made = getattr(predict, name)

        def make(*arguments: object) -> object:
            pairs.append(name)
            return made(*arguments)

        return make

    for name in ("recorded_pair", "next_pair"):
        monkeypatch.setattr(predict, name, counted(name))
    page = export_html(journal, variants).decode()
    assert len(pairs) == (1 if not variants else pytest.approx(79, abs=40))
    assert ("with 95% intervals" in page) == bool(variants)
    assert ('id="figure-intervals"' in page) == bool(variants)
    assert "Simulated again under its own setting" in page


def test_the_unchanged_run_is_the_one_of_its_own_what_if(tmp_path: Path) -> None:
    """It is taken from a variant's what-if, where it stands as the baseline."""
    journal = read_journal(record(tmp_path / "run.jsonl", 40, max_workers=4))
    answer = simulated_run(journal, "v", {"max_workers": 3}).answer
    assert answer is not None
    took = timed.unchanged_run(journal, "u", answer)
    own = simulated_run(journal, "u", {}, runs=answer.runs)
    assert took.answer is not None
    assert own.answer is not None
    assert took.answer.fidelity == own.answer.fidelity
    assert took.timeline.attempts == own.timeline.attempts
    assert {name: one.mean for name, one in took.answer.variant.items()} == pytest.approx(
        {name: one.mean for name, one in own.answer.variant.items()}
    )
    assert not took.answer.changes
