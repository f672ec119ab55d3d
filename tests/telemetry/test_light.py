"""The span that a function finds: an SDK span in all that it does."""

from __future__ import annotations

import contextvars
import gc
import subprocess
import sys
import threading
import weakref
from collections.abc import Callable
from typing import Any

import pytest
from opentelemetry import baggage, trace
from opentelemetry import context as otel_context
from opentelemetry.context import Context
from opentelemetry.sdk.trace import ReadableSpan, Span, SpanLimits, SpanProcessor, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.sdk.trace.sampling import (
    ALWAYS_OFF,
    ALWAYS_ON,
    Decision,
    ParentBased,
    Sampler,
    SamplingResult,
    TraceIdRatioBased,
)
from opentelemetry.trace import SpanContext, Status, StatusCode, TraceFlags, TraceState

from runtime import WorkerPool, WorkerPoolConfig, current_attempt
from simulation import SimulatedWorkerPool
from telemetry import Telemetry, current
from telemetry.light import LightSpan

KINDS = pytest.mark.parametrize("kind", [WorkerPool, SimulatedWorkerPool])


def provider(**options: Any) -> tuple[TracerProvider, InMemorySpanExporter]:
    exporter = InMemorySpanExporter()
    made = TracerProvider(shutdown_on_exit=False, **options)
    made.add_span_processor(SimpleSpanProcessor(exporter))
    return made, exporter


def run(
    traces: TracerProvider,
    fn: Callable[[], object],
    kind: type[WorkerPool] = WorkerPool,
    **options: Any,
) -> None:
    config = WorkerPoolConfig(max_retries=0, **options)
    with kind(config, observers=[Telemetry(tracer_provider=traces, registry=None)]) as pool:
        pool.get_task_result(pool.submit_task("t", fn))


def one(exporter: InMemorySpanExporter, name: str) -> ReadableSpan:
    (span,) = [span for span in exporter.get_finished_spans() if span.name == name]
    return span


def test_it_has_all_that_a_span_of_the_sdk_has() -> None:
    traces, exporter = provider()
    theirs = traces.get_tracer("user").start_span("s")
    seen: list[set[str]] = []

    def look() -> None:
        span = trace.get_current_span()
        assert isinstance(span, LightSpan)
        assert isinstance(span, Span)
        seen.append({name for name in vars(theirs) if not hasattr(span, name)})

    run(traces, look)
    assert seen == [set()], "the SDK's Span has grown: see telemetry/light.py"
    assert {*vars(one(exporter, "attempt default"))} >= {"_attributes", "_end_time"}


@KINDS
def test_what_is_set_lands_as_the_sdk_has_it(kind: type[WorkerPool]) -> None:
    traces, exporter = provider(span_limits=SpanLimits(max_events=2, max_span_attribute_length=9))
    other = SpanContext(1, 2, True)

    def work() -> None:
        span = trace.get_current_span()
        assert span.is_recording()
        values = [1, 2]
        span.set_attribute("list", values)
        values.append(3)
        span.set_attributes({"long": "x" * 20, "": "no key"})
        for n in range(3):
            span.add_event(f"event {n}", {"n": n}, timestamp=n)
        span.record_exception(ValueError("told by hand"), {"more": True})
        span.add_link(other, {"why": "because"})
        span.update_name("renamed")
        span.set_status(StatusCode.OK)
        span.set_status(Status(StatusCode.ERROR, "after OK it does not count"))
        span.end()
        span.set_attribute("after", "end() is the pool's")

    run(traces, work, kind)
    span = one(exporter, "renamed")
    assert span.attributes is not None
    assert span.attributes["list"] == (1, 2)
    assert span.attributes["long"] == "x" * 9
    assert span.attributes["after"] == "end() is "
    assert span.attributes["workerpool.outcome"] == "ok"
    assert "" not in span.attributes
    assert [event.name for event in span.events] == ["event 2", "exception"]
    assert span.dropped_events == 2
    assert span.events[1].attributes["more"] is True  # type: ignore[index]
    assert [link.context for link in span.links] == [other]
    assert span.status.status_code is StatusCode.OK


def test_after_the_attempt_was_abandoned_nothing_more_lands() -> None:
    traces, exporter = provider()
    gone, returned = threading.Event(), threading.Event()
    left: list[bool] = []

    def work() -> None:
        span = trace.get_current_span()
        span.set_attribute("before", 1)
        gone.wait(30)
        span.set_attribute("after", 2)
        span.add_event("after")
        left.append(span.is_recording())
        returned.set()

    config = WorkerPoolConfig(max_retries=0, task_timeout_seconds=0.02, exit_grace_seconds=30)
    with WorkerPool(config, observers=[Telemetry(tracer_provider=traces, registry=None)]) as pool:
        pool.get_task_result(pool.submit_task("t", work))
        pause = threading.Event()
        while not exporter.get_finished_spans():
            pause.wait(0.001)
        gone.set()
        assert returned.wait(30)
    span = one(exporter, "attempt default")
    assert span.attributes is not None
    assert span.attributes["before"] == 1
    assert "after" not in span.attributes
    assert span.events == ()
    assert left == [False]


