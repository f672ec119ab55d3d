"""The current span where users' code is: finding it, and leaving one there.

OpenTelemetry keeps the current span in a mapping of its own, a ``Context``, and that in a context
variable, unless ``OTEL_PYTHON_CONTEXT`` names another way. Its functions get there through three
calls each. A pool asks twice a task, so the variable is found once, by what attaching leaves
behind, and is read and set itself; where none is found, OpenTelemetry's own functions serve.
"""

from __future__ import annotations

import contextvars
from collections.abc import Callable
from contextlib import suppress
from typing import Final

from opentelemetry import context as otel_context
from opentelemetry import trace
from opentelemetry.context import Context
from opentelemetry.trace import SpanContext

__all__ = ["SPAN_KEY", "attach", "context_of", "current", "leave"]

#: The key under which a context of OpenTelemetry's has its current span.
SPAN_KEY: Final = next(iter(trace.set_span_in_context(trace.INVALID_SPAN, Context())))


def _find_variable() -> contextvars.ContextVar[Context] | None:
    """The context variable that attaching sets and ``get_current`` reads, if there is one."""
    probe, variables = Context({"probe": True}), contextvars.Context()
    token = variables.run(otel_context.attach, probe)
    found = [variable for variable, value in variables.items() if value is probe]
    variables.run(otel_context.detach, token)
    for variable in found:
        elsewhere = contextvars.Context()
        with suppress(LookupError):  # of one without a default
            if elsewhere.run(variable.get) is not None:
                elsewhere.run(variable.set, probe)
                if elsewhere.run(otel_context.get_current) is probe:
                    return variable
    return None


_variable: Final = _find_variable()

#: The current context of OpenTelemetry's.
current: Final[Callable[[], Context]] = (
    otel_context.get_current if _variable is None else _variable.get
)
#: Makes another one current from now on, in the present context variables.
attach: Final[Callable[[Context], object]] = (
    otel_context.attach if _variable is None else _variable.set
)


def leave(context: Context, span: trace.Span) -> None:
    """Make a span the current one from now on, in the present context variables.

    Args:
        context: what was current, which keeps all else that is in it.
        span: the span.
    """
    attach(Context({**context, SPAN_KEY: span}))


def context_of(span: object) -> SpanContext | None:
    """What is known of a span that was found under ``SPAN_KEY``.

    Args:
        span: what was found there, ``None`` for nothing.

    Returns:
        Its own context; ``None`` where it is no span, or one that stands for none.
    """
    ask = getattr(span, "get_span_context", None)  # isinstance takes thrice as long: an ABC
    own: SpanContext | None = None if ask is None else ask()
    return own if own is not None and own.is_valid else None
