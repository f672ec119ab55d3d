"""The command line as a user meets it: its output, its errors, its exit code; as a process where
the process is what matters.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from runtime import WorkerPool, WorkerPoolConfig
from simulation import Exponential, Fails, Modelled, SimulatedWorkerPool
from tests.cli.running import bad, simulation
from tools.fuzz_journal import reseal

ROOT = Path(__file__).resolve().parent.parent.parent
OUTAGE = str(ROOT / "examples" / "outage.toml")


def process(*arguments: str) -> subprocess.CompletedProcess[str]:
    """A command in a process of its own, which takes ten times as long as ``simulation`` does."""
    done = subprocess.run(
        [sys.executable, "-m", "simulation", *arguments],
        check=False,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        cwd=ROOT,
        timeout=60,
    )
    return subprocess.CompletedProcess(
        done.args, done.returncode, done.stdout.decode(), done.stderr.decode()
    )


@pytest.fixture(scope="module")
def journal(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("journals") / "run.jsonl"
    config = WorkerPoolConfig(max_workers=8, enable_instrumentation=False, max_retries=1)
    with SimulatedWorkerPool(config, seed=3, journal=path) as pool:
        for n in range(60):
            pool.submit_task(f"Q{n:03d}", Modelled(Exponential(2.0), Fails(0.2)))
        pool.wait_for_all()
    return path


def test_exact_replay(journal: Path) -> None:
    done = process("replay", str(journal))
    assert done.returncode == 0
    assert done.stderr == ""
    assert "60 tasks" in done.stdout
    assert "replays exactly" in done.stdout
    twice = simulation("replay", str(journal), "--check")
    assert twice.stdout == done.stdout, "in this process it is the same"


def test_exact_replay_as_json(journal: Path) -> None:
    done = simulation("replay", str(journal), "--json")
    document = json.loads(done.stdout)
    assert list(document) == ["journal", "divergence", "digest"]
    assert document["journal"]["tasks"] == 60
    assert document["journal"]["complete"] is True
    assert document["divergence"] is None
    assert document["digest"].startswith("sha256:")
    assert simulation("replay", str(journal), "--json").stdout == done.stdout


def test_a_journal_from_standard_input(journal: Path) -> None:
    done = simulation("replay", "-", "--json", stdin=journal.read_bytes())
    assert done.returncode == 0
    assert json.loads(done.stdout)["journal"]["path"] == "standard input"


def test_every_one_field_change_is_named_at_its_index(journal: Path) -> None:
    """Each value of one step in turn: the damage by its line, with the step that shows it; and,
    where all checksums were forged, the divergence."""
    lines = journal.read_text().splitlines(keepends=True)
    index = 100
    step = json.loads(lines[index + 1])
    assert [record["kind"] for record in step["out"]] == ["finish_task", "start_attempt"]
    seen = set()
    for side in ("in", "out"):
        records = [step["in"]] if side == "in" else step["out"]
        for at, record in enumerate(records):
            for field, value in record.items():
                if field == "kind":
                    continue
                changed = value + 1 if isinstance(value, int) else f"{value}x"
                edited = json.loads(lines[index + 1])
                target = edited["in"] if side == "in" else edited["out"][at]
                target[field] = changed
                text = json.dumps(edited, separators=(",", ":")) + "\n"
                whole = "".join([*lines[: index + 1], text, *lines[index + 2 :]]).encode()
                done = simulation("replay", "-", "--json", stdin=whole)
                bad(done, 2, f"line {index + 2}: its checksum does not match")
                seen.add(f"(as it stands, step {index} diverges in " in done.stderr)
                forged = simulation("replay", "-", "--json", stdin=reseal(whole))
                if forged.returncode == 1:
                    assert json.loads(forged.stdout)["divergence"]["index"] == index
    assert seen == {True, False}


def test_a_divergence_is_told_field_by_field_with_its_story(journal: Path) -> None:
    lines = journal.read_bytes().split(b"\n")
    at = next(n for n, line in enumerate(lines) if b'"kind":"start_attempt"' in line and n > 20)
    lines[at] = lines[at].replace(b'"slot":', b'"slot":9', 1)
    data = reseal(b"\n".join(lines))
    done = simulation("replay", "-", stdin=data)
    assert done.returncode == 1
    assert f"diverges at step {at - 1} (line {at + 1})" in done.stdout
    assert "the story of task" in done.stdout
    document = json.loads(simulation("replay", "-", "--json", stdin=data).stdout)
    divergence = document["divergence"]
    assert divergence["index"] == at - 1
    assert [field["field"].split(".")[1] for field in divergence["fields"]] == ["slot"]
    assert divergence["expected"] != divergence["actual"]
    assert divergence["story"]


def test_what_if(journal: Path) -> None:
    done = simulation("replay", str(journal), "--set", "max_workers=4")
    assert done.returncode == 0
    assert done.stdout.startswith("fidelity:")
    assert "what if max_workers=4?" in done.stdout
    document = json.loads(
        simulation("replay", str(journal), "--set", "max_workers=4", "--json").stdout
    )
    assert list(document)[:7] == [
        "fidelity",
        "baseline",
        "variant",
        "difference",
        "changes",
        "runs",
        "seed",
    ]
    assert list(document["fidelity"])[:3] == [
        "makespan_error",
        "recorded_makespan_seconds",
        "simulated_makespan_seconds",
    ]
    assert list(document["variant"]) == [
        "makespan_seconds",
        "success_rate",
        "attempts",
        "retries",
        "timeouts",
        "completed",
        "failed",
        "cancelled",
        "task_seconds_p50",
        "task_seconds_p95",
        "task_seconds_p99",
        "utilization",
    ]
    assert list(document["variant"]["makespan_seconds"])[:4] == ["mean", "low", "high", "level"]
    assert document["variant"]["makespan_seconds"]["kind"] == "next run"
    assert document["difference"]["makespan_seconds"]["kind"] == "paired"
    assert document["changes"] == {"max_workers": 4}
    assert (
        document["variant"]["makespan_seconds"]["mean"]
        > document["baseline"]["makespan_seconds"]["mean"]
    )


def test_what_if_with_replications(journal: Path) -> None:
    arguments = ("replay", str(journal), "--set", "max_retries=3", "--runs", "5", "--json")
    document = json.loads(simulation(*arguments).stdout)
    assert document["runs"] == 5
    attempts = document["variant"]["attempts"]
    assert attempts["low"] < attempts["mean"] < attempts["high"]
    assert simulation(*arguments).stdout == simulation(*arguments).stdout


def test_what_would_not_be_honest_is_refused_with_exit_3(tmp_path: Path) -> None:
    path = tmp_path / "stuck.jsonl"
    config = WorkerPoolConfig(task_timeout_seconds=1, enable_instrumentation=False)
    with SimulatedWorkerPool(config, journal=path) as pool:
        pool.submit_task("stuck", Modelled([float("inf"), 1.0]))
        pool.wait_for_all()
    arguments = ("replay", str(path), "--set", "task_timeout_seconds=9")
    bad(simulation(*arguments), 3, "refused", "cannot know", "--force")
    assert simulation(*arguments, "--force").returncode == 0


def test_run_a_scenario(tmp_path: Path) -> None:
    done = simulation("run", OUTAGE, "--runs", "3", "--json")
    document = json.loads(done.stdout)
    assert document["completed"]["mean"] > 300
    assert "makespan" in simulation("run", OUTAGE, "--runs", "2").stdout


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", ["tasks"]),
        ("tasks = []", ["no [[tasks]]"]),
        ("not toml at all", ["not a TOML file"]),
        ("[[tasks]]\ncount = 3", ["duration"]),
        ("[[tasks]]\ncount = 0\nduration = 1", ["count=0"]),
        ("[[tasks]]\ncount = 1\nduration = 1e300", ["seconds=1e+300"]),
        ("[[tasks]]\ncount = 1\nduration = {exponential = {mean = 1e300}}", ["mean=1e+300"]),
        ("[[tasks]]\ncount = 1\nduration = {exponential = {men = 1}}", ["no such field", "men"]),
        ("[[tasks]]\ncount = 1\nduration = {exponential = {}}", ["missing", "mean"]),
        ("[[tasks]]\ncount = 1\nduration = {empirical = {values = 5}}", ["values=5", "list"]),
        ("[[tasks]]\ncount = 1\nduration = {uniform = {low = inf, high = inf}}", ["low=inf"]),
        (
            "[[tasks]]\ncount = 1\nduration = {lognormal = {median = 3, sigma = 1000}}",
            ["sigma=1000"],
        ),
        ("[[tasks]]\ncount = 1\nduration = 1\nrate_per_second = 1e-300", ["rate_per_second"]),
        ("[[tasks]]\ncount = 1\nduration = 1\nstart_seconds = -5", ["start_seconds=-5"]),
        ("[[tasks]]\ncount = 1\nduration = 1\nstart_seconds = nan", ["start_seconds=nan"]),
        ("[[tasks]]\ncount = 1\nduration = 1\nstart_seconds = inf", ["start_seconds=inf"]),
        ("[[tasks]]\ncount = 1\nduration = 1\npriority = 99999999999", ["priority=9"]),
        ('[[tasks]]\ncount = 1\nduration = 1\ngroup = ""', ["group=''"]),
        ("[[tasks]]\ncount = 1\nduration = 1\nfails = {probability = 'x'}", ["probability='x'"]),
        ("[[tasks]]\ncount = 1\nduration = 1\nfails = {retryable = 'no'}", ["retryable='no'"]),
        ("[[tasks]]\ncount = 1\nduration = 1\nfails = {error = 5}", ["error=5"]),
        (
            "[[tasks]]\ncount = 1\nduration = 1\nfails = {retry_after_seconds = -5}",
            ["retry_after_seconds=-5"],
        ),
        ("[[tasks]]\ncount = 1\nduration = -1", ["seconds=-1"]),
        ("[[tasks]]\ncount = 1\nduration = 1\ncolour = 3", ["colour"]),
        ("[[tasks]]\ncount = 1\nduration = {normal = {mean = 3}}", ["lognormal"]),
        ("[[tasks]]\ncount = 1\nduration = {uniform = {low = 3}}", ["high"]),
        ("[[tasks]]\ncount = 1\nduration = 1\nfails = {probability = 2}", ["probability=2"]),
        ("[pool]\nmax_workers = 0\n[[tasks]]\ncount = 1\nduration = 1", ["max_workers=0"]),
        ("[pool]\nworkers = 1\n[[tasks]]\ncount = 1\nduration = 1", ["no such field", "workers"]),
    ],
)
def test_bad_scenarios(tmp_path: Path, text: str, words: list[str]) -> None:
    path = tmp_path / "bad.toml"
    path.write_text(text)
    bad(simulation("run", str(path)), 2, "bad.toml", *words)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["rply"], ["did you mean replay"]),
        (["replay"], ["JOURNAL"]),
        (["replay", "/no/such/file"], ["no such file"]),
        (["replay", ""], ["'': there is no such file"]),
        (["replay", "two\nlines"], ["two\\nlines: there is no such file"]),
        (["replay", "."], ["cannot be read: it is a folder"]),
        (["replay", "x", "--nonsense"], ["--nonsense"]),
        (["replay", "x", "--seed", "-1"], ["-1"]),
        (["replay", "x", "--set", "max_workers"], ["FIELD=VALUE"]),
        (["run", "/no/such/file.toml"], ["no such file"]),
        (["run", OUTAGE, "--runs", "0"], ["0"]),
    ],
)
def test_bad_usage(arguments: list[str], words: list[str]) -> None:
    bad(simulation(*arguments), 2, *words)


def test_bad_usage_in_a_process() -> None:
    bad(process("rply"), 2, "did you mean replay")


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ("max_worker=3", ["did you mean max_workers"]),
        ("max_workers=0", ["max_workers=0", "1 to"]),
        ("max_workers=many", ["max_workers='many'"]),
        ("task_timeout_seconds=nan", ["task_timeout_seconds"]),
        ("jitter=lots", ["none, full"]),
        ("seed=5", ["--set seed", "the option is --seed"]),
        ("runs=5", ["--set runs", "the option is --runs"]),
        ("journal=x", ["no setting that a what-if can change"]),
        ("progress=x", ["no setting that a what-if can change"]),
        ("max_retries=99999999999999999999", ["max_retries", "0 to"]),
    ],
)
def test_bad_changes(journal: Path, change: str, words: list[str]) -> None:
    bad(simulation("replay", str(journal), "--set", change), 2, *words)


def test_help_has_an_example_for_each_command() -> None:
    assert "replay" in simulation("--help").stdout
    for command in ("replay", "run", "export", "explore", "slice"):
        done = simulation(command, "--help")
        assert done.returncode == 0
        assert f"python -m simulation {command}" in done.stdout


def test_a_torn_last_line_is_a_warning(journal: Path) -> None:
    data = journal.read_bytes().replace(b'"closed    "', b'"open      "')
    cut = data.rsplit(b"\n", 2)[0] + b"\n" + b'{"n":99'
    done = simulation("replay", "-", "--json", stdin=cut)
    assert done.returncode == 0
    assert "torn" in done.stderr
    assert json.loads(done.stdout)["journal"]["complete"] is False


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b"", ["empty"]),
        (b"\x00\xff\xfe" * 100, ["line 1"]),
        (b"hello\n", ["line 1"]),
        (b"{}\n", ["line 1"]),
    ],
)
def test_what_is_no_journal(data: bytes, words: list[str]) -> None:
    bad(simulation("replay", "-", stdin=data), 2, *words)


def test_a_recorded_run_on_real_threads_replays_twice_alike(tmp_path: Path) -> None:
    path = tmp_path / "run.jsonl"
    with WorkerPool(WorkerPoolConfig(max_workers=8), journal=path) as pool:
        for n in range(300):
            pool.submit_task(f"Q{n:03d}", abs, (n,))
        pool.wait_for_all()
    first, second = (simulation("replay", str(path), "--json").stdout for _ in range(2))
    assert first == second
    assert json.loads(first)["divergence"] is None


def in_a_shell(command: str, *arguments: str) -> subprocess.CompletedProcess[bytes]:
    line = command.replace("SIM", f"{sys.executable} -m simulation")
    return subprocess.run(
        ["bash", "-c", line, "bash", *arguments],
        check=False,
        capture_output=True,
        cwd=ROOT,
        timeout=60,
    )


@pytest.mark.parametrize(
    ("command", "code", "told"),
    [
        ("SIM replay - <&-", 2, b"standard input: cannot be read: it is closed"),
        ('SIM replay "$1" > /dev/full', 2, b"cannot write the answer"),
        ('SIM replay "$1" --json > /dev/full', 2, b"cannot write the answer"),
        ('SIM replay "$1" --json >&-', 2, b""),
        ('SIM replay "$1" --json | head -c 0; exit ${PIPESTATUS[0]}', 0, b""),
        # rich would exit with 1 by itself, which here says that a check failed
        ('SIM why "$1" --tasks 60 | head -c 0; exit ${PIPESTATUS[0]}', 0, b""),
    ],
)
def test_streams_that_are_closed_or_full(
    journal: Path, command: str, code: int, told: bytes
) -> None:
    done = in_a_shell(command, str(journal))
    assert done.returncode == code, done.stderr
    assert told in done.stderr
    assert b"Traceback" not in done.stderr
    assert b"Exception ignored" not in done.stderr


@pytest.mark.parametrize(
    "environment",
    [
        {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"},
        {"PYTHONIOENCODING": "ascii"},
        {"COLUMNS": "40", "NO_COLOR": "1", "TERM": "dumb"},
    ],
    ids=lambda given: next(iter(given)),
)
def test_terminals_that_can_do_little(tmp_path: Path, environment: dict[str, str]) -> None:
    path = tmp_path / "run.jsonl"
    with SimulatedWorkerPool(journal=path) as pool:
        pool.submit_task("été ☃", Modelled(1.5e-6))
        pool.wait_for_all()
    done = subprocess.run(
        [sys.executable, "-m", "simulation", "why", path],
        check=False,
        capture_output=True,
        cwd=ROOT,
        env={**os.environ, **environment},
        timeout=120,
    )
    assert (done.returncode, done.stderr) == (0, b"")
    said = done.stdout.decode()
    assert "1.5 " in said
    assert ("été ☃" in said) == ("COLUMNS" in environment)
    assert b"\x1b" not in done.stdout
    if "COLUMNS" in environment:
        assert max(map(len, said.splitlines())) <= 40


@pytest.mark.parametrize("name", [b"[red].jsonl", b"a[b", b"no utf-8 \xff.jsonl"])
@pytest.mark.parametrize("as_json", [False, True])
def test_strange_paths(journal: Path, tmp_path: Path, name: bytes, as_json: bool) -> None:
    path = os.path.join(os.fsencode(tmp_path), name)
    with open(path, "wb") as file:
        file.write(journal.read_bytes())
    arguments = [sys.executable, "-m", "simulation", "replay", path]
    done = subprocess.run(
        [*arguments, "--json"] if as_json else arguments,
        check=False,
        capture_output=True,
        cwd=ROOT,
        timeout=60,
    )
    assert done.returncode == 0, done.stderr
    shown = json.loads(done.stdout)["journal"]["path"] if as_json else done.stdout.decode()
    assert name.decode("utf-8", "backslashreplace") in shown.replace("\n", "")


NEVER_ENDS = """
[pool]
max_workers = 2
max_abandoned_threads = 0
task_timeout_seconds = 5
max_retries = 0
[[tasks]]
count = 2
duration = inf
[[tasks]]
count = 10
duration = 1
"""


def test_a_scenario_in_which_tasks_never_end_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "never.toml"
    path.write_text(NEVER_ENDS)
    bad(simulation("run", str(path), "--runs", "1"), 3, "10 of 12 tasks never end")
    forced = simulation("run", str(path), "--runs", "1", "--force", "--json")
    assert forced.returncode == 0
    assert json.loads(forced.stdout)["completed"]["mean"] == 0


def test_one_run_of_what_is_random_says_its_seed(tmp_path: Path) -> None:
    path = tmp_path / "random.toml"
    path.write_text("[[tasks]]\ncount = 9\nduration = {exponential = {mean = 1}}")
    assert "one run, seed 0" in simulation("run", str(path), "--runs", "1").stdout
