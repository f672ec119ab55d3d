"""Spans in a file: OTLP as JSON, a line an export, as the Collector's file exporter writes them.

The encoding is that of the OpenTelemetry protocol's JSON (opentelemetry.io, 'OTLP specification',
'JSON Protobuf Encoding'): camel case, ids in hexadecimal, 64-bit integers as strings, enums as
numbers.
"""

from __future__ import annotations

import logging
import math
import os
import threading
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import msgspec
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.trace.export import SpanExporter, SpanExportResult
from opentelemetry.trace import format_span_id, format_trace_id

__all__ = ["OtlpFileExporter", "encode_spans"]

_log = logging.getLogger("twinclock")
_KIND: Final = {"INTERNAL": 1, "SERVER": 2, "CLIENT": 3, "PRODUCER": 4, "CONSUMER": 5}
_ODD: Final = {"nan": "NaN", "inf": "Infinity", "-inf": "-Infinity"}
_encode = msgspec.json.Encoder().encode


class OtlpFileExporter(SpanExporter):
    """Writes spans to a file; needs no other exporter and no network.

    Behind a ``SimpleSpanProcessor`` none is lost: a pool's spans come from a thread of their own,
    which writes each as it ends. (A ``BatchSpanProcessor`` drops spans when its queue is full.)

    Args:
        path: the file; what is there already is kept, and written after.

    Attributes:
        lost: spans that could not be written.

    Raises:
        OSError: it cannot be opened.

    Example:
        >>> import tempfile
        >>> from opentelemetry.sdk.trace import TracerProvider
        >>> from opentelemetry.sdk.trace.export import SimpleSpanProcessor
        >>> from runtime import WorkerPool
        >>> from telemetry import Telemetry
        >>> with tempfile.NamedTemporaryFile() as file:
        ...     provider = TracerProvider()
        ...     provider.add_span_processor(SimpleSpanProcessor(OtlpFileExporter(file.name)))
        ...     telemetry = Telemetry(tracer_provider=provider, registry=None)
        ...     with WorkerPool(observers=[telemetry]) as pool:
        ...         _ = pool.submit_task("t", int)
        ...     len(file.readlines())  # the attempt's span, and the task's
        2
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self._path = Path(path)
        self._lock = threading.Lock()  # guards the file
        self._file: int | None = os.open(
            self._path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o644
        )
        self.lost = 0

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        """Write some spans, all in one line."""
        with self._lock:
            try:
                if self._file is None:
                    raise OSError("it was shut down")
                line = memoryview(_encode(_traces(spans)) + b"\n")
                while line:
                    line = line[os.write(self._file, line) :]
            except Exception as error:
                if not self.lost:
                    _log.error("spans cannot be written to %s and are lost: %s", self._path, error)
                self.lost += len(spans)
                return SpanExportResult.FAILURE
        return SpanExportResult.SUCCESS

    def force_flush(self, timeout_millis: int = 30_000) -> bool:
        """Everything is written already."""
        return True

    def shutdown(self) -> None:
        """Close the file."""
        with self._lock:
            if self._file is not None:
                os.close(self._file)
                self._file = None


def encode_spans(spans: Sequence[ReadableSpan]) -> bytes:
    """Some spans as one line of OTLP/JSON, without its end.

    Args:
        spans: spans that have ended.
    """
    return _encode(_traces(spans))


def _traces(spans: Sequence[ReadableSpan]) -> dict[str, Any]:
    """TracesData: the spans by resource and scope."""
    by_scope: dict[tuple[int, int], tuple[ReadableSpan, list[dict[str, Any]]]] = {}
    for span in spans:
        key = id(span.resource), id(span.instrumentation_scope)
        by_scope.setdefault(key, (span, []))[1].append(_span(span))
    return {
        "resourceSpans": [
            {
                "resource": {"attributes": _attributes(first.resource.attributes)},
                "scopeSpans": [{"scope": _scope(first), "spans": made}],
            }
            for first, made in by_scope.values()
        ]
    }


def _scope(span: ReadableSpan) -> dict[str, Any]:
    scope = span.instrumentation_scope
    if scope is None:
        return {}
    return {"name": scope.name, **({"version": scope.version} if scope.version else {})}


def _span(span: ReadableSpan) -> dict[str, Any]:
    context = span.context
    assert context is not None
    made: dict[str, Any] = {
        "traceId": format_trace_id(context.trace_id),
        "spanId": format_span_id(context.span_id),
        "name": span.name,
        "kind": _KIND[span.kind.name],
        "startTimeUnixNano": str(span.start_time or 0),
        "endTimeUnixNano": str(span.end_time or 0),
        "flags": int(context.trace_flags),
    }
    if context.trace_state:
        made["traceState"] = context.trace_state.to_header()
    if span.parent is not None:
        made["parentSpanId"] = format_span_id(span.parent.span_id)
    if span.attributes:
        made["attributes"] = _attributes(span.attributes)
    if span.events:
        made["events"] = [
            {
                "timeUnixNano": str(event.timestamp),
                "name": event.name,
                "attributes": _attributes(event.attributes),
            }
            for event in span.events
        ]
    if span.links:
        made["links"] = [
            {
                "traceId": format_trace_id(link.context.trace_id),
                "spanId": format_span_id(link.context.span_id),
                "attributes": _attributes(link.attributes),
            }
            for link in span.links
        ]
    if span.status.status_code.value:
        made["status"] = {"code": span.status.status_code.value}
        if span.status.description:
            made["status"]["message"] = span.status.description
    return made


def _attributes(given: Mapping[str, Any] | None) -> list[dict[str, Any]]:
    return [{"key": key, "value": _value(value)} for key, value in (given or {}).items()]


def _value(value: Any) -> dict[str, Any]:
    if isinstance(value, bool):
        return {"boolValue": value}
    if isinstance(value, int):
        return {"intValue": str(int(value))}
    if isinstance(value, float):
        return {"doubleValue": value if math.isfinite(value) else _ODD[str(value)]}
    if isinstance(value, list | tuple):
        return {"arrayValue": {"values": [_value(one) for one in value]}}
    return {"stringValue": str(value).encode("utf-8", "replace").decode()}
