"""``--task``: what is meant by it is the same in every command that has it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from simulation import Modelled, SimulatedWorkerPool
from tests.cli.running import bad, simulation

#: Tasks by number: some are called what another's number is, three have one name.
NAMES = ["3", "1", "same", "same", "same", "one", "99"]
SLOWEST_SAME = 4


@pytest.fixture(scope="module")
def journal(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("journals") / "run.jsonl"
    with SimulatedWorkerPool(journal=path) as pool:
        for number, name in enumerate(NAMES, 1):
            pool.submit_task(name, Modelled(9.0 if number == SLOWEST_SAME else 1.0))
        pool.wait_for_all()
    return path


@pytest.mark.parametrize(
    ("wanted", "number", "said"),
    [
        ("one", 6, ""),
        ("6", 6, ""),  # no name, so a number
        ("3", 1, "3 is its name; the other one's id is ID3"),
        ("1", 2, "1 is its name; the other one's id is ID1"),
        ("ID1", 1, ""),  # an id is never taken for a name
        ("99", 7, ""),
        ("same", SLOWEST_SAME, "of 3 named 'same' it took longest"),
    ],
)
def test_an_id_else_a_name_else_a_number(
    journal: Path, tmp_path: Path, wanted: str, number: int, said: str
) -> None:
    first = json.loads(simulation("why", journal, "--task", "one", "--json").stdout)["task"]["id"]
    prefix = first.removesuffix("6")
    asked = "--task", wanted.replace("ID", prefix), "--json"
    why = simulation("why", journal, *asked)
    slice_ = simulation("slice", journal, *asked, "-o", tmp_path / "test_it.py")
    for done in (why, slice_):
        assert done.returncode == 0
        assert json.loads(done.stdout)["task"]["id"] == f"{prefix}{number}"
        assert said.replace("ID", prefix) in done.stderr
        assert bool(done.stderr) == bool(said)


@pytest.mark.parametrize("wanted", ["samme", "0", "8", "-1", "9" * 40, "٣", "x\ny"])
def test_no_such_task(journal: Path, tmp_path: Path, wanted: str) -> None:
    bad(simulation("why", journal, "--task", wanted), 2, "there is no task")
    out = tmp_path / "test_it.py"
    bad(simulation("slice", journal, "--task", wanted, "-o", out), 2, "there is no task")
    assert not out.exists()
