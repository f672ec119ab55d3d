"""What a sampler will say, where that is known without asking it.

Asking one of the SDK's own samplers takes 1 to 3 us: it looks for the parent's context up to three
times, and wraps its answer. Most set-ups are made of three of them, whose answers follow from the
parent and the trace id alone: one that always says the same, one that takes a share of the traces,
and one that follows the parent. What anybody has derived from those is asked.
"""

from __future__ import annotations

from typing import Final

from opentelemetry.sdk.trace.sampling import (
    Decision,
    ParentBased,
    Sampler,
    StaticSampler,
    TraceIdRatioBased,
)
from opentelemetry.trace import SpanContext, TraceFlags

__all__ = ["Foreseen"]

_DELEGATES: Final = {
    (False, False): "_local_parent_not_sampled",
    (False, True): "_local_parent_sampled",
    (True, False): "_remote_parent_not_sampled",
    (True, True): "_remote_parent_sampled",
}


class Foreseen:
    """What one sampler will say.

    Args:
        sampler: which.

    Attributes:
        at_roots: what it says of every task without a parent, ``None`` where that depends.
        under_dropped: what it says of every task under one that the pool has dropped.

    Example:
        >>> from opentelemetry.sdk.trace.sampling import DEFAULT_OFF
        >>> Foreseen(DEFAULT_OFF).at_roots
        <Decision.DROP: 0>
    """

    def __init__(self, sampler: Sampler) -> None:
        follows = type(sampler) is ParentBased
        root = getattr(sampler, "_root", None) if follows else sampler
        self.at_roots = _always(root)
        self._bound = root.bound if type(root) is TraceIdRatioBased else 1 << 64
        self._under = {
            parent: _always(getattr(sampler, delegate, None) if follows else sampler)
            for parent, delegate in _DELEGATES.items()
        }
        self.under_dropped = self._under[False, False]

    def drops(self, trace_id: int) -> bool:
        """Whether it is sure to drop a task without a parent that begins a certain trace."""
        return trace_id & TraceIdRatioBased.TRACE_ID_LIMIT >= self._bound

    def under(self, parent: SpanContext) -> Decision | None:
        """What it says of a task with a parent, ``None`` where that depends on the task."""
        _, _, remote, flags, _, _ = parent
        return self._under[remote, bool(flags & TraceFlags.SAMPLED)]


def _always(sampler: object) -> Decision | None:
    """What a sampler always says, ``None`` where that depends on something."""
    if type(sampler) is not StaticSampler:
        return None
    return sampler.should_sample(None, 1, "").decision
