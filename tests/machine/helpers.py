"""Runs of tasks that compute and wait, as journals of real threads would have them."""

from __future__ import annotations

import random
from pathlib import Path

import msgspec

from runtime import JournalTo, WorkerPoolConfig
from runtime.core.records import AttemptFailed, AttemptSucceeded, Simultaneous
from runtime.recorder import Recorder, describe_host
from simulation.machine.machine import Cpu, Machine
from simulation.models import Behaviour
from simulation.simulate import Run, simulate
from simulation.workload import Batch, Modelled, SyntheticWorkload

MS = 1_000_000


class Known(SyntheticWorkload):
    """Tasks of which each attempt's waiting and computing is known.

    Args:
        work: what each computes and waits for alone, in nanoseconds, or more by attempt.
        machine: what they meet.
        groups: their groups.
    """

    def __init__(
        self,
        work: list[tuple[int, int]],
        machine: Machine | None,
        groups: list[str] | None = None,
        rate_per_second: float | None = None,
    ) -> None:
        batch = Batch(len(work), Modelled(1.0), rate_per_second=rate_per_second)
        super().__init__([batch], machine)
        self.work = work
        self.groups = groups

    def arrivals(self, seed: int):  # type: ignore[no-untyped-def]
        for at, spec in super().arrivals(seed):
            group = "default" if self.groups is None else self.groups[spec.task - 1]
            yield at, msgspec.structs.replace(spec, group=group)

    def sampler(self, seed: int):  # type: ignore[no-untyped-def]
        def sample(task: int, attempt: int) -> Behaviour:
            cpu, wait = self.work[task - 1]
            return Behaviour(cpu + wait, cpu_ns=cpu)

        return sample


def mixed(tasks: int, share: float, seed: int = 1, mean_ms: float = 50.0) -> list[tuple[int, int]]:
    """So much computing and the rest waiting, in tasks of different lengths."""
    draw = random.Random(seed)
    lengths = [round(draw.lognormvariate(-0.125, 0.5) * mean_ms * MS) for _ in range(tasks)]
    return [(int(length * share), length - int(length * share)) for length in lengths]


def simulated(workload: Known, workers: int, **fields: object) -> Run:
    config = WorkerPoolConfig(max_workers=workers, **fields)  # type: ignore[arg-type]
    return simulate(workload, config.core_settings(), log=True)


def recorded(
    path: Path,
    workload: Known,
    workers: int,
    *,
    clock: str = "wall",
    cpu: bool = True,
    cores: int = 2,
    gil: bool = True,
    **fields: object,
) -> Path:
    """Write the journal that real threads would have written."""
    config = WorkerPoolConfig(max_workers=workers, **fields)  # type: ignore[arg-type]
    settings = config.core_settings()
    run = simulate(workload, settings, log=True)
    header = describe_host(settings, pool="p", prefix="p-", epoch_ns=0, clock="wall")
    header = msgspec.structs.replace(header, clock=clock, cores=cores, gil=gil)

    def measured(part: object) -> object:
        if isinstance(part, Simultaneous):
            return Simultaneous(tuple(measured(one) for one in part.stimuli))  # type: ignore[misc]
        if cpu and isinstance(part, AttemptSucceeded | AttemptFailed):
            return msgspec.structs.replace(part, cpu_ns=workload.work[part.task - 1][0])
        return part

    recorder = Recorder(JournalTo(path), header)
    recorder.write([(at, measured(stimulus), out) for at, stimulus, out in run.steps])  # type: ignore[misc]
    recorder.close()
    return path


def seconds(run: Run) -> float:
    return run.ended_at_ns[-1] / 1e9


GIL = Machine(Cpu())
__all__ = ["GIL", "MS", "Known", "mixed", "recorded", "seconds", "simulated"]
