"""What a pool tells the world, from the transitions' own instants: Prometheus metrics,
OpenTelemetry spans.
"""

from telemetry.losses import WatchedExporter
from telemetry.metrics import PoolMetrics
from telemetry.openmetrics import RecordedRun, openmetrics
from telemetry.otlp import OtlpFileExporter
from telemetry.pools import Endpoint, Telemetry, serve
from telemetry.spans import PoolSpans

__all__ = [
    "Endpoint",
    "OtlpFileExporter",
    "PoolMetrics",
    "PoolSpans",
    "RecordedRun",
    "Telemetry",
    "WatchedExporter",
    "openmetrics",
    "serve",
]
