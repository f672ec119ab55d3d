"""Backends in files, calibration files and the command line: what is right, and what is wrong."""

from __future__ import annotations

import json
import re
from pathlib import Path

import msgspec
import pytest

from simulation import explore, what_if
from simulation.machine.backends import Backend, Outage, RateLimit
from simulation.machine.calibration import Calibration, CalibrationError, read_calibration
from simulation.machine.declared import BackendError, read_backends
from simulation.machine.machine import Cpu
from simulation.machine.measure import calibrate
from simulation.scenario import ScenarioError, read_scenario
from simulation.simulate import simulate
from tests.cli.running import bad, simulation
from tests.machine.helpers import GIL, Known, mixed, recorded

ROOT = Path(__file__).resolve().parents[2]

WHOLE = """
[backends.api]
groups = ["questions", "extras"]
limit = 10
rate = { per_second = 20, burst = 5, error = "Busy", retry_after_seconds = "next" }
latency = { slope_seconds = 0.01 }
outages = [
    { from_seconds = 60, to_seconds = 90, kind = "hangs" },
    { from_seconds = 100, to_seconds = inf },
]
"""
API = Backend(
    "api",
    ("questions", "extras"),
    10,
    RateLimit(20, 5, "Busy", "next"),
    0.01,
    None,
    (Outage(60, 90, "hangs"), Outage(100, float("inf"))),
)
TASKS = """
[[tasks]]
count = 5
duration = 1
group = "questions"
[[tasks]]
count = 5
duration = 1
group = "extras"
"""


def write(folder: Path, text: str) -> Path:
    path = folder / "file.toml"
    path.write_text(text)
    return path


def test_a_scenario_declares_what_attempts_meet(tmp_path: Path) -> None:
    machine = read_scenario(write(tmp_path, TASKS + WHOLE)).workload.machine
    assert machine is not None
    assert machine.backends == (API,)
    assert machine.cpu is None
    computes = TASKS.replace("count", "cpu_share = 0.3\ncount") + "[machine]\ncores = 4\n"
    machine = read_scenario(write(tmp_path, computes)).workload.machine
    assert machine is not None
    assert machine.cpu == Cpu(4)
    assert read_scenario(write(tmp_path, TASKS)).workload.machine is None


def test_the_documented_scenario_runs(tmp_path: Path) -> None:
    page = (ROOT / "docs" / "scenario-files.md").read_text()
    example = re.search(r"```toml\n(.*?)```", page, re.DOTALL)
    assert example is not None
    read = read_scenario(write(tmp_path, example[1]))
    assert read.workload.machine is not None
    assert simulate(read.workload, read.config.core_settings()).unfinished == 0


def test_what_attempts_meet_is_not_explored(tmp_path: Path) -> None:
    with pytest.raises(ScenarioError, match="leave them out"):
        explore(write(tmp_path, TASKS + WHOLE), schedules=1)


