"""Models of what is outside the process: a service that many attempts call at once.

A call that reaches a backend meets, in this order:

1. an *outage*: it fails at once, or hangs until the outage is over (calls that were under way when
   it began are answered as if nothing were);
2. a *rate limit*: a token bucket, kept as a theoretical arrival time (the 'generic cell rate
   algorithm', ITU-T I.371), so that it is exact in integers. A call above it is answered by an
   error at once, which may carry a ``retry_after``;
3. a *concurrency limit*: a call above it waits inside, in the order of arrival. With random
   arrivals and exponential times that is the M/M/c queue;
4. its *latency under load*: each call that is in service when it begins makes it so many seconds
   longer (a line), or all calls in service share a capacity (processor sharing: the M/M/1-PS queue
   for a capacity of 1).

How long a call takes alone is the attempt's own: its duration less its CPU.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from fractions import Fraction
from typing import Any, Final, Literal, Protocol

from runtime.config import check_group, check_int, check_seconds, plain_text, seconds_to_ns
from simulation.machine.sharing import NEVER, Sharing
from simulation.models import Fails

__all__ = ["Backend", "BackendRun", "Outage", "RateLimit"]

OutageKind = Literal["fails", "hangs"]
_KINDS: Final = ("fails", "hangs")


@dataclass(frozen=True, slots=True)
class Outage:
    """A time in which a backend serves nobody.

    Args:
        from_seconds: when it begins, in seconds of the run.
        to_seconds: when it is over; ``math.inf`` for never.
        kind: ``fails``: calls fail at once; ``hangs``: they are served only once it is over.
        error: the exception's type as a journal has it, where it fails.

    Raises:
        TypeError: a field of the wrong type.
        ValueError: a field out of range.
    """

    from_seconds: float
    to_seconds: float
    kind: OutageKind = "fails"
    error: str = "ConnectionError"

    def __post_init__(self) -> None:
        check_seconds("from_seconds", self.from_seconds)
        if self.to_seconds != math.inf:
            check_seconds("to_seconds", self.to_seconds)
        if not self.from_seconds < self.to_seconds:
            raise ValueError(
                f"to_seconds={self.to_seconds!r}: must be after from_seconds={self.from_seconds!r}"
            )
        if self.kind not in _KINDS:
            raise ValueError(f"kind={self.kind!r}: must be one of {', '.join(_KINDS)}")
        plain_text("error", self.error)


@dataclass(frozen=True, slots=True)
class RateLimit:
    """A token bucket that answers with errors.

    Args:
        per_second: calls a second that it lets through in the long run.
        burst: calls that it lets through at once after a rest.
        error: the exception's type as a journal has it.
        retry_after_seconds: what the error asks to wait; ``None`` for no such word. ``"next"``
            tells exactly how long it is until the next call would be let through.

    Raises:
        TypeError: a field of the wrong type.
        ValueError: a field out of range.
    """

    per_second: float
    burst: int = 1
    error: str = "TooManyRequests"
    retry_after_seconds: float | Literal["next"] | None = None

    def __post_init__(self) -> None:
        rate = self.per_second
        if isinstance(rate, bool) or not isinstance(rate, int | float):
            raise TypeError(f"per_second={rate!r}: must be a number")
        if not 1e-9 <= rate <= 1e9:
            raise ValueError(f"per_second={rate!r}: must be 1e-9 to 1e9 calls a second")
        check_int("burst", self.burst, 1, 1_000_000_000)
        plain_text("error", self.error)
        after = self.retry_after_seconds
        if isinstance(after, str):
            if after != "next":
                raise ValueError(f'retry_after_seconds={after!r}: must be seconds, or "next"')
        elif after is not None:
            check_seconds("retry_after_seconds", after)


@dataclass(frozen=True, slots=True)
class Backend:
    """A service outside the process.

    Args:
        name: what it is called.
        groups: the groups whose attempts call it, each once an attempt.
        limit: calls that it serves at once; others wait inside. ``None`` for no limit.
        rate: its rate limit, ``None`` for none.
        slope_seconds: how much longer a call takes for each other that is in service when it
            begins.
        capacity: calls in service share so many servers: n of them are slowed down n / capacity
            times where that is more than 1. ``None`` for no such law.
        outages: the times in which it serves nobody.
        recorded: whether a recording was made with it.

    Raises:
        TypeError: a field of the wrong type.
        ValueError: a field out of range, or two laws of latency at once.

    Example:
        >>> backend = Backend("api", groups=("questions",), limit=10)
        >>> backend.limit
        10
    """

    name: str
    groups: tuple[str, ...]
    limit: int | None = None
    rate: RateLimit | None = None
    slope_seconds: float = 0.0
    capacity: float | None = None
    outages: tuple[Outage, ...] = ()
    recorded: bool = False

    def __post_init__(self) -> None:
        plain_text("name", self.name)
        if not self.groups:
            raise ValueError(
                'groups=[]: at least one is needed; tasks that have none are "default"'
            )
        for group in self.groups:
            check_group(group)
        if self.limit is not None:
            check_int("limit", self.limit, 1, 1_000_000_000)
        check_seconds("slope_seconds", self.slope_seconds)
        capacity = self.capacity
        if capacity is not None:
            if isinstance(capacity, bool) or not isinstance(capacity, int | float):
                raise TypeError(f"capacity={capacity!r}: must be a number of servers")
            if not 1e-6 <= capacity <= 1e9:
                raise ValueError(f"capacity={capacity!r}: must be 1e-6 to 1e9 servers")
            if self.slope_seconds:
                raise ValueError("slope_seconds and capacity are two laws of latency: give one")


class Call(Protocol):
    """One attempt's call; compared by identity."""

    gone: bool  # whether its attempt has left


