"""How often a forecast's interval holds, over simulated runs whose end is known.

A run is cut off at the instant when a share of its tasks has ended, the rest is forecast, and the
forecast held against what came. Not at a share of its makespan: who chooses the instant by when the
run will end has chosen by what is forecast, and finds intervals that hold less often than they do.

    python -m benchmarks.forecast --trials 100
"""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path
from statistics import median
from typing import Final

import msgspec

from runtime import WorkerPoolConfig
from runtime.core.records import FinishTask
from runtime.journal import Journal, read_journal
from simulation import Exponential, Fails, LogNormal, Modelled, SimulatedWorkerPool, Uniform
from simulation.distributions import Distribution
from simulation.statistics.rates import wilson
from simulation.whatif.forecast import forecast

_SHARES: Final = (0.25, 0.5, 0.75, 0.95)
_DURATIONS: Final[dict[str, Distribution]] = {
    "uniform, 2 to 6 s": Uniform(2, 6),
    "exponential, mean 4 s": Exponential(mean=4),
    "lognormal, median 3 s, sigma 0.8": LogNormal(median=3, sigma=0.8),
}


def _recorded(duration: Distribution, tasks: int, workers: int, seed: int) -> Journal:
    config = WorkerPoolConfig(
        max_workers=workers, task_timeout_seconds=None, max_retries=3, backoff_base_seconds=1
    )
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder, "journal.jsonl")
        with SimulatedWorkerPool(config, seed=seed, journal=file) as pool:
            for number in range(tasks):
                pool.submit_task(f"Q{number}", Modelled(duration, Fails(probability=0.05)))
            pool.wait_for_all()
        return read_journal(file)


def main() -> None:
    """Forecast, compare, print."""
    parser = argparse.ArgumentParser("python -m benchmarks.forecast", description=__doc__)
    parser.add_argument("--trials", type=int, default=100, help="runs of each kind")
    parser.add_argument("--tasks", type=int, default=300)
    parser.add_argument("--workers", type=int, default=20)
    parser.add_argument("--runs", type=int, default=99, help="replications of a forecast")
    chosen = parser.parse_args()
    print(
        f"| {chosen.tasks} tasks on {chosen.workers} workers | ended | held | error, of makespan "
        f"| width, of makespan |"
    )
    print("| --- | --- | --- | --- | --- |")
    for name, duration in _DURATIONS.items():
        held = dict.fromkeys(_SHARES, 0)
        error = dict.fromkeys(_SHARES, 0.0)
        widths: dict[float, list[float]] = {share: [] for share in _SHARES}
        for seed in range(chosen.trials):
            whole = _recorded(duration, chosen.tasks, chosen.workers, seed)
            ends = [
                record.at
                for record in whole.records
                for instruction in record.instructions
                if isinstance(instruction, FinishTask)
            ]
            for share in _SHARES:
                at = ends[int(share * len(ends)) - 1]
                part = msgspec.structs.replace(
                    whole, records=[r for r in whole.records if r.at <= at], complete=False
                )
                found = forecast(part, runs=chosen.runs, seed=seed * 1000).remaining_seconds
                came = (ends[-1] - at) / 1e9
                held[share] += found.low <= came <= found.high
                widths[share].append((found.high - found.low) * 1e9 / ends[-1])
                error[share] += (found.mean - came) * 1e9 / ends[-1] / chosen.trials
        for share in _SHARES:
            of = wilson(held[share], chosen.trials)
            print(
                f"| {name} | {share:.0%} | {held[share] / chosen.trials:.1%} "
                f"({of.low:.0%} to {of.high:.0%}) | {error[share]:+.1%} "
                f"| {median(widths[share]):.0%} |",
                flush=True,
            )


if __name__ == "__main__":
    main()
