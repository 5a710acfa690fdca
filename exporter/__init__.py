"""One per host: live figures and inventory for Prometheus."""
