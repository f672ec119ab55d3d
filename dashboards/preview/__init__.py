"""Pictures of the dashboards where no Grafana is."""
