"""``python -m tools.determinism``: many seeds, twice each, the same digests in every Python here.

Each seed is a search of one schedule with faults. All run twice here, each time in a new process
under another hash seed, and twice in each Python of ``.venvs`` (``tools/other-pythons`` makes
them).
"""

from __future__ import annotations

import argparse
import hashlib
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Final

_ROOT: Final = Path(__file__).resolve().parents[1]


def digests(seeds: int) -> str:
    """One digest over the runs of many seeds.

    Args:
        seeds: how many, from 0.

    Returns:
        A digest of their digests, in order.
    """
    from simulation import explore  # noqa: PLC0415  # the parent process needs none of it
    from tools.mutants.scenarios import SCENARIOS  # noqa: PLC0415

    scenarios = list(SCENARIOS.values())
    whole = hashlib.sha256()
    for seed in range(seeds):
        strategy = ("random", "pct")[seed % 2]
        report = explore(scenarios[seed % len(scenarios)], 1, seed, strategy=strategy)
        whole.update(report.digest.encode())
    return whole.hexdigest()


def _elsewhere(python: Path | str, seeds: int, hash_seed: int) -> str:
    environment = {**os.environ, "PYTHONHASHSEED": f"{hash_seed}", "PYTHONPATH": f"{_ROOT}"}
    command = [python, "-m", "tools.determinism", "--seeds", f"{seeds}", "--print"]
    done = subprocess.run(
        command, cwd=_ROOT, env=environment, capture_output=True, text=True, check=False
    )
    return done.stdout.strip() or done.stderr.strip()


def main() -> int:
    """Run the program."""
    parser = argparse.ArgumentParser(prog="python -m tools.determinism", description=__doc__)
    parser.add_argument("--seeds", type=int, default=10_000)
    parser.add_argument("--print", action="store_true", help="only the digest, of one pass")
    given = parser.parse_args()
    if given.print:
        print(digests(given.seeds))
        return 0
    began = time.perf_counter()
    pythons = {"here": Path(sys.executable)}
    for python in sorted(_ROOT.glob(".venvs/*/bin/python")):
        pythons[f"Python {python.parts[-3]}"] = python
    found = []
    for name, python in pythons.items():
        for hash_seed in (1, 2):
            found.append(_elsewhere(python, given.seeds, hash_seed))
            print(f"{name}, hash seed {hash_seed}: {found[-1]}", flush=True)
    same = len(set(found)) == 1
    told = "the same digest" if same else "DIFFERENT digests"
    print(f"{given.seeds:,} seeds, {told} {len(found)} times, {time.perf_counter() - began:.0f} s")
    return 0 if same else 1


if __name__ == "__main__":
    sys.exit(main())
