"""sweep, recommend, gate, backtest and fit as a user meets them."""

from __future__ import annotations

import json
import os
import pty
import re
import shlex
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import pytest

from simulation import Fails, LogNormal, Modelled
from simulation.cli import main
from simulation.commands.progress import Progress, time_left
from tests.whatif.recordings import SCENARIO, record

ROOT = Path(__file__).resolve().parents[2]


class Done(NamedTuple):
    code: int
    out: str
    err: str


Run = Callable[..., Done]


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str]) -> Run:
    """The command line in this process: a tenth of the time of one of its own."""

    def call(*arguments: object) -> Done:
        with pytest.raises(SystemExit) as ended:
            main([str(one) for one in arguments])
        told = capsys.readouterr()
        return Done(int(ended.value.code or 0), told.out, told.err)

    return call


@pytest.fixture(scope="module")
def journal(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("sweeps") / "run.jsonl"
    return record(path, 60, Modelled(LogNormal(2.0, 0.4), Fails(0.2)), max_retries=1)


@pytest.fixture(scope="module")
def scenario(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("sweeps") / "scenario.toml"
    path.write_text(SCENARIO)
    return path


def bad(done: Done, code: int, *words: str) -> None:
    """One clear line on standard error, nothing on standard output, never a traceback."""
    assert done.code == code, done.err
    assert done.out == ""
    assert len(done.err.strip().splitlines()) == 1, done.err
    for word in words:
        assert word in done.err


def test_a_sweep(run: Run, journal: Path) -> None:
    arguments = ("sweep", journal, "--vary", "max_workers=4,16", "--runs", 5, "--processes", 1)
    done = run(*arguments)
    assert done.code == 0
    assert done.err == ""
    for word in ("fidelity", "recorded", "worse", "better", "best: max_workers=16", "(Holm)"):
        assert word in done.out
    document = json.loads(run(*arguments, "--json").out)
    assert [cell["changes"] for cell in document["cells"]] == [
        {"max_workers": 4},
        {"max_workers": 16},
    ]
    outcome = document["cells"][0]["outcome"]
    assert list(outcome["makespan_seconds"])[:4] == ["mean", "low", "high", "level"]
    assert outcome["amplification"]["mean"] > 1
    assert document["confirmed"]["cell"] == 1
    assert document["confirmed"]["seed"] == 5


def test_a_sweep_of_a_scenario_by_another_measure(run: Run, scenario: Path) -> None:
    done = run(
        *("sweep", scenario, "--vary", "jitter=none,full", "--vary", "max_retries=0,2"),
        *("--best", "success_rate", "--runs", 10, "--set", "max_workers=8"),
    )
    assert done.code == 0
    assert "in every cell: max_workers=8" in done.out
    assert "minus" in done.out


def test_columns_are_not_lost_on_a_narrow_terminal(
    run: Run, journal: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    out = run("sweep", journal, "--vary", "max_workers=4", "--vary", "max_retries=1", "--runs", 2)
    assert "attempts" in out.out
    assert "…" not in out.out


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--vary", "max_workers"], ["FIELD=VALUES"]),
        (["--vary", "max_workers=4", "--vary", "max_workers=5"], ["more than once"]),
        (["--vary", "max_worker=4"], ["did you mean max_workers"]),
        (["--vary", "max_workers=0"], ["max_workers=0"]),
        (["--vary", "max_workers=-5:3"], ["max_workers=-5"]),
        (["--vary", "max_workers=1:99999"], ["larger STEP"]),
        (["--vary", "seed=1,2"], ["the option is --seed"]),
        (["--vary", "max_workers=4", "--best", "task_second_p95"], ["did you mean"]),
        (["--vary", "max_workers=4", "--runs", "0"], ["0"]),
        (["--vary", "max_workers=4", "--processes", "0"], ["0"]),
        (["--vary", "jitter=some"], ["none, full"]),
        ([], ["--vary"]),
    ],
)
def test_bad_sweeps(run: Run, journal: Path, arguments: list[str], words: list[str]) -> None:
    bad(run("sweep", journal, *arguments), 2, *words)


def test_a_sweep_of_what_is_not_there(run: Run) -> None:
    bad(run("sweep", "/no/such.toml", "--vary", "max_workers=4"), 2, "no such file")
    bad(run("sweep", "/no/such.jsonl", "--vary", "max_workers=4"), 2, "no such file")


def test_cells_that_cannot_be_predicted_exit_with_3(run: Run, tmp_path: Path) -> None:
    model = Modelled([float("inf"), 1.0])
    path = record(tmp_path / "cut.jsonl", 9, model, task_timeout_seconds=1)
    arguments = ("sweep", path, "--vary", "task_timeout_seconds=0.5,900", "--runs", 2)
    done = run(*arguments)
    assert done.code == 3
    assert done.err.startswith("refused: 1 of 2 cells cannot be predicted")
    assert "refused" in done.out
    assert run(*arguments, "--force").code == 0
    everything = run("sweep", path, "--vary", "task_timeout_seconds=900", "--runs", 2)
    assert everything.code == 3
    assert "no cell can be predicted" in everything.out


def test_none_is_a_kind_of_jitter_in_a_what_if_too(run: Run, journal: Path) -> None:
    assert run("replay", journal, "--set", "jitter=none", "--runs", 2).code == 0


# ------------------------------------------------------------------------------------- recommend


def test_a_recommendation(run: Run, scenario: Path) -> None:
    arguments = (
        *("recommend", scenario, "--target", "makespan_seconds<40", "--over", "max_workers=1:12"),
        *("--runs", 39),
    )
    done = run(*arguments)
    assert done.code == 0, done.err
    assert "meets makespan_seconds<40" in done.out
    document = json.loads(run(*arguments, "--json").out)
    workers = document["found"]["changes"]["max_workers"]
    assert f"max_workers={workers} meets" in done.out
    assert document["below"]["changes"]["max_workers"] == workers - 1
    assert document["found"]["outcome"]["makespan_seconds"]["high"] < 40


def test_a_target_that_cannot_be_met_is_one_line_and_exit_1(run: Run, scenario: Path) -> None:
    done = run(
        *("recommend", scenario, "--target", "makespan_seconds<0.5", "--over", "max_workers=1:40"),
        *("--runs", 10),
    )
    assert done.code == 1
    (line,) = done.err.strip().splitlines()
    assert "no setting meets makespan_seconds<0.5; the nearest" in line
    assert "for the next run" in line


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ([], ["--target"]),
        (["--target", "makespan<3"], ["did you mean makespan_seconds"]),
        (["--target", "makespan_seconds"], ["MEASURE<NUMBER"]),
        (["--target", "success_rate>=99"], ["0.99"]),
        (["--target", "makespan_seconds<3", "--minimize", "max_worker"], ["did you mean"]),
        (["--target", "makespan_seconds<3", "--minimize", "max_retries"], ["max_retries=1:60"]),
        (["--target", "makespan_seconds<3", "--over", "max_workers=0:3"], ["max_workers=0"]),
    ],
)
def test_bad_recommendations(
    run: Run, scenario: Path, arguments: list[str], words: list[str]
) -> None:
    bad(run("recommend", scenario, *arguments), 2, *words)


