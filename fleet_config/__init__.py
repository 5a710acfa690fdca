"""Configuration of Prometheus, blackbox_exporter, Alertmanager and Grafana, made from leitstand.yml."""
