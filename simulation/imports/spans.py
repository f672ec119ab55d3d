"""Reading OTLP/JSON: spans as the Collector's file exporter writes them.

A file is JSON lines, each an export (``{"resourceSpans": [...]}``), or one document of that form
over many lines. Ids are hexadecimal, 64-bit integers are strings (numbers are taken, too), enums
are numbers or names. (opentelemetry.io, 'OTLP specification', 'JSON Protobuf Encoding'.)
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final

import msgspec

from runtime.files import FileError, read_file

__all__ = ["Span", "TraceError", "read_spans"]

_SHOWN: Final = 100
_GLANCE: Final = 40
_MOST_BYTES: Final = 2 << 30
_LOOKED_AT: Final = 1 << 12
#: A line is a batch of spans, of some thousand as exporters have them.
_LONGEST_LINE: Final = 256 << 20
#: What decoding raises; nesting that is too deep is not counted as a wrong document.
_UNREADABLE: Final = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)
_LAST_INSTANT: Final = 1 << 63
_KINDS: Final = {
    0: "UNSPECIFIED", 1: "INTERNAL", 2: "SERVER", 3: "CLIENT", 4: "PRODUCER", 5: "CONSUMER",
}  # fmt: skip
_ERROR: Final = (2, "STATUS_CODE_ERROR")


class TraceError(FileError):
    """A file of traces that cannot be used: ``path``, ``line`` and what is wrong."""


class Span(msgspec.Struct, gc=False):
    """One span.

    Args:
        line: the line it stands in.
        trace_id: of its trace.
        span_id: its own.
        parent_id: of its parent, empty where it has none.
        name: its name.
        kind: ``INTERNAL``, ``SERVER``, ``CLIENT``, ``PRODUCER``, ``CONSUMER``, ``UNSPECIFIED``.
        start_ns: epoch nanoseconds.
        end_ns: epoch nanoseconds.
        failed: whether its status is an error.
        message: its status' message.
        attributes: its own.
        resource: those of its resource.
        events: names, instants and attributes.
    """

    line: int
    trace_id: str
    span_id: str
    parent_id: str
    name: str
    kind: str
    start_ns: int
    end_ns: int
    failed: bool
    message: str
    attributes: dict[str, Any]
    resource: dict[str, Any]
    events: list[tuple[str, int, dict[str, Any]]]


def read_spans(path: str) -> list[Span]:
    """Read a file's spans; one that is there twice, as after a retried export, counts once.

    Args:
        path: the file, or ``-`` for standard input.

    Returns:
        The spans in the order of the file.

    Raises:
        TraceError: it cannot be read or used; the message has the line.
    """
    name, data = read_file(
        path, most=_MOST_BYTES, longest_line=_LONGEST_LINE, wrong=_no_traces, error=TraceError
    )
    if not data.strip():
        raise TraceError(name, None, "is empty; spans are JSON lines, each with resourceSpans")
    reader = _Reader(name)
    seen: dict[tuple[str, str], Span] = {}
    for line, document in _documents(name, data):
        for span in reader.spans(line, document):
            before = seen.setdefault((span.trace_id, span.span_id), span)
            if (before.name, before.start_ns, before.end_ns) != (
                span.name,
                span.start_ns,
                span.end_ns,
            ):
                raise TraceError(
                    name,
                    span.line,
                    f"span {span.span_id} is another one in line {before.line}: these are two runs "
                    f"with the same ids, such as simulated ones of one seed; import them apart",
                )
    if not seen:
        raise TraceError(name, None, "has no span in it")
    return list(seen.values())


def _no_traces(first: bytes) -> str:
    """Why a file's first bytes cannot be JSON of spans; empty where they can."""
    begins = first.lstrip()[:_GLANCE]
    if len(first) < _LOOKED_AT or not begins or begins.startswith(b"{"):
        return ""  # a small file is read, and told by its line
    return _not_json("it does not begin with {", begins.partition(b"\n")[0])


def _documents(name: str, data: bytes) -> Iterator[tuple[int, Any]]:
    lines = data.split(b"\n")
    decode = msgspec.json.Decoder().decode
    first = next(index for index, line in enumerate(lines) if line.strip())
    try:
        decode(lines[first])
    except _UNREADABLE as error:
        try:  # one document over many lines?
            yield first + 1, decode(data)
            return
        except _UNREADABLE:
            raise TraceError(name, first + 1, _not_json(error, lines[first])) from None
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        try:
            document = decode(line)
        except _UNREADABLE as error:
            raise TraceError(name, number, _not_json(error, line)) from None
        yield number, document


