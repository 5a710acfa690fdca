"""Grafana: dashboards as files for its provisioning, and the code that writes them (``source``)."""
