"""A recorded run and what-if variants of it, in a real Prometheus, at the instants of their own."""

from __future__ import annotations

import math
import os
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

from runtime import WorkerPoolConfig
from runtime.core.records import FinishTask
from runtime.journal import read_journal
from simulation import Exponential, Fails, LogNormal, Modelled, SimulatedWorkerPool
from simulation.whatif.predict import variant
from tests.cli import running as commands
from tests.dashboards.prometheus import Server, promtool, running
from tests.dashboards.queries import NAMES, asked, expressions, variables

ROOT = Path(__file__).resolve().parents[2]
BEGAN = 1_700_000_000
VARIANTS = {
    "max_workers=5": {"max_workers": 5},
    "max_workers=40,max_retries=1": {"max_workers": 40, "max_retries": 1},
    "task_timeout_seconds=20": {"task_timeout_seconds": 20},
}


class Exported(NamedTuple):
    journal: Path
    file: Path
    server: Server


def simulation(*arguments: str | Path, seed: str) -> subprocess.CompletedProcess[str]:
    """In a process of its own, for its hash seed."""
    return subprocess.run(
        [sys.executable, "-m", "simulation", *map(str, arguments)],
        check=False,
        capture_output=True,
        text=True,
        cwd=ROOT,
        env={**os.environ, "PYTHONHASHSEED": seed},
        timeout=100,
    )


def export(journal: Path, file: Path, seed: str = "0") -> None:
    chosen = [argument for name in VARIANTS for argument in ("--variant", name)]
    done = simulation(
        "export",
        journal,
        "--to",
        "openmetrics",
        "-o",
        file,
        "--at",
        str(BEGAN),
        "--every",
        "60",
        *chosen,
        seed=seed,
    )
    assert done.returncode == 0, done.stderr


@pytest.fixture(scope="module")
def exported(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Exported]:
    folder = tmp_path_factory.mktemp("blocks")
    journal, file = folder / "run.jsonl", folder / "run.om"
    config = WorkerPoolConfig(max_workers=10, task_timeout_seconds=60, max_retries=2)
    with SimulatedWorkerPool(config, seed=4, journal=journal) as pool:
        for n in range(300):
            model = Modelled(LogNormal(20, 0.8), Fails(0.15)) if n % 50 else Modelled(math.inf)
            group = f"g{n % 2}" if n % 50 else "never ends"
            task = pool.submit_task(f"Q{n}", model, group=group)
            if n % 40 == 39:
                pool.cancel(task)
            pool.advance(2.0)
        pool.submit_task("late", Modelled(Exponential(5)))
        pool.wait_for_all()
    export(journal, file)
    promtool("tsdb", "create-blocks-from", "openmetrics", file, folder / "data")
    with running(folder, "", "--storage.tsdb.retention.time=100y") as server:
        yield Exported(journal, file, server)


def test_every_query_has_something_to_show_of_every_run(exported: Exported) -> None:
    at = BEGAN + 300.0
    for name in NAMES:
        for title, expr in expressions(name):
            found = exported.server.query(asked(expr, "300s"), at)
            assert found, (name, title, expr)
            if name == "simulation":
                instances = {labels["instance"] for labels, _ in found}
                assert instances == {"recorded", *VARIANTS}, title


@pytest.mark.parametrize("name", NAMES)
def test_every_variable_has_values(exported: Exported, name: str) -> None:
    found = {
        one["name"]: exported.server.label_values(asked(one["query"]), BEGAN)
        for one in variables(name)
    }
    assert found == {
        "job": ["twinclock"],
        "instance": sorted({"recorded", *VARIANTS}),
        "pool": ["pool"],
    }


def test_counts_are_those_of_the_journal_and_of_the_variants(exported: Exported) -> None:
    read = read_journal(exported.journal)
    instructed = {"recorded": [i for record in read.records for i in record.instructions]}
    for name, changes in VARIANTS.items():
        _, steps = variant(read, changes)
        instructed[name] = [i for _, _, out in steps for i in out]
    # each run ends at an instant of its own, so the last of each
    last = "last_over_time(workerpool_tasks_finished_total[10h])"
    query = f"sum by (instance, outcome) ({last})"
    found = {
        (labels["instance"], labels["outcome"]): value
        for labels, value in exported.server.query(query, BEGAN + 30_000.0)
    }
    for name, instructions in instructed.items():
        counted = Counter(i.outcome for i in instructions if isinstance(i, FinishTask))
        for outcome in ("ok", "error", "timeout", "cancelled"):
            assert found[name, outcome] == counted[outcome], (name, outcome)
    assert sum(value for (name, _), value in found.items() if name == "recorded") == 301


def test_the_build_says_which_run_has_happened(exported: Exported) -> None:
    found = exported.server.query("workerpool_build_info", BEGAN + 60.0)
    clocks = {labels["instance"]: labels["clock"] for labels, _ in found}
    assert clocks["max_workers=5"] == "virtual"


def test_the_same_bytes_twice_whatever_the_hash_seed(exported: Exported, tmp_path: Path) -> None:
    export(exported.journal, tmp_path / "again.om", seed="1234")
    assert (tmp_path / "again.om").read_bytes() == exported.file.read_bytes()


def test_samples_of_a_series_come_in_the_order_of_time(exported: Exported) -> None:
    last: dict[str, float] = {}
    *lines, end = exported.file.read_text().splitlines()
    assert end == "# EOF"
    for line in lines:
        if not line.startswith("#"):
            series, _, rest = line.rpartition("} ")
            moment = float(rest.split()[1])
            assert moment > last.get(series, BEGAN - 1), line
            last[series] = moment
    assert len(last) > 400


@pytest.mark.parametrize(
    ("arguments", "code", "told"),
    [
        (["--variant", "max_worker=3"], 2, "did you mean max_workers"),
        (["--variant", "max_workers"], 2, "--variant 'max_workers': must be FIELD=VALUE"),
        (["--variant", "max_workers=0"], 2, "max_workers=0: must be 1"),
        (["--variant", "max_workers=5", "--variant", "max_workers=5"], 2, "a name of its own"),
        (["--variant", "task_timeout_seconds=2000"], 3, "refused:"),
        (["--every", "0"], 2, "0"),
        (["--to", "nothing"], 2, "nothing"),
        (["-o", "/nowhere/at/all"], 2, "cannot be written"),
    ],
)
def test_bad_usage(
    exported: Exported, tmp_path: Path, arguments: list[str], code: int, told: str
) -> None:
    first = ["--to", "openmetrics", "-o", tmp_path / "x.om", "--every", "60"]
    done = commands.simulation("export", *map(str, [exported.journal, *first, *arguments]))
    commands.bad(done, code, told)
