"""Worker processes: the same results in the same order, errors in words, nobody left behind."""

from __future__ import annotations

import multiprocessing
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from simulation.whatif import parallel
from simulation.whatif.parallel import WorkerLostError, Workers

ROOT = Path(__file__).resolve().parents[2]


def add(shared: int, item: int) -> int:
    return shared + item


def whose(shared: int, item: int) -> int:
    return os.getpid()


def count_of(shared: list[int], item: int) -> tuple[int, int]:
    shared.append(item)  # a worker's copy lives as long as the worker
    return os.getpid(), len(shared)


def picky(shared: int, item: int) -> int:
    if item in (3, 5):
        raise ValueError(f"item {item} is bad")
    return item


class Unportable(Exception):
    def __init__(self, one: int, two: int) -> None:
        super().__init__(f"{one} and {two}")


def unportable(shared: int, item: int) -> int:
    raise Unportable(1, 2)


def dies(shared: int, item: int) -> int:
    if item == 2:
        os.kill(os.getpid(), signal.SIGKILL)
    return item


def leaves(shared: int, item: int) -> int:
    os._exit(7)


@pytest.fixture(autouse=True)
def _at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Start workers however little there is to do, but for the first item."""
    monkeypatch.setattr(parallel, "WORTH_STARTING_SECONDS", -1.0)


def test_results_are_in_the_order_of_the_items_whatever_the_number_of_processes() -> None:
    items = list(range(40))
    for processes in (1, 2, 3):
        with Workers(100, processes=processes) as workers:
            assert workers.map(add, items) == [100 + item for item in items]
            assert workers.map(add, []) == []
            assert workers.map(add, [5]) == [105]


def test_other_processes_do_it_and_are_gone_afterwards() -> None:
    with Workers(0, processes=2) as workers:
        pids = set(workers.map(whose, range(30)))
    assert len(pids) == 2
    for pid in pids - {os.getpid()}:
        with pytest.raises(ProcessLookupError):
            os.kill(pid, 0)


def test_what_is_shared_goes_to_each_worker_once() -> None:
    """A worker that got a new copy with each item would always count 1."""
    with Workers[list[int]]([], processes=2) as workers:
        found = workers.map(count_of, range(30)) + workers.map(count_of, range(30))
    for pid in {pid for pid, _ in found}:
        counts = [count for one, count in found if one == pid]
        assert counts == list(range(1, len(counts) + 1))


def test_little_work_starts_no_process(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(parallel, "WORTH_STARTING_SECONDS", 1e9)
    with Workers(0, processes=4) as workers:
        assert set(workers.map(whose, range(30))) == {os.getpid()}


@pytest.mark.parametrize("processes", [1, 2])
def test_an_error_is_the_first_in_the_order_of_the_items(processes: int) -> None:
    with (
        pytest.raises(ValueError, match="item 3 is bad"),
        Workers(0, processes=processes) as workers,
    ):
        workers.map(picky, range(20))


def test_an_error_that_cannot_travel_says_the_same() -> None:
    with (
        pytest.raises(RuntimeError, match="Unportable: 1 and 2"),
        Workers(0, processes=2) as workers,
    ):
        workers._over_processes(unportable, [1, 2], lambda done: None, 0)


def test_a_worker_that_is_killed_is_an_error_in_words() -> None:
    with (
        pytest.raises(WorkerLostError, match=r"ended by signal 9 \(SIGKILL\).*memory ran out"),
        Workers(0, processes=2) as workers,
    ):
        workers._over_processes(dies, range(10), lambda done: None, 0)


def test_a_worker_that_exits_is_an_error_in_words() -> None:
    with (
        pytest.raises(WorkerLostError, match="ended by itself with exit code 7"),
        Workers(0, processes=2) as workers,
    ):
        workers._over_processes(leaves, range(10), lambda done: None, 0)


def test_progress_grows_to_the_number_of_items() -> None:
    for processes in (1, 2):
        told: list[int] = []
        with Workers(0, processes=processes) as workers:
            workers.map(add, range(10), told.append)
        assert told == list(range(1, 11))


@pytest.mark.parametrize("processes", [0, 513, -1])
def test_a_number_of_processes_out_of_range(processes: int) -> None:
    with pytest.raises(ValueError, match=f"processes={processes}: must be 1 to 512"):
        Workers(0, processes=processes)


def test_what_is_no_number_of_processes_and_no_client() -> None:
    with pytest.raises(TypeError, match="processes=True"):
        Workers(0, processes=True)
    with pytest.raises(TypeError, match=r"must have submit\(\.\.\.\) or map\(\.\.\.\)"):
        Workers(0, client=object())


# ---------------------------------------------------------------------------------------- clients


class Mapping:
    """A client that only maps."""

    def map(self, function: Callable[[Any], Any], items: Iterable[Any]) -> Iterator[Any]:
        return map(function, items)


class Cluster:
    """A client as dask's: data is scattered once, and handed to functions as itself."""

    def __init__(self) -> None:
        self.scattered = 0

    def scatter(self, data: bytes, broadcast: bool) -> Any:
        self.scattered += 1
        return ("scattered", data)

    def submit(self, function: Callable[..., Any], *arguments: Any) -> Future[Any]:
        future: Future[Any] = Future()
        future.set_result(
            function(
                *(one[1] if one[:1] == ("scattered",) else one for one in arguments[:2]),
                *arguments[2:],
            )
        )
        return future