def test_the_present_of_an_event_is_the_pools() -> None:
    traces, exporter = provider()

    def work() -> None:
        current_attempt().sleep(1000)
        trace.get_current_span().add_event("here")

    run(traces, work, SimulatedWorkerPool, task_timeout_seconds=None)
    (event,) = one(exporter, "attempt default").events
    assert event.timestamp == 1000 * 10**9


class Copies(SpanProcessor):
    """Writes baggage on what begins, as the contributed baggage processor does."""

    def __init__(self) -> None:
        self.began: list[tuple[str, bool, bool]] = []
        self.ended: list[str] = []

    def on_start(self, span: Span, parent_context: Context | None = None) -> None:
        for key, value in baggage.get_all(parent_context).items():
            span.set_attribute(key, str(value))
        above = trace.get_current_span(parent_context).get_span_context()
        told = span.parent is not None and span.parent.span_id == above.span_id
        self.began.append((span.name, told, span.start_time is not None))

    def on_end(self, span: ReadableSpan) -> None:
        self.ended.append(span.name)


@KINDS
def test_a_processor_that_listens_to_beginnings_is_told(kind: type[WorkerPool]) -> None:
    traces, exporter = provider()
    telemetry = Telemetry(tracer_provider=traces, registry=None)
    copies = Copies()
    with kind(observers=[telemetry]) as pool:
        traces.add_span_processor(copies)  # later than the pool
        token = otel_context.attach(baggage.set_baggage("tenant", "blue"))
        try:
            with traces.get_tracer("user").start_as_current_span("request"):
                task = pool.submit_task("t", int)
        finally:
            otel_context.detach(token)
        pool.get_task_result(task)
    names = ["task default", "attempt default"]
    assert copies.began == [("request", False, True), *((name, True, True) for name in names)]
    assert sorted(copies.ended) == sorted(["request", *names])
    for name in names:
        attributes = one(exporter, name).attributes
        assert attributes is not None
        assert attributes["tenant"] == "blue"


class Says(Sampler):
    def __init__(self, decision: Decision) -> None:
        self.decision = decision
        self.asked: list[int] = []

    def should_sample(  # type: ignore[no-untyped-def]
        self, parent_context, trace_id, name, kind=None, attributes=None, links=None, **more
    ) -> SamplingResult:
        self.asked.append(trace_id)
        state = TraceState([("vendor", "x")])
        return SamplingResult(self.decision, {"sampler.rule": name}, state)

    def get_description(self) -> str:
        return "Says"


def test_what_the_sampler_says_is_kept() -> None:
    sampler = Says(Decision.RECORD_AND_SAMPLE)
    traces, exporter = provider(sampler=sampler)
    run(traces, int)
    task, attempt = one(exporter, "task default"), one(exporter, "attempt default")
    assert task.attributes is not None
    assert task.attributes["sampler.rule"] == "task default"
    for span in (task, attempt):
        assert span.context is not None
        assert span.context.trace_state["vendor"] == "x"
    assert task.context is not None
    assert sampler.asked == [task.context.trace_id]


def test_what_is_recorded_and_not_sampled_goes_to_processors_and_to_no_exporter() -> None:
    traces, exporter = provider(sampler=Says(Decision.RECORD_ONLY))
    copies = Copies()
    traces.add_span_processor(copies)
    run(traces, lambda: trace.get_current_span().set_attribute("a", 1))
    assert sorted(copies.ended) == ["attempt default", "task default"]
    assert exporter.get_finished_spans() == ()


def dropped(traces: TracerProvider, kind: type[WorkerPool], **options: Any) -> list[SpanContext]:
    """The contexts that the attempts of a task find, and that of a span which they open."""
    seen: list[SpanContext] = []
    tracer = traces.get_tracer("user")

    def work() -> None:
        span = trace.get_current_span()
        assert not span.is_recording()
        assert span.get_span_context() is not None
        assert span.get_span_context() == span.get_span_context(), "asked twice"
        seen.append(span.get_span_context())
        with tracer.start_as_current_span("inside") as inside:
            seen.append(inside.get_span_context())
        if current_attempt().number == 1:
            raise ConnectionError

    config = WorkerPoolConfig(backoff_base_seconds=0.001)
    telemetry = Telemetry(tracer_provider=traces, registry=None, **options)
    with kind(config, observers=[telemetry]) as pool:
        assert pool.get_task_result(pool.submit_task("t", work)).success
    assert len(seen) == 4
    return seen


