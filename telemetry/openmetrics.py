"""Runs as OpenMetrics files: what Prometheus would have scraped, at instants of their own clocks.

A run's steps go through a fresh core; every so often the same counting that serves live metrics is
read. So names, labels and buckets are those of a live pool, and Prometheus takes the file with
``promtool tsdb create-blocks-from openmetrics FILE DATA``. One ``instance`` a run, so that variants
of one run lie over each other.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Final, Literal, TypeVar

from prometheus_client import CollectorRegistry
from prometheus_client.core import Metric
from prometheus_client.openmetrics import exposition
from prometheus_client.registry import Collector
from prometheus_client.samples import Timestamp

from runtime.core import Core, CoreSettings
from runtime.core.records import Stimulus
from runtime.core.tally import Tally
from runtime.view import Present, present
from telemetry.metrics import Histogram, PoolMetrics
from telemetry.names import METRICS, PREFIX

__all__ = ["RecordedRun", "openmetrics"]

#: Samples a run, about, where nobody says how far apart.
_SAMPLES: Final = 120
_NICE: Final = (0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0, 15.0, 30.0, 60.0)
_NS: Final = 1_000_000_000
_T = TypeVar("_T")
_NOBODY: Final[tuple[dict[str, int], int, int]] = ({"closed": 0}, 0, 0)


@dataclass(frozen=True)
class RecordedRun:
    """A run that is to be exported.

    Args:
        instance: what it is called; the label that tells it from others.
        pool: the pool's name.
        settings: what its core was set up with.
        steps: what went into its core: instants in nanoseconds of the pool's clock, and stimuli.
        epoch_ns: epoch nanoseconds at which that clock was 0.
        clock: ``wall`` for what has happened, ``virtual`` for what was simulated.
    """

    instance: str
    pool: str
    settings: CoreSettings
    steps: Sequence[tuple[int, Stimulus]]
    epoch_ns: int = 0
    clock: Literal["wall", "virtual"] = "virtual"


def openmetrics(
    runs: Iterable[RecordedRun], *, every_seconds: float | None = None, job: str = "twinclock"
) -> bytes:
    """What a Prometheus would have scraped of some runs.

    Args:
        runs: the runs, each with an ``instance`` of its own.
        every_seconds: how far apart samples lie; by default about 120 a run.
        job: the label ``job``.

    Returns:
        The file. The same for the same runs.

    Raises:
        ValueError: two runs are called the same, a run has no steps, or ``every_seconds`` is not
            above 0.

    Example:
        >>> from runtime.core.records import AttemptSucceeded, TaskSubmitted
        >>> done = AttemptSucceeded(1, 1, 0, 0, 10**9)
        >>> steps = [(0, TaskSubmitted(1)), (10**9, done)]
        >>> text = openmetrics([RecordedRun("a", "pool", CoreSettings(max_workers=1), steps)])
        >>> text.decode().splitlines()[0]
        '# HELP workerpool_tasks_submitted Tasks accepted.'
    """
    runs = list(runs)
    names = [run.instance for run in runs]
    if len(set(names)) < len(names):
        raise ValueError(f"instances {names}: each run needs a name of its own")
    if every_seconds is not None and not every_seconds > 0:
        raise ValueError(f"every_seconds={every_seconds!r}: must be more than 0")
    series: _Series = {name: defaultdict(list) for name in METRICS}
    for run in runs:
        _sample(run, every_seconds, series, job)
    registry = CollectorRegistry()
    registry.register(_Samples(series))
    text: bytes = exposition.generate_latest(registry)  # type: ignore[no-untyped-call]
    return text


#: By metric, then by label values with job and instance first: instants and values.
_Series = dict[str, dict[tuple[str, ...], list[tuple[Timestamp, "float | Histogram"]]]]


def _sample(run: RecordedRun, every_seconds: float | None, series: _Series, job: str) -> None:
    if not run.steps:
        raise ValueError(f"run {run.instance!r} has no steps: nothing to export")
    last = run.steps[-1][0]
    every_ns = round((every_seconds or _nice(last / _NS / _SAMPLES)) * _NS)
    core = Core(run.settings)
    view = _Replayed(run, core)
    metrics = PoolMetrics(CollectorRegistry())
    metrics.attach(view)

    def read(at_ns: int) -> None:
        view.now_ns = at_ns
        epoch_ms = (run.epoch_ns + at_ns) // 1_000_000
        moment = Timestamp(epoch_ms // 1000, epoch_ms % 1000 * 1_000_000)
        for name, labels, value in metrics.read():
            series[name][job, run.instance, *labels].append((moment, value))

    due = 0
    for at_ns, stimulus in run.steps:
        while due < at_ns:
            read(due)
            due += every_ns
        core.handle(at_ns, stimulus)
    for _ in range(2):  # the end, and once more, so that it is seen to last
        read(due)
        due += every_ns


def _nice(seconds: float) -> float:
    return next((nice for nice in _NICE if nice >= seconds), _NICE[-1])


class _Replayed:
    """The view of a pool that is replayed."""

    def __init__(self, run: RecordedRun, core: Core) -> None:
        self.name = run.pool
        self.clock = run.clock
        self.settings = run.settings
        self.epoch_ns = run.epoch_ns
        self.now_ns = 0
        self._core = core

    def count(self, make: Callable[[], Tally]) -> Tally:
        """Have the core count what happens."""
        tally = make()
        self._core.count_into(tally)
        return tally

    def held(self, look: Callable[[], _T]) -> _T:
        """Nobody decides meanwhile."""
        return look()

    def present(self) -> Present:
        """The pool at the instant that is being read."""
        return present(self._core, self.now_ns, _NOBODY)


class _Samples(Collector):
    def __init__(self, series: _Series) -> None:
        self._series = series

    def describe(self) -> list[Metric]:
        return []

    def collect(self) -> Iterator[Metric]:
        for name, metric in METRICS.items():
            full = f"{PREFIX}{name}"
            family = Metric(full, metric.help, metric.kind)
            labels = ("job", "instance", *metric.labels)
            for values, points in self._series[name].items():
                named = dict(zip(labels, values, strict=True))
                for moment, value in points:
                    _add(family, full, metric.kind, named, moment, value)
            yield family


def _add(
    family: Metric,
    full: str,
    kind: str,
    labels: dict[str, str],
    moment: Timestamp,
    value: float | Histogram,
) -> None:
    if isinstance(value, Histogram):
        for bound, below in value.cumulative():
            family.add_sample(f"{full}_bucket", {**labels, "le": bound}, below, moment)
        family.add_sample(f"{full}_count", labels, sum(value.counts), moment)
        family.add_sample(f"{full}_sum", labels, value.sum_ns / _NS, moment)
    else:
        family.add_sample(f"{full}_total" if kind == "counter" else full, labels, value, moment)
