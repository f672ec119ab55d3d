"""OpenTelemetry spans, from transitions.

A task is a span under its submitter's; each attempt is a span under the task's. Their instants are
the transitions' own, so spans of a real and of a simulated run come out alike. What has to be done
where users' code runs is little: the contexts are made there, and a light span is made current
(``telemetry.light``). All else is done later, in the thread that observers have.

Sampling is decided once a task, when it is submitted, by the provider's own sampler. A task that is
not sampled leaves nothing behind: no transition of it is told, and its function finds a span that
makes its ids when asked. On a virtual clock ids come from the seed, so two runs export the same.
"""

from __future__ import annotations

import threading
import traceback
from collections.abc import Sequence
from functools import partial
from typing import Any, Final, Literal

from opentelemetry import trace
from opentelemetry.context import Context
from opentelemetry.sdk.trace import SpanLimits, TracerProvider
from opentelemetry.sdk.trace.sampling import Decision
from opentelemetry.sdk.util.instrumentation import InstrumentationScope
from opentelemetry.trace import Link, SpanContext, SpanKind, Status, StatusCode
from opentelemetry.trace.span import TraceState
from opentelemetry.util import types

from runtime.core.records import UNSET, TaskSubmitted, Transition
from runtime.core.states import Cause, TaskState
from runtime.failures import type_name
from runtime.observers import Detail
from runtime.view import PoolView
from telemetry.current import SPAN_KEY, attach, context_of, current, leave
from telemetry.foreseen import Foreseen
from telemetry.light import FLAGS, RANDOM_TRACE_ID, DroppedSpan, LightSpan, drawn
from telemetry.losses import Outlet

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
# Looked up once: that takes longer than what is done with them.
_READY: Final = TaskState.READY
_RUNNING: Final = TaskState.RUNNING
_SUCCEEDED: Final = TaskState.SUCCEEDED
_STARTED: Final = Cause.STARTED
_ABORT_REQUESTED: Final = Cause.ABORT_REQUESTED
_LATE_COMPLETION: Final = Cause.LATE_COMPLETION
#: Sets the ids of an attempt's queue span apart from its own.
_QUEUE: Final = 1 << 31


class _Task:
    """What is remembered of a live task."""

    __slots__ = ("context", "parent", "running", "span", "spec")

    def __init__(self, context: SpanContext, parent: SpanContext | None, spec: TaskSubmitted):
        self.context = context
        self.parent = parent
        self.spec = spec
        self.span: LightSpan | None = None  # where it is needed before the task's end
        # the span of the attempt that has begun last: the one before leads on from there, since
        # an attempt may begin before the thread that makes spans has heard of the last one's end
        self.running: LightSpan | None = None


