"""What a pool tells the world: Prometheus metrics, from the transitions' own instants."""

from telemetry.metrics import PoolMetrics
from telemetry.pools import Endpoint, Telemetry, serve

__all__ = ["Endpoint", "PoolMetrics", "Telemetry", "serve"]
