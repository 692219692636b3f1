"""Grafana's dashboards as code, the JSON that they write, and what a Grafana server is provisioned with."""
