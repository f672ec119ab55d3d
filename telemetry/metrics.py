"""Prometheus metrics, read from what the core has counted.

The core itself keeps the counts (``runtime.core.tally``), from the transitions' own instants; the
registry asks for them when it is scraped. So a task costs a few additions, a real and a simulated
run come out alike, and a scrape equals, number by number, what one counts from the journal up to
that instant. All of one scrape is of one instant, between two decisions.

One collector serves a registry, whatever the number of pools: two pools of one name are told apart
by nothing, so their counts are added up.
"""

from __future__ import annotations

import logging
import platform
import threading
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from importlib import metadata
from itertools import accumulate
from typing import Final, NamedTuple, Protocol, TypeVar
from weakref import WeakKeyDictionary

from opentelemetry.trace import SpanContext, format_span_id, format_trace_id
from prometheus_client import CollectorRegistry
from prometheus_client.core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    Metric,
)
from prometheus_client.registry import Collector
from prometheus_client.samples import Exemplar

from runtime.core import CoreSettings
from runtime.core.records import Transition
from runtime.core.tally import Buckets, Tally
from runtime.errors import ForkedPoolError, ReentrantCallError
from runtime.observers import Detail
from runtime.view import Present
from telemetry.names import (
    BUCKETS,
    LAG_BUCKETS,
    LOSSES,
    METRICS,
    MOST_GROUPS,
    OTHER_GROUP,
    PREFIX,
)

__all__ = ["Histogram", "PoolMetrics", "View"]

_log = logging.getLogger("twinclock")

_NS: Final = 1e9
_BOUNDS_NS: Final = tuple(round(bound * _NS) for bound in BUCKETS)
_LAG_BOUNDS_NS: Final = tuple(round(bound * _NS) for bound in LAG_BUCKETS)

_T = TypeVar("_T")

#: One series: its metric, its label values, its value.
Reading = tuple[str, tuple[str, ...], "float | Histogram"]


class Histogram:
    """Counts by bucket, their sum in nanoseconds, and the newest trace of each bucket.

    Args:
        buckets: what the core has counted.
        epoch_ns: epoch nanoseconds at which its pool's clock was 0.
    """

    __slots__ = ("bounds_ns", "counts", "exemplars", "sum_ns")

    def __init__(self, buckets: Buckets, epoch_ns: int) -> None:
        self.bounds_ns = buckets.bounds_ns
        self.counts = buckets.counts
        self.sum_ns = buckets.sum_ns
        self.exemplars = {
            index: _Exemplar(newest[0], newest[1], epoch_ns + newest[2])
            for index, newest in enumerate(buckets.newest)
            if newest is not None
            and isinstance(newest[0], SpanContext)
            and newest[0].trace_flags.sampled
        }

    def cumulative(self) -> list[tuple[str, int]]:
        """The upper bound of each bucket in seconds, and how many were not above it."""
        bounds = [*(str(bound / _NS) for bound in self.bounds_ns), "+Inf"]
        return list(zip(bounds, accumulate(self.counts), strict=True))

    def plus(self, other: Histogram) -> Histogram:
        """Both together."""
        made = Histogram.__new__(Histogram)
        made.bounds_ns = self.bounds_ns
        made.counts = [mine + its for mine, its in zip(self.counts, other.counts, strict=True)]
        made.sum_ns = self.sum_ns + other.sum_ns
        made.exemplars = dict(self.exemplars)
        for index, exemplar in other.exemplars.items():
            mine = made.exemplars.get(index)
            if mine is None or mine.at_ns < exemplar.at_ns:
                made.exemplars[index] = exemplar
        return made

    def exposed(self) -> list[tuple[str, int] | tuple[str, int, Exemplar]]:
        """The buckets as prometheus-client takes them, with their exemplars."""
        return [
            (*bucket, self.exemplars[index].exposed()) if index in self.exemplars else bucket
            for index, bucket in enumerate(self.cumulative())
        ]


class _Exemplar(NamedTuple):
    """A trace behind a bucket; the instant is an epoch one."""

    context: SpanContext
    value_ns: int
    at_ns: int

    def exposed(self) -> Exemplar:
        """As OpenMetrics has it."""
        context = self.context
        labels = {
            "trace_id": format_trace_id(context.trace_id),
            "span_id": format_span_id(context.span_id),
        }
        return Exemplar(labels, self.value_ns / _NS, self.at_ns / _NS)


