"""Scenarios for the tests of exploration."""

from __future__ import annotations

from simulation import Fails, Modelled, World


def two(world: World) -> None:
    """Two tasks on one worker."""
    world.configure(max_workers=1, task_timeout_seconds=5, max_retries=1)
    world.submit("a", Modelled(duration=1))
    world.submit("b", Modelled(duration=2, outcome=[Fails(), None]))


def no_cancel(world: World) -> None:
    """Fails once anything is cancelled."""
    two(world)
    world.unreachable(lambda: "cancelled" in (world.outcome(1), world.outcome(2)), "cancelled")


def starved(world: World) -> None:
    """Fails where one task of ten times out in all of its eight attempts, and no other ever."""
    world.configure(max_workers=20, task_timeout_seconds=5, max_retries=7, jitter="none")
    tasks = [world.submit(f"t{n}", Modelled(duration=1)) for n in range(10)]

    def starves() -> bool:
        return any(world.outcome(task) == "timeout" for task in tasks)

    world.unreachable(starves, "starved")


def never(world: World) -> None:
    """Waits for what cannot be."""
    two(world)
    world.sometimes(lambda: world.core.busy == 2, "two at once")
    world.sometimes(lambda: world.core.busy == 1, "one at once")