@KINDS
def test_what_is_dropped_stays_dropped_below(kind: type[WorkerPool]) -> None:
    for sampler in (ParentBased(ALWAYS_OFF), ParentBased(TraceIdRatioBased(0.0))):
        traces, exporter = provider(sampler=sampler)
        seen = dropped(traces, kind)
        assert all(context.is_valid and not context.trace_flags.sampled for context in seen)
        assert len({context.trace_id for context in seen}) == 1, "one task, one trace"
        assert exporter.get_finished_spans() == ()


def test_the_dropped_keep_the_trace_that_the_sampler_was_asked_about() -> None:
    sampler = Says(Decision.DROP)
    traces, _ = provider(sampler=ParentBased(sampler))
    first = dropped(traces, WorkerPool)[0]
    assert sampler.asked[0] == first.trace_id
    assert first.trace_state["vendor"] == "x"


@pytest.mark.parametrize("relation", ["child", "link", "none"])
def test_under_a_parent_that_is_not_sampled(relation: str) -> None:
    traces, exporter = provider(sampler=ParentBased(ALWAYS_ON))
    parent = SpanContext(7, 8, False)
    with trace.use_span(trace.NonRecordingSpan(parent)):
        if relation == "child":
            seen = dropped(traces, WorkerPool, relation=relation)
            assert {context.trace_id for context in seen} == {7}
            assert all(context.span_id != 8 for context in seen)
            assert exporter.get_finished_spans() == ()
        else:
            run_under(traces, relation)
            assert one(exporter, "task default").parent is None


def run_under(traces: TracerProvider, relation: str) -> None:
    telemetry = Telemetry(
        tracer_provider=traces,
        registry=None,
        relation=relation,  # type: ignore[arg-type]
    )
    with WorkerPool(observers=[telemetry]) as pool:
        pool.get_task_result(pool.submit_task("t", int))


SAMPLERS: dict[str, Callable[[], Sampler]] = {
    "off": lambda: ALWAYS_OFF,
    "on": lambda: ALWAYS_ON,
    "parent, off": lambda: ParentBased(ALWAYS_OFF),
    "parent, on": lambda: ParentBased(ALWAYS_ON),
    "none of them": lambda: ParentBased(TraceIdRatioBased(0.0)),
    "all of them": lambda: TraceIdRatioBased(1.0),
    "remote ones": lambda: ParentBased(
        ALWAYS_OFF,
        remote_parent_sampled=ALWAYS_OFF,
        remote_parent_not_sampled=ALWAYS_ON,
    ),
    "local ones": lambda: ParentBased(
        TraceIdRatioBased(1.0),
        local_parent_sampled=TraceIdRatioBased(0.0),
        local_parent_not_sampled=ALWAYS_ON,
    ),
}
PARENTS: dict[str, SpanContext | None] = {
    "nobody": None,
    "one that is not valid": SpanContext(0, 8, False),
    **{
        f"a {where} one that is {what}": SpanContext(
            7, 8, where == "remote", TraceFlags(flag), TraceState([("vendor", "x")])
        )
        for where in ("local", "remote")
        for what, flag in (("sampled", 1), ("not sampled", 0), ("not, and random", 2))
    },
}


@pytest.mark.parametrize("parent", PARENTS)
@pytest.mark.parametrize("name", SAMPLERS)
def test_what_is_foreseen_is_what_the_sampler_says(name: str, parent: str) -> None:
    """The pool beside the SDK: the same decision, trace and state, asked or not."""
    traces, exporter = provider(sampler=SAMPLERS[name]())
    seen: list[SpanContext] = []

    def look() -> None:
        seen.append(trace.get_current_span().get_span_context())

    above = PARENTS[parent]
    span = trace.INVALID_SPAN if above is None else trace.NonRecordingSpan(above)
    token = otel_context.attach(trace.set_span_in_context(span))
    try:
        theirs = traces.get_tracer("user").start_span("theirs").get_span_context()
        run(traces, look)
    finally:
        otel_context.detach(token)
    (ours,) = seen
    assert ours.trace_flags == theirs.trace_flags
    assert ours.trace_state == theirs.trace_state
    assert (ours.trace_id == 7) is (theirs.trace_id == 7) is (above is not None and above.is_valid)
    assert len(exporter.get_finished_spans()) == (2 if theirs.trace_flags.sampled else 0)


