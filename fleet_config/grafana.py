"""Provisioning and dashboards for Grafana, with addresses and links put in.

Form: https://grafana.com/docs/grafana/latest/administration/provisioning/
"""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from fleet_config.output import Files, json_text, read_yaml, yaml_text
from leitstand.settings.fleet import Fleet

ALERT_COLUMN = "Alert"


def grafana_files(fleet: Fleet, prometheus: str, out: Path, share: Path) -> Files:
    """``provisioning/`` and ``dashboards/``, to stand in ``out``; ``share`` is the room as shipped."""
    sources = read_yaml(share / "provisioning" / "datasources" / "leitstand.yml")
    sources["datasources"][0]["url"] = f"http://{prometheus}"
    providers = read_yaml(share / "provisioning" / "dashboards" / "leitstand.yml")
    # Grafana reads $NAME in these files as a variable of its environment, in links as one of the dashboard.
    folder = str(out.absolute() / "dashboards").replace("$", "$$")
    providers["providers"][0]["options"]["path"] = folder
    return {
        "provisioning/datasources/leitstand.yml": yaml_text(sources),
        "provisioning/dashboards/leitstand.yml": yaml_text(providers),
        **{
            str(path.relative_to(share)): _dashboard(path, fleet.alerts.runbook_url)
            for path in sorted((share / "dashboards").rglob("*.json"))
        },
    }


def _dashboard(path: Path, runbooks: str | None) -> str:
    dashboard = json.loads(path.read_text(encoding="utf-8"))
    if runbooks:
        link = {
            "title": "Runbook",
            "url": runbooks.replace("$", "%24").replace("{alert}", "${__value.raw}"),
            "targetBlank": True,
        }
        for column in _alert_columns(dashboard):
            column["properties"].append({"id": "links", "value": [link]})
    return json_text(dashboard)


def _alert_columns(dashboard: dict[str, Any]) -> Iterator[dict[str, Any]]:
    for panel in dashboard["panels"]:
        for override in panel.get("fieldConfig", {}).get("overrides", []):
            if override["matcher"]["options"] == ALERT_COLUMN:
                yield override
