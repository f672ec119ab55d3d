"""The same queue in virtual time: Poisson arrivals, 50 servers, load 0.9 (M/M/50).

Everyone draws its own arrivals and services, with a seed that differs from round to round, in one
process, and keeps each customer's wait. That all simulate the same queue shows in the mean wait,
which stands beside what Erlang's C formula says. Only the run is timed: what a tool needs
afterwards to hand out the waits is not.
"""

from __future__ import annotations

import heapq
import math
import random
import statistics
import time
from collections import deque
from collections.abc import Callable, Generator
from typing import Any, Final

from benchmarks.measure import Benchmark, Comparison, Contestant, Figures, Size

__all__ = ["erlang_c_wait", "virtual"]

_SERVERS: Final = 50
_LOAD: Final = 0.9
_MEAN_SECONDS: Final = 1.0
_RATE: Final = _LOAD * _SERVERS / _MEAN_SECONDS


def erlang_c_wait(servers: int, rate: float, mean_service: float) -> float:
    """The mean wait in an M/M/c queue.

    Args:
        servers: c.
        rate: arrivals a second.
        mean_service: seconds.

    Returns:
        Seconds.

    Example:
        >>> round(erlang_c_wait(1, 0.5, 1.0), 9)  # M/M/1: load / (rate of service - rate)
        1.0
    """
    offered = rate * mean_service
    blocked = 1.0  # Erlang B, by its recursion
    for count in range(1, servers + 1):
        blocked = offered * blocked / (count + offered * blocked)
    load = offered / servers
    waits = blocked / (1 - load * (1 - blocked))
    return waits * mean_service / (servers - offered)


def _figures(tasks: int, seconds: float, waits: list[float]) -> Figures:
    assert len(waits) == tasks, f"{len(waits)} customers of {tasks} were served"
    return {"time": seconds / tasks * 1e6, "mean wait": statistics.fmean(waits)}


def _heap(tasks: int, seed: int) -> Figures:
    """The least that a loop over events can do."""
    draw = random.Random(seed).expovariate
    service = 1 / _MEAN_SECONDS
    began = time.perf_counter()
    waits: list[float] = []
    waiting: deque[float] = deque()
    ends: list[float] = []  # a heap
    free = _SERVERS
    arrived, arrival = 0, draw(_RATE)
    while len(waits) < tasks:
        if arrived < tasks and (not ends or arrival <= ends[0]):
            if free:
                free -= 1
                waits.append(0.0)
                heapq.heappush(ends, arrival + draw(service))
            else:
                waiting.append(arrival)
            arrived += 1
            arrival += draw(_RATE)
        else:
            now = heapq.heappop(ends)
            if waiting:
                waits.append(now - waiting.popleft())
                heapq.heappush(ends, now + draw(service))
            else:
                free += 1
    return _figures(tasks, time.perf_counter() - began, waits)


def _simpy(tasks: int, seed: int) -> Figures:
    """As SimPy's documentation teaches it: a resource, a process a customer."""
    import simpy

    draw = random.Random(seed).expovariate
    service = 1 / _MEAN_SECONDS
    waits: list[float] = []

    def customer(
        env: simpy.Environment, servers: simpy.Resource
    ) -> Generator[simpy.Event, Any, None]:
        arrived = env.now
        with servers.request() as request:
            yield request
            waits.append(env.now - arrived)
            yield env.timeout(draw(service))

    def source(
        env: simpy.Environment, servers: simpy.Resource
    ) -> Generator[simpy.Event, Any, None]:
        for _ in range(tasks):
            yield env.timeout(draw(_RATE))
            env.process(customer(env, servers))

    began = time.perf_counter()
    env = simpy.Environment()
    env.process(source(env, simpy.Resource(env, _SERVERS)))
    env.run()
    return _figures(tasks, time.perf_counter() - began, waits)


def _ciw(tasks: int, seed: int) -> Figures:
    """A network of one node, as Ciw's documentation teaches it."""
    import ciw

    ciw.seed(seed)
    began = time.perf_counter()
    network = ciw.create_network(
        arrival_distributions=[ciw.dists.Exponential(rate=_RATE)],
        service_distributions=[ciw.dists.Exponential(rate=1 / _MEAN_SECONDS)],
        number_of_servers=[_SERVERS],
    )
    simulation = ciw.Simulation(network)
    simulation.simulate_until_max_customers(tasks, method="Complete")
    seconds = time.perf_counter() - began
    waits = [float(record.waiting_time) for record in simulation.get_all_records()]
    return _figures(tasks, seconds, waits)


def _twinclock(tasks: int, seed: int, *, log: bool) -> Figures:
    from runtime import WorkerPoolConfig
    from simulation.distributions import Exponential
    from simulation.simulate import simulate
    from simulation.workload import SyntheticWorkload

    settings = WorkerPoolConfig(max_workers=_SERVERS).core_settings()
    began = time.perf_counter()
    workload = SyntheticWorkload.poisson(tasks, _RATE, Exponential(mean=_MEAN_SECONDS))
    run = simulate(workload, settings, seed, log=log)
    seconds = time.perf_counter() - began
    assert bool(run.steps) == log, "the log was kept, or not, against what was asked for"
    return _figures(tasks, seconds, [end.queued_ns / 1e9 for end in run.ends])


def virtual(size: Size) -> Benchmark:
    """100,000 tasks of an M/M/50 queue.

    Args:
        size: how much.

    Returns:
        The benchmark.
    """
    tasks = size.of(100_000, 20_000)
    kinds: dict[str, Callable[..., Figures]] = {
        "heap": _heap,
        "simpy": _simpy,
        "ciw": _ciw,
        "twinclock": lambda tasks, seed: _twinclock(tasks, seed, log=False),
        "twinclock+log": lambda tasks, seed: _twinclock(tasks, seed, log=True),
    }

    def contestant(name: str, kind: Callable[..., Any]) -> Contestant:
        return Contestant(name, lambda number: kind(tasks, seed=number + 1))

    def speed(of: str, to: str, at_least: float | None = None) -> Comparison:
        # tasks a second is the inverse of the time a task takes
        label = f"{of}: tasks a second / {to}'s"
        return Comparison(label, (to, "time"), (of, "time"), at_least=at_least)

    wait = erlang_c_wait(_SERVERS, _RATE, _MEAN_SECONDS)
    assert math.isfinite(wait)
    return Benchmark(
        "virtual",
        f"{tasks:,} customers of an M/M/{_SERVERS} queue at load {_LOAD}, mean service "
        f"{_MEAN_SECONDS:g} s. By Erlang C they wait {wait:.4f} s in the mean.",
        {"time": "us/task", "mean wait": "s"},
        size.of(5, 3),
        [contestant(name, kind) for name, kind in kinds.items()],
        [
            speed("twinclock", "simpy", 2.5),
            speed("twinclock", "ciw", 5.0),
            speed("twinclock+log", "simpy", 1.0),
            speed("twinclock", "heap"),
            *(
                Comparison(f"{name}: mean wait / Erlang C", (name, "mean wait"), wait)
                for name in kinds
            ),
        ],
    )
