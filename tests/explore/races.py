"""Races in plain Python, without a lock, and the same made right."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

from runtime import WorkerPoolConfig
from simulation import World

TOTAL = 0


class Counter:
    """Counts, as people write it."""

    def __init__(self) -> None:
        self.count = 0
        self.lock = threading.Lock()

    def add(self) -> None:
        seen = self.count
        self.count = seen + 1

    def add_in_one_line(self) -> None:
        self.count += 1

    def add_under_a_lock(self) -> None:
        with self.lock:
            self.count += 1


def together(world: World, function: Callable[[], Any], tasks: int = 2) -> None:
    with world.pool(WorkerPoolConfig(max_workers=tasks, enable_instrumentation=False)) as pool:
        for n in range(tasks):
            pool.submit_task(f"t{n}", function)
        pool.wait_for_all()


def attribute(world: World) -> None:
    counter = Counter()
    together(world, counter.add)
    assert counter.count == 2


def one_line(world: World) -> None:
    counter = Counter()
    together(world, counter.add_in_one_line)
    assert counter.count == 2


def closure(world: World) -> None:
    count = 0

    def add() -> None:
        nonlocal count
        count = count + 1

    together(world, add)
    assert count == 2


def a_global(world: World) -> None:
    global TOTAL
    TOTAL = 0

    def add() -> None:
        global TOTAL
        TOTAL += 1

    together(world, add)
    assert TOTAL == 2


def item(world: World) -> None:
    stock = {"apples": 2}

    def sell() -> None:
        if stock["apples"] > 0:
            stock["apples"] -= 1

    together(world, sell, 3)
    assert stock["apples"] == 0


def check_then_act(world: World) -> None:
    made: list[str] = []
    cache: dict[str, str] = {}

    def get() -> None:
        if "key" not in cache:
            made.append("value")
            cache["key"] = made[-1]

    together(world, get)
    assert len(made) == 1


def own_thread(world: World) -> None:
    counter = Counter()

    def both() -> None:
        thread = threading.Thread(target=counter.add, name="other")
        thread.start()
        counter.add()
        thread.join()

    together(world, both, 1)
    assert counter.count == 2


def locked(world: World) -> None:
    counter = Counter()
    together(world, counter.add_under_a_lock)
    assert counter.count == 2


RACES = [attribute, one_line, closure, a_global, item, check_then_act, own_thread]
