"""The span that a running function finds: an SDK span whose costly parts are made when needed.

An SDK span started and ended costs 14.7 us where the function runs (measured by the project); most
of it goes into a lock, bounded containers and instants that most spans never need. A ``LightSpan``
is one of the SDK's own class, so all that can be set on it behaves as the SDK has it, limits,
warnings and rules of status included; but the lock and the containers are made by the first call
that needs them, its instants are the transitions' and its end is the attempt's (decision record
0012). ``DroppedSpan`` stands for one that is not sampled, and makes its ids when asked for them.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from random import Random
from typing import Any, Final

from opentelemetry.attributes import BoundedAttributes
from opentelemetry.sdk.trace import Span, SpanLimits
from opentelemetry.sdk.util import BoundedList
from opentelemetry.trace import (
    NonRecordingSpan,
    SpanContext,
    SpanKind,
    Status,
    StatusCode,
    TraceFlags,
)
from opentelemetry.trace.span import TraceState
from opentelemetry.util import types

from telemetry.current import context_of

__all__ = ["FLAGS", "RANDOM_TRACE_ID", "UNSET_STATUS", "DroppedSpan", "LightSpan", "drawn"]

UNSET_STATUS: Final = Status(StatusCode.UNSET)
#: The flag that says that a trace id is random (W3C Trace Context, level 2); older SDKs have no
#: name for it.
RANDOM_TRACE_ID: Final = 2
#: All flags there are, by their number: making one takes longer than looking it up.
FLAGS: Final = tuple(TraceFlags(number) for number in range(4))


class LightSpan(Span):
    """A span of one pool's; each pool makes a subclass with what all its spans share.

    Args:
        name: its name.
        context: its own context.
        parent: its parent's, ``None`` for a root.

    Attributes:
        thread_id: where its function runs.
        attempt: of which attempt it is.
        earlier: the span of the task's attempt before that.
    """

    thread_id = 0
    attempt = 0
    earlier: LightSpan | None = None
    _touched = False  # whether anything was set on it

    # what all spans of a pool share
    _limits: SpanLimits
    now_epoch_ns: Callable[[], int]
    # what most spans share; the SDK's names
    _kind = SpanKind.INTERNAL
    _instrumentation_info = None
    _sampler = None
    _trace_config = None
    _record_exception = True
    _set_status_on_exception = True
    _record_end_metrics = None
    _status = UNSET_STATUS
    _start_time: int | None = None
    _end_time: int | None = None

    def __init__(self, name: str, context: SpanContext, parent: SpanContext | None) -> None:
        self._name = name
        self._context = context
        self._parent = parent

    def __getattr__(self, name: str) -> Any:
        """Make a part that is needed for the first time; two threads get the same one."""
        made: Any
        limits = type(self)._limits
        if name == "_lock":
            made = threading.Lock()
        elif name == "_attributes":
            made = BoundedAttributes(
                limits.max_span_attributes,
                immutable=False,
                max_value_len=limits.max_span_attribute_length,
            )
        elif name == "_events":
            made = BoundedList(limits.max_events)
        elif name == "_links":
            made = BoundedList(limits.max_links)
        else:
            raise AttributeError(name)
        self._touched = True
        return self.__dict__.setdefault(name, made)

    def add_event(
        self, name: str, attributes: types.Attributes = None, timestamp: int | None = None
    ) -> None:
        """As the SDK's, but the present is the pool's, so virtual where its clock is."""
        super().add_event(
            name, attributes, type(self).now_epoch_ns() if timestamp is None else timestamp
        )

    def end(self, end_time: int | None = None) -> None:
        """Nothing: the attempt's end ends it."""

    def finish(
        self, attributes: dict[str, Any], start_time: int, end_time: int, *, shared: bool
    ) -> None:
        """End it: from now on the SDK takes nothing more to be set.

        Args:
            attributes: the pool's own; what the function has set goes before them.
            start_time: when it began, in epoch nanoseconds.
            end_time: when it ended.
            shared: whether a function may be setting something on it at this very moment.
        """
        self._start_time = start_time
        if shared or self._touched or type(self)._limits.max_span_attribute_length is not None:
            self._finish_touched(attributes, end_time)
        else:
            self._end_time = end_time
            self._attributes = attributes
            self._events = self._links = ()

    def _finish_touched(self, attributes: dict[str, Any], end_time: int) -> None:
        with self._lock:  # which whoever sets something holds
            self._end_time = end_time
            theirs: Any = self._attributes  # the SDK's BoundedAttributes
            limits = type(self)._limits
            made = BoundedAttributes(
                limits.max_span_attributes,
                {**attributes, **theirs.copy()},
                True,
                limits.max_span_attribute_length,
            )
            made.dropped += theirs.dropped
            self._attributes = made


class DroppedSpan(NonRecordingSpan):
    """The span of a task that is not sampled: nothing but a context, made when it is asked for.

    Each pool makes a subclass, by which it knows its own.

    Args:
        number: the task's.
        above: the span that was current when the task was handed in, ``None`` for a root.

    Attributes:
        trace_id: the trace by which it was decided, 0 where that depended on no trace.
        trace_state: what the sampler said of it.
        seed: of the ids of all such spans of the pool.
        root_flags: the flags of those that begin a trace.
    """

    above: Any = None
    seed = 0
    root_flags = 0
    trace_id = 0
    trace_state: TraceState | None = None
    _made: SpanContext | None = None

    def __init__(self, number: int, above: Any = None) -> None:
        self.number = number
        if above is not None:
            # of those above that are dropped only the first one's trace matters: the others are let
            # go of, or a task that hands in another, and that another, would make a chain without
            # end. isinstance would be slow: it is an ABC
            dropped = DroppedSpan in type(above).__mro__
            self.above = above.above or above if dropped else above

    def get_span_context(self) -> SpanContext:
        """Its context; the same for all who ask, in whatever thread."""
        made = self._made
        if made is None:
            trace_id, span_id = drawn(self.seed, self.number, 0)
            state, flags = self.trace_state, self.root_flags
            above = context_of(self.above)
            if above is not None:
                trace_id, flags = above.trace_id, above.trace_flags & RANDOM_TRACE_ID
                state = above.trace_state if state is None else state
            made = SpanContext(self.trace_id or trace_id, span_id, False, FLAGS[flags], state)
            self._made = made
        return made

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.get_span_context()!r})"


def drawn(seed: int, number: int, attempt: int) -> tuple[int, int]:
    """Ids of a trace and of a span that depend on nothing else.

    Args:
        seed: any number.
        number: a task's.
        attempt: an attempt's, 0 for the task itself.

    Returns:
        Neither is 0.
    """
    draw = Random((((seed << 64) | number) << 32) | attempt).getrandbits
    return draw(128) or 1, draw(64) or 1