#: Something that a call is done to at an instant.
Step = Callable[[int, Any], None]


class BackendRun:
    """A backend in a simulated run.

    Args:
        backend: what was declared.
        plan: ``plan(at_ns, step, call)`` does ``step(at_ns, call)`` then, unless the call is gone.
        served: called with the instant and the call when it has been served.
        refused: called with the instant, the call and how it fails.

    Attributes:
        sharing: the calls that share a capacity; its owner takes them when they end and hands them
            to ``end``. ``None`` without that law.
    """

    def __init__(
        self,
        backend: Backend,
        plan: Callable[[int, Step, Any], None],
        served: Step,
        refused: Callable[[int, Any, Fails], None],
    ) -> None:
        self._backend = backend
        self._plan, self._served, self._refused = plan, served, refused
        self._slope_ns = seconds_to_ns(backend.slope_seconds)
        self._outages = [
            (
                seconds_to_ns(outage.from_seconds),
                NEVER if outage.to_seconds == math.inf else seconds_to_ns(outage.to_seconds),
                outage,
            )
            for outage in backend.outages
        ]
        rate = backend.rate
        self._gap_ns = 0 if rate is None else max(1, round(1e9 / rate.per_second))
        self._next_ns = 0  # the theoretical arrival time
        self._queue: deque[tuple[Call, int | None]] = deque()
        self._serving: set[Call] = set()
        self.sharing: Sharing | None = None
        if backend.capacity is not None:
            capacity = Fraction(backend.capacity).limit_denominator(1_000_000)
            self.sharing = Sharing(lambda calls: min(Fraction(calls), capacity))

    def call(self, now_ns: int, call: Call, duration_ns: int | None) -> None:
        """A call reaches the backend.

        Args:
            now_ns: the present.
            call: whose.
            duration_ns: how long it takes alone; ``None`` for ever.
        """
        for from_ns, to_ns, outage in self._outages:
            if from_ns <= now_ns < to_ns:
                if outage.kind == "fails":
                    self._refused(now_ns, call, Fails(error=outage.error))
                elif to_ns != NEVER:
                    self._plan(to_ns, lambda at_ns, call: self.call(at_ns, call, duration_ns), call)
                return
        if self._backend.rate is not None:
            over_ns = self._over_the_rate(now_ns, self._backend.rate)
            if over_ns > 0:
                self._refused(now_ns, call, _too_many(self._backend.rate, over_ns))
                return
        limit = self._backend.limit
        if limit is not None and len(self._serving) >= limit:
            self._queue.append((call, duration_ns))
        else:
            self._serve(now_ns, call, duration_ns)

    def _over_the_rate(self, now_ns: int, rate: RateLimit) -> int:
        """How much too early a call comes, in nanoseconds; 0 where it is let through."""
        due = max(self._next_ns, now_ns)
        over_ns = due - now_ns - (rate.burst - 1) * self._gap_ns
        if over_ns <= 0:
            self._next_ns = due + self._gap_ns
        return max(0, over_ns)

    def _serve(self, now_ns: int, call: Call, duration_ns: int | None) -> None:
        others = len(self._serving)
        self._serving.add(call)
        if duration_ns is None:
            return  # it never ends, and keeps its place
        if self.sharing is not None:
            self.sharing.add(now_ns, duration_ns, call)
        else:
            self._plan(now_ns + duration_ns + others * self._slope_ns, self.end, call)

    def end(self, now_ns: int, call: Call) -> None:
        """A call has been served: it leaves, and the next one is served."""
        self._free(now_ns, call)
        self._served(now_ns, call)

    def leave(self, now_ns: int, call: Call) -> None:
        """Whoever called hangs up; ``call.gone`` is set already."""
        if call in self._serving:
            if self.sharing is not None and call in self.sharing:
                self.sharing.remove(now_ns, call)
            self._free(now_ns, call)

    def _free(self, now_ns: int, call: Call) -> None:
        self._serving.remove(call)
        while self._queue:
            following, duration_ns = self._queue.popleft()
            if not following.gone:
                self._serve(now_ns, following, duration_ns)
                break


def _too_many(rate: RateLimit, over_ns: int) -> Fails:
    after = rate.retry_after_seconds
    return Fails(
        error=rate.error,
        retry_after_seconds=over_ns / 1e9 if isinstance(after, str) else after,
    )
