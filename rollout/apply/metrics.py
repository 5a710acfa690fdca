"""Roll-outs as a textfile, for alerts and for the dashboards."""

import json
from datetime import datetime
from pathlib import Path

from prometheus_client import CollectorRegistry, Gauge, generate_latest

from leitstand.files import make_public_folder, write_atomically
from rollout.apply.deployments import Deployment, Deployments
from rollout.apply.wanted import wanted

TEXTFILE = "leitstand_deployment.prom"


def write_metrics(deployments: Deployments, running: Deployment) -> list[str]:
    """Replace the textfile in the folder that the inventory of ``running`` names; returns warnings."""
    try:
        path = _folder(running) / TEXTFILE
        make_public_folder(path.parent)
        write_atomically(path, generate_latest(registry(deployments)))
    except (OSError, ValueError, KeyError) as error:
        return [f"the metrics of deployments cannot be written: {error}"]
    return []


def _folder(deployment: Deployment) -> Path:
    variables = json.loads(deployment.inventory.read_text(encoding="utf-8"))["all"]["vars"]
    return Path(variables["leitstand_metrics_folder"])


def registry(deployments: Deployments) -> CollectorRegistry:
    """What each host should run, and how the last roll-out ended; one that did not end yet is no success."""
    made = CollectorRegistry()

    def gauge(name: str, documentation: str, *labels: str) -> Gauge:
        return Gauge(f"leitstand_deployment_{name}", documentation, labels, registry=made)

    info = gauge("wanted_info", "What the host should run.", "host", "release", "configuration")
    for host, want in wanted(deployments).items():
        info.labels(host, want.runs.release, want.runs.configuration).set(1)
    outcomes = [one.outcome() for one in deployments.all()]
    last = outcomes[-1] if outcomes else None
    gauge("success", "1 if the last roll-out ended well, 0 if it failed or did not end.").set(
        bool(last and last.good)
    )
    ended = [outcome for outcome in outcomes if outcome]
    for name, text, times in (
        ("timestamp_seconds", "When the last roll-out ended.", ended),
        ("last_good_timestamp_seconds", "When the last good roll-out ended.", [o for o in ended if o.good]),
    ):
        if times:
            gauge(name, text).set(datetime.fromisoformat(times[-1].ended).timestamp())
    return made
