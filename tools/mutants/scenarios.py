"""The scenarios in which planted bugs are looked for; who planted them wrote these, too."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from runtime.core import CoreSettings
from runtime.core.keyed import Purpose, uniform
from runtime.core.records import DelayTask
from simulation import Fails, Modelled, World

__all__ = ["SCENARIOS", "twenty"]

_S: Final = 1_000_000_000


def busy(world: World) -> None:
    """Eight tasks of three priorities on two slots, with timeouts, retries and deadlines."""
    world.use(CoreSettings(2, 4 * _S, 2, _S, 6 * _S, "none", None, 1, world.seed))
    for n in range(8):
        world.submit(
            f"t{n}",
            Modelled(duration=[1 + n % 4, 6, 2], outcome=[Fails() if n % 3 == 0 else None, None]),
            at_seconds=n % 3 * 0.5,
            priority=n % 3,
            deadline_seconds=30.0 if n % 4 == 1 else None,
        )


def jittered(world: World) -> None:
    """Six tasks that fail again and again, with jitter and ageing, on two slots."""
    world.use(CoreSettings(2, None, 4, _S, 3 * _S, "equal", 2 * _S, 0, world.seed + 1))
    for n in range(6):
        world.submit(
            f"j{n}",
            Modelled(duration=1 + n % 2, outcome=[Fails(), Fails(retryable=n != 4), None]),
            at_seconds=n * 0.7,
            priority=n % 3,
        )
    world.always(_keyed_backoffs(world), "each backoff is the draw of its own key")


def _keyed_backoffs(world: World) -> Callable[[], bool]:
    """The interval of a backoff says nothing of its draw: this does, by the published formula."""
    looked = 0

    def holds() -> bool:
        nonlocal looked
        news, looked = world.log[looked:], len(world.log)
        for at_ns, told in news:
            if isinstance(told, DelayTask) and told.until_ns - at_ns < 7 * _S:  # no retry-after
                plain = min(3 * _S, _S * 2 ** (told.attempt - 1))
                luck = uniform(world.seed + 1, told.task, told.attempt, Purpose.BACKOFF)
                low = plain // 2
                if told.until_ns - at_ns != low + int(luck * (plain - low + 1)):
                    return False
        return True

    return holds


def stuck(world: World) -> None:
    """Five tasks that outlive their timeouts; abandoned attempts hold and free slots."""
    world.use(CoreSettings(2, 2 * _S, 1, _S, 2 * _S, "decorrelated", None, 1, world.seed + 2))
    for n in range(5):
        world.submit(
            f"s{n}",
            Modelled(duration=[5, 1]),
            deadline_seconds=[None, 3.0, 9.0, None, 4.5][n],
            max_retries=[1, 2, 0, 3, 1][n],
        )


def resized(world: World) -> None:
    """Nine tasks, some that outlive their timeouts, in a pool that grows, shrinks and grows."""
    world.use(CoreSettings(2, 4 * _S, 1, _S, 2 * _S, "none", None, 1, world.seed + 3))
    for n in range(9):
        world.submit(f"r{n}", Modelled(duration=[1 + n % 3, 6, 1][n % 3 :]), priority=n % 2)
    for at_seconds, workers in ((0.5, 4), (1.5, 1), (4.5, 3), (6.5, 2)):
        world.resize(workers, at_seconds=at_seconds)


def twenty(world: World) -> None:
    """Twenty tasks on four workers, for the speed of searching."""
    world.configure(max_workers=4, task_timeout_seconds=5, max_retries=2)
    for n in range(20):
        model = Modelled(duration=1 + n % 3)
        world.submit(f"t{n}", model, at_seconds=n % 5 * 0.5, priority=n % 2)


SCENARIOS: Final[dict[str, Callable[[World], None]]] = {
    "busy": busy,
    "jittered": jittered,
    "stuck": stuck,
    "resized": resized,
}