def test_a_file_for_a_recording_says_whether_it_was_there(tmp_path: Path) -> None:
    path = write(tmp_path, WHOLE + "recorded = false\n")
    assert read_backends(path, {"questions", "extras"}) == (API,)
    with pytest.raises(BackendError, match=r"\[backends.api\]: recorded: say true where"):
        read_backends(write(tmp_path, WHOLE), {"questions", "extras"})


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("limit = 10", "limit = 0", r"\[backends.api\]: limit=0: must be 1"),
        ("limit = 10", "limit = 1.5", r"limit=1.5: a whole number"),
        ("limit = 10", "limits = 10", "limits: no such field; did you mean limit"),
        ("limit = 10", "recorded = true", "a scenario has no recording"),
        ("per_second = 20", "per_second = -20", "rate: per_second=-20: must be 1e-9"),
        ("burst = 5", "burts = 5", r"rate: burts: no such field; did you mean burst"),
        ('"next"', '"later"', 'must be seconds, or "next"'),
        ('"next"', "-1", "rate: retry_after_seconds=-1"),
        ("per_second = 20, ", "", "rate: missing: .*'per_second'"),
        ("slope_seconds = 0.01", "slope_seconds = -1", "slope_seconds=-1"),
        ("slope_seconds = 0.01", "law = 1", "latency: law: no such field"),
        ("slope_seconds = 0.01", "slope_seconds = 1, capacity = 1", "two laws"),
        ("{ slope_seconds = 0.01 }", "0.01", "latency=0.01: must be a table"),
        ("to_seconds = 90", "to_seconds = 30", r"outages 1: to_seconds=30: must be after"),
        ('kind = "hangs"', 'kind = "sulks"', "kind='sulks': must be one of fails, hangs"),
        ('"extras"', '"others"', "no task is in group 'others'"),
        ('["questions", "extras"]', '"questions"', "a list of groups"),
        ('["questions", "extras"]', "[]", "at least one is needed"),
        ("[backends.api]", "[backends]", "must be tables"),
        (
            "[backends.api]",
            "[backends.b]\ngroups = ['extras']\n[backends.api]",
            "'extras': calls two backends",
        ),
    ],
)
def test_a_bad_scenario_says_where_and_how_to_mend_it(
    tmp_path: Path, old: str, new: str, message: str
) -> None:
    assert old in WHOLE
    with pytest.raises(ScenarioError, match=message) as caught:
        read_scenario(write(tmp_path, TASKS + WHOLE.replace(old, new)))
    assert "\n" not in str(caught.value)
    assert "__init__" not in str(caught.value)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (TASKS + "[machine]\ncores = 2\n", "nobody computes on it"),
        (TASKS.replace("count", "cpu_share = -1\ncount"), r"\[\[tasks\]\] 1: cpu_share=-1"),
        (
            TASKS.replace("count", "cpu_share = 1\ncount") + "[machine]\ncores = 0\n",
            r"\[machine\]: cores=0: must be 1",
        ),
    ],
)
def test_a_bad_machine_says_so(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(ScenarioError, match=message):
        read_scenario(write(tmp_path, text))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "there are no"),
        ("[pool]\n", "nothing else"),
        ("[backends", "not a TOML file"),
    ],
)
def test_a_file_without_backends_says_so(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(BackendError, match=message):
        read_backends(write(tmp_path, text), {"g"})
    with pytest.raises(BackendError, match="no such file"):
        read_backends(tmp_path / "none.toml", {"g"})


# ---------------------------------------------------------------- calibration

FILE = {
    "twinclock_calibration": 1,
    "python": "CPython 3.11.7",
    "cores": 2,
    "gil": True,
    "pool_ns": 30_000,
    "handover_ns": 50_000,
    "switch_ns": 20_000,
    "timer_lag_ns": 100_000,
    "scaling": {"1": 1.0, "2": 0.99, "4": 0.95},
}


def test_a_calibration_is_read(tmp_path: Path) -> None:
    path = tmp_path / "machine.json"
    path.write_text(json.dumps(FILE))
    read = read_calibration(path)
    assert read.pool_ns == 30_000
    assert read.efficiency(1) == (1.0, 0.99, 0.97, 0.95)
    assert not read.busy


def test_a_what_if_takes_the_file_too(journal: Path, tmp_path: Path) -> None:
    path = tmp_path / "machine.json"
    path.write_text(json.dumps(FILE))
    answer = what_if(journal, runs=1, max_workers=8, calibration=path)
    assert answer.contention.calibrated
    with pytest.raises(CalibrationError, match="no such file"):
        what_if(journal, runs=1, max_workers=8, calibration=tmp_path / "none.json")


def test_what_is_worse_with_fewer_threads_is_noise() -> None:
    noisy = Calibration(1, "", 2, True, 0, 0, 0, 0, {1: 1.0, 2: 0.6, 4: 1.2, 8: 0.9}, 4.5)
    assert noisy.efficiency(1)[:4] == (1.0, 1.0, 1.0, 1.0)
    assert noisy.efficiency(1)[-1] == 0.9
    assert noisy.busy


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"twinclock_calibration": 2}, "calibrate again"),
        ({"pool_ns": -1}, "pool_ns=-1"),
        ({"cores": 0}, "cores=0"),
        ({"scaling": {"2": 1.0}}, "scaling"),
        ({"scaling": {"1": 0.0}}, "scaling"),
        ({"colour": "red"}, "colour"),
    ],
)
def test_a_bad_calibration_says_so(tmp_path: Path, change: dict[str, object], message: str) -> None:
    path = tmp_path / "machine.json"
    path.write_text(json.dumps(FILE | change))
    with pytest.raises(CalibrationError, match=message):
        read_calibration(path)
    path.write_text("{")
    with pytest.raises(CalibrationError, match="not a calibration file"):
        read_calibration(path)
    with pytest.raises(CalibrationError, match="simulation calibrate -o"):
        read_calibration(tmp_path / "none.json")


