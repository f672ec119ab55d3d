"""Prometheus metrics, from transitions.

Everything is counted from the transitions' own instants, off the hot path, in plain Python; the
registry asks when it is scraped. So a real and a simulated run come out alike, and a scrape equals,
number by number, what one counts from the journal up to that instant.

One collector serves a registry, whatever the number of pools: two pools of one name are told apart
by nothing, so their counts are added up.
"""

from __future__ import annotations

import platform
import threading
from bisect import bisect_left
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from importlib import metadata
from itertools import accumulate
from typing import NamedTuple, Protocol
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
from runtime.core.records import UNSET, TaskSubmitted, Transition
from runtime.core.states import Cause, TaskState
from runtime.observers import Detail
from runtime.view import Present
from telemetry.names import (
    BUCKETS,
    LAG_BUCKETS,
    METRICS,
    MOST_GROUPS,
    OTHER_GROUP,
    OUTCOMES,
    PREFIX,
)

__all__ = ["Histogram", "PoolMetrics", "View"]

_OUTCOME = {
    TaskState.SUCCEEDED: "ok",
    TaskState.FAILED: "error",
    TaskState.TIMED_OUT: "timeout",
    TaskState.CANCELLED: "cancelled",
}
_NS = 1e9


class Histogram:
    """Counts by bucket, their sum in nanoseconds, and the newest trace of each bucket."""

    __slots__ = ("bounds_ns", "counts", "exemplars", "sum_ns")

    def __init__(self, bounds: Sequence[float]) -> None:
        self.bounds_ns = [round(bound * _NS) for bound in bounds]
        self.counts = [0] * (len(bounds) + 1)
        self.sum_ns = 0
        self.exemplars: dict[int, _Exemplar] = {}

    def observe(self, value_ns: int) -> int:
        """Count a value; the index of its bucket is returned."""
        index = bisect_left(self.bounds_ns, value_ns)
        self.counts[index] += 1
        self.sum_ns += value_ns
        return index

    def copy(self) -> Histogram:
        """The same, by itself."""
        made = Histogram(())
        made.bounds_ns, made.counts, made.sum_ns = self.bounds_ns, list(self.counts), self.sum_ns
        made.exemplars = dict(self.exemplars)
        return made

    def cumulative(self) -> list[tuple[str, int]]:
        """The upper bound of each bucket in seconds, and how many were not above it."""
        bounds = [*(str(bound / _NS) for bound in self.bounds_ns), "+Inf"]
        return list(zip(bounds, accumulate(self.counts), strict=True))

    def add(self, other: Histogram) -> None:
        """Count what another has counted, too."""
        self.counts = [
            mine + theirs for mine, theirs in zip(self.counts, other.counts, strict=True)
        ]
        self.sum_ns += other.sum_ns
        for index, exemplar in other.exemplars.items():
            mine = self.exemplars.get(index)
            if mine is None or mine.at_ns < exemplar.at_ns:
                self.exemplars[index] = exemplar

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

    def task(self, number: int) -> TaskSubmitted:
        """What was submitted under a number."""

    def flush(self) -> object:
        """Tell what has happened so far."""

    def present(self) -> Present:
        """The pool at this instant."""


class _Live:
    """What has to be remembered of a live task."""

    __slots__ = ("due_ns", "group", "running", "since_ns", "spec", "submitted_ns")

    def __init__(self, group: str, spec: TaskSubmitted, at_ns: int) -> None:
        self.group = group
        self.spec = spec
        self.submitted_ns = at_ns
        self.since_ns = at_ns  # when it entered the state that it is in
        self.due_ns = 0
        self.running = False


