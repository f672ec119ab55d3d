"""Captured aliases are virtual, however they are kept; a closed pool leaves them as they were."""

from __future__ import annotations

import functools
import threading
import time
from collections.abc import Callable
from datetime import datetime
from typing import Any

import pytest

from simulation.testing.captured import Watcher
from tests.world import captures
from tests.world.captures import CLOCKS, SECONDS, SLEEPS, WAITS
from tests.world.conftest import MakePool


def run(pool: Any, function: Callable[..., Any], *args: Any) -> Any:
    return pool.get_task_result(pool.submit_task("t", function, args)).unwrap()


@pytest.mark.parametrize("how", SLEEPS)
def test_a_sleep_is_virtual(make_pool: MakePool, how: str) -> None:
    pool = make_pool()
    run(pool, SLEEPS[how])
    assert pool.now == SECONDS


@pytest.mark.parametrize("how", CLOCKS)
def test_a_clock_is_virtual(make_pool: MakePool, how: str) -> None:
    pool = make_pool()

    def task() -> tuple[float, float]:
        before = CLOCKS[how]()
        time.sleep(86_400)
        return before, CLOCKS[how]()

    before, after = run(pool, task)
    assert (before, after) == (0.0, 86_400.0)


@pytest.mark.parametrize("how", WAITS)
def test_a_wait_is_virtual(make_pool: MakePool, how: str) -> None:
    assert run(make_pool(), WAITS[how]) == SECONDS


@pytest.mark.parametrize("how", ["the function", "a local name", "arguments", "a partial's"])
def test_what_a_test_captured_itself_is_virtual(make_pool: MakePool, how: str) -> None:
    sleep = time.sleep
    partial = functools.partial(lambda nap, seconds: nap(seconds), time.sleep)
    lock = threading.Lock()
    before = sleep, partial.args, lock
    pool = make_pool(max_workers=2)

    def holder() -> None:
        with lock:
            sleep(SECONDS)

    def task(given: dict[str, Any]) -> None:
        given["nap"][0](SECONDS)

    if how == "the function":
        run(pool, before[0], SECONDS)
    elif how == "a local name":
        pool.submit_task("holder", holder)
        run(pool, holder)
        assert pool.now == 2 * SECONDS
    elif how == "arguments":
        run(pool, task, {"nap": [before[0]]})
    else:
        run(pool, partial, SECONDS)
    assert pool.now >= SECONDS
    pool.shutdown()
    assert (sleep, partial.args, lock) == before


def test_all_of_it_is_put_back(make_pool: MakePool) -> None:
    def kept() -> list[Any]:
        c = captures
        cells = [
            cell.cell_contents
            for function in (c.by_closure, c.by_decorator, c.CLOCKS["closure"])
            for cell in function.__closure__ or ()
        ]
        return [
            *cells,
            c.sleep,
            c.TABLE["nap"]["deep"][0],
            c.PAIR[0],
            c.SPACE.nap,
            c.by_partial.func,
            c.by_partial_of_partial.func,
            c.by_default.__defaults__[0],
            c.by_keyword_default.__kwdefaults__["nap"],
            c.SLEEPER.mine,
            c.Sleeper.__dict__["nap"].__func__,
            c.CONFIGURED.nap,
            c.by_callable._nap,
            c._now_of,
            c.MODULE_CONDITION._lock,
            c.MODULE_CONDITION.acquire,
        ]

    before = [id(one) for one in kept()]  # a list of the originals would be mended, too
    pool = make_pool()
    for how in SLEEPS.values():
        run(pool, how)
    changed = [a != id(b) for a, b in zip(before, kept(), strict=True)]
    assert sum(changed) >= len(before) - 4, "what is not replaced is no test of putting back"
    pool.shutdown()
    methods = {"_now_of", "acquire"}  # made anew each time
    same = [a == id(b) for a, b in zip(before, kept(), strict=True)]
    assert sum(same) >= len(before) - len(methods)


def test_a_task_lets_go_of_its_arguments(make_pool: MakePool) -> None:
    import gc
    import weakref

    class Big:
        def __init__(self) -> None:
            self.numbers = [1, 2, 3]

    pool = make_pool()
    big = Big()
    gone = weakref.ref(big)
    run(pool, lambda given: len(given[0].numbers), [big])
    del big
    run(pool, int)  # what an ended task had is dropped with the next decision
    gc.collect()
    assert gone() is None


def test_what_cannot_be_asked_stays(make_pool: MakePool) -> None:
    make_pool()
    with pytest.raises(RuntimeError, match="working outside"):
        _ = captures.PROXIES[0].anything


class Dates(datetime):
    pass


def test_what_is_not_found_is_seen_by_the_audits_watcher(make_pool: MakePool) -> None:
    def task() -> None:
        time.sleep(5)
        Dates.now()
        time.monotonic()
        datetime.now()

    watcher = Watcher()
    with watcher:
        pool = make_pool()
        run(pool, task)
        pool.shutdown()
    found = [line.partition(", the real one, at ") for line in watcher.found]
    assert [what for what, _, _ in found] == ["Dates.now"]
    assert all("test_aliases.py:" in where and " in task" in where for _, _, where in found)
