"""Where spans get lost on their way out, and how many.

A span that has ended goes to the provider's processors, and from there to exporters. It is lost
where a ``BatchSpanProcessor``'s queue is full (the oldest span in it goes), where the provider was
shut down before the pool, where a processor raises, and where an exporter fails or raises. The SDK
says so in its own log, of a queue once a minute, and has no count that can be asked for.

The first two are seen by a look at the SDK's own processors just before a span is handed over; a
processor that is none of the SDK's, or has changed inside, is taken to lose none. What an exporter
loses can be seen only from around it: put a ``WatchedExporter`` there.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Iterator, Sequence
from typing import Any, Final

from opentelemetry.sdk.trace import (
    ReadableSpan,
    SpanProcessor,
    SynchronousMultiSpanProcessor,
)
from opentelemetry.sdk.trace.export import (
    BatchSpanProcessor,
    SimpleSpanProcessor,
    SpanExporter,
    SpanExportResult,
)
from opentelemetry.sdk.util.instrumentation import InstrumentationScope

from telemetry.names import LOSSES

__all__ = ["Outlet", "WatchedExporter"]

_log = logging.getLogger("twinclock")

_MEND: Final = {
    "queue_full": "its BatchSpanProcessor's queue is full: a larger max_queue_size, a faster "
    "exporter or a sampler helps",
    "shut_down": "the tracer provider was shut down before the pool: close the pool first",
    "processor_error": "a span processor raised",
    "export_failed": "the exporter failed or raised",
}


class WatchedExporter(SpanExporter):
    """Counts what the exporter in it loses; for a pool, ``workerpool_spans_lost_total`` has it.

    Args:
        exporter: what exports.

    Example:
        >>> from opentelemetry.sdk.trace import TracerProvider
        >>> from opentelemetry.sdk.trace.export import ConsoleSpanExporter
        >>> provider = TracerProvider(shutdown_on_exit=False)
        >>> exporter = WatchedExporter(ConsoleSpanExporter())
        >>> provider.add_span_processor(BatchSpanProcessor(exporter))
        >>> exporter.lost
        0
        >>> provider.shutdown()
    """

    def __init__(self, exporter: SpanExporter) -> None:
        self._exporter = exporter
        self._lock = threading.Lock()  # guards the counts
        self._by_scope: dict[int, int] = {}  # by the id of a pool's scope, which the pool keeps
        self.lost = 0

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        """Export, and count what fails.

        Raises:
            Exception: what the exporter raised.
        """
        try:
            result = self._exporter.export(spans)
        except BaseException:
            self._count(spans)
            raise
        if result is not SpanExportResult.SUCCESS:
            self._count(spans)
        return result

    def _count(self, spans: Sequence[ReadableSpan]) -> None:
        with self._lock:
            self.lost += len(spans)
            for span in spans:
                key = id(span.instrumentation_scope)
                self._by_scope[key] = self._by_scope.get(key, 0) + 1

    def lost_of(self, scope: InstrumentationScope) -> int:
        """How many spans of a scope were lost.

        Args:
            scope: the very object that the spans have.
        """
        with self._lock:
            return self._by_scope.get(id(scope), 0)

    def shutdown(self) -> None:
        """Shut the exporter down."""
        self._exporter.shutdown()

    def force_flush(self, timeout_millis: int = 30_000) -> bool:
        """Have the exporter write what it holds."""
        return self._exporter.force_flush(timeout_millis)


class Outlet:
    """One pool's way out to a provider's processors.

    Args:
        processor: the provider's own, which hands on to those that were added.
        scope: what the pool's spans come from.

    Attributes:
        pool: the pool's name, for messages.
    """

    def __init__(self, processor: SpanProcessor, scope: InstrumentationScope) -> None:
        self._processor = processor
        self._scope = scope
        self.pool = ""
        self._known: object = self  # nothing yet
        self._ends: Any = ()
        self._listens = False
        self._queues: list[Any] = []
        self._simple: list[Any] = []
        self._told: set[str] = set()
        self._lost = dict.fromkeys(LOSSES, 0)

    @property
    def listens(self) -> bool:
        """Whether some processor has an ``on_start`` that does anything."""
        if getattr(self._processor, "_span_processors", None) is not self._known:
            self._look_again()
        return self._listens

    def on_start(self, span: Any, context: Any) -> None:
        """Tell the processors that a span begins.

        Args:
            span: which.
            context: OpenTelemetry's context in which it does.
        """
        try:
            self._processor.on_start(span, context)
        except Exception as error:
            self._say("processor_error", error)

    def on_end(self, span: ReadableSpan) -> None:
        """Hand over a span that has ended, and count it where it is lost.

        Args:
            span: which.
        """
        if getattr(self._processor, "_span_processors", None) is not self._known:
            self._look_again()
        for queue in self._queues:
            if len(queue._queue) >= queue._max_queue_size or queue._shutdown:
                self._lose_from(span, "shut_down" if queue._shutdown else "queue_full")
        for simple in self._simple:
            if simple._shutdown:
                self._lose_from(span, "shut_down")
        for processor in self._ends:
            try:
                processor.on_end(span)
            except Exception as error:
                self._lose("processor_error", error)

    def lost(self) -> dict[str, int]:
        """How many spans were lost so far, by reason."""
        failed = sum(
            exporter.lost_of(self._scope)
            for processor in _leaves(self._processor)
            if isinstance(exporter := getattr(processor, "span_exporter", None), WatchedExporter)
        )
        if failed:
            self._say("export_failed")
        return {**self._lost, "export_failed": failed}

    def _lose_from(self, span: ReadableSpan, reason: str) -> None:
        """Count a span that one of the SDK's processors drops; it passes by what is not sampled."""
        context = span.get_span_context()
        if context is not None and context.trace_flags.sampled:
            self._lose(reason)

    def _lose(self, reason: str, error: BaseException | None = None) -> None:
        self._lost[reason] += 1
        self._say(reason, error)

    def _say(self, reason: str, error: BaseException | None = None) -> None:
        if reason not in self._told:
            self._told.add(reason)
            _log.error(
                "pool %r loses spans, as %s; workerpool_spans_lost_total counts them, and this is "
                "said once",
                self.pool,
                _MEND[reason],
                exc_info=error,
            )

    def _look_again(self) -> None:
        """Get to know the processors anew: one was added, so they are in a new tuple."""
        self._known = getattr(self._processor, "_span_processors", None)
        leaves = list(_leaves(self._processor))
        one_by_one = type(self._processor) is SynchronousMultiSpanProcessor
        self._ends = self._known if one_by_one else (self._processor,)
        self._listens = any(not _silent(processor) for processor in leaves)
        queues = [
            processor._batch_processor
            for processor in leaves
            if isinstance(processor, BatchSpanProcessor) and hasattr(processor, "_batch_processor")
        ]
        self._queues = [
            queue
            for queue in queues
            if all(hasattr(queue, name) for name in ("_queue", "_max_queue_size", "_shutdown"))
        ]
        self._simple = [
            processor
            for processor in leaves
            if isinstance(processor, SimpleSpanProcessor) and hasattr(processor, "_shutdown")
        ]


def _leaves(processor: SpanProcessor) -> Iterator[SpanProcessor]:
    """The processors behind a processor, or itself."""
    added = getattr(processor, "_span_processors", None)
    if isinstance(added, tuple):
        for one in added:
            yield from _leaves(one)
    else:
        yield processor


def _silent(processor: SpanProcessor) -> bool:
    """Whether its ``on_start`` is known to do nothing."""
    return type(processor).on_start in (
        SpanProcessor.on_start,
        BatchSpanProcessor.on_start,
        SimpleSpanProcessor.on_start,
    )
