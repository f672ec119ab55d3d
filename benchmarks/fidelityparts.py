"""The parts of the fidelity program: each makes real runs and holds predictions against them."""

from __future__ import annotations

import json
import math
import os
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, field
from multiprocessing import get_context
from pathlib import Path
from random import Random
from statistics import median
from typing import Any, Final, TypeVar

from benchmarks.realruns import Job, Machine, computing, make_run, waits
from simulation.statistics import wilson

__all__ = ["PARTS", "Bench", "Figure", "Part"]

_ROOT: Final = Path(__file__).resolve().parent.parent
Size = TypeVar("Size")


@dataclass(frozen=True)
class Figure:
    """One figure beside its goal.

    Args:
        what: what it is.
        value: the figure.
        unit: ``%``, ``points``, ``s``, ``MB``, ``x``.
        goal: in words.
        met: whether it meets the goal; ``None`` where there is none.
        margin: what its own randomness leaves open, in the same unit, where that is known.
    """

    what: str
    value: float
    unit: str
    goal: str = ""
    met: bool | None = None
    margin: float | None = None


@dataclass
class Part:
    """What a part found.

    Args:
        name: its name.
        about: what was done, in a sentence or two.
        figures: beside their goals.
        columns: of the details.
        rows: of the details.
        seconds: how long it took.
    """

    name: str
    about: str
    figures: list[Figure]
    columns: list[str] = field(default_factory=list)
    rows: list[list[str]] = field(default_factory=list)
    seconds: float = 0.0


@dataclass(frozen=True)
class Bench:
    """Where and how the parts run.

    Args:
        machine: for the real runs.
        folder: for the journals.
        quick: whether a rough answer is enough.
        seed: of the work.
        say: shows how far it is.
    """

    machine: Machine
    folder: Path
    quick: bool
    seed: int
    say: Callable[[str], None]

    def of(self, full: Size, quick: Size) -> Size:
        """One of two sizes, by how rough the answer may be."""
        return quick if self.quick else full

    def run(
        self, jobs: Sequence[Job], name: str, *, phases: Sequence[int] = (), **config: Any
    ) -> tuple[Path, dict[str, float]]:
        """Make a real run.

        Args:
            jobs: the tasks.
            name: of its journal.
            phases: how many of them are submitted at once, as for ``make_run``.
            **config: fields of ``WorkerPoolConfig``.
        """
        path = self.folder / f"{name}.jsonl"
        return path, make_run(self.machine, jobs, path, phases=phases, **config)


def _predict(
    journal: str, changes: dict[str, Any], runs: int | None, seed: int, calibration: Any = None
) -> dict[str, Any]:
    """The intervals of a variant, and the fidelity; runs in a process of its own where it pays."""
    from simulation import what_if

    answer = what_if(journal, runs=runs, seed=seed, force=True, calibration=calibration, **changes)
    return {
        "variant": {name: (i.mean, i.low, i.high) for name, i in answer.variant.items()},
        "fidelity": answer.fidelity.makespan_error,
    }


def _predict_all(
    bench: Bench, asked: Sequence[tuple[Path, dict[str, Any], int]], runs: int | None
) -> list[dict[str, Any]]:
    """Predictions on all cores; what came first comes first."""
    cores = len(os.sched_getaffinity(0))
    with ProcessPoolExecutor(cores, get_context("spawn")) as pool:
        waiting = [
            pool.submit(_predict, str(path), changes, runs, seed) for path, changes, seed in asked
        ]
        answers = []
        for number, one in enumerate(waiting, 1):
            answers.append(one.result())
            bench.say(f"{number} of {len(waiting)} predictions")
    return answers


# ---------------------------------------------------------------------- makespans


