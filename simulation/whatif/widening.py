"""Which small group makes a range wide: what its few tasks leave open is taken out, and looked at.

A group of eight tasks of which none failed leaves open whether one in three does, and each failure
costs its backoffs. The range of the whole run is wide then, and nothing in the figures says why.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Final

from runtime.core import CoreSettings
from simulation.machine.machine import Machine
from simulation.recording.arrivals import Arrivals
from simulation.whatif.nextrun import Sample
from simulation.whatif.replication import Side, next_side

__all__ = ["notes_on_widening"]

#: A makespan's upper end so many times its figure is wide.
_WIDE: Final = 1.5
#: Attempts of a group; with fewer it is small.
_SMALL: Final = 30


def notes_on_widening(
    sample: Sample,
    settings: CoreSettings,
    following: Sequence[Side],
    seed: int,
    figure: float,
    arrivals: Arrivals,
    machine: Machine | None,
) -> list[str]:
    """Name the group whose few tasks make the makespan's range wide.

    Args:
        sample: the recording as a sample.
        settings: the changed setting.
        following: the next runs under it, in the order of their seeds.
        seed: the first of those.
        figure: the makespan that the recorded tasks came to.
        arrivals: when tasks come.
        machine: what attempts meet.

    Returns:
        A sentence; nothing where no range is wide, or no small group makes it so.
    """
    if not following:
        return []
    longest = max(range(len(following)), key=lambda at: following[at].measures["makespan_seconds"])
    high = following[longest].measures["makespan_seconds"]
    if not high > _WIDE * figure:
        return []
    luck = sample.luck(seed + longest)
    saved: dict[str, float] = {}
    for group, attempts in sample.recording.by_group.items():
        if len(attempts) < _SMALL:
            curves = {name: one for name, one in luck.curves.items() if name != group}
            nothing_new = replace(luck, curves=curves)
            side = next_side(sample, settings, nothing_new, arrivals, machine=machine)
            saved[group] = high - side.measures["makespan_seconds"]
    group = max(saved, key=lambda name: saved[name], default="")
    if not saved or saved[group] < (high - figure) / 2:
        return []
    count = len(sample.recording.by_group[group])
    failed = sum(failure is not None for _, failure in sample.recording.by_group[group])
    unknown = "how long one may take"
    if not failed:
        unknown = f"how often one fails, since none did, and {unknown}"
    note = (
        f"the makespan's range is wide because of group {group or 'without a name'}: its {count} "
        f"attempts leave open {unknown}; without that the longest run takes "
        f"{high - saved[group]:,.3f} s and not {high:,.3f}. A journal with more of them narrows it"
    )
    return [note]
