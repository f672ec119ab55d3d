"""The way in: what to hand a pool, and where it is scraped."""

from __future__ import annotations

import threading
from typing import Self
from wsgiref.simple_server import WSGIServer

from prometheus_client import REGISTRY, CollectorRegistry, start_http_server

from telemetry.metrics import PoolMetrics

__all__ = ["Endpoint", "Telemetry", "serve"]


class Telemetry(PoolMetrics):
    """Prometheus metrics of one pool: an observer, to be given to it.

    Args:
        registry: where it is exported; several pools may share one.

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

    def __init__(self, *, registry: CollectorRegistry = REGISTRY) -> None:
        super().__init__(registry)


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