def _makespans(
    bench: Bench,
    about: str,
    name: str,
    goals: tuple[float, float],
    rounds: int,
    tasks: int,
    workers: Sequence[int],
    make: Callable[[Random], Job],
    calibration: Any = None,
    phases: Sequence[int] = (),
    recorded: int = 4,
) -> Part:
    """Record a run, predict it under other numbers of workers, and make those runs."""
    rows, errors = [], []
    for number in range(rounds):
        draw = Random(bench.seed * 1_000 + number)
        jobs = [make(draw) for _ in range(tasks)]
        bench.say(f"{name}: round {number + 1} of {rounds}, recording")
        journal, _ = bench.run(jobs, f"{name}-{number}", phases=phases, max_workers=recorded)
        for count in workers:
            answer = _predict(str(journal), {"max_workers": count}, 1, 0, calibration)
            bench.say(f"{name}: round {number + 1} of {rounds}, {count} workers")
            _, real = bench.run(jobs, f"{name}-{number}-{count}", phases=phases, max_workers=count)
            predicted, really = answer["variant"]["makespan_seconds"][0], real["makespan_seconds"]
            error = predicted / really - 1
            errors.append((abs(error), count, error))
            rows.append(
                [
                    str(number + 1),
                    str(count),
                    f"{answer['fidelity']:+.2%}",
                    f"{predicted:.3f}",
                    f"{really:.3f}",
                    f"{error:+.2%}",
                ]
            )
    typical, worst = median(error for error, *_ in errors), max(errors)[0]
    figures = [
        Figure(
            f"makespan of {len(errors)} held-out runs, median error",
            typical * 100,
            "%",
            f"<= {goals[0]:g}%",
            typical * 100 <= goals[0],
        ),
        Figure(
            f"makespan of {len(errors)} held-out runs, worst error",
            worst * 100,
            "%",
            f"<= {goals[1]:g}%",
            worst * 100 <= goals[1],
        ),
    ]
    for count in workers:
        of_count = [error for _, at, error in errors if at == count]
        figures.append(
            Figure(f"mean error with {count} workers", 100 * sum(of_count) / len(of_count), "%")
        )
    columns = ["round", "workers", "fidelity", "predicted s", "real s", "error"]
    return Part(name, about, figures, columns, rows)


def waiting(bench: Bench) -> Part:
    """Tasks that wait, recorded with 4 workers and run with others."""
    mean = 0.1

    def make(draw: Random) -> Job:
        return Job((waits(draw, mean, "even"),))

    rounds, tasks = bench.of(8, 1), bench.of(160, 60)
    return _makespans(
        bench,
        f"{tasks} tasks that wait {mean * 1000:.0f} ms on average are recorded with 4 workers, "
        f"then run with others; each of the {rounds} rounds has work of its own.",
        "waiting",
        (1.0, 3.0),
        rounds,
        tasks,
        bench.of((2, 8, 16, 32), (2, 16)),
        make,
    )


def phased(bench: Bench) -> Part:
    """Tasks that wait, in phases of which each waits for the one before."""
    mean = 0.1

    def make(draw: Random) -> Job:
        return Job((waits(draw, mean, "even"),))

    rounds = bench.of(4, 1)
    phases = bench.of((80, 60, 30, 10), (30, 20, 10))
    told = ", ".join(map(str, phases))
    return _makespans(
        bench,
        f"An orchestrator's phases of {told} tasks that wait {mean * 1000:.0f} ms on average, "
        f"each submitted when the one before has ended, are recorded with 16 workers, then run "
        f"with others.",
        "phased",
        (1.0, 3.0),
        rounds,
        sum(phases),
        bench.of((2, 4, 8, 32), (4, 32)),
        make,
        phases=phases,
        recorded=16,
    )


