"""A recorded run as OTLP/JSON lines: the spans that telemetry would have made of it."""

from __future__ import annotations

from runtime.config import seconds_to_ns
from runtime.journal import Journal
from telemetry.openmetrics import RecordedRun
from telemetry.recorded import recorded_spans

__all__ = ["export_otlp"]


def export_otlp(
    journal: Journal, *, instance: str = "recorded", at_seconds: float | None = None
) -> bytes:
    """A journal's run as spans in OTLP/JSON lines.

    Args:
        journal: a journal that replays.
        instance: what the run is called.
        at_seconds: when it began, in epoch seconds; ``None`` for when it did.

    Returns:
        The lines; the same for the same journal.
    """
    header = journal.header
    epoch_ns = header.epoch_ns if at_seconds is None else seconds_to_ns(at_seconds)
    steps = [(record.at, record.stimulus) for record in journal.records]
    run = RecordedRun(instance, header.pool, header.settings, steps, epoch_ns, header.clock)
    return recorded_spans(run, prefix=header.prefix)
