"""Journal faults: a run's journal is damaged, and must be refused or tell a part of the truth."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from runtime.core import CoreSettings
from runtime.journal import STATE_WIDTH, JournalError, Seal, encode_records, parse_journal
from runtime.observers import Step
from runtime.recorder import closed_journal, describe_host, to_records
from simulation.explore.properties import Broken

__all__ = ["check_journal"]

_QUARTERS = 4


def check_journal(settings: CoreSettings, steps: Sequence[Step], fault: str, quarter: int) -> None:
    """Write a run's journal, damage it, and read it again.

    Args:
        settings: what the core was set up with.
        steps: of the run.
        fault: ``journal_cut``, ``journal_flip`` or ``disk_full``.
        quarter: which quarter of it is damaged, from 0.

    Raises:
        Broken: the damage passes for the truth.
    """
    records = to_records(steps, 0)
    header = describe_host(settings, pool="explored", prefix="", epoch_ns=0, clock="virtual")
    if fault == "disk_full":
        seal = Seal(msgspec.json.encode(header))
        kept = len(records) * (quarter + 1) // (_QUARTERS + 1)
        data = seal.header + seal.lines(encode_records(records[:kept]))
        data = data.replace(b"open".ljust(STATE_WIDTH), b"incomplete", 1)
    else:
        data = closed_journal(header, steps)
    at = len(data) * (2 * quarter + 1) // (2 * _QUARTERS)
    if fault == "journal_cut":
        data = data[:at]
    elif fault == "journal_flip":
        data = data[:at] + bytes([data[at] ^ 1 << at % 8]) + data[at + 1 :]
    try:
        journal = parse_journal("the run's journal", data)
    except JournalError:
        return
    if journal.damage is not None:  # it says so, and a replay goes no further
        return
    if (
        fault == "disk_full"
        or journal.complete
        or journal.records != records[: len(journal.records)]
    ):
        raise Broken("a damaged journal never passes for the truth", f"{fault} at byte {at}")
