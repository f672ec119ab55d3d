"""A recorded run, and variants of it, as an OpenMetrics file."""

from __future__ import annotations

import itertools
import re
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple, Unpack

from runtime.config import seconds_to_ns
from runtime.journal import read_journal
from simulation.replay import replay
from simulation.whatif.predict import what_if
from simulation.whatif.timed import Asked, changed_run
from telemetry.openmetrics import RecordedRun, openmetrics

__all__ = ["export_openmetrics", "samples_of"]


def export_openmetrics(
    journal: str,
    variants: Sequence[tuple[str, Mapping[str, Any]]],
    *,
    instance: str,
    every_seconds: float | None,
    at_seconds: float | None,
    **asked: Unpack[Asked],
) -> bytes:
    """A recorded run as Prometheus would have scraped it, and what-if variants beside it.

    Args:
        journal: its path.
        variants: the name of each variant with what is changed.
        instance: what the recorded run is called.
        every_seconds: how far apart samples lie, ``None`` for about 120 a run.
        at_seconds: when the runs began, in epoch seconds; ``None`` for when they did.
        **asked: how variants are simulated.

    Returns:
        An OpenMetrics file.

    Raises:
        JournalError: the journal cannot be used.
        NondeterminismError: it does not replay.
        DishonestError: the recording does not support a variant.
        ValueError: an unknown field or a value out of range.
    """
    read = read_journal(journal)
    replay(read).raise_for_divergence()
    header = read.header
    epoch_ns = header.epoch_ns if at_seconds is None else seconds_to_ns(at_seconds)
    steps = [(record.at, record.stimulus) for record in read.records]
    runs = [RecordedRun(instance, header.pool, header.settings, steps, epoch_ns, header.clock)]
    for name, changes in variants:
        what_if(read, runs=1, **asked, **changes)  # refuses what would not be honest
        settings, simulated = changed_run(read, changes, **asked)
        gone_in = [(at_ns, stimulus) for at_ns, stimulus, _ in simulated]
        runs.append(RecordedRun(name, header.pool, settings, gone_in, epoch_ns))
    return openmetrics(runs, every_seconds=every_seconds)


class Samples(NamedTuple):
    """When the samples of an OpenMetrics file were taken: what to choose in Grafana.

    Args:
        first: epoch seconds of the first one.
        last: of the last one.
        every: how far apart they lie, in seconds; of the run where that is most.
    """

    first: float
    last: float
    every: float


def samples_of(data: bytes) -> Samples:
    """When the samples of an exported file were taken.

    Args:
        data: what :func:`export_openmetrics` gave.

    Returns:
        The instants of the first and last, and their distance.

    Example:
        >>> limit = 'workerpool_workers_limit{instance="recorded",pool="p"} 4.0 '
        >>> samples_of("".join(f"{limit}{at}\\n" for at in (100, 100.5, 101, 101.2)).encode())
        Samples(first=100.0, last=101.2, every=0.5)
    """
    runs: dict[bytes, list[float]] = {}
    for found in re.finditer(rb"^workerpool_workers_limit(\{.*\}) \S+ (\S+)$", data, re.MULTILINE):
        runs.setdefault(found[1], []).append(float(found[2]))
    instants = [at for run in runs.values() for at in run]
    gaps = [later - at for run in runs.values() for at, later in itertools.pairwise(run)]
    return Samples(min(instants), max(instants), round(max(gaps, default=0.0), 6))