class PoolMetrics:
    """Counts one pool's transitions; an observer, to be given to a pool.

    Args:
        registry: where it is exported.
    """

    def __init__(self, registry: CollectorRegistry) -> None:
        self._registry = registry
        self._lock = threading.Lock()  # guards all counts, against a scrape
        self._live: dict[int, _Live] = {}
        self._groups: set[str] = set()
        self.counters: dict[str, dict[tuple[str, ...], int]] = {
            name: defaultdict(int) for name, metric in METRICS.items() if metric.kind == "counter"
        }
        self.histograms: dict[str, dict[tuple[str, ...], Histogram]] = {
            name: {} for name, metric in METRICS.items() if metric.kind == "histogram"
        }
        self._busy_ns = 0
        self._busy_told_ns = 0
        self._view: View | None = None
        self._trace_of: Callable[[int], SpanContext | None] | None = None
        self._last: Present | None = None

    def attach(self, view: View) -> None:
        """Get to know the pool, and appear in the registry."""
        self._view = view
        self._name, self._clock, self._settings = view.name, view.clock, view.settings
        self._epoch_ns = view.epoch_ns
        self._admit("default")
        self.histograms["timer_lag_seconds"][()] = Histogram(LAG_BUCKETS)
        _collector_of(self._registry).add(self)

    def mark_traces(self, trace_of: Callable[[int], SpanContext | None]) -> None:
        """Give each bucket the newest trace of what it counts, as an exemplar.

        Args:
            trace_of: the context of a live task's span by the task's number, where it is sampled.
        """
        self._trace_of = trace_of

    def detail(self) -> Detail:
        """All transitions."""
        return "all"

    def late_exception(self, task_id: str, attempt: int, error: BaseException) -> None:
        """Its transition counts it."""

    def close(self) -> None:
        """What was counted stays in the registry; the pool is let go of."""
        if self._view is not None:
            self._last = self._view.present()
            self._view = None
            _collector_of(self._registry).retire(self)

    def transitions(self, batch: Sequence[Transition]) -> None:
        """Count what changed."""
        with self._lock:
            for transition in batch:
                self._count(transition)

    # ------------------------------------------------------------ counting

    def _admit(self, group: str) -> str:
        """The label for a group; all its series begin at zero."""
        if group in self._groups:
            return group
        if len(self._groups) >= MOST_GROUPS and group != OTHER_GROUP:
            return self._admit(OTHER_GROUP)
        self._groups.add(group)
        counters, histograms = self.counters, self.histograms
        counters["tasks_submitted"][group,] = 0
        counters["late_results"][group,] = 0
        histograms["queue_wait_seconds"][group,] = Histogram(BUCKETS)
        for reason in ("error", "timeout"):
            counters["retries_scheduled"][group, reason] = 0
        for outcome in OUTCOMES:
            counters["tasks_finished"][group, outcome] = 0
            counters["attempts_finished"][group, outcome] = 0
            histograms["task_duration_seconds"][group, outcome] = Histogram(BUCKETS)
            histograms["attempt_duration_seconds"][group, outcome] = Histogram(BUCKETS)
        return group

    def _count(self, t: Transition) -> None:
        number, at_ns = t.task, t.at_ns
        if t.cause is None:
            spec = t.detail
            assert isinstance(spec, TaskSubmitted)
            group = self._admit(spec.group)
            self._live[number] = _Live(group, spec, at_ns)
            self.counters["tasks_submitted"][group,] += 1
            return
        if t.cause == Cause.LATE_COMPLETION:
            self.counters["late_results"][self._look_up(number),] += 1
            return
        live = self._live[number]
        group = live.group
        lasted_ns = at_ns - live.since_ns
        live.since_ns = at_ns
        live.running = t.after == TaskState.RUNNING
        if t.after == TaskState.RUNNING:
            self._observe("queue_wait_seconds", (group,), lasted_ns, t)
            live.due_ns = self._limit_at(live, at_ns)
            return
        if t.before == TaskState.RUNNING:
            self._attempt_ended(t, group, lasted_ns)
        if t.after == TaskState.READY or t.abandoned:
            self._timer_fired(t, live)
        if t.after == TaskState.DELAYED:
            assert t.until_ns is not None
            live.due_ns = t.until_ns
            self.counters["retries_scheduled"][group, t.reason] += 1
        elif t.after >= TaskState.SUCCEEDED:
            outcome = _OUTCOME[t.after]
            self.counters["tasks_finished"][group, outcome] += 1
            took_ns = at_ns - live.submitted_ns
            self._observe("task_duration_seconds", (group, outcome), took_ns, t)
            del self._live[number]

    def _attempt_ended(self, t: Transition, group: str, lasted_ns: int) -> None:
        if t.abandoned:
            outcome = "cancelled" if t.cause == Cause.CANCEL_REQUESTED else "timeout"
        else:
            outcome = "ok" if t.after == TaskState.SUCCEEDED else "error"
        self.counters["attempts_finished"][group, outcome] += 1
        self._observe("attempt_duration_seconds", (group, outcome), lasted_ns, t)
        self._busy_ns += lasted_ns

    def _observe(self, name: str, labels: tuple[str, ...], value_ns: int, t: Transition) -> None:
        histogram = self.histograms[name][labels]
        index = histogram.observe(value_ns)
        if self._trace_of is not None:
            context = self._trace_of(t.task)
            if context is not None:
                histogram.exemplars[index] = _Exemplar(context, value_ns, self._epoch_ns + t.at_ns)

    def _limit_at(self, live: _Live, started_ns: int) -> int:
        """When an attempt that has just started will be timed out, 0 for never."""
        own = live.spec.timeout_ns
        limit = self._settings.timeout_ns if own is UNSET else own
        ends = [started_ns + limit] if limit is not None else []
        if live.spec.deadline_at_ns is not None:
            ends.append(live.spec.deadline_at_ns)
        return min(ends, default=0)

    def _timer_fired(self, t: Transition, live: _Live) -> None:
        if t.cause != Cause.CANCEL_REQUESTED and live.due_ns:
            self.histograms["timer_lag_seconds"][()].observe(max(0, t.at_ns - live.due_ns))

    def _look_up(self, number: int) -> str:
        assert self._view is not None
        group = self._view.task(number).group
        return group if group in self._groups else OTHER_GROUP

    # ------------------------------------------------------------ being scraped

    def read(self) -> Iterator[tuple[str, tuple[str, ...], float | Histogram]]:
        """Every series: its metric, its label values, its value."""
        view, now = self._view, self._last
        if view is not None:
            view.flush()
            now = view.present()
        assert now is not None
        pool = self._name
        with self._lock:
            for name, series in self.counters.items():
                for labels, count in series.items():
                    yield name, (pool, *labels), count
            for name, histograms in self.histograms.items():
                for labels, histogram in histograms.items():
                    yield name, (pool, *labels), histogram
            running_ns = sum(
                max(0, now.now_ns - live.since_ns) for live in self._live.values() if live.running
            )
            # an attempt may have ended since we were told: a counter never goes back for that
            self._busy_told_ns = max(self._busy_told_ns, self._busy_ns + running_ns)
            busy_ns = self._busy_told_ns
        oldest = now.oldest_ready_at_ns
        yield "worker_busy_seconds", (pool,), busy_ns / _NS
        yield "queue_depth", (pool, "ready"), now.ready
        yield "queue_depth", (pool, "delayed"), now.delayed
        age = 0.0 if oldest is None else (now.now_ns - oldest) / _NS
        yield "queue_oldest_age_seconds", (pool,), age
        yield "workers", (pool, "busy"), len(now.running_since_ns)
        yield "workers", (pool, "idle"), now.idle
        yield "workers", (pool, "abandoned"), now.abandoned
        yield "workers_limit", (pool,), self._settings.max_workers
        for reason, count in now.rejected.items():
            yield "tasks_rejected", (pool, reason), count
        yield "journal_errors", (pool,), now.journal_errors
        yield "observer_errors", (pool,), now.observer_errors
        yield "build_info", (pool, _version(), platform.python_version(), self._clock), 1


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
                _add(self._past, pool)

    def describe(self) -> list[Metric]:
        """Nothing: asked for before there are pools."""
        return []

    def collect(self) -> Iterator[Metric]:
        values: _Values = defaultdict(dict)
        with self._lock:
            pools = list(self._pools)
            for name, series in self._past.items():
                for labels, value in series.items():
                    _add_one(values[name], name, labels, value)
        for pool in pools:
            _add(values, pool)
        for name, metric in METRICS.items():
            yield _family(name, metric.kind, metric.labels, metric.help, values[name])


def _add(values: _Values, pool: PoolMetrics) -> None:
    for name, labels, value in pool.read():
        _add_one(values[name], name, labels, value)


def _add_one(
    series: dict[tuple[str, ...], float | Histogram],
    name: str,
    labels: tuple[str, ...],
    value: float | Histogram,
) -> None:
    if isinstance(value, Histogram):
        total = series.get(labels)
        if total is None:
            total = series[labels] = Histogram([b / _NS for b in value.bounds_ns])
        assert isinstance(total, Histogram)
        total.add(value)
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
            collector = _collectors[registry] = _PoolsCollector()
            registry.register(collector)
        return collector
