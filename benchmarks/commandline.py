"""What a whole process of the command line takes."""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
import time
from importlib.util import find_spec
from pathlib import Path
from typing import Final

from benchmarks.measure import Benchmark, Comparison, Contestant, Figures, Size

__all__ = ["replay_cli"]

_ROOT: Final = Path(__file__).resolve().parent.parent
_TASKS: Final = 300


def _wall(*arguments: str) -> tuple[float, str]:
    began = time.perf_counter()
    done = subprocess.run(
        [sys.executable, *arguments], cwd=_ROOT, capture_output=True, text=True, check=False
    )
    wall = time.perf_counter() - began
    said = (done.stderr or done.stdout).strip().splitlines()
    assert done.returncode == 0, f"exit code {done.returncode}: {said[-1] if said else ''}"
    return wall, done.stdout


def _python() -> Figures:
    wall, _ = _wall("-c", "pass")
    return {"wall": wall}


def _nothing() -> None:
    return None


def _replay() -> Figures:
    from runtime import WorkerPool, WorkerPoolConfig

    if find_spec("simulation.__main__") is None:
        raise ImportError("No module named 'simulation.__main__'")
    with tempfile.TemporaryDirectory() as folder:
        journal = Path(folder, "journal.jsonl")
        config = WorkerPoolConfig(enable_instrumentation=False)
        with WorkerPool(config, journal=journal) as pool:
            for number in range(_TASKS):
                pool.submit_task(f"Q{number + 1:03d}", _nothing)
            pool.wait_for_all()
        wall, said = _wall("-m", "simulation", "replay", str(journal), "--json")
    answer = json.loads(said)
    assert answer["journal"]["tasks"] == _TASKS, "not all tasks were replayed"
    assert answer["divergence"] is None, "the replay diverged"
    return {"wall": wall}


def replay_cli(size: Size) -> Benchmark:
    """``python -m simulation replay`` on a journal of 300 tasks.

    Args:
        size: how much.

    Returns:
        The benchmark.
    """
    return Benchmark(
        "replay_cli",
        f"The whole process `python -m simulation replay JOURNAL --json` for a journal of {_TASKS} "
        f"tasks, beside a Python that does nothing.",
        {"wall": "s"},
        size.of(9, 3),
        [
            Contestant("python", lambda _: _python()),
            Contestant("replay", lambda _: _replay()),
        ],
        [Comparison("replay: seconds from start to end", ("replay", "wall"), None, at_most=1.0)],
    )
