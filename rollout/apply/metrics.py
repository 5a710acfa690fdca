"""Roll-outs as a textfile, for alerts and for the dashboards."""

import json
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path

from prometheus_client import CollectorRegistry, Gauge, generate_latest

from leitstand.files import make_public_folder, write_atomically
from rollout.apply.deployments import Deployment, Deployments
from rollout.apply.wanted import wanted

TEXTFILE = "leitstand_deployment.prom"


@contextmanager
def running(deployments: Deployments, deployment: Deployment) -> Iterator[None]:
    """Show that a run goes on, and that it failed if it breaks off; after a kill -9 the former stays."""
    write_metrics(deployments, deployment, since=time.time())
    try:
        yield
    except BaseException:
        write_metrics(deployments, deployment)
        raise


def write_metrics(deployments: Deployments, deployment: Deployment, since: float | None = None) -> list[str]:
    """Replace the textfile in the folder that the inventory of ``deployment`` names; returns warnings.

    ``since`` is the Unix time at which a run began that goes on.
    """
    try:
        path = _folder(deployment) / TEXTFILE
        make_public_folder(path.parent)
        write_atomically(path, generate_latest(registry(deployments, since)))
    except (OSError, ValueError, KeyError) as error:
        return [f"the metrics of deployments cannot be written: {error}"]
    return []


def _folder(deployment: Deployment) -> Path:
    variables = json.loads(deployment.inventory.read_text(encoding="utf-8"))["all"]["vars"]
    return Path(variables["leitstand_metrics_folder"])


def registry(deployments: Deployments, since: float | None = None) -> CollectorRegistry:
    """What each host should run, and how the last roll-out ended: while one goes on, the one before it."""
    made = CollectorRegistry()

    def gauge(name: str, documentation: str, *labels: str) -> Gauge:
        return Gauge(f"leitstand_deployment_{name}", documentation, labels, registry=made)

    info = gauge("wanted_info", "What the host should run.", "host", "release", "configuration")
    for host, want in wanted(deployments).items():
        info.labels(host, want.runs.release, want.runs.configuration).set(1)
    outcomes = [one.outcome() for one in deployments.all()]
    if since is not None:
        text = "When the roll-out began that goes on; left behind by one that was killed."
        gauge("running_since_timestamp_seconds", text).set(since)
        outcomes.pop()
    if outcomes:
        text = "1 if the last roll-out ended well, 0 if it failed or broke off."
        gauge("success", text).set(bool(outcomes[-1] and outcomes[-1].good))
    ended = [outcome for outcome in outcomes if outcome]
    for name, text, times in (
        ("timestamp_seconds", "When the last roll-out ended.", ended),
        ("last_good_timestamp_seconds", "When the last good roll-out ended.", [o for o in ended if o.good]),
    ):
        if times:
            gauge(name, text).set(datetime.fromisoformat(times[-1].ended).timestamp())
    return made
