"""What other programs read, made from leitstand.yml: for Prometheus, blackbox_exporter and Alertmanager.

Each module here turns a Fleet into a mapping of relative path to text; ``output`` writes it.
"""
