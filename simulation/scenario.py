"""Scenarios in TOML: a synthetic workload and the pool that it meets.

    [pool]
    max_workers = 20
    task_timeout_seconds = 30

    [[tasks]]
    count = 300
    name = "Q"
    duration = { lognormal = { median = 3.0, sigma = 0.5 } }
    fails = { probability = 0.1, error = "ConnectionError" }

``duration`` is a number of seconds, or one of ``{ exponential = { mean = } }``,
``{ uniform = { low = , high = } }``, ``{ lognormal = { median = , sigma = } }``,
``{ empirical = { values = [...] } }``; a list of those is by attempt number, and the last repeats,
as in ``fails``. ``rate_per_second`` lets tasks come at random, all at once
without it; ``start_seconds``, ``priority`` and ``group`` are as one expects.
``cpu_share`` is how much of its duration an attempt computes. ``[machine]`` has the ``cores`` that
it computes on, 1 by default as with a GIL; ``[backends.NAME]`` is what it calls
(``simulation.machine.declared``). Each field is explained in ``docs/scenario-files.md``.

    [properties]
    always = ["running <= 20"]
    sometimes = ["delayed > 0"]
    unreachable = ["failed > 30"]

``explore`` asks these after each step: a count, a comparison, a number. Counts are of the tasks
that are ``ready``, ``running``, ``delayed``, ``succeeded``, ``failed``, ``timed_out`` or
``cancelled`` now, of ``abandoned`` attempts that still run, and ``now_seconds``.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any, Final

import msgspec

from runtime import WorkerPoolConfig
from runtime.config import check_int
from runtime.core.states import TaskState
from simulation.distributions import (
    Constant,
    Distribution,
    Empirical,
    Exponential,
    LogNormal,
    Uniform,
)
from simulation.machine.declared import backends_from, plain, read_toml
from simulation.machine.machine import Cpu, Machine
from simulation.models import Fails, Modelled
from simulation.workload import Batch, SyntheticWorkload

__all__ = ["COUNTS", "Property", "Scenario", "ScenarioError", "read_scenario"]

#: What properties may count.
COUNTS: Final = (*(state.name.lower() for state in TaskState), "abandoned", "now_seconds")

_DISTRIBUTIONS = {
    "exponential": Exponential,
    "uniform": Uniform,
    "lognormal": LogNormal,
    "empirical": Empirical,
}


class ScenarioError(ValueError):
    """A scenario that cannot be used; the message says where and why."""


class Property(msgspec.Struct, frozen=True):
    """What a search asks after each step.

    Args:
        kind: ``always``, ``sometimes`` or ``unreachable``.
        text: as it was written.
        count: what is counted.
        compare: how it is compared.
        number: with what.
    """

    kind: str
    text: str
    count: str
    compare: str
    number: float


class Scenario(msgspec.Struct, frozen=True):
    """A scenario that was read.

    Args:
        config: the pool.
        workload: what it meets.
        properties: what a search asks.
    """

    config: WorkerPoolConfig
    workload: SyntheticWorkload
    properties: list[Property] = []


class _Tasks(msgspec.Struct, forbid_unknown_fields=True):
    count: int
    duration: Any
    name: str = "task"
    fails: dict[str, Any] | list[dict[str, Any]] | None = None
    rate_per_second: float | None = None
    start_seconds: float = 0.0
    priority: int = 0
    group: str = "default"
    cpu_share: float = 0.0


class _MachineTable(msgspec.Struct, forbid_unknown_fields=True):
    cores: int = 1


class _Properties(msgspec.Struct, forbid_unknown_fields=True):
    always: list[str] = []
    sometimes: list[str] = []
    unreachable: list[str] = []


class _File(msgspec.Struct, forbid_unknown_fields=True):
    tasks: list[_Tasks]
    pool: dict[str, Any] = {}
    properties: _Properties = msgspec.field(default_factory=_Properties)
    machine: _MachineTable | None = None
    backends: dict[str, Any] = {}


def read_scenario(path: str | Path) -> Scenario:
    """Read a scenario.

    Args:
        path: a TOML file.

    Returns:
        The scenario.

    Raises:
        ScenarioError: it is missing, no TOML, or something in it is wrong.
    """
    data = read_toml(path, ScenarioError)
    try:
        file = msgspec.convert(data, _File)
    except msgspec.ValidationError as error:
        raise ScenarioError(f"{path}: {error}") from None
    try:
        config = WorkerPoolConfig(**file.pool)
    except (TypeError, ValueError) as error:
        raise ScenarioError(f"{path}, [pool]: {_plain(error)}") from None
    if not file.tasks:
        raise ScenarioError(f"{path}: there are no [[tasks]]")
    batches = []
    for index, tasks in enumerate(file.tasks, 1):
        try:
            batches.append(_batch(tasks))
        except (TypeError, ValueError) as error:
            raise ScenarioError(f"{path}, [[tasks]] {index}: {_plain(error)}") from None
    try:
        machine = _machine(file)
    except (TypeError, ValueError) as error:
        raise ScenarioError(f"{path}, {plain(error)}") from None
    try:
        properties = [
            _property(kind, text)
            for kind in _Properties.__struct_fields__
            for text in getattr(file.properties, kind)
        ]
    except ValueError as error:
        raise ScenarioError(f"{path}, [properties]: {error}") from None
    return Scenario(config, SyntheticWorkload(batches, machine), properties)


_COMPARISON: Final = re.compile(r"\s*(\w+)\s*(<=|>=|==|!=|<|>)\s*(\d+(?:\.\d+)?)\s*")


def _property(kind: str, text: str) -> Property:
    found = _COMPARISON.fullmatch(text)
    if found is None:
        raise ValueError(f"{kind} = {text!r}: must be a count, a comparison, a number: failed > 3")
    count, compare, number = found.groups()
    if count not in COUNTS:
        raise ValueError(f"{kind} = {text!r}: no count {count!r}: there are {', '.join(COUNTS)}")
    return Property(kind, text, count, compare, float(number))


def _machine(file: _File) -> Machine | None:
    """What attempts meet, where anything is declared that they could meet."""
    backends = backends_from(file.backends, {tasks.group for tasks in file.tasks})
    computes = any(tasks.cpu_share for tasks in file.tasks)
    if file.machine is not None:
        check_int("[machine]: cores", file.machine.cores, 1, 100_000)
        if not computes:
            raise ValueError("[machine]: no [[tasks]] has a cpu_share, so nobody computes on it")
    if not computes and not backends:
        return None
    cores = 1 if file.machine is None else file.machine.cores
    return Machine(Cpu(cores) if computes else None, backends)


def _plain(error: Exception) -> str:
    return plain(error).replace("tasks=", "count=").replace("outcome=", "fails=")


def _batch(tasks: _Tasks) -> Batch:
    fails = tasks.fails
    outcome: Fails | list[Fails | None] | None
    if isinstance(fails, list):
        outcome = [Fails(**one) for one in fails]
    else:
        outcome = None if fails is None else Fails(**fails)
    given = tasks.duration
    if isinstance(given, list):
        duration: Distribution | list[Distribution] = [_distribution(one) for one in given]
    else:
        duration = _distribution(given)
    return Batch(
        tasks.count,
        Modelled(duration, outcome, cpu_share=tasks.cpu_share),
        tasks.name,
        tasks.rate_per_second,
        tasks.start_seconds,
        tasks.priority,
        tasks.group,
    )


def _distribution(duration: Any) -> Distribution:
    if isinstance(duration, int | float) and not isinstance(duration, bool):
        return Constant(duration)
    kind = next(iter(duration)) if isinstance(duration, dict) and len(duration) == 1 else None
    if kind not in _DISTRIBUTIONS or not isinstance(duration[kind], dict):
        kinds = ", ".join(_DISTRIBUTIONS)
        raise ValueError(f"duration={duration!r}: must be seconds, or one of {kinds}")
    made: Distribution = _DISTRIBUTIONS[kind](**duration[kind])
    return made
