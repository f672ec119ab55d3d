"""Whatever attempts do and meet: the core's promises hold, runs replay and are the same twice."""

from __future__ import annotations

import math
import random
from pathlib import Path

import pytest

from runtime.core.records import AbandonAttempt, AttemptFailed, AttemptSucceeded, StartAttempt
from simulation.machine.backends import Backend, Outage, RateLimit
from simulation.machine.machine import Cpu, Machine
from simulation.models import Behaviour, Fails
from simulation.replay import parts_of, replay
from tests.machine.helpers import MS, Known, mixed, recorded, simulated


class Anything(Known):
    """Attempts that fail, hang, heed their tokens, compute, or do nothing at all."""

    def sampler(self, seed: int):  # type: ignore[no-untyped-def]
        def sample(task: int, attempt: int) -> Behaviour:
            draw = random.Random(self.key * 1_000_003 + task * 101 + attempt)
            took = draw.choice([None, 0, 1, draw.randrange(200 * MS), draw.randrange(2000 * MS)])
            return Behaviour(
                took,
                draw.choice([None, None, Fails(), Fails(retry_after_seconds=0.1)]),
                draw.choice([None, None, 0, draw.randrange(50 * MS)]),
                draw.choice([0, took or 0, (took or 0) // 3]),
            )

        return sample

    key = 0


def anything(key: int) -> tuple[Anything, int, dict[str, object]]:
    draw = random.Random(key)
    backend = Backend(
        "api",
        draw.choice([("a",), ("a", "b")]),
        draw.choice([None, 1, 3]),
        draw.choice([None, RateLimit(10.0, 2, "Busy", draw.choice([None, "next", 0.5]))]),
        *draw.choice([(0.0, None), (0.05, None), (0.0, 1.5)]),
        draw.choice(
            [
                (),
                (Outage(0.1, 0.5),),
                (Outage(0.2, 0.4, "hangs"), Outage(0.3, 0.9)),
                (Outage(0.3, math.inf, "hangs"),),
            ]
        ),
    )
    cpu = draw.choice([None, Cpu(), Cpu(2, 1 * MS, (1.0, 0.9))])
    machine = Machine(cpu, draw.choice([(), (backend,), (backend,)]))
    groups = [draw.choice("abc") for _ in range(60)]
    workload = Anything(mixed(60, 0.0), machine, groups, draw.choice([None, 40.0]))
    workload.key = key
    settings = {
        "task_timeout_seconds": draw.choice([0.05, 0.3, 1.0]),
        "max_retries": draw.choice([0, 2, 5]),
        "backoff_base_seconds": draw.choice([0.0, 0.05]),
        "max_abandoned_threads": draw.choice([0, 2, 100]),
        "jitter": draw.choice(["none", "full"]),
    }
    return workload, draw.choice([1, 4, 30]), settings


@pytest.mark.parametrize("key", range(15))
def test_whatever_they_do(tmp_path: Path, key: int) -> None:
    workload, workers, settings = anything(key)
    path = recorded(tmp_path / "a.jsonl", workload, workers, cpu=False, **settings)
    found = replay(path, check=True)  # verifies the invariants after each step
    found.raise_for_divergence()
    assert simulated(workload, workers, **settings).digest == found.journal.digest

    started: dict[tuple[int, int], int] = {}
    came_home: set[tuple[int, int]] = set()
    for record in found.journal.records:
        for part in parts_of(record):
            if isinstance(part, AttemptSucceeded | AttemptFailed):
                assert started[part.task, part.attempt] <= record.at
                assert (part.task, part.attempt) not in came_home
                came_home.add((part.task, part.attempt))
        for instruction in record.instructions:
            if isinstance(instruction, StartAttempt):
                started[instruction.task, instruction.attempt] = record.at
            elif isinstance(instruction, AbandonAttempt):
                assert (instruction.task, instruction.attempt) not in came_home
