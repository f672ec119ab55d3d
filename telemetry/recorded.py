"""A run that is over as OTLP/JSON lines: the spans that ``PoolSpans`` would have made of it.

The run's steps go through a fresh core, and the same converter that serves live pools makes the
spans. Ids come from the seed, so the same run gives the same bytes. What only lived in the process
is missing: submitters' spans, attributes that functions set, messages and tracebacks.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import ReadableSpan, SpanProcessor, TracerProvider
from opentelemetry.sdk.trace.sampling import ALWAYS_ON

from runtime.core import Core
from runtime.core.records import AttemptFailed, Simultaneous, Stimulus, TaskSubmitted
from runtime.core.states import Cause
from telemetry.openmetrics import RecordedRun
from telemetry.otlp import encode_spans
from telemetry.spans import PoolSpans

__all__ = ["recorded_spans"]

#: Spans a line, about; a line is an export.
_A_LINE: Final = 500


def recorded_spans(run: RecordedRun, *, prefix: str = "", queue_spans: bool = False) -> bytes:
    """The spans of a run.

    Args:
        run: the run; its ``instance`` becomes the service's instance.
        prefix: what every task id begins with.
        queue_spans: whether each wait of an attempt for a worker is a span, too.

    Returns:
        OTLP/JSON lines, as the Collector's file exporter writes them.

    Example:
        >>> from runtime.core import CoreSettings
        >>> from runtime.core.records import AttemptSucceeded
        >>> steps = [(0, TaskSubmitted(1)), (10**9, AttemptSucceeded(1, 1, 0, 0, 10**9))]
        >>> run = RecordedRun("a", "pool", CoreSettings(max_workers=1), steps)
        >>> recorded_spans(run).count(b'"traceId"')
        2
    """
    kept = _Kept()
    settings = run.settings
    resource: dict[str, str | int | float] = {
        "service.name": "twinclock",
        "service.instance.id": run.instance,
        "workerpool.clock": run.clock,
        "workerpool.max_workers": settings.max_workers,
        "workerpool.max_retries": settings.max_retries,
        "workerpool.backoff_base": settings.backoff_base_ns / 1e9,
        "workerpool.backoff_max": settings.backoff_max_ns / 1e9,
        "workerpool.jitter": settings.jitter,
        "workerpool.max_abandoned": settings.max_abandoned,
        "workerpool.seed": settings.seed,
    }
    if settings.timeout_ns is not None:
        resource["workerpool.timeout"] = settings.timeout_ns / 1e9
    if settings.ageing_ns is not None:
        resource["workerpool.ageing"] = settings.ageing_ns / 1e9
    provider = TracerProvider(
        sampler=ALWAYS_ON, resource=Resource(dict(resource)), shutdown_on_exit=False
    )
    provider.add_span_processor(kept)
    spans = PoolSpans(provider, "none", queue_spans)
    core = Core(settings)
    view: Any = _Replayed(run, prefix, core)
    spans.attach(view)
    for at_ns, stimulus in run.steps:
        for part in _parts(stimulus):
            if isinstance(part, TaskSubmitted):
                view.specs[part.task] = part
                spans.submitted(part.task)
        core.handle(at_ns, stimulus)
        made = core.take_transitions()
        for one in made:
            if isinstance(one.detail, AttemptFailed) and one.cause != Cause.LATE_COMPLETION:
                view.errors[one.task, one.attempt] = one.detail.error
        spans.transitions(made)
    lines = [
        encode_spans(kept.spans[first : first + _A_LINE])
        for first in range(0, len(kept.spans), _A_LINE)
    ]
    return b"".join(line + b"\n" for line in lines)


def _parts(stimulus: Stimulus) -> Sequence[Stimulus]:
    return stimulus.stimuli if isinstance(stimulus, Simultaneous) else (stimulus,)


class _Kept(SpanProcessor):
    def __init__(self) -> None:
        self.spans: list[ReadableSpan] = []

    def on_end(self, span: ReadableSpan) -> None:
        self.spans.append(span)


class _Replayed:
    """The view of a pool that is replayed; its ids come from the seed, whatever its clock was."""

    clock: Final = "virtual"

    def __init__(self, run: RecordedRun, prefix: str, core: Core) -> None:
        self.name = run.pool
        self.settings = run.settings
        self.epoch_ns = run.epoch_ns
        self.specs: dict[int, TaskSubmitted] = {}
        self.errors: dict[tuple[int, int], str] = {}
        self._prefix = prefix
        self._marks = core.marks
        self._kinds: dict[str, type[Exception]] = {}

    def task(self, number: int) -> TaskSubmitted:
        """What was submitted under a number."""
        return self.specs[number]

    def mark(self, number: int, mark: object) -> None:
        """Have a task's transitions told."""
        self._marks[number] = mark

    def task_id(self, number: int) -> str:
        """The public id of a task."""
        return f"{self._prefix}{number}"

    def failure(self, number: int, attempt: int) -> BaseException | None:
        """A stand-in for what an attempt raised: of that type's name, without a message."""
        error = self.errors.get((number, attempt))
        if error is None:
            return None
        kind = self._kinds.get(error)
        if kind is None:
            module, _, name = error.rpartition(".")
            made = {"__module__": module or "builtins", "__qualname__": name}
            kind = self._kinds[error] = type(name, (Exception,), made)
        return kind()
