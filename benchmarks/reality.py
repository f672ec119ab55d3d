"""A what-if against reality: predict a run under another setting, then make that run.

Records tasks that wait on many real threads, asks ``python -m simulation replay`` how long they
would take on fewer workers, runs them on so few, and prints how far off the answer was:

    python -m benchmarks.reality --tasks 400 --recorded 50 --predicted 10
"""

from __future__ import annotations

import argparse
import json
import random
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Final

from runtime import WorkerPool, WorkerPoolConfig

_ROOT: Final = Path(__file__).resolve().parent.parent
_GOAL: Final = 0.03


def _makespan(naps: list[float], workers: int, journal: Path | None) -> float:
    """Run the tasks on real threads.

    Args:
        naps: how long each waits, in seconds.
        workers: how many threads.
        journal: where to record the run.

    Returns:
        Seconds from before the first submission until the last result.
    """
    with WorkerPool(WorkerPoolConfig(max_workers=workers), journal=journal) as pool:
        began = time.perf_counter()
        for number, nap in enumerate(naps, 1):
            pool.submit_task(f"Q{number:03d}", time.sleep, (nap,))
        pool.wait_for_all()
        return time.perf_counter() - began


def _predict(journal: Path, workers: int) -> float:
    command = ["-m", "simulation", "replay", str(journal), "--set", f"max_workers={workers}"]
    done = subprocess.run(
        [sys.executable, *command, "--json"], cwd=_ROOT, capture_output=True, text=True, check=False
    )
    if done.returncode != 0:
        sys.exit(f"python {' '.join(command)} failed:\n{done.stderr.strip()}")
    answer = json.loads(done.stdout)
    print(
        f"fidelity: the recorded run, simulated, is off by "
        f"{answer['fidelity']['makespan_error']:+.2%}"
    )
    return float(answer["variant"]["makespan_seconds"]["mean"])


def main() -> int:
    """Compare, and say whether the prediction is within the goal."""
    parser = argparse.ArgumentParser("python -m benchmarks.reality", description=__doc__)
    parser.add_argument("--tasks", type=int, default=400)
    parser.add_argument("--recorded", type=int, default=50, help="workers of the recorded run")
    parser.add_argument("--predicted", type=int, default=10, help="workers of the predicted run")
    parser.add_argument("--seed", type=int, default=1, help="draws how long each task waits")
    options = parser.parse_args()
    draw = random.Random(options.seed)
    naps = [draw.uniform(0.020, 0.200) for _ in range(options.tasks)]
    with tempfile.TemporaryDirectory() as folder:
        journal = Path(folder, "journal.jsonl")
        recorded = _makespan(naps, options.recorded, journal)
        print(f"recorded on {options.recorded} workers: {recorded:.3f} s")
        predicted = _predict(journal, options.predicted)
    print(f"predicted for {options.predicted} workers: {predicted:.3f} s")
    real = _makespan(naps, options.predicted, None)
    error = predicted / real - 1
    met = abs(error) <= _GOAL
    print(f"really on {options.predicted} workers: {real:.3f} s")
    print(f"error {error:+.2%}; the goal of {_GOAL:.0%} is {'met' if met else 'NOT MET'}")
    return 0 if met else 1


if __name__ == "__main__":
    sys.exit(main())
