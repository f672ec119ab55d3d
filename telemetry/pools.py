"""The way in: what to hand a pool, and where it is scraped."""

from __future__ import annotations

from collections.abc import Callable

from prometheus_client import REGISTRY, CollectorRegistry, start_http_server

from telemetry.metrics import PoolMetrics

__all__ = ["Telemetry", "serve"]


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


def serve(
    port: int = 9464, address: str = "127.0.0.1", registry: CollectorRegistry = REGISTRY
) -> Callable[[], None]:
    """Answer Prometheus over HTTP.

    Args:
        port: where; 0 takes a free one.
        address: on which address: this machine alone unless told otherwise.
        registry: what to export.

    Returns:
        A function that stops it.

    Raises:
        OSError: the port is taken.
    """
    server, thread = start_http_server(port, addr=address, registry=registry)

    def stop() -> None:
        server.shutdown()
        server.server_close()
        thread.join()

    return stop
