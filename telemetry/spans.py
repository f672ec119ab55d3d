"""OpenTelemetry spans, from transitions.

A task is a span under its submitter's; each attempt is a span under the task's. Their instants are
the transitions' own, so spans of a real and of a simulated run come out alike. While a function
runs, the span that it finds current is a light one, which only keeps what is set on it; the span
that is exported is made afterwards, off the hot path (measured by the project: an SDK span started
and ended costs 14.7 us in the worker, one made later from a record 1.1 us).

Sampling is decided once a task, when it is submitted, by the provider's own sampler. On a virtual
clock ids come from the seed, so two runs export the same.
"""

from __future__ import annotations

import threading
import traceback
from collections.abc import Mapping, Sequence
from random import Random
from typing import Any, Final, Literal

from opentelemetry import context as otel_context
from opentelemetry import trace
from opentelemetry.sdk.trace import Event, ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.sampling import Decision
from opentelemetry.sdk.util.instrumentation import InstrumentationScope
from opentelemetry.trace import Link, SpanContext, SpanKind, Status, StatusCode, TraceFlags
from opentelemetry.util import types

from runtime.core.records import UNSET, TaskSubmitted, Transition
from runtime.core.states import Cause, TaskState
from runtime.failures import type_name
from runtime.observers import Detail
from runtime.view import PoolView

__all__ = ["PoolSpans", "Relation"]

#: How a task's span stands to its submitter's: under it, in a trace of its own with a link to it,
#: or without any relation.
Relation = Literal["child", "link", "none"]

_OUTCOME: Final = {
    TaskState.SUCCEEDED: "ok",
    TaskState.FAILED: "error",
    TaskState.TIMED_OUT: "timeout",
    TaskState.CANCELLED: "cancelled",
}
_NS: Final = 1e9
#: Sets the ids of an attempt's queue span apart from its own.
_QUEUE: Final = 1 << 31


class _CurrentSpan(trace.Span):
    """What a running function sets on its span; made into a real span when the attempt ends."""

    def __init__(self, context: SpanContext, recording: bool) -> None:
        self._context = context
        self._recording = recording
        self.attributes: dict[str, Any] = {}
        self.events: list[Event] = []
        self.links: list[Link] = []
        self.status: Status | None = None
        self.name: str | None = None
        self.thread_id = threading.get_ident()

    def get_span_context(self) -> SpanContext:
        return self._context

    def is_recording(self) -> bool:
        return self._recording

    def set_attribute(self, key: str, value: types.AttributeValue) -> None:
        self.attributes[key] = value

    def set_attributes(self, attributes: Mapping[str, types.AttributeValue]) -> None:
        self.attributes.update(attributes)

    def add_event(
        self, name: str, attributes: types.Attributes = None, timestamp: int | None = None
    ) -> None:
        self.events.append(Event(name, attributes, timestamp))

    def add_link(self, context: SpanContext, attributes: types.Attributes = None) -> None:
        self.links.append(Link(context, attributes))

    def update_name(self, name: str) -> None:
        self.name = name

    def set_status(self, status: Status | StatusCode, description: str | None = None) -> None:
        self.status = status if isinstance(status, Status) else Status(status, description)

    def record_exception(
        self,
        exception: BaseException,
        attributes: types.Attributes = None,
        timestamp: int | None = None,
        escaped: bool = False,
    ) -> None:
        self.events.append(_exception_event(exception, timestamp, attributes))

    def end(self, end_time: int | None = None) -> None:
        """The attempt's end ends it."""


class _Task:
    """What is remembered of a live task's spans."""

    def __init__(self, context: SpanContext, parent: SpanContext | None, links: list[Link]) -> None:
        self.context = context
        self.parent = parent
        self.links = links
        self.spec: TaskSubmitted | None = None
        self.submitted_ns = 0
        self.since_ns = 0
        self.waited_ns = 0
        self.slot = -1
        self.attempts = 0
        self.events: list[Event] = []