class PoolSpans:
    """Makes one pool's spans; an observer, to be given to a pool.

    Args:
        provider: where they go: its sampler, its resource, its limits, its span processors.
        relation: how a task's span stands to its submitter's.
        queue_spans: whether each wait of an attempt for a worker is a span, too.

    Attributes:
        outlet: the way to the provider's processors; knows how many spans were lost.
    """

    needs_cpu_time: Final = False

    def __init__(
        self,
        provider: TracerProvider,
        relation: Relation = "child",
        queue_spans: bool = False,
    ) -> None:
        if relation not in ("child", "link", "none"):
            raise ValueError(f"relation={relation!r}: must be child, link or none")
        tracer = provider.get_tracer("twinclock")
        self._sampler = provider.sampler
        self._foreseen = Foreseen(provider.sampler)
        self._ids = provider.id_generator
        self._relation = relation
        #: of a task under one that this pool has dropped: known without asking for its context
        self._under_dropped = self._foreseen.under_dropped if relation == "child" else None
        self._queue_spans = queue_spans
        self._root_flags = 0
        self._seed = provider.id_generator.generate_trace_id()  # of ids that nobody may ask for
        self._tasks: dict[int, _Task] = {}
        self._names: dict[str, tuple[str, str, str]] = {}  # by group
        self._view: PoolView | None = None
        scope = InstrumentationScope("twinclock")
        processor = tracer.span_processor  # type: ignore[attr-defined]  # the SDK's has it
        self.outlet = Outlet(processor, scope)

        class Own(LightSpan):
            _limits = getattr(provider, "_span_limits", None) or SpanLimits()
            _resource = provider.resource
            _instrumentation_scope = scope
            _span_processor = processor

        class OwnDropped(DroppedSpan):
            seed = self._seed

        self._span = Own
        self._dropped = OwnDropped

    def attach(self, view: PoolView) -> None:
        """Get to know the pool."""
        self._view = view
        self.outlet.pool = view.name
        self._virtual = view.clock == "virtual"
        if self._virtual:
            self._seed = self._dropped.seed = view.settings.seed
        elif getattr(self._ids, "is_trace_id_random", bool)():
            self._root_flags = self._dropped.root_flags = RANDOM_TRACE_ID
        self._epoch_ns = view.epoch_ns
        self._timeout_ns = view.settings.timeout_ns
        self._span.now_epoch_ns = staticmethod(partial(_now_epoch_ns, view))

    def detail(self) -> Detail:
        """None but those of the tasks that are marked."""
        return "none"

    def late_exception(self, task_id: str, attempt: int, error: BaseException) -> None:
        """Its attempt's span has ended."""

    def close(self) -> None:
        """Let go of the pool."""
        self._view = None
        self._tasks.clear()

    # ------------------------------------------------------------ where users' code is

    def submitted(self, number: int) -> None:
        """Take the submitter's span as the task's parent, and decide on sampling."""
        view = self._view
        if view is None:
            return
        context = current()
        foreseen = self._foreseen
        if not context and foreseen.at_roots is Decision.DROP:
            return
        found = context.get(SPAN_KEY)
        submitter: SpanContext | None = None
        if found is not None:
            if type(found) is self._dropped and self._under_dropped is Decision.DROP:
                return
            submitter = context_of(found)
        parent = submitter if self._relation == "child" else None
        decision = foreseen.at_roots if parent is None else foreseen.under(parent)
        if decision is Decision.DROP:
            return
        trace_id = self._new_trace_id(number) if parent is None else parent.trace_id
        links = [Link(submitter)] if submitter is not None and self._relation == "link" else ()
        attributes: types.Attributes = None
        state: TraceState | None = None
        spec = view.task(number)
        if decision is not None:
            state = None if parent is None else parent.trace_state
        else:
            if parent is None and foreseen.drops(trace_id):
                self._drop(number, context, None, trace_id, None)
                return
            name = self._names_of(spec.group)[0]
            above = context if parent is not None else Context()
            decided = self._sampler.should_sample(
                above, trace_id, name, SpanKind.INTERNAL, None, links
            )
            decision, attributes, state = decided.decision, decided.attributes, decided.trace_state
            if decision is Decision.DROP:
                self._drop(number, context, parent and found, trace_id, state)
                return
        flags = int(decision is Decision.RECORD_AND_SAMPLE)
        flags |= self._root_flags if parent is None else parent.trace_flags & RANDOM_TRACE_ID
        own = SpanContext(trace_id, self._new_span_id(number, 0), False, FLAGS[flags], state)
        self._tasks[number] = task = _Task(own, parent, spec)
        view.mark(number, own)
        if links or attributes or self.outlet.listens:
            span = self._span_of(task)
            for link in links:
                span.add_link(link.context)
            if attributes:
                span.set_attributes(attributes)
            self._start(span, context)

    def begin(self, number: int, attempt: int) -> None:
        """Make the attempt's span current; its context is the attempt's own, so it stays so."""
        context = current()
        task = self._tasks.get(number)
        if task is None:
            if not context:
                attach(Context({SPAN_KEY: self._dropped(number)}))
                return
            found = context.get(SPAN_KEY)
            if type(found) is not self._dropped or found.number != number:
                leave(context, self._dropped(number, found if self._relation == "child" else None))
            return  # or it was left there when it was submitted
        span = self._under(task, 1, number, attempt)
        span.thread_id = threading.get_ident()
        span.attempt = attempt
        if self.outlet.listens:
            self._start(span, trace.set_span_in_context(self._span_of(task), context))
        leave(context, span)
        span.earlier = task.running
        task.running = span

    def _start(self, span: LightSpan, context: Context) -> None:
        """Tell the processors; the exact instant is known only later."""
        span._start_time = self._span.now_epoch_ns()
        self.outlet.on_start(span, context)

    def _drop(
        self,
        number: int,
        context: Context,
        above: object,
        trace_id: int,
        state: TraceState | None,
    ) -> None:
        """Leave word in a task's context of how it was decided that it is not sampled."""
        assert self._view is not None
        span = self._dropped(number, above)
        span.trace_id, span.trace_state = trace_id, state
        self._view.call_in(number, partial(leave, context, span))

    def _new_trace_id(self, number: int) -> int:
        if self._virtual:
            return drawn(self._seed, number, 0)[0]
        return self._ids.generate_trace_id()

    def _new_span_id(self, number: int, attempt: int) -> int:
        if self._virtual:
            return drawn(self._seed, number, attempt)[1]
        return self._ids.generate_span_id()

    def _span_of(self, task: _Task) -> LightSpan:
        """A task's own span, made when first needed."""
        if task.span is None:
            name = self._names_of(task.spec.group)[0]
            task.span = self._span(name, task.context, task.parent)
        return task.span

    def _under(self, task: _Task, which: int, number: int, key: int) -> LightSpan:
        """A span under a task's, named by its place in ``_names_of``."""
        above = task.context
        span_id = self._new_span_id(number, key)
        own = SpanContext(above.trace_id, span_id, False, above.trace_flags, above.trace_state)
        return self._span(self._names_of(task.spec.group)[which], own, above)

    def _names_of(self, group: str) -> tuple[str, str, str]:
        names = self._names.get(group)
        if names is None:
            names = f"task {group}", f"attempt {group}", f"queue {group}"
            self._names[group] = names
        return names

    # ------------------------------------------------------------ making spans

    def transitions(self, batch: Sequence[Transition]) -> None:
        """Make the spans that have ended."""
        tasks = self._tasks
        for transition in batch:
            task = tasks.get(transition.task)
            if task is not None:
                self._follow(transition, task)

    def _follow(self, t: Transition, task: _Task) -> None:
        cause, before = t.cause, t.before
        if cause is None or cause is _STARTED or cause is _LATE_COMPLETION:
            return
        if before is _RUNNING:
            if self._queue_spans:
                self._end_wait(t, task, t.attempt, t.started_at_ns)
            self._end_attempt(t, task)
        elif before is _READY and self._queue_spans:
            self._end_wait(t, task, t.attempt + 1, t.at_ns)
        if cause is _ABORT_REQUESTED:
            self._add_event(task, "workerpool.abort_requested", t.at_ns)
        if t.until_ns is not None:
            self._add_event(
                task,
                "workerpool.retry_scheduled",
                t.at_ns,
                {
                    "workerpool.retry.reason": t.reason,
                    "workerpool.backoff": (t.until_ns - t.at_ns) / _NS,
                },
            )
        elif t.after >= _SUCCEEDED:
            self._end_task(t, task)

    def _add_event(
        self, task: _Task, name: str, at_ns: int, attributes: types.Attributes = None
    ) -> None:
        self._span_of(task).add_event(name, attributes, self._epoch_ns + at_ns)

    def _end_attempt(self, t: Transition, task: _Task) -> None:
        view, spec = self._view, task.spec
        assert view is not None
        span = task.running
        while span is not None and span.attempt != t.attempt:
            span = span.earlier
        if span is None:  # it was abandoned before its function began
            span = self._under(task, 1, t.task, t.attempt)
        if t.abandoned:
            outcome = "cancelled" if t.cause == Cause.CANCEL_REQUESTED else "timeout"
        else:
            outcome = "ok" if t.after is _SUCCEEDED else "error"
        own_limit = spec.timeout_ns
        limit = self._timeout_ns if own_limit is UNSET else own_limit
        attributes: dict[str, Any] = {
            "workerpool.attempt.number": t.attempt,
            "workerpool.worker.id": f"worker-{t.slot + 1}",
            "workerpool.queue.wait": (t.started_at_ns - t.ready_at_ns) / _NS,
            "workerpool.outcome": outcome,
        }
        if limit is not None:
            attributes["workerpool.timeout"] = limit / _NS
        if span.thread_id:
            attributes["thread.id"] = span.thread_id
        began_ns, ended_ns = self._epoch_ns + t.started_at_ns, self._epoch_ns + t.at_ns
        if outcome in ("error", "timeout"):
            error = view.failure(t.task, t.attempt)
            kind = "TimeoutError" if error is None else type_name(error)
            attributes["error.type"] = kind
            if error is not None and outcome == "error":
                span.add_event("exception", _exception(error), ended_ns)
            span._status = Status(StatusCode.ERROR, kind)
        span.finish(attributes, began_ns, ended_ns, shared=t.abandoned)
        self.outlet.on_end(span)

    def _end_wait(self, t: Transition, task: _Task, attempt: int, ended_at_ns: int) -> None:
        span = self._under(task, 2, t.task, attempt | _QUEUE)
        began_ns, ended_ns = self._epoch_ns + t.ready_at_ns, self._epoch_ns + ended_at_ns
        span.finish({"workerpool.attempt.number": attempt}, began_ns, ended_ns, shared=False)
        self.outlet.on_end(span)

    def _end_task(self, t: Transition, task: _Task) -> None:
        view, spec, span = self._view, task.spec, self._span_of(task)
        assert view is not None
        outcome = _OUTCOME[t.after]
        attributes: dict[str, Any] = {
            "workerpool.pool.name": view.name,
            "workerpool.task.id": view.task_id(t.task),
            "workerpool.task.name": spec.name,
            "workerpool.task.priority": spec.priority,
            "workerpool.group": spec.group,
            "workerpool.outcome": outcome,
            "workerpool.attempt.count": t.attempt,
        }
        if outcome in ("error", "timeout"):
            error = view.failure(t.task, t.attempt)
            attributes["error.type"] = "TimeoutError" if error is None else type_name(error)
            span._status = Status(StatusCode.ERROR, t.reason)
        epoch_ns = self._epoch_ns
        span.finish(attributes, epoch_ns + t.submitted_at_ns, epoch_ns + t.at_ns, shared=False)
        del self._tasks[t.task]
        self.outlet.on_end(span)


def _now_epoch_ns(view: PoolView) -> int:
    return view.epoch_ns + view.now_ns()


def _exception(error: BaseException) -> dict[str, str]:
    try:
        message = str(error)
    except BaseException:  # of the user's: whatever it is, it is told here
        message = "<its str() raises>"
    try:
        stack = "".join(traceback.format_exception(error))
    except BaseException:
        stack = "<it cannot be formatted>"
    return {
        "exception.type": type_name(error),
        "exception.message": message,
        "exception.stacktrace": stack,
    }