def test_too_few_tasks_for_a_quantile_exit_with_3(run: Run, journal: Path) -> None:
    bad(run("recommend", journal, "--target", "task_seconds_p99<30"), 3, "too few", "--force")


# ----------------------------------------------------------------------------- gate and backtest


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("folder")
    model = Modelled(1.0, [Fails(), None])
    record(path / "a.jsonl", 10, model, max_retries=1)
    record(path / "b.jsonl", 10, model, max_retries=2, epoch=2e9)
    return path


def test_a_gate(run: Run, folder: Path) -> None:
    good = run("gate", folder, "--set", "max_workers=9", "--require", "success_rate>=0.99")
    assert good.code == 0
    assert "2 journals: 2 meets" in good.out
    short = run("gate", folder, "--set", "max_retries=0", "--require", "success_rate>=0.99")
    assert short.code == 1
    assert "falls short" in short.out
    assert "99.0" in short.out  # it would have been none of them
    document = json.loads(
        run(
            "gate", folder, "--set", "max_retries=0", "--require", "success_rate>=0.99", "--json"
        ).out
    )
    assert document["state"] == "falls short"
    assert document["journals"][0]["requirements"][0]["short_by"] == pytest.approx(0.99)


def test_a_gate_with_a_broken_journal_says_which_and_exits_with_2(
    run: Run, folder: Path, tmp_path: Path
) -> None:
    (tmp_path / "good.jsonl").write_bytes((folder / "a.jsonl").read_bytes())
    (tmp_path / "torn.jsonl").write_bytes(b"{}\n")
    done = run("gate", tmp_path, "--require", "success_rate>=0.99")
    assert done.code == 2
    assert done.err.startswith(f"error: {tmp_path / 'torn.jsonl'}: line 1")
    assert "good.jsonl" in done.out
    assert run("backtest", tmp_path).code == 2


def test_a_gate_that_cannot_tell_exits_with_3(run: Run, tmp_path: Path) -> None:
    model = Modelled([float("inf"), 1.0])
    record(tmp_path / "cut.jsonl", 9, model, task_timeout_seconds=1)
    arguments = (
        *("gate", tmp_path, "--set", "task_timeout_seconds=900"),
        *("--require", "success_rate>=0.5"),
    )
    done = run(*arguments)
    assert done.code == 3
    assert done.err.startswith("refused: ")