def test_this_machine_can_be_calibrated() -> None:
    steps: list[tuple[int, int]] = []
    found = calibrate(seconds=0.5, progress=lambda done, wanted: steps.append((done, wanted)))
    assert steps[-1][0] == steps[-1][1]
    assert found.pool_ns > 0
    assert found.switch_ns > 0
    assert set(found.scaling) == {1, 2, 4, 8, 16, 32}
    assert all(done > 0 for done in found.scaling.values())


# ---------------------------------------------------------------- the command line


@pytest.fixture(scope="module")
def journal(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return recorded(tmp_path_factory.mktemp("runs") / "run.jsonl", Known(mixed(60, 0.3), GIL), 4)


def test_a_what_if_with_everything(journal: Path, tmp_path: Path) -> None:
    calibration = tmp_path / "machine.json"
    calibration.write_text(json.dumps(FILE))
    api = write(tmp_path, '[backends.api]\ngroups = ["default"]\nlimit = 2\nrecorded = false\n')
    done = simulation(
        "replay",
        str(journal),
        "--set",
        "max_workers=8",
        "--runs",
        "1",
        "--calibration",
        str(calibration),
        "--backend",
        str(api),
    )
    assert done.returncode == 0, done.stderr
    assert "what if max_workers=8, backend api?" in done.stdout
    assert "under the GIL" in done.stdout
    as_json = simulation("replay", str(journal), "--backend", str(api), "--runs", "1", "--json")
    answer = json.loads(as_json.stdout)
    assert answer["contention"]["kind"] == "shared"
    assert answer["backends"] == ["api"]


def test_bad_files_on_the_command_line(journal: Path, tmp_path: Path) -> None:
    run = "replay", str(journal), "--set", "max_workers=8"
    bad(simulation(*run, "--calibration", "none.json"), 2, "none.json", "calibrate -o none.json")
    bad(simulation(*run, "--backend", "none.toml"), 2, "none.toml", "no such file")
    machine = tmp_path / "machine.json"
    machine.write_bytes(msgspec.json.encode(Calibration(1, "", 2, True, 0, 0, 0, 0, {1: 1.0})))
    alone = str(journal), "--calibration", str(machine)
    bad(simulation("replay", *alone), 2, "goes with --set")
    bad(simulation("why", *alone), 2, "goes with --set")
    out = str(tmp_path / "x")
    bad(simulation("export", *alone, "--to", "chrome", "-o", out), 2, "goes with --variant")
    new = write(tmp_path, '[backends.api]\ngroups = ["none"]\nrecorded = false\n')
    bad(simulation(*run, "--backend", str(new)), 2, "no task is in group 'none'", "default")
    nowhere = str(tmp_path / "no" / "where.json")
    bad(simulation("calibrate", "-o", nowhere, "--seconds", "0.5"), 2, "cannot be written")


def test_calibrate_writes_what_is_read_again(tmp_path: Path) -> None:
    path = tmp_path / "machine.json"
    done = simulation("calibrate", "--seconds", "0.5", "-o", str(path), "--json")
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout) == json.loads(path.read_text())
    assert read_calibration(path).cores >= 1
