"""What a task costs in instructions, which a busy machine does not change.

``python -m benchmarks.instructions pool "pool+unsampled spans"`` runs contestants of the
``throughput`` benchmark under valgrind, each with few and with many tasks, and divides what the
many cost more by how many more they are. It says nothing of caches and of waiting; but a change of
2% shows in one run, where seconds on a shared machine move by a tenth. Leave the code alone
meanwhile: compiling it anew would be counted. A minute of CPU time a contestant.
"""

from __future__ import annotations

import argparse
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Final

from benchmarks.throughput import contestant_names

__all__ = ["main"]

_ROOT: Final = Path(__file__).resolve().parents[1]
_FEW, _MANY = 500, 4500
_RUN: Final = "from benchmarks.throughput import run_once; run_once({name!r}, {workers}, {tasks})"


def _instructions(name: str, workers: int, tasks: int) -> int:
    code = _RUN.format(name=name, workers=workers, tasks=tasks)
    valgrind = ["valgrind", "--tool=callgrind", "--callgrind-out-file=/dev/null"]
    done = subprocess.run(
        [*valgrind, sys.executable, "-c", code],
        cwd=_ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    found = re.search(r"Collected : (\d+)", done.stderr)
    if done.returncode or found is None:
        sys.exit(f"error: {name} did not run under valgrind:\n{done.stderr[-2000:]}")
    return int(found[1])


def main() -> None:
    """Count, contestant by contestant."""
    names = contestant_names()
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("contestants", nargs="*", default=["pool"], metavar="CONTESTANT")
    parser.add_argument("--workers", type=int, default=8)
    chosen = parser.parse_args()
    unknown = [name for name in chosen.contestants if name not in names]
    if unknown:
        parser.error(f"no contestant {unknown[0]!r}: there are {', '.join(names)}")
    if shutil.which("valgrind") is None:
        parser.error("valgrind is not there: install Debian's package valgrind")
    first = 0.0
    for name in chosen.contestants:
        few, many = (_instructions(name, chosen.workers, tasks) for tasks in (_FEW, _MANY))
        each = (many - few) / (_MANY - _FEW)
        first = first or each
        print(f"{name}: {each:,.0f} instructions a task, {each / first:.3f} x the first")


if __name__ == "__main__":
    main()