def mixed(bench: Bench) -> Part:
    """Tasks that compute for 30% of their time and wait for the rest."""
    mean, share = 0.1, 0.3
    from simulation.machine.measure import calibrate

    bench.say("mixed: calibrating")
    with bench.machine.first():
        rounds_of_loop = computing(mean * share)
        calibration = calibrate()

    def make(draw: Random) -> Job:
        scale = draw.uniform(0.4, 1.6)
        return Job(
            (waits(draw, mean * (1 - share), "even"),), computes=round(rounds_of_loop * scale)
        )

    rounds, tasks = bench.of(4, 1), bench.of(100, 40)
    return _makespans(
        bench,
        f"{tasks} tasks of pure Python ({share:.0%} of the time that one takes alone) that wait "
        f"for the rest are recorded with 4 workers, then run with others; the machine is "
        f"calibrated before (`python -m simulation calibrate`).",
        "mixed",
        (5.0, 10.0),
        rounds,
        tasks,
        bench.of((2, 8, 16, 24, 32), (2, 16)),
        make,
        calibration,
    )


# ---------------------------------------------------------------------- success rates


def _flaky(draw: Random, tasks: int, mean: float, failing: float) -> list[Job]:
    attempts = 6
    return [
        Job(
            tuple(waits(draw, mean, "skewed") for _ in range(attempts)),
            tuple(draw.random() < failing for _ in range(attempts)),
        )
        for _ in range(tasks)
    ]


def retries(bench: Bench) -> Part:
    """Success rates where retries and timeouts change."""
    mean, failing, tasks = 0.04, 0.2, bench.of(300, 100)
    recordings = bench.of(48, 4)
    base: dict[str, Any] = {
        "max_workers": 32,
        "max_retries": 1,
        "task_timeout_seconds": 0.1,
        "backoff_base_seconds": 0.005,
        "backoff_max_seconds": 0.01,
    }
    variants: dict[str, dict[str, Any]] = {
        "no retry": {"max_retries": 0},
        "3 retries": {"max_retries": 3},
        "timeout 50 ms": {"task_timeout_seconds": 0.05},
        "timeout 60 ms, 3 retries": {"task_timeout_seconds": 0.06, "max_retries": 3},
    }
    journals, real = [], {name: [] for name in variants}  # type: ignore[var-annotated]
    for number in range(recordings):
        bench.say(f"retries: real runs {number + 1} of {recordings}")
        draw = Random(bench.seed * 7_000 + number)
        journal, _ = bench.run(_flaky(draw, tasks, mean, failing), f"retries-{number}", **base)
        journals.append(journal)
        for name, changes in variants.items():
            jobs = _flaky(draw, tasks, mean, failing)
            _, came = bench.run(jobs, f"retries-{number}-next", **{**base, **changes})
            real[name].append(came["success_rate"])
    figures, rows = [], []
    for name, changes in variants.items():
        answers = _predict_all(
            bench, [(path, changes, 1000 * n) for n, path in enumerate(journals)], None
        )
        rates = [answer["variant"]["success_rate"] for answer in answers]
        truth = sum(real[name]) / recordings
        errors = [mean_ - came for (mean_, _, _), came in zip(rates, real[name], strict=True)]
        bias = 100 * sum(errors) / recordings
        spread = math.sqrt(sum((100 * e - bias) ** 2 for e in errors) / max(1, recordings - 1))
        margin = 2 * spread / math.sqrt(recordings)
        held = sum(
            low - 1e-9 <= came <= high + 1e-9
            for (_, low, high), came in zip(rates, real[name], strict=True)
        )
        figures.append(
            Figure(
                f"success rate, {name}: bias",
                bias,
                "points",
                "within 0.5 points",
                abs(bias) <= 0.5,
                margin,
            )
        )
        figures.append(
            Figure(
                f"success rate, {name}: intervals that hold the real run",
                100 * held / recordings,
                "%",
                ">= 93%",
                held >= 0.93 * recordings,
            )
        )
        predicted = sum(one[0] for one in rates) / recordings
        rows.append(
            [
                name,
                f"{predicted:.2%}",
                f"{truth:.2%}",
                f"{bias:+.2f}",
                f"{margin:.2f}",
                f"{held} of {recordings}",
            ]
        )
    about = (
        f"{recordings} recordings of {tasks} tasks, of whose attempts {failing:.0%} fail and some "
        f"run into the timeout of 100 ms, with one retry; each setting is then run with new luck."
    )
    columns = ["change", "predicted", "real", "bias, points", "+-", "intervals that held"]
    return Part("retries", about, figures, columns, rows)