def test_a_client_gives_the_same() -> None:
    items = list(range(100))
    wanted = [7 + item for item in items]
    with ThreadPoolExecutor(3) as executor, Workers(7, client=executor) as workers:
        assert workers.map(add, items) == wanted
    with Workers(7, client=Mapping()) as workers:
        assert workers.map(add, items) == wanted
    cluster = Cluster()
    with Workers(7, client=cluster) as workers:
        assert workers.map(add, items) == wanted
        assert workers.map(add, items[:3]) == wanted[:3]
        assert cluster.scattered == 1


def test_two_works_on_one_client_are_not_mixed_up() -> None:
    """Machines of a cluster keep what is shared, by what it is."""
    client = Mapping()
    with Workers(1, client=client) as one, Workers(2, client=client) as two:
        assert [one.map(add, [0]), two.map(add, [0]), one.map(add, [0])] == [[1], [2], [1]]


def test_a_pool_of_the_standard_library_is_a_client() -> None:
    with (
        multiprocessing.get_context("spawn").Pool(1) as pool,
        Workers(7, client=pool) as workers,
    ):
        assert workers.map(max, [1, 20]) == [7, 20]


# -------------------------------------------------------------------------------- a real interrupt

SWEEP = ("sweep", "examples/outage.toml", "--vary", "max_workers=1:60", "--runs", "500")


def children(pid: int) -> list[int]:
    return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False


def until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.02)


@pytest.mark.skipif(not Path("/proc/self/task").exists(), reason="finds processes in /proc")
@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGKILL])
def test_a_sweep_that_is_stopped_leaves_nobody_behind(how: signal.Signals) -> None:
    """Ctrl-C reaches the whole group, workers too; the others only the parent."""
    process = subprocess.Popen(
        [sys.executable, "-m", "simulation", *SWEEP, "--processes", "2"],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        process_group=0,
    )
    try:
        until(lambda: len(children(process.pid)) == 2)
        workers = children(process.pid)
        if how is signal.SIGINT:
            os.killpg(process.pid, how)
        else:
            process.send_signal(how)
        out, err = process.communicate(timeout=60)
        until(lambda: not any(alive(pid) for pid in workers))
    finally:
        if process.poll() is None:
            process.kill()
            process.communicate()
    assert out == b""
    assert err.strip() == b""
    assert process.returncode == (130 if how is signal.SIGINT else -how)