def test_a_share_of_the_traces_is_the_share_that_the_sampler_takes() -> None:
    sampler = TraceIdRatioBased(0.5)
    traces, exporter = provider(sampler=sampler)
    seen: list[SpanContext] = []
    with WorkerPool(observers=[Telemetry(tracer_provider=traces, registry=None)]) as pool:
        for number in range(60):
            pool.submit_task(
                f"t{number}", lambda: seen.append(trace.get_current_span().get_span_context())
            )
    sampled = [context for context in seen if context.trace_flags.sampled]
    assert 0 < len(sampled) < 60
    assert len(exporter.get_finished_spans()) == 2 * len(sampled)
    assert len({context.trace_id for context in seen}) == 60
    for context in seen:
        says = sampler.should_sample(None, context.trace_id, "t").decision
        assert says.is_sampled() is context.trace_flags.sampled


def test_a_dropped_span_is_the_same_wherever_it_is_carried() -> None:
    """Taken to another thread, or asked only when its task has long ended."""
    traces, _ = provider(sampler=ParentBased(ALWAYS_OFF))
    carried: list[trace.Span] = []
    there: list[SpanContext] = []

    def work() -> None:
        carried.append(trace.get_current_span())
        context = contextvars.copy_context()
        thread = threading.Thread(
            target=context.run,
            args=(lambda: there.append(trace.get_current_span().get_span_context()),),
        )
        thread.start()
        thread.join()

    for _ in range(2):
        run(traces, work)
    assert [span.get_span_context() for span in carried] == there
    assert there[0].trace_id != there[1].trace_id


def test_other_values_of_the_context_stay_beside_a_dropped_span() -> None:
    traces, _ = provider(sampler=ParentBased(ALWAYS_OFF))
    seen: list[tuple[object, bool]] = []

    def look() -> None:
        seen.append((baggage.get_baggage("tenant"), trace.get_current_span().is_recording()))

    token = otel_context.attach(baggage.set_baggage("tenant", "blue"))
    try:
        run(traces, look)
    finally:
        otel_context.detach(token)
    assert seen == [("blue", False)]


@pytest.mark.parametrize("relation", ["child", "link", "none"])
def test_a_long_chain_of_dropped_tasks_keeps_one_trace_and_nothing_else(relation: str) -> None:
    """Each hands in the next: were each to hold the one before, the last would hold them all."""
    traces, _ = provider(sampler=ParentBased(ALWAYS_OFF))
    between: list[weakref.ref[trace.Span]] = []
    alive: list[object] = []
    seen: list[SpanContext] = []
    telemetry = [
        Telemetry(tracer_provider=traces, registry=None, relation=relation)  # type: ignore[arg-type]
        for _ in range(2)
    ]
    with (
        WorkerPool(observers=telemetry[:1]) as one_pool,
        WorkerPool(observers=telemetry[1:]) as two,
    ):

        def step(left: int) -> None:
            span = trace.get_current_span()
            if left in (0, 4000):
                seen.append(span.get_span_context())
            if left in (2000, 2001):
                between.append(weakref.ref(span))
            if left:
                pool = (one_pool, two)[left % 2]
                pool.submit_task("next", step, (left - 1,))
            else:
                gc.collect()
                alive.extend(ref() for ref in between)
                over.set()

        over = threading.Event()
        one_pool.submit_task("first", step, (4000,))
        assert over.wait(60)
    assert alive == [None, None]
    assert (seen[0].trace_id == seen[1].trace_id) is (relation == "child")


def test_the_current_span_is_found_in_its_variable() -> None:
    """And where OpenTelemetry keeps it in another way, by its own functions."""
    assert current.current is not otel_context.get_current
    code = (
        "import opentelemetry.context as c, threading\n"
        "class Local:\n"
        "    here = threading.local()\n"
        "    def get_current(self): return getattr(self.here, 'now', c.Context())\n"
        "    def attach(self, context):\n"
        "        before, self.here.now = self.get_current(), context\n"
        "        return before\n"
        "    def detach(self, token): self.here.now = token\n"
        "c._RUNTIME_CONTEXT = Local()\n"
        "from telemetry import current\n"
        "assert current.current is c.get_current\n"
        "assert current.attach is c.attach\n"
        "assert c.get_current() == {}\n"
    )
    subprocess.run([sys.executable, "-W", "error", "-c", code], check=True, timeout=60)


def test_a_dropped_task_hands_its_trace_to_a_task_that_it_submits() -> None:
    traces, _ = provider(sampler=ParentBased(ALWAYS_OFF))
    seen: list[SpanContext] = []

    def look() -> None:
        seen.append(trace.get_current_span().get_span_context())

    with WorkerPool(observers=[Telemetry(tracer_provider=traces, registry=None)]) as pool:

        def outer() -> None:
            look()
            pool.get_task_result(pool.submit_task("inner", look))

        pool.get_task_result(pool.submit_task("outer", outer))
    outside, inside = seen
    assert outside.trace_id == inside.trace_id
    assert outside.span_id != inside.span_id
