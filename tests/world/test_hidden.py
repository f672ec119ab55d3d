"""Originals that no search forward comes to: mended by who holds them, or else reported."""

from __future__ import annotations

import functools
import subprocess
import sys
import time
from collections.abc import Callable
from typing import Any

import pytest

from simulation.world.carriers import Carrier
from simulation.world.errors import RealTimeError
from tests.world import captures
from tests.world.conftest import MakePool

SECONDS = 50.0


class Slotted:
    __slots__ = ("nap",)


class SlottedToo(Slotted):
    __slots__ = ("more",)


class Bare:
    nap = time.sleep  # a function of C is not bound to the instance


def deep(levels: int, innermost: Any, wrap: Callable[[Any], Any]) -> Any:
    for _ in range(levels):
        innermost = wrap(innermost)
    return innermost


def dig(levels: int, holder: Any) -> Any:
    for _ in range(levels):
        holder = holder[0]
    return holder


SLOTS = SlottedToo()
SLOTS.nap = time.sleep
SLOTS.more = (time.monotonic,)
SET = {time.sleep}
LONG = [*range(300), time.sleep]
DEEP_LIST = deep(12, time.sleep, lambda inner: [inner])
DEEP_TUPLE = deep(12, time.sleep, lambda inner: (inner,))
DEEP_PARTIAL = deep(8, functools.partial(time.sleep, SECONDS), lambda inner: [inner])
TABLE = {n: [{"deep": [{"deeper": [{"nap": time.sleep}]}]}] for n in range(300)}

HANDLED: dict[str, Callable[[], Any]] = {
    "slots": lambda: SLOTS.nap(SECONDS),
    "a set": lambda: [nap(SECONDS) for nap in SET],
    "a long list": lambda: LONG[300](SECONDS),
    "deep in lists": lambda: dig(12, DEEP_LIST)(SECONDS),
    "deep in tuples": lambda: dig(12, DEEP_TUPLE)(SECONDS),
    "a partial, deep": dig(8, DEEP_PARTIAL),
    "a large table": lambda: TABLE[299][0]["deep"][0]["deeper"][0]["nap"](SECONDS),  # type: ignore[index]
    "a class": lambda: Bare().nap(SECONDS),
    "a class that refuses": lambda: captures.Unchanged.nap(SECONDS),
}


def run(pool: Any, function: Callable[..., Any]) -> Any:
    return pool.get_task_result(pool.submit_task("t", function)).unwrap()


@pytest.mark.parametrize("how", HANDLED)
def test_it_is_virtual_and_put_back(make_pool: MakePool, how: str) -> None:
    pool = make_pool()
    run(pool, HANDLED[how])
    assert pool.now == SECONDS
    assert Carrier.watch is None, "all was found, and nobody has to be watched"
    pool.shutdown()
    for kept in (SLOTS.nap, *SET, LONG[300], dig(12, DEEP_LIST), dig(12, DEEP_TUPLE), Bare.nap):
        assert kept is time.sleep
    assert dig(8, DEEP_PARTIAL).func is time.sleep


def test_a_call_that_is_over_and_kept_by_its_traceback_hides_nothing(make_pool: MakePool) -> None:
    def fail() -> None:
        nap = time.sleep
        raise LookupError(nap)

    try:
        fail()
    except LookupError as error:
        error.args = ()
        kept = error
    pool = make_pool()
    run(pool, lambda: time.sleep(SECONDS))
    assert Carrier.watch is None
    assert kept.__traceback__ is not None


def test_a_generator_that_waits_with_a_real_one_is_watched(make_pool: MakePool) -> None:
    def naps() -> Any:
        nap = time.sleep
        yield
        nap(0)

    waiting = naps()
    next(waiting)
    pool = make_pool()
    run(pool, lambda: time.sleep(SECONDS))
    assert Carrier.watch is not None
    waiting.close()


def test_a_clock_in_a_tuple_in_a_slot(make_pool: MakePool) -> None:
    pool = make_pool()

    def task() -> float:
        time.sleep(SECONDS)
        return float(SLOTS.more[0]())

    assert run(pool, task) == SECONDS


FROZEN: list[Any] = []


def test_what_nobody_can_write_is_reported_when_a_task_calls_it(make_pool: MakePool) -> None:
    FROZEN[:] = [frozenset({time.monotonic})]

    def read() -> float:
        (clock,) = FROZEN[0]
        return clock()

    pool = make_pool()
    read()  # whoever is no task may
    task = pool.submit_task("t", read)
    with pytest.raises(RealTimeError) as caught:
        pool.get_task_result(task)
    told = str(caught.value)
    assert "task 't' (pool-0.1) calls the real time.monotonic, at " in told
    assert "test_hidden.py:" in told
    assert "in read" in told
    assert "time.monotonic(...)" in told, "the mend"
    FROZEN.clear()


def test_a_local_variable_is_reported_too(make_pool: MakePool) -> None:
    nap = time.sleep
    later: list[Any] = []
    pool = make_pool()
    later.append(deep(12, nap, lambda inner: [inner]))  # held anew, when the search is over

    def task() -> None:
        dig(13, later)(0.001)

    number = pool.submit_task("t", task)
    with pytest.raises(RealTimeError, match=r"calls the real time\.sleep, at .* in task"):
        pool.get_task_result(number)


def test_others_are_not_looked_at_any_more(make_pool: MakePool) -> None:
    nap = time.sleep
    make_pool().shutdown()
    assert nap is time.sleep
    assert Carrier.watch is None
    assert sys.getprofile() is None
    del nap
    pool = make_pool()
    run(pool, lambda: time.sleep(SECONDS))
    assert Carrier.watch is None
    assert pool.now == SECONDS


@pytest.mark.parametrize(
    "libraries",
    ["hypothesis, numpy, prometheus_client, opentelemetry.sdk.trace, asyncio, subprocess, pytest"],
)
def test_what_libraries_keep_is_accounted_for_and_nobody_is_watched(libraries: str) -> None:
    code = (
        f"import {libraries}\n"
        "from simulation import SimulatedWorkerPool\n"
        "from simulation.world.carriers import Carrier\n"
        "with SimulatedWorkerPool():\n"
        "    assert Carrier.watch is None\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
