"""One per host: live metrics and inventory for Prometheus."""

from exporter.lean_import import import_leanly

import_leanly("prometheus_client")
