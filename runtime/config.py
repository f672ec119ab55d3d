"""How a pool is set up."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final, get_args

from runtime.core import CoreSettings
from runtime.core.backoff import Jitter
from runtime.tracebacks import said_to_users

__all__ = ["RetryOn", "WorkerPoolConfig", "seconds_to_ns"]
__tracebackhide__ = said_to_users

#: Which failures are retried: exception types, or a function that says so.
RetryOn = type[BaseException] | tuple[type[BaseException], ...] | Callable[[BaseException], bool]

LONGEST_SECONDS: Final = 1e9  # 31 years; keeps nanoseconds well inside 64 bits
MOST_WORKERS: Final = 100_000
_LONGEST_NAME: Final = 100
_LONGEST_GROUP: Final = 1000
LOWEST_PRIORITY: Final = -(1 << 31)
HIGHEST_PRIORITY: Final = (1 << 31) - 1


def seconds_to_ns(seconds: float) -> int:
    """Round seconds to integer nanoseconds.

    Args:
        seconds: a finite number of seconds.

    Returns:
        Nanoseconds.

    Example:
        >>> seconds_to_ns(0.1)
        100000000
    """
    return round(seconds * 1_000_000_000)


def _refuse(field: str, value: object, allowed: str) -> ValueError:
    return ValueError(f"{field}={value!r}: {allowed}")


#: The most retries that may be asked for; ``seconds_to_ns`` and the journal have their limits, too.
MOST_RETRIES: Final = (1 << 31) - 2


def check_int(field: str, value: object, low: int, high: int | None = None) -> int:
    """Raise unless ``value`` is a whole number from ``low`` to ``high``.

    Args:
        field: its name, for the message.
        value: what was given.
        low: the smallest allowed.
        high: the largest allowed, ``None`` for no end.

    Returns:
        The value, as a plain ``int`` where it is of a subclass.

    Raises:
        TypeError: it is no ``int``.
        ValueError: it is out of range.
    """
    span = f"{low} or more" if high is None else f"{low} to {high}"
    if isinstance(value, bool) or not isinstance(value, int):
        raise TypeError(f"{field}={value!r}: a whole number, {span}, is needed")
    plain = int.__index__(value)
    if plain < low or (high is not None and plain > high):
        raise _refuse(field, value, f"must be {span}")
    return plain


def plain_text(field: str, value: object) -> str:
    """Raise unless ``value`` is text that can be written to a file.

    Args:
        field: its name, for the message.
        value: what was given.

    Returns:
        The value, as a plain ``str`` where it is of a subclass.

    Raises:
        TypeError: it is no ``str``.
        ValueError: it has half a character (a lone surrogate).
    """
    if not isinstance(value, str):
        raise TypeError(f"{field}={value!r}: must be a string")
    plain = str.__str__(value)
    try:
        plain.encode()
    except UnicodeEncodeError:
        raise _refuse(field, value, "must not have a lone surrogate") from None
    return plain


def check_seconds(
    field: str, value: object, *, optional: bool = False, positive: bool = False
) -> None:
    """Raise unless ``value`` is a duration in seconds.

    Args:
        field: its name, for the message.
        value: what was given.
        optional: whether ``None``, unlimited, is allowed.
        positive: whether it must be above 0.

    Raises:
        TypeError: it is no number.
        ValueError: it is out of range.
    """
    if value is None and optional:
        return
    least = "more than 0" if positive else "0 or more"
    none = ", or None for unlimited" if optional else ""
    allowed = f"must be finite seconds, {least}, at most {LONGEST_SECONDS:.0e}{none}"
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise TypeError(f"{field}={value!r}: {allowed}")
    if not 0 <= value <= LONGEST_SECONDS:  # a NaN is neither
        raise _refuse(field, value, allowed)
    if positive and seconds_to_ns(value) == 0:
        raise _refuse(field, value, allowed)


def check_group(value: object) -> str:
    """Raise unless ``value`` can be a group's name.

    Args:
        value: what was given.

    Returns:
        The name.

    Raises:
        TypeError: it is no ``str``.
        ValueError: it is empty, too long, or has a lone surrogate.
    """
    group = plain_text("group", value)
    if not 1 <= len(group) <= _LONGEST_GROUP:
        raise ValueError(f"group={group!r}: must have 1 to {_LONGEST_GROUP} characters")
    return group


def _check_retry_on(value: object) -> None:
    allowed = "must be an exception type, a tuple of them, or a function of an exception"
    types = value if isinstance(value, tuple) else (value,)
    if all(isinstance(t, type) and issubclass(t, BaseException) for t in types):
        return
    if isinstance(value, type | tuple) or not callable(value):
        raise TypeError(f"retry_on={value!r}: {allowed}")


@dataclass(frozen=True)
class WorkerPoolConfig:
    """How a pool is set up; checked when it is made.

    Args:
        max_workers: tasks that run at the same time, 1 to 100,000.
        task_timeout_seconds: limit of one attempt, from its start; ``None`` is unlimited.
        max_retries: retries after a first attempt, 0 to 2,147,483,646.
        backoff_base_seconds: wait before the first retry; it doubles for each one after.
        backoff_max_seconds: the longest such wait.
        enable_instrumentation: whether log lines are written and observers are served.
        jitter: how waits are spread: ``none``, ``full``, ``equal`` or ``decorrelated``
            (``runtime.core.backoff`` has the formulas). All are seeded.
        retry_on: which failures are retried: types, or a function of the exception. Every
            ``Exception`` by default; ``KeyboardInterrupt`` and ``SystemExit`` never are.
        seed: keys the jitter; the same seed gives the same waits.
        ageing_seconds: waiting time worth one step of priority, ``None`` for no ageing.
        max_abandoned_threads: timed-out attempts that may still run while a new thread serves
            their slot; past that a slot stays taken until its attempt returns.
        exit_grace_seconds: how long an interpreter that exits waits for running tasks.
        name: the pool's name in ids, thread names, log lines and metrics.

    Raises:
        TypeError: a value of the wrong type; the message names field, value and what is needed.
        ValueError: a value out of range; the message names field, value and what is allowed.

    Example:
        >>> WorkerPoolConfig(max_workers=0)
        Traceback (most recent call last):
            ...
        ValueError: max_workers=0: must be 1 to 100000
    """

    max_workers: int = 50
    task_timeout_seconds: float | None = 180.0
    max_retries: int = 3
    backoff_base_seconds: float = 1.0
    backoff_max_seconds: float = 60.0
    enable_instrumentation: bool = True
    jitter: Jitter = "none"
    retry_on: RetryOn = Exception
    seed: int = 0
    ageing_seconds: float | None = None
    max_abandoned_threads: int = 50
    exit_grace_seconds: float = 5.0
    name: str = "pool"

    def __post_init__(self) -> None:
        for field, low, high in (
            ("max_workers", 1, MOST_WORKERS),
            ("max_retries", 0, MOST_RETRIES),
            ("seed", 0, (1 << 63) - 1),
            ("max_abandoned_threads", 0, MOST_WORKERS),
        ):
            object.__setattr__(self, field, check_int(field, getattr(self, field), low, high))
        check_seconds(
            "task_timeout_seconds",
            self.task_timeout_seconds,
            optional=True,
            positive=True,
        )
        check_seconds("backoff_base_seconds", self.backoff_base_seconds)
        check_seconds("backoff_max_seconds", self.backoff_max_seconds)
        if self.backoff_base_seconds > self.backoff_max_seconds:
            raise _refuse(
                "backoff_base_seconds",
                self.backoff_base_seconds,
                f"must not exceed backoff_max_seconds={self.backoff_max_seconds!r}",
            )
        if not isinstance(self.enable_instrumentation, bool):
            raise TypeError(
                f"enable_instrumentation={self.enable_instrumentation!r}: must be True or False"
            )
        kinds = get_args(Jitter)
        if self.jitter not in kinds:
            raise _refuse("jitter", self.jitter, f"must be one of {', '.join(kinds)}")
        object.__setattr__(self, "jitter", plain_text("jitter", self.jitter))
        _check_retry_on(self.retry_on)
        check_seconds("ageing_seconds", self.ageing_seconds, optional=True, positive=True)
        check_seconds("exit_grace_seconds", self.exit_grace_seconds)
        object.__setattr__(self, "name", plain_text("name", self.name))
        if not self.name.isprintable() or not 1 <= len(self.name) <= _LONGEST_NAME:
            raise _refuse("name", self.name, f"must be 1 to {_LONGEST_NAME} printable characters")

    def replace(self, **changes: Any) -> WorkerPoolConfig:
        """The same with some fields changed.

        Args:
            **changes: fields and their new values.

        Returns:
            A new configuration, checked.

        Raises:
            TypeError: an unknown field or a value of the wrong type.
            ValueError: a value out of range.
        """
        return dataclasses.replace(self, **changes)

    def core_settings(self) -> CoreSettings:
        """What of this the core decides by, in integer nanoseconds.

        Returns:
            The core's settings.
        """
        timeout, ageing = self.task_timeout_seconds, self.ageing_seconds
        return CoreSettings(
            max_workers=self.max_workers,
            timeout_ns=None if timeout is None else seconds_to_ns(timeout),
            max_retries=self.max_retries,
            backoff_base_ns=seconds_to_ns(self.backoff_base_seconds),
            backoff_max_ns=seconds_to_ns(self.backoff_max_seconds),
            jitter=self.jitter,
            ageing_ns=None if ageing is None else seconds_to_ns(ageing),
            max_abandoned=self.max_abandoned_threads,
            seed=self.seed,
        )
