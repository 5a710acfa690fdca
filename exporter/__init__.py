"""One per host: live figures and inventory for Prometheus."""

from exporter.lean_import import import_leanly

import_leanly("prometheus_client")