class PoolSpans:
    """Makes one pool's spans; an observer, to be given to a pool.

    Args:
        provider: where they go: its sampler, its resource, its span processors (whose ``on_end``
            alone is called).
        relation: how a task's span stands to its submitter's.
        queue_spans: whether each wait of an attempt for a worker is a span, too.
    """

    def __init__(
        self,
        provider: TracerProvider,
        relation: Relation = "child",
        queue_spans: bool = False,
    ) -> None:
        if relation not in ("child", "link", "none"):
            raise ValueError(f"relation={relation!r}: must be child, link or none")
        tracer = provider.get_tracer("twinclock")
        self._processor = tracer.span_processor  # type: ignore[attr-defined]  # the SDK's has it
        self._sampler = provider.sampler
        self._ids = provider.id_generator
        self._resource = provider.resource
        self._scope = InstrumentationScope("twinclock")
        self._relation = relation
        self._queue_spans = queue_spans
        self._tasks: dict[int, _Task] = {}
        self._running: dict[tuple[int, int], _CurrentSpan] = {}
        self._view: PoolView | None = None

    def attach(self, view: PoolView) -> None:
        """Get to know the pool."""
        self._view = view

    def detail(self) -> Detail:
        """All transitions."""
        return "all"

    def late_exception(self, task_id: str, attempt: int, error: BaseException) -> None:
        """Its attempt's span has ended."""

    def close(self) -> None:
        """Let go of the pool."""
        self._view = None
        self._running.clear()

    # ------------------------------------------------------------ where users' code is

    def submitted(self, number: int) -> None:
        """Take the submitter's span as the task's parent, and decide on sampling."""
        assert self._view is not None
        current = trace.get_current_span().get_span_context()
        parent = current if current.is_valid and self._relation == "child" else None
        links = [Link(current)] if current.is_valid and self._relation == "link" else []
        trace_id, span_id = self._new_ids(number, 0)
        if parent is not None:
            trace_id = parent.trace_id
        group = self._view.task(number).group
        decided = self._sampler.should_sample(
            None if parent is None else trace.set_span_in_context(trace.NonRecordingSpan(parent)),
            trace_id,
            f"task {group}",
            SpanKind.INTERNAL,
            None,
            links,
        )
        sampled = decided.decision == Decision.RECORD_AND_SAMPLE
        flags = TraceFlags.SAMPLED if sampled else TraceFlags.DEFAULT
        context = SpanContext(trace_id, span_id, False, TraceFlags(flags), decided.trace_state)
        self._tasks[number] = _Task(context, parent, links)

    def begin(self, number: int, attempt: int) -> None:
        """Make the attempt's span current; its context is the attempt's own, so it stays so."""
        task = self._tasks.get(number)
        if task is None:
            return
        sampled = task.context.trace_flags.sampled
        span = _CurrentSpan(self._attempt_context(task, number, attempt), sampled)
        if sampled:
            self._running[number, attempt] = span
        otel_context.attach(trace.set_span_in_context(span))

    def trace_of(self, number: int) -> SpanContext | None:
        """The context of a live task's span, where it is sampled.

        Args:
            number: the task's number.
        """
        task = self._tasks.get(number)
        return task.context if task is not None and task.context.trace_flags.sampled else None

    def _new_ids(self, number: int, attempt: int) -> tuple[int, int]:
        view = self._view
        if view is not None and view.clock == "virtual":
            key = (((view.settings.seed << 64) | number) << 32) | attempt
            draw = Random(key).getrandbits
            return draw(128) or 1, draw(64) or 1
        return self._ids.generate_trace_id(), self._ids.generate_span_id()

    def _attempt_context(self, task: _Task, number: int, attempt: int) -> SpanContext:
        context = task.context
        _, span_id = self._new_ids(number, attempt)
        return SpanContext(
            context.trace_id, span_id, False, context.trace_flags, context.trace_state
        )

    # ------------------------------------------------------------ making spans

    def transitions(self, batch: Sequence[Transition]) -> None:
        """Make the spans that have ended."""
        for transition in batch:
            self._follow(transition)

    def _follow(self, t: Transition) -> None:
        task = self._tasks.get(t.task)
        if task is None or t.cause == Cause.LATE_COMPLETION:
            return
        if not task.context.trace_flags.sampled:
            if t.after >= TaskState.SUCCEEDED:
                del self._tasks[t.task]
            return
        if t.cause is None:
            assert isinstance(t.detail, TaskSubmitted)
            task.spec = t.detail
            task.submitted_ns = task.since_ns = t.at_ns
            return
        if self._queue_spans and t.before == TaskState.READY and t.after != TaskState.READY:
            self._end_wait(t, task)
        if t.after == TaskState.RUNNING:
            task.waited_ns = t.at_ns - task.since_ns
            task.slot, task.attempts = t.slot, t.attempt
        elif t.before == TaskState.RUNNING:
            self._end_attempt(t, task)
        if t.cause == Cause.ABORT_REQUESTED:
            self._add_event(task, "workerpool.abort_requested", t.at_ns)
        if t.after == TaskState.DELAYED and t.until_ns is not None:
            self._add_event(
                task,
                "workerpool.retry_scheduled",
                t.at_ns,
                {"workerpool.retry.reason": t.reason, "workerpool.backoff": _span_s(t)},
            )
        task.since_ns = t.at_ns
        if t.after >= TaskState.SUCCEEDED:
            self._end_task(t, task)

    def _add_event(
        self, task: _Task, name: str, at_ns: int, attributes: types.Attributes = None
    ) -> None:
        task.events.append(Event(name, attributes, self._epoch(at_ns)))

    def _epoch(self, at_ns: int) -> int:
        assert self._view is not None
        return self._view.epoch_ns + at_ns

    def _end_attempt(self, t: Transition, task: _Task) -> None:
        view, spec = self._view, task.spec
        assert view is not None
        assert spec is not None
        current = self._running.pop((t.task, t.attempt), None)
        if t.abandoned:
            outcome = "cancelled" if t.cause == Cause.CANCEL_REQUESTED else "timeout"
        else:
            outcome = "ok" if t.after == TaskState.SUCCEEDED else "error"
        limit = view.settings.timeout_ns if spec.timeout_ns is UNSET else spec.timeout_ns
        attributes: dict[str, Any] = {
            "workerpool.attempt.number": t.attempt,
            "workerpool.worker.id": f"worker-{task.slot + 1}",
            "workerpool.queue.wait": task.waited_ns / _NS,
            "workerpool.outcome": outcome,
        }
        if limit is not None:
            attributes["workerpool.timeout"] = limit / _NS
        events: list[Event] = []
        links: list[Link] = []
        status = Status(StatusCode.UNSET)
        name = f"attempt {spec.group}"
        context = None
        if current is not None:
            context = current.get_span_context()
            attributes["thread.id"] = current.thread_id
            attributes.update(current.attributes)
            events += current.events
            links += current.links
            status = current.status or status
            name = current.name or name
        if outcome in ("error", "timeout"):
            error = view.failure(t.task, t.attempt)
            kind = "TimeoutError" if error is None else type_name(error)
            attributes["error.type"] = kind
            status = Status(StatusCode.ERROR, kind)
            if error is not None and outcome == "error":
                events.append(_exception_event(error, self._epoch(t.at_ns)))
        self._export(
            name,
            context or self._attempt_context(task, t.task, t.attempt),
            task.context,
            attributes,
            events,
            links,
            status,
            task.since_ns,
            t.at_ns,
        )

    def _end_wait(self, t: Transition, task: _Task) -> None:
        assert task.spec is not None
        attempt = task.attempts + 1
        self._export(
            f"queue {task.spec.group}",
            self._attempt_context(task, t.task, attempt | _QUEUE),
            task.context,
            {"workerpool.attempt.number": attempt},
            [],
            [],
            Status(StatusCode.UNSET),
            task.since_ns,
            t.at_ns,
        )

    def _end_task(self, t: Transition, task: _Task) -> None:
        view, spec = self._view, task.spec
        assert view is not None
        assert spec is not None
        outcome = _OUTCOME[t.after]
        attributes: dict[str, Any] = {
            "workerpool.pool.name": view.name,
            "workerpool.task.id": view.task_id(t.task),
            "workerpool.task.name": spec.name,
            "workerpool.task.priority": spec.priority,
            "workerpool.group": spec.group,
            "workerpool.outcome": outcome,
            "workerpool.attempt.count": task.attempts,
        }
        status = Status(StatusCode.UNSET)
        if outcome in ("error", "timeout"):
            error = view.failure(t.task, task.attempts)
            kind = "TimeoutError" if error is None else type_name(error)
            attributes["error.type"] = kind
            status = Status(StatusCode.ERROR, t.reason)
        self._export(
            f"task {spec.group}",
            task.context,
            task.parent,
            attributes,
            task.events,
            task.links,
            status,
            task.submitted_ns,
            t.at_ns,
        )
        del self._tasks[t.task]

    def _export(
        self,
        name: str,
        context: SpanContext,
        parent: SpanContext | None,
        attributes: dict[str, Any],
        events: Sequence[Event],
        links: Sequence[Link],
        status: Status,
        start_ns: int,
        end_ns: int,
    ) -> None:
        self._processor.on_end(
            ReadableSpan(
                name=name,
                context=context,
                parent=parent,
                resource=self._resource,
                attributes=attributes,
                events=events,
                links=links,
                status=status,
                start_time=self._epoch(start_ns),
                end_time=self._epoch(end_ns),
                instrumentation_scope=self._scope,
            )
        )


def _span_s(t: Transition) -> float:
    return ((t.until_ns or t.at_ns) - t.at_ns) / _NS


def _exception_event(
    error: BaseException, at_ns: int | None, attributes: types.Attributes = None
) -> Event:
    try:
        message = str(error)
    except BaseException:  # of the user's: whatever it is, it is told here
        message = "<its str() raises>"
    try:
        stack = "".join(traceback.format_exception(error))
    except BaseException:
        stack = "<it cannot be formatted>"
    recorded = {
        "exception.type": type_name(error),
        "exception.message": message,
        "exception.stacktrace": stack,
        **(attributes or {}),
    }
    return Event("exception", recorded, at_ns)
