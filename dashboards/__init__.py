"""Grafana dashboards and Prometheus rules, built from the one file of names."""
