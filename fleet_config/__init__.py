"""What other programs read, made from leitstand.yml: Prometheus, blackbox_exporter, Alertmanager, Grafana."""
