"""The way in: what to hand a pool, and where it is scraped."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from typing import Final, Self
from wsgiref.simple_server import WSGIServer

from opentelemetry.sdk.trace import TracerProvider
from prometheus_client import REGISTRY, CollectorRegistry, start_http_server

from runtime.core.records import Transition
from runtime.observers import Detail
from runtime.view import PoolView
from telemetry.metrics import PoolMetrics
from telemetry.spans import PoolSpans, Relation

__all__ = ["Endpoint", "Telemetry", "serve"]


class Telemetry:
    """Metrics and spans of one pool: an observer, to be given to it.

    Args:
        tracer_provider: where spans go; ``None`` makes none.
        registry: where metrics are exported, ``None`` for none; several pools may share one.
        relation: how a task's span stands to its submitter's: ``child``, ``link`` or ``none``.
        queue_spans: whether each wait of an attempt for a worker is a span, too.

    Raises:
        ValueError: an unknown relation.

    Example:
        >>> from prometheus_client import CollectorRegistry
        >>> from runtime import WorkerPool
        >>> registry = CollectorRegistry()
        >>> with WorkerPool(observers=[Telemetry(registry=registry)]) as pool:
        ...     _ = pool.get_task_result(pool.submit_task("t", int))
        >>> labels = {"pool": "pool", "group": "default", "outcome": "ok"}
        >>> registry.get_sample_value("workerpool_tasks_finished_total", labels)
        1
    """

    needs_cpu_time: Final = False

    submitted: Callable[[int], None]
    begin: Callable[[int, int], None]

    def __init__(
        self,
        *,
        tracer_provider: TracerProvider | None = None,
        registry: CollectorRegistry | None = REGISTRY,
        relation: Relation = "child",
        queue_spans: bool = False,
    ) -> None:
        self._attached = False
        self._parts: list[PoolMetrics | PoolSpans] = []
        spans: PoolSpans | None = None
        if tracer_provider is not None:
            spans = PoolSpans(tracer_provider, relation, queue_spans)
            self._parts.append(spans)
        if registry is not None:
            lost = {} if spans is None else {"spans_lost": spans.outlet.lost}
            self._parts.append(PoolMetrics(registry, **lost))
        self._spans = spans
        if spans is not None:
            # with these a pool takes it for one that has to be where users' code is
            self.submitted, self.begin = spans.submitted, spans.begin

    def attach(self, view: PoolView) -> None:
        """Get to know the pool.

        Raises:
            RuntimeError: it knows one already.
        """
        if self._attached:
            raise RuntimeError(
                "this Telemetry watches another pool already: give each pool one of its own"
            )
        self._attached = True
        for part in self._parts:
            part.attach(view)

    def detail(self) -> Detail:
        """None but those of the tasks whose spans are made: these are marked."""
        return "none"

    def transitions(self, batch: Sequence[Transition]) -> None:
        """Take what changed."""
        if self._spans is not None:
            self._spans.transitions(batch)

    def late_exception(self, task_id: str, attempt: int, error: BaseException) -> None:
        """Its transition tells it."""

    def close(self) -> None:
        """Let go of the pool."""
        for part in self._parts:
            part.close()


class Endpoint:
    """Where Prometheus is answered; made by ``serve``.

    Attributes:
        url: what to scrape.
    """

    def __init__(self, server: WSGIServer, thread: threading.Thread, address: str) -> None:
        self._server = server
        self._thread = thread
        self.url = f"http://{address}:{server.server_port}/metrics"

    def stop(self) -> None:
        """Answer no more, and free the port."""
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        self.stop()


def serve(
    port: int = 9464, address: str = "127.0.0.1", registry: CollectorRegistry = REGISTRY
) -> Endpoint:
    """Answer Prometheus over HTTP.

    Args:
        port: where; 0 takes a free one.
        address: on which address: this machine alone unless told otherwise.
        registry: what to export.

    Returns:
        Where it answers, to be stopped; usable in a ``with`` block.

    Raises:
        OSError: the port is taken.
    """
    server, thread = start_http_server(port, addr=address, registry=registry)
    return Endpoint(server, thread, address)