# ---------------------------------------------------------------------- coverage


def coverage(bench: Bench) -> Part:
    """How often a 95% interval holds the next real run."""
    runs, tasks, mean, failing = bench.of(201, 13), bench.of(150, 80), 0.02, 0.1
    settings: list[dict[str, Any]] = [
        {"max_workers": 8, "max_retries": 2, "backoff_base_seconds": 0.01},
        {"max_workers": 16, "max_retries": 1, "backoff_base_seconds": 0.01},
    ]
    journals, real = [], []
    for number in range(runs):
        bench.say(f"coverage: real run {number + 1} of {runs}")
        draw = Random(bench.seed * 9_000 + number)
        jobs = _flaky(draw, tasks, mean, failing)
        journal, came = bench.run(jobs, f"coverage-{number}", **settings[number % 2])
        journals.append(journal)
        real.append(came)
    asked = [
        (path, settings[(number + 1) % 2], 1000 * number)
        for number, path in enumerate(journals[:-1])
    ]
    answers = _predict_all(bench, asked, None)
    measures = (
        "makespan_seconds",
        "task_seconds_p50",
        "task_seconds_p95",
        "attempts",
        "success_rate",
        "utilization",
    )
    held: dict[str, list[bool]] = {name: [] for name in measures}
    sides = {name: [0, 0] for name in measures}
    for answer, came in zip(answers, real[1:], strict=True):
        for name in measures:
            _, low, high = answer["variant"][name]
            slack = 1e-9 * abs(came[name])
            held[name].append(low - slack <= came[name] <= high + slack)
            sides[name][0] += came[name] < low - slack
            sides[name][1] += came[name] > high + slack
    rows = []
    for name in measures:
        count, n = sum(held[name]), len(held[name])
        where = wilson(count, n)
        rows.append(
            [
                name,
                f"{count / n:.1%}",
                f"{where.low:.1%} to {where.high:.1%}",
                str(sides[name][0]),
                str(sides[name][1]),
            ]
        )
    everything = [one for name in measures for one in held[name]]
    share = 100 * sum(everything) / len(everything)
    figures = [
        Figure(
            f"95% intervals over {len(answers)} held-out runs that hold them",
            share,
            "%",
            "93 to 97%",
            93 <= share <= 97,
        )
    ]
    about = (
        f"{runs} real runs of {tasks} tasks with luck of their own, in turn under two settings "
        f"(8 workers and 2 retries, 16 and 1); each is predicted from the one before it, which is "
        f"under the other setting."
    )
    columns = ["measure", "held", "95% interval of that", "real run below", "above"]
    return Part("coverage", about, figures, columns, rows)


# ---------------------------------------------------------------------- speed

_SIMULATE: Final = """
import resource, sys, time
from runtime.core import CoreSettings
from simulation import Exponential
from simulation.simulate import simulate
from simulation.workload import SyntheticWorkload
tasks = int(sys.argv[1])
work = SyntheticWorkload.poisson(tasks, 45.0, Exponential(1.0))
began = time.process_time()
run = simulate(work, CoreSettings(max_workers=50))
took = time.process_time() - began
assert len(run.ends) == tasks
print(took, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)
"""


def _process(*arguments: str) -> tuple[float, float, str]:
    """Run a Python process: seconds by the clock, of CPU, and what it printed."""
    before = os.times()
    began = time.perf_counter()
    done = subprocess.run(
        [sys.executable, *arguments], cwd=_ROOT, capture_output=True, text=True, check=False
    )
    wall = time.perf_counter() - began
    after = os.times()
    if done.returncode != 0:
        raise RuntimeError(f"python {' '.join(arguments)[:80]}: {done.stderr.strip()[-300:]}")
    cpu = (
        after.children_user - before.children_user + after.children_system - before.children_system
    )
    return wall, cpu, done.stdout


