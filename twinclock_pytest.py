"""The pytest plugin: pools on virtual time, and one test on both clocks.

It imports nothing of the project until one of its fixtures is used.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Generator, Iterator
from typing import TYPE_CHECKING, Any, Final

import pytest

if TYPE_CHECKING:
    from runtime import WorkerPool
    from simulation import SimulatedWorkerPool

__all__ = ["simulated_pool", "worker_pool"]

_SEED: Final = pytest.StashKey[int]()
_SEEDS: Final = 1 << 63


def pytest_addoption(parser: pytest.Parser) -> None:
    """Say which options there are."""
    group = parser.getgroup("simulation", "virtual time (twinclock)")
    group.addoption(
        "--sim-seed",
        type=_seed,
        default=0,
        metavar="SEED",
        help="the seed of simulated pools that a test gives none, 0 by default",
    )


def _seed(text: str) -> int:
    import argparse  # noqa: PLC0415  # it costs nothing to suites that do not use it

    try:
        seed = int(text)
    except ValueError:
        seed = -1
    if not 0 <= seed < _SEEDS:
        raise argparse.ArgumentTypeError(f"{text!r}: must be a whole number from 0 to 2**63 - 1")
    return seed


@pytest.fixture
def simulated_pool(request: pytest.FixtureRequest) -> Iterator[Callable[..., SimulatedWorkerPool]]:
    """Makes pools on virtual time: ``simulated_pool(max_workers=4, seed=1)``.

    It takes the fields of ``WorkerPoolConfig`` or a ``config``, and the keyword arguments of
    ``SimulatedWorkerPool``; the seed is ``--sim-seed`` unless it is given. The pools are closed
    with the test.
    """
    from simulation import SimulatedWorkerPool  # noqa: PLC0415

    seed: int = request.config.getoption("--sim-seed")
    with contextlib.ExitStack() as stack:

        def make(config: Any = None, **options: Any) -> SimulatedWorkerPool:
            own = {
                name: options.pop(name)
                for name in ("journal", "observers", "epoch", "carrier", "watchdog_seconds")
                if name in options
            }
            with_seed = options.pop("seed", seed)
            pool = SimulatedWorkerPool(_config(config, options), with_seed, **own)
            request.node.user_properties.append(("sim_seed", with_seed))
            request.node.stash[_SEED] = with_seed
            return stack.enter_context(pool)

        yield make


@pytest.fixture(params=["real", "virtual"])
def worker_pool(request: pytest.FixtureRequest) -> Iterator[Callable[..., WorkerPool]]:
    """Makes pools, on real threads in one run of the test and on virtual time in the other:
    ``worker_pool(max_workers=4)``.

    It takes the fields of ``WorkerPoolConfig`` or a ``config``, and ``journal`` and
    ``observers``. The pools are closed with the test.
    """
    if request.param == "virtual":
        yield request.getfixturevalue("simulated_pool")
        return
    from runtime import WorkerPool  # noqa: PLC0415

    with contextlib.ExitStack() as stack:

        def make(config: Any = None, **options: Any) -> WorkerPool:
            own = {n: options.pop(n) for n in ("journal", "observers") if n in options}
            return stack.enter_context(WorkerPool(_config(config, options), **own))

        yield make


def _config(config: Any, fields: dict[str, Any]) -> Any:
    from runtime import WorkerPoolConfig  # noqa: PLC0415

    if config is None:
        return WorkerPoolConfig(**fields)
    return config.replace(**fields) if fields else config


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[None]
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Say with a failure which seed it had."""
    report = yield
    seed = item.stash.get(_SEED, None)
    if seed is not None and report.failed and call.when == "call":
        report.sections.append(
            ("simulation", f"seed {seed}; again: pytest '{item.nodeid}' --sim-seed {seed}")
        )
    return report
