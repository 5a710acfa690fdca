"""The Grafana dashboards as code. ``python -m lab.dashboards`` writes them to ``grafana/dashboards``."""

from collections.abc import Callable
from pathlib import Path

from lab.dashboards.elements import Json
from lab.dashboards.fleet import fleet_overview
from lab.dashboards.host import host_detail

FOLDER = Path(__file__).resolve().parent.parent.parent / "grafana" / "dashboards"

# Where each dashboard stands; its folder is Grafana's folder.
DASHBOARDS: dict[str, Callable[[], Json]] = {
    "Leitstand/fleet-overview.json": fleet_overview,
    "Leitstand/host-detail.json": host_detail,
}