def _half_an_hour(path: Path) -> float:
    """Record 300 tasks that take half an hour on virtual time; returns the makespan."""
    from runtime import WorkerPoolConfig
    from simulation import Fails, LogNormal, Modelled, SimulatedWorkerPool

    config = WorkerPoolConfig(max_workers=10, enable_instrumentation=False)
    with SimulatedWorkerPool(config, seed=4, journal=path) as pool:
        for number in range(300):
            pool.submit_task(f"Q{number + 1:03d}", Modelled(LogNormal(55.0, 0.6), Fails(0.05)))
        pool.wait_for_all()
        return pool.now


def speed(bench: Bench) -> Part:
    """How long predictions take, and how much memory."""
    path = bench.folder / "half-an-hour.jsonl"
    makespan = _half_an_hour(path)
    command = [
        "-m",
        "simulation",
        "replay",
        str(path),
        "--set",
        "max_workers=20",
        "--set",
        "task_timeout_seconds=100",
        "--json",
    ]
    walls, cpus = [], []
    for number in range(bench.of(7, 2)):
        bench.say(f"speed: what-if {number + 1}")
        wall, cpu, said = _process(*command, "--runs", "30")
        assert json.loads(said)["runs"] == 30
        walls.append(wall)
        cpus.append(cpu)
    figures = [
        Figure(
            f"what-if of 300 tasks and {makespan / 60:.0f} minutes, R = 30, whole process",
            median(walls),
            "s",
            "< 2 s",
            median(walls) < 2,
        ),
        Figure("the same, CPU time", median(cpus), "s"),
    ]
    few = bench.of(100_000, 20_000)
    times: dict[int, list[tuple[float, float]]] = {few: [], 10 * few: []}
    for number in range(bench.of(3, 1)):
        for tasks, found in times.items():
            bench.say(f"speed: {tasks:,} simulated tasks, {number + 1}")
            took, memory = _process("-c", _SIMULATE, str(tasks))[2].split()
            found.append((float(took), float(memory) / 1024))
    memory_mb = max(memory for _, memory in times[10 * few])
    ratio = min(t for t, _ in times[10 * few]) / min(t for t, _ in times[few])
    figures += [
        Figure(
            f"{10 * few:,} simulated tasks, log off: memory of the process",
            memory_mb,
            "MB",
            "<= 1,000 MB",
            memory_mb <= 1000,
        ),
        Figure(f"the same, CPU time over that of {few:,}", ratio, "x", "about 10 x", ratio <= 11.5),
    ]
    figures.append(_sweep_speed(bench, path))
    about = "Whole processes, by the clock and in CPU time; medians, of the simulator the least."
    return Part("speed", about, figures)


def _sweep_speed(bench: Bench, path: Path) -> Figure:
    what, goal = "a sweep on 2 processes, times as fast as on one", ">= 1.8 x"
    varied = ",".join(str(workers) for workers in range(5, bench.of(37, 13), 2))
    command = [
        "-m",
        "simulation",
        "sweep",
        str(path),
        "--vary",
        f"max_workers={varied}",
        "--runs",
        str(bench.of(60, 10)),
        "--json",
        "--processes",
    ]
    gains = []
    try:
        for number in range(bench.of(3, 1)):
            bench.say(f"speed: sweep {number + 1}")
            alone, _, said = _process(*command, "1")
            together, _, same = _process(*command, "2")
            assert said == same, "two processes gave another answer than one"
            gains.append(alone / together)
    except RuntimeError as error:
        return Figure(f"{what}: {error}", math.nan, "x", goal, None)
    return Figure(what, median(gains), "x", goal, median(gains) >= 1.8)


#: The parts in the order in which they run.
PARTS: Final[dict[str, Callable[[Bench], Part]]] = {
    one.__name__: one for one in (waiting, phased, mixed, retries, coverage, speed)
}