class View(Protocol):
    """What is needed of a pool, live or replayed."""

    @property
    def name(self) -> str:
        """The pool's name."""

    @property
    def clock(self) -> str:
        """``wall`` or ``virtual``."""

    @property
    def settings(self) -> CoreSettings:
        """What its core was set up with."""

    @property
    def epoch_ns(self) -> int:
        """The epoch nanoseconds at which its clock was 0."""

    def count(self, make: Callable[[], Tally]) -> Tally:
        """Have the core count what happens."""

    def held(self, look: Callable[[], _T]) -> _T:
        """Call something while no decision is made."""

    def present(self) -> Present:
        """The pool at this instant, while decisions are held."""


class PoolMetrics:
    """One pool's metrics; an observer, to be given to a pool.

    Args:
        registry: where they are exported.
        spans_lost: how many of the pool's spans were lost so far, by reason.
    """

    needs_cpu_time: Final = False

    def __init__(
        self,
        registry: CollectorRegistry,
        spans_lost: Callable[[], dict[str, int]] = lambda: dict.fromkeys(LOSSES, 0),
    ) -> None:
        self._registry = registry
        self._spans_lost = spans_lost
        self._view: View | None = None
        self._last: list[Reading] = []

    def attach(self, view: View) -> None:
        """Get to know the pool, and appear in the registry; where another collector has a name
        of ours there, say so and appear nowhere.
        """
        try:
            collector = _collector_of(self._registry)
        except ValueError as error:
            _log.error(
                "pool %r has no metrics, as its registry has such names already (%s): give "
                "Telemetry(registry=...) a registry of its own, or take the other collector out",
                view.name,
                error,
            )
            return
        self._tally = view.count(_make_tally)
        self._view = view
        collector.add(self)

    def detail(self) -> Detail:
        """None: the core counts."""
        return "none"

    def transitions(self, batch: Sequence[Transition]) -> None:
        """The core has counted them."""

    def late_exception(self, task_id: str, attempt: int, error: BaseException) -> None:
        """The core has counted it."""

    def close(self) -> None:
        """What was counted stays in the registry; the pool is let go of."""
        if self._view is not None:
            self._last = self.read()
            self._view = None
            _collector_of(self._registry).retire(self)

    def read(self) -> list[Reading]:
        """Every series, all of one instant; none where the pool cannot be asked: in a forked
        child, or in a destructor that came in the middle of a decision.
        """
        view = self._view
        if view is None:
            return self._last

        def look() -> tuple[Tally, Present]:
            return self._tally.copy(), view.present()

        try:
            tally, now = view.held(look)
        except (ForkedPoolError, ReentrantCallError):
            return []
        return list(_readings(view, tally, now, self._spans_lost()))


def _make_tally() -> Tally:
    tally = Tally(_BOUNDS_NS, _LAG_BOUNDS_NS, MOST_GROUPS, OTHER_GROUP)
    tally.group("default")
    return tally


def _readings(
    view: View, tally: Tally, now: Present, spans_lost: dict[str, int]
) -> Iterator[Reading]:
    pool, epoch_ns = view.name, view.epoch_ns
    for group, counted in tally.groups.items():
        of = pool, group
        yield "tasks_submitted", of, counted.submitted
        yield "late_results", of, counted.late
        yield "queue_wait_seconds", of, Histogram(counted.waits, epoch_ns)
        for reason, count in counted.retries.items():
            yield "retries_scheduled", (*of, reason), count
        for outcome, buckets in counted.tasks.items():
            yield "tasks_finished", (*of, outcome), sum(buckets.counts)
            yield "task_duration_seconds", (*of, outcome), Histogram(buckets, epoch_ns)
        for outcome, buckets in counted.attempts.items():
            yield "attempts_finished", (*of, outcome), sum(buckets.counts)
            yield "attempt_duration_seconds", (*of, outcome), Histogram(buckets, epoch_ns)
    yield "timer_lag_seconds", (pool,), Histogram(tally.timer_lag, epoch_ns)
    running_ns = sum(now.now_ns - since_ns for since_ns in now.running_since_ns)
    yield "worker_busy_seconds", (pool,), (tally.running_ns() + running_ns) / _NS
    yield "queue_depth", (pool, "ready"), now.ready
    yield "queue_depth", (pool, "delayed"), now.delayed
    oldest = now.oldest_ready_at_ns
    age = 0.0 if oldest is None else (now.now_ns - oldest) / _NS
    yield "queue_oldest_age_seconds", (pool,), age
    yield "workers", (pool, "busy"), len(now.running_since_ns)
    yield "workers", (pool, "idle"), now.idle
    yield "workers", (pool, "abandoned"), now.abandoned
    yield "workers_limit", (pool,), now.workers
    for reason, count in now.rejected.items():
        yield "tasks_rejected", (pool, reason), count
    yield "journal_errors", (pool,), now.journal_errors
    yield "observer_errors", (pool,), now.observer_errors
    for reason, count in spans_lost.items():
        yield "spans_lost", (pool, reason), count
    yield "build_info", (pool, _version(), platform.python_version(), view.clock), 1


