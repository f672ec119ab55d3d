"""Code that keeps what is patched, each in another way; imported before any pool is open."""

from __future__ import annotations

import concurrent.futures
import dataclasses
import datetime as datetime_module
import functools
import queue as queue_module
import threading
import threading as other_threading
import time
import types
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import date, datetime
from queue import Queue, SimpleQueue
from threading import Condition, Event, Lock, RLock, Semaphore, Thread, Timer
from time import monotonic, perf_counter, sleep
from time import monotonic_ns as nanoseconds
from time import sleep as wait
from time import time as now
from typing import Any

SECONDS = 50.0


def by_module_name() -> None:
    sleep(SECONDS)


def by_another_name() -> None:
    wait(SECONDS)


def by_default(nap: Callable[[float], None] = time.sleep) -> None:
    nap(SECONDS)


def by_keyword_default(*, nap: Callable[[float], None] = time.sleep) -> None:
    nap(SECONDS)


def _close_over() -> Callable[[], None]:
    nap = time.sleep
    return lambda: nap(SECONDS)


by_closure = _close_over()


def _nested() -> Callable[[], None]:
    nap = time.sleep

    def inner() -> None:
        nap(SECONDS)

    return lambda: inner()


by_nested_closure = _nested()


def _decorator(function: Callable[[], None], nap: Any = time.sleep) -> Callable[[], None]:
    @functools.wraps(function)
    def decorated() -> None:
        nap(SECONDS / 2)
        function()

    return decorated


@_decorator
def by_decorator() -> None:
    sleep(SECONDS / 2)


by_partial = functools.partial(time.sleep, SECONDS)
by_partial_of_partial = functools.partial(functools.partial(time.sleep), SECONDS)
TABLE = {"nap": {"deep": [time.sleep]}}
PAIR = (time.sleep, SECONDS)
SPACE = types.SimpleNamespace(nap=time.sleep)


def by_table() -> None:
    TABLE["nap"]["deep"][0](SECONDS)


def by_tuple() -> None:
    PAIR[0](PAIR[1])


def by_namespace() -> None:
    SPACE.nap(SECONDS)


class Sleeper:
    nap = staticmethod(time.sleep)

    def __init__(self, nap: Callable[[float], None] = time.sleep) -> None:
        self.mine = nap

    def run(self) -> None:
        self.nap(SECONDS / 2)
        self.mine(SECONDS / 2)

    @classmethod
    def of_class(cls, nap: Callable[[float], None] = time.sleep) -> None:
        nap(SECONDS)

    @property
    def seconds(self) -> float:
        return SECONDS


SLEEPER = Sleeper()
by_method = SLEEPER.run
by_classmethod = Sleeper.of_class


@dataclasses.dataclass
class Configured:
    nap: Callable[[float], None] = time.sleep
    clock: Callable[[], float] = dataclasses.field(default_factory=lambda: time.monotonic)


CONFIGURED = Configured()


def by_dataclass() -> None:
    CONFIGURED.nap(SECONDS)
    assert CONFIGURED.clock() >= SECONDS


def by_an_object_made_in_the_task() -> None:
    Configured().nap(SECONDS)


class Callable_:
    def __init__(self) -> None:
        self._nap = time.sleep

    def __call__(self) -> None:
        self._nap(SECONDS)


by_callable = Callable_()


class Proxy:
    """Stands for what is not there: everything that is asked of it raises."""

    def __getattribute__(self, name: str) -> Any:
        raise RuntimeError(f"working outside of a request: {name}")


PROXIES = [Proxy()]


class Stubborn(type):
    def __setattr__(cls, name: str, value: Any) -> None:
        raise RuntimeError("not to be changed")


class Unchanged(metaclass=Stubborn):
    nap = time.sleep


CYCLE: dict[str, Any] = {"nap": [time.sleep]}
CYCLE["self"] = [*CYCLE["nap"][:1], CYCLE]
LONG = [time.sleep] * 201


def by_cycle() -> None:
    CYCLE["self"][1]["nap"][0](SECONDS)


SLEEPS: dict[str, Callable[[], Any]] = {
    name: value for name, value in list(globals().items()) if name.startswith("by_")
}

# ---------------------------------------------------------------- clocks

_held_monotonic = time.monotonic
_today, _now_of = date.today, datetime.now


def _clock_closure() -> Callable[[], float]:
    clock = time.time
    return lambda: clock()


CLOCKS: dict[str, Callable[[], Any]] = {
    "monotonic": lambda: monotonic(),
    "perf_counter": lambda: perf_counter(),
    "monotonic_ns": lambda: nanoseconds() / 1e9,
    "time": lambda: now(),
    "held": lambda: _held_monotonic(),
    "closure": _clock_closure(),
    "default": lambda clock=time.time: clock(),
    "datetime": lambda: datetime.now(datetime_module.UTC).timestamp(),
    "datetime.now": lambda: _now_of(datetime_module.UTC).timestamp(),
    "default datetime.now": lambda get=datetime.now: get(datetime_module.UTC).timestamp(),
    "default datetime": lambda kind=datetime: kind.now(datetime_module.UTC).timestamp(),
    "date.today": lambda: (_today() - date(1970, 1, 1)).total_seconds(),
}

# ---------------------------------------------------------------- who waits


def _event() -> float:
    event = Event()
    Timer(SECONDS, event.set).start()
    event.wait()
    return time.monotonic()


def _lock(kind: Any = Lock) -> float:
    lock = kind()

    def holder() -> None:
        with lock:
            sleep(SECONDS)

    thread = Thread(target=holder)
    thread.start()
    sleep(0)
    with lock:
        return time.monotonic()


def _condition(kind: Any = Condition) -> float:
    condition = kind()
    with condition:
        condition.wait(SECONDS)
    return time.monotonic()


def _semaphore(kind: Any = Semaphore) -> float:
    semaphore = kind(0)
    assert not semaphore.acquire(timeout=SECONDS)
    return time.monotonic()


def _queue(kind: Any) -> float:
    try:
        kind().get(timeout=SECONDS)
    except queue_module.Empty:
        return time.monotonic()
    raise AssertionError


def _executor(kind: Any = ThreadPoolExecutor) -> float:
    with kind(1) as executor:
        executor.submit(sleep, SECONDS).result()
    return time.monotonic()


def _submits_an_original(nap: Any = time.sleep) -> float:
    with concurrent.futures.ThreadPoolExecutor(1) as executor:
        concurrent.futures.wait([executor.submit(nap, SECONDS)])
    return time.monotonic()


MODULE_CONDITION = Condition()


def _module_condition() -> float:
    def holder() -> None:
        with MODULE_CONDITION:
            sleep(SECONDS)

    thread = other_threading.Thread(target=holder)
    thread.start()
    sleep(0)
    with MODULE_CONDITION:
        return time.monotonic()


WAITS: dict[str, Callable[[], float]] = {
    "Event and Timer": _event,
    "Lock": _lock,
    "RLock": lambda kind=RLock: _lock(kind),
    "threading.Lock by default": lambda kind=threading.Lock: _lock(kind),
    "Condition": _condition,
    "a module's Condition": _module_condition,
    "Semaphore": _semaphore,
    "Queue": lambda: _queue(Queue),
    "SimpleQueue": lambda: _queue(SimpleQueue),
    "SimpleQueue by default": lambda kind=SimpleQueue: _queue(kind),
    "executor": _executor,
    "an executor of an original": _submits_an_original,
}
