"""The Grafana dashboards as code. docs/reference/generate.py writes them to ``grafana/dashboards``."""

from collections.abc import Callable
from pathlib import Path

from grafana.source.elements import Json
from grafana.source.fleet import fleet_overview
from grafana.source.host import host_detail

FOLDER = Path(__file__).resolve().parent.parent.parent / "grafana" / "dashboards"

# Where each dashboard stands; its folder is Grafana's folder.
DASHBOARDS: dict[str, Callable[[], Json]] = {
    "Leitstand/fleet-overview.json": fleet_overview,
    "Leitstand/host-detail.json": host_detail,
}