def test_an_empty_folder(run: Run, tmp_path: Path) -> None:
    bad(run("gate", tmp_path, "--require", "success_rate>=0.99"), 2, "no journal (*.jsonl)")
    bad(run("backtest", tmp_path), 2, "no journal (*.jsonl)")
    bad(run("gate", tmp_path / "x", "--require", "success_rate>=0.99"), 2, "no such folder")
    bad(run("gate", tmp_path), 2, "--require")


def test_a_backtest(run: Run, folder: Path) -> None:
    done = run("backtest", folder, "--runs", 5)
    assert done.code == 0
    assert "max_retries=2" in done.out
    assert "intervals that held" in done.out
    document = json.loads(run("backtest", folder, "--runs", 5, "--json").out)
    (pair,) = document["pairs"]
    assert pair["changes"] == {"max_retries": 2}
    assert pair["judged"][0]["error"] == 0


# -------------------------------------------------------------------------------------------- fit


def test_a_fit_runs(run: Run, journal: Path, tmp_path: Path) -> None:
    out = tmp_path / "fitted.toml"
    done = run("fit", journal, "-o", out)
    assert done.code == 0, done.err
    assert "lognormal" in done.out
    assert f"written to {out}" in done.out.replace("\n", "")
    assert run("run", out, "--runs", 2).code == 0
    assert run("sweep", out, "--vary", "max_workers=2,4", "--runs", 2).code == 0
    document = json.loads(run("fit", journal, "-o", out, "--json").out)
    assert document["groups"][0]["durations"]["kind"] == "lognormal"


def test_bad_fits(run: Run, journal: Path, tmp_path: Path) -> None:
    bad(run("fit", journal), 2, "-o")
    bad(run("fit", journal, "-o", tmp_path / "x.json"), 2, ".toml")
    bad(run("fit", "examples/outage.toml", "-o", tmp_path / "x.toml"), 2, "already")
    bad(run("fit", "/no/such", "-o", tmp_path / "x.toml"), 2, "no such file")
    bad(run("fit", journal, "-o", "/no/such/x.toml"), 2, "cannot be written")


# ------------------------------------------------------------------------------- every command


@pytest.mark.parametrize("command", ["sweep", "recommend", "gate", "backtest", "fit"])
def test_help_has_an_example(run: Run, command: str) -> None:
    done = run(command, "--help")
    assert done.code == 0
    assert f"python -m simulation {command} " in done.out
    assert "--seed" in done.out
    assert "--json" in done.out


def test_time_left() -> None:
    assert [time_left(s) for s in (0, 0.2, 59.1, 61, 3599, 7260)] == [
        "0 s",
        "1 s",
        "1 min 0 s",
        "1 min 1 s",
        "59 min 59 s",
        "2 h 1 min",
    ]


def test_progress_estimates_the_time_left(monkeypatch: pytest.MonkeyPatch) -> None:
    import io

    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    terminal = Terminal()
    monkeypatch.setattr(sys, "stderr", terminal)
    now = 0.0
    with Progress(clock=lambda: now) as progress:
        now = 10.0
        progress(100, 400)
        assert progress.shown == "100 of 400 runs, about 30 s left"
        progress(101, 400)  # too soon to be drawn
        assert progress.shown.startswith("100")
    assert terminal.getvalue().endswith("\r\033[K")


def test_progress_on_a_terminal_and_none_in_a_pipe(scenario: Path) -> None:
    arguments = [sys.executable, "-m", "simulation", "sweep", str(scenario), "--runs", "100"]
    arguments += ["--vary", "max_workers=1:4", "--processes", "1"]
    ours, theirs = pty.openpty()
    with subprocess.Popen(
        arguments,
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=theirs,
        env={**os.environ, "TERM": "dumb"},
    ) as process:
        os.close(theirs)
        out, _ = process.communicate(timeout=120)
        told = os.read(ours, 100_000).decode()
        os.close(ours)
    assert process.returncode == 0
    assert "runs, about" in told
    assert b"runs, about" not in out


# ------------------------------------------------------------------------------------- the page

PAGE = ROOT / "docs" / "sweeps.md"
_CONSOLE = re.compile(r"^```console\n\$ python -m simulation (.*)\n((?:.*\n)*?)```", re.MULTILINE)


def test_the_page_says_what_the_commands_say(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its program makes the journals, and each command prints what stands below it."""
    page = PAGE.read_text()
    (program,) = re.findall(r"^```python\n(.*?)^```", page, re.MULTILINE | re.DOTALL)
    (tmp_path / "journals").mkdir()
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "80")
    exec(compile(program, str(PAGE), "exec"), {"__name__": "page"})
    told = {}
    for command, expected in _CONSOLE.findall(page):
        done = run(*shlex.split(command))
        lines = [line.rstrip() for line in done.out.strip("\n").splitlines()]
        told[command] = "\n".join(lines) + "\n", expected, done.code
    assert len(told) == 5
    for command, (printed, expected, code) in told.items():
        assert printed == expected, command
        assert code == (1 if command.startswith("gate") else 0)
