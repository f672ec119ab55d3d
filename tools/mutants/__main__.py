"""``python -m tools.mutants``: find every planted bug, make it small, replay it in a new process.

``--write`` puts the table into benchmarks/README.md; ``--only NAME`` looks for one.
"""

from __future__ import annotations

import argparse
import datetime
import os
import platform
import re
import statistics
import subprocess
import sys
import time
from pathlib import Path
from typing import Final, NamedTuple

from simulation.explore import Failure, explore, replay_token
from tools.mutants.catalogue import MUTANTS, Mutant
from tools.mutants.load import mutated_core
from tools.mutants.scenarios import SCENARIOS, twenty

__all__ = ["Found", "hunt", "main"]

_README: Final = Path(__file__).resolve().parents[2] / "benchmarks" / "README.md"
_BEGIN, _END = "<!-- mutants: begin -->", "<!-- mutants: end -->"
_ROUNDS: Final = (25, 100, 500, 4_000)


class Found(NamedTuple):
    """Where a planted bug was found."""

    scenario: str
    failure: Failure
    schedules: int
    seconds: float


def hunt(mutant: Mutant, rounds: tuple[int, ...] = _ROUNDS) -> Found | None:
    """Look for a planted bug in each scenario, a little first, then more.

    Args:
        mutant: the bug.
        rounds: schedules a scenario, round by round.

    Returns:
        Where it was found, ``None`` where it was not.
    """
    core = mutated_core(mutant)
    began = time.process_time()
    run = 0
    for seed, schedules in enumerate(rounds):
        for name, scenario in SCENARIOS.items():
            report = explore(scenario, schedules, seed, core=core)
            run += report.schedules
            if report.failure is not None:
                return Found(name, report.failure, run, time.process_time() - began)
    return None


def schedules_a_second(schedules: int = 400, rounds: int = 5) -> tuple[float, float]:
    """How fast a search is on a scenario of 20 tasks, all checks on.

    Args:
        schedules: a round.
        rounds: how many.

    Returns:
        The median and the least of the rounds, in schedules a second of CPU time of one core.
    """
    speeds = []
    for seed in range(rounds):
        began = time.process_time()
        explore(twenty, schedules, seed)
        speeds.append(schedules / (time.process_time() - began))
    return statistics.median(speeds), min(speeds)


def _replay(mutant: Mutant, scenario: str, token: str) -> str:
    command = [sys.executable, "-m", "tools.mutants", "--replay", mutant.name, scenario, token]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
    return done.stdout.strip()


def main() -> int:
    """Run the program."""
    parser = argparse.ArgumentParser(prog="python -m tools.mutants", description=__doc__)
    parser.add_argument("--write", action="store_true", help="write the table")
    parser.add_argument("--only", metavar="NAME", help="one planted bug")
    parser.add_argument("--replay", nargs=3, metavar=("NAME", "SCENARIO", "TOKEN"))
    given = parser.parse_args()
    by_name = {mutant.name: mutant for mutant in MUTANTS}
    asked = given.replay[0] if given.replay else given.only
    if asked is not None and asked not in by_name:
        parser.error(f"no planted bug {asked!r}")
    if given.replay:
        name, scenario, token = given.replay
        report = replay_token(SCENARIOS[scenario], token, core=mutated_core(by_name[name]))
        print(f"{report.failure.name} {report.digest}" if report.failure else "nothing")
        return 0
    rows, missed = [], []
    for mutant in MUTANTS if asked is None else [by_name[asked]]:
        found = hunt(mutant)
        if found is None:
            missed.append(f"{mutant.name}: not found")
            print(missed[-1], flush=True)
            continue
        failure = found.failure
        again = _replay(mutant, found.scenario, failure.token)
        if again != f"{failure.name} {failure.digest}":
            missed.append(f"{mutant.name}: its replay gave {again!r}")
            print(missed[-1], flush=True)
        rows.append((mutant, found))
        print(_row(mutant, found), flush=True)
    if not rows:
        return 1
    told = _summary(rows, missed)
    print(told)
    if given.write:
        table = [
            "| Planted bug | Found by | Scenario | Schedules | CPU seconds | Departures |",
            "| --- | --- | --- | ---: | ---: | ---: |",
            *(_row(mutant, found) for mutant, found in rows),
        ]
        median, least = schedules_a_second()
        speed = (
            f"Searching 20 tasks, every check after every step: {median:.0f} schedules a second "
            f"of one core's CPU time (median of 5 rounds of 400; the least {least:.0f})."
        )
        print(speed)
        block = "\n".join([_BEGIN, "", told, "", speed, "", *table, "", _END])
        text = _README.read_text(encoding="utf-8")
        pattern = f"{re.escape(_BEGIN)}.*{re.escape(_END)}"
        _README.write_text(
            re.sub(pattern, lambda _: block, text, flags=re.DOTALL), encoding="utf-8"
        )
    return 1 if missed else 0


def _row(mutant: Mutant, found: Found) -> str:
    failure = found.failure
    return (
        f"| {mutant.name} | {failure.name} | {found.scenario} | {found.schedules} "
        f"| {found.seconds:.2f} | {failure.departures} |"
    )


def _summary(rows: list[tuple[Mutant, Found]], missed: list[str]) -> str:
    count = len(rows) + sum("not found" in line for line in missed)
    median = statistics.median(found.failure.departures for _, found in rows)
    longest = max(found.seconds for _, found in rows)
    return (
        f"{len(rows)} of {count} found; replayed from the token in a new process: "
        f"{len(rows) - sum('replay' in line for line in missed)}. Longest {longest:.1f} s of "
        f"CPU time, median departures {median:g}. Python {platform.python_version()}, "
        f"{os.cpu_count()} cores ({platform.machine()}), "
        f"{datetime.datetime.now(tz=datetime.UTC).date()}."
    )


if __name__ == "__main__":
    sys.exit(main())
