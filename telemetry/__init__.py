"""OpenTelemetry spans and Prometheus metrics of a pool's tasks; see the issue that builds them."""