def _version() -> str:
    try:
        return metadata.version("twinclock")
    except metadata.PackageNotFoundError:  # run from a source tree
        return "unknown"


# ---------------------------------------------------------------- the registry's side


_Values = dict[str, dict[tuple[str, ...], "float | Histogram"]]


class _PoolsCollector(Collector):
    """All pools of one registry."""

    def __init__(self) -> None:
        self._pools: list[PoolMetrics] = []
        self._past: _Values = defaultdict(dict)  # of closed pools, added up
        self._lock = threading.Lock()  # guards both

    def add(self, pool: PoolMetrics) -> None:
        """Export a pool from now on."""
        with self._lock:
            self._pools.append(pool)

    def retire(self, pool: PoolMetrics) -> None:
        """Keep what a closed pool has counted, and let go of it."""
        with self._lock:
            if pool in self._pools:
                self._pools.remove(pool)
                _add(self._past, pool.read())

    def describe(self) -> list[Metric]:
        """All of them, without a value: so that a name that is taken already is found out."""
        return [
            Metric(f"{PREFIX}{name}", metric.help, metric.kind) for name, metric in METRICS.items()
        ]

    def collect(self) -> Iterator[Metric]:
        values: _Values = defaultdict(dict)
        with self._lock:
            pools = list(self._pools)
            for name, series in self._past.items():
                values[name].update(series)
        for pool in pools:
            _add(values, pool.read())
        for name, metric in METRICS.items():
            yield _family(name, metric.kind, metric.labels, metric.help, values[name])


def _add(values: _Values, readings: list[Reading]) -> None:
    for name, labels, value in readings:
        _add_one(values[name], name, labels, value)


def _add_one(
    series: dict[tuple[str, ...], float | Histogram],
    name: str,
    labels: tuple[str, ...],
    value: float | Histogram,
) -> None:
    if isinstance(value, Histogram):
        total = series.get(labels)
        series[labels] = value if total is None else value.plus(total)  # type: ignore[arg-type]
    elif METRICS[name].kind == "counter":
        before = series.get(labels, 0)
        assert not isinstance(before, Histogram)
        series[labels] = before + value
    else:
        series[labels] = value


def _family(
    name: str,
    kind: str,
    labels: tuple[str, ...],
    text: str,
    series: dict[tuple[str, ...], float | Histogram],
) -> Metric:
    full = f"{PREFIX}{name}"
    if kind == "histogram":
        histograms = HistogramMetricFamily(full, text, labels=labels)
        for values, histogram in series.items():
            assert isinstance(histogram, Histogram)
            histograms.add_metric(values, histogram.exposed(), sum_value=histogram.sum_ns / _NS)
        return histograms
    family = (CounterMetricFamily if kind == "counter" else GaugeMetricFamily)(
        full, text, labels=labels
    )
    for values, value in series.items():
        assert not isinstance(value, Histogram)
        family.add_metric(values, value)
    return family


_collectors: WeakKeyDictionary[CollectorRegistry, _PoolsCollector] = WeakKeyDictionary()
_registering = threading.Lock()


def _collector_of(registry: CollectorRegistry) -> _PoolsCollector:
    with _registering:
        collector = _collectors.get(registry)
        if collector is None:
            collector = _PoolsCollector()
            registry.register(collector)
            _collectors[registry] = collector
        return collector
