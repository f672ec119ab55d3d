"""Prints one trace of a file of OTLP/JSON lines as a tree, where no trace viewer is at hand."""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from examples.ending import quietly

WIDTH = 40  # of the bars, in characters


def spans_of(path: Path, wanted: str) -> list[dict[str, Any]]:
    """The spans of a trace, as they stand in the file.

    Args:
        path: the file, as ``OtlpFileExporter`` and the Collector's file exporter write it.
        wanted: the trace's id in hexadecimal, or the name of a task in it.

    Returns:
        The spans, by their beginning.
    """
    spans = [
        span
        for line in path.read_text("utf-8").splitlines()
        for resource in json.loads(line)["resourceSpans"]
        for scope in resource["scopeSpans"]
        for span in scope["spans"]
    ]
    name = {"key": "workerpool.task.name", "value": {"stringValue": wanted}}
    named = (span["traceId"] for span in spans if name in span.get("attributes", ()))
    trace_id = next(named, wanted.lower())
    found = [span for span in spans if span["traceId"] == trace_id]
    return sorted(found, key=lambda span: (int(span["startTimeUnixNano"]), span["spanId"]))


def show(spans: list[dict[str, Any]]) -> None:
    """Print a trace's tree: where each span lies in it, how long it took, how it ended.

    Args:
        spans: of one trace.
    """
    began = min(int(span["startTimeUnixNano"]) for span in spans)
    took = max(int(span["endTimeUnixNano"]) for span in spans) - began
    known = {span["spanId"] for span in spans}
    block = "█" if "utf" in (getattr(sys.stdout, "encoding", None) or "").lower() else "#"
    lines = []

    def below(parent: str | None, depth: int) -> None:
        for span in spans:
            above = span.get("parentSpanId") or None
            if (above if above in known else None) != parent:
                continue
            start, end = (int(span[f"{edge}TimeUnixNano"]) - began for edge in ("start", "end"))
            left = start * WIDTH // took
            bar = (" " * left + block * max(1, end * WIDTH // took - left)).ljust(WIDTH)
            says = {one["key"]: one["value"] for one in span.get("attributes", ())}
            outcome = says.get("workerpool.outcome", {}).get("stringValue", "")
            name = "  " * depth + span["name"]
            lines.append(f"{name:<24.24} |{bar}| {(end - start) / 1e9:6.3f} s  {outcome}".rstrip())
            below(span["spanId"], depth + 1)

    below(None, 0)
    print("\n".join(lines))


def main() -> None:
    """Find and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("spans", type=Path, help="a file of OTLP/JSON lines")
    parser.add_argument("trace", help="the trace's id, or the name of a task in it")
    chosen = parser.parse_args()
    try:
        spans = spans_of(chosen.spans, chosen.trace)
    except (OSError, ValueError, KeyError) as error:
        sys.exit(f"error: {chosen.spans}: {error}")
    if not spans:
        sys.exit(f"error: {chosen.spans} has no trace {chosen.trace}")
    show(spans)


if __name__ == "__main__":
    quietly(main)