def _not_json(error: Exception | str, line: bytes) -> str:
    return (
        f"not JSON ({error}): {line[:_SHOWN]!r}; the Collector's file exporter writes JSON unless "
        f"its format is set to proto or its compression to zstd"
    )


class _Reader:
    def __init__(self, path: str) -> None:
        self._path = path
        self._line = 0

    def _error(self, message: str) -> TraceError:
        return TraceError(self._path, self._line, message)

    def spans(self, line: int, document: Any) -> Iterator[Span]:
        """The spans of one export."""
        self._line = line
        if isinstance(document, dict) and "twinclock_journal" in document:
            raise self._error("this is a journal already, not traces: it needs no import")
        if not isinstance(document, dict) or "resourceSpans" not in document:
            if isinstance(document, dict) and {"resourceMetrics", "resourceLogs"} & set(document):
                return  # the same file exporter may write them between the spans
            raise self._error("has no resourceSpans: not OTLP/JSON traces")
        for group in self._list(document, "resourceSpans"):
            resource = self._attributes(self._dict(group, "resource"))
            for scope in self._list(group, "scopeSpans"):
                for span in self._list(scope, "spans"):
                    yield self._span(span, resource)

    def _span(self, span: Any, resource: dict[str, Any]) -> Span:
        start, end = self._ns(span, "startTimeUnixNano"), self._ns(span, "endTimeUnixNano")
        name = span.get("name", "")
        if not isinstance(name, str):
            raise self._error(f"a span's name is {name!r}: must be text")
        if end < start:
            raise self._error(f"span {name!r} ends {start - end} ns before it starts")
        status = self._dict(span, "status")
        kind = span.get("kind", 0)
        kind = _KINDS.get(kind, str(kind).removeprefix("SPAN_KIND_"))
        return Span(
            self._line,
            self._id(span, "traceId", 32),
            self._id(span, "spanId", 16),
            self._id(span, "parentSpanId", 16, needed=False),
            name,
            kind,
            start,
            end,
            status.get("code") in _ERROR,
            str(status.get("message", "")),
            self._attributes(span),
            resource,
            [
                (
                    str(event.get("name", "")),
                    self._ns(event, "timeUnixNano"),
                    self._attributes(event),
                )
                for event in self._list(span, "events")
            ],
        )

    def _dict(self, of: Any, name: str) -> dict[str, Any]:
        found = of.get(name) or {}
        if not isinstance(found, dict):
            raise self._error(f"{name} is {_shown(found)}: must be an object")
        return found

    def _list(self, of: Any, name: str) -> list[dict[str, Any]]:
        found = of.get(name) or []
        if not isinstance(found, list) or not all(isinstance(one, dict) for one in found):
            raise self._error(f"{name} is {_shown(found)}: must be a list of objects")
        return found

    def _ns(self, span: dict[str, Any], name: str) -> int:
        given = span.get(name)
        try:
            if isinstance(given, bool) or not isinstance(given, str | int) or len(str(given)) > 20:
                raise ValueError
            found = int(given)
            if not 0 <= found < _LAST_INSTANT:
                raise ValueError
        except ValueError:
            raise self._error(
                f"span {_shown(span.get('name'))}: {name} is {_shown(given)}: must be epoch "
                f"nanoseconds, as a string"
            ) from None
        return found

    def _id(self, span: dict[str, Any], name: str, digits: int, *, needed: bool = True) -> str:
        given = span.get(name) or ""
        if not given and not needed:
            return ""
        try:
            if not isinstance(given, str) or len(given) != digits:
                raise ValueError
            int(given, 16)
        except ValueError:
            raise self._error(
                f"span {_shown(span.get('name'))}: {name} is {_shown(given)}: must be {digits} "
                f"hexadecimal digits"
            ) from None
        return given.lower()

    def _attributes(self, of: dict[str, Any]) -> dict[str, Any]:
        found: dict[str, Any] = {}
        for pair in self._list(of, "attributes"):
            value = self._value(pair.get("value"))
            if value is not None:
                found[str(pair.get("key"))] = value
        return found

    def _value(self, value: Any) -> Any:
        if not isinstance(value, dict):
            return None
        if "intValue" in value:
            try:
                return int(value["intValue"])
            except (TypeError, ValueError):
                raise self._error(
                    f"intValue is {_shown(value['intValue'])}: must be a whole number"
                ) from None
        for kind in ("stringValue", "boolValue", "doubleValue"):
            if kind in value:
                return value[kind]
        return None  # lists and maps say nothing that is asked for here


def _shown(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= _SHOWN else f"{text[:_SHOWN]}..."
