"""``leitstand alerts test``: send one alert through Alertmanager, and see whether it leaves.

Alertmanager's API v2 takes it (api/v2/openapi.yaml of its source); its metrics say what became of it.
"""

import json
import time
import urllib.request
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

import click
from prometheus_client.parser import text_string_to_metric_families

from leitstand.errors import EXIT_OK, LeitstandError

TIMEOUT = 10.0  # seconds for one answer of Alertmanager
LASTS = timedelta(minutes=5)
SENT = "alertmanager_notifications_total"
FAILED = "alertmanager_notification_requests_failed_total"
Counts = Mapping[str, float]


@click.group(epilog="Example: leitstand alerts test")
def alerts() -> None:
    """Try the way of alerts to people."""


@alerts.command(epilog="Example: leitstand alerts test")
@click.option(
    "--alertmanager", "url", default="http://127.0.0.1:9093", show_default=True, help="Its address."
)
@click.option(
    "--wait", "seconds", default=180.0, show_default=True, help="Seconds to wait until it has left."
)
def test(url: str, seconds: float) -> int:
    """Send an alert called MailTest, and wait until Alertmanager has delivered it.

    Exit codes: 0 delivered, 3 not delivered; says why as far as Alertmanager does.
    """
    before = _counts(url)
    _post(f"{url}/api/v2/alerts", [_alert(datetime.now(UTC))])
    click.echo("MailTest is with Alertmanager, which waits for more of the same first (45 s)", err=True)
    ways = _delivered(url, before, time.monotonic() + seconds)
    click.echo(f"delivered by {', '.join(ways)}: it should arrive within a minute")
    return EXIT_OK


def _delivered(url: str, before: Mapping[str, Counts], end: float) -> list[str]:
    """The ways by which something left since ``before`` and nothing failed. Waits for one until ``end``."""
    while True:
        now = _counts(url)
        failing = _grown(before[FAILED], now[FAILED])
        if ways := [way for way in _grown(before[SENT], now[SENT]) if way not in failing]:
            return ways
        if time.monotonic() > end:
            what = f"it fails by {', '.join(failing)}" if failing else "no receiver was sent anything"
            raise LeitstandError(
                f"MailTest was not delivered: {what}",
                "see journalctl -u prometheus-alertmanager, and alerts: in leitstand.yml",
            )
        time.sleep(1)


def _grown(before: Counts, now: Counts) -> list[str]:
    return sorted(way for way, number in now.items() if number > before.get(way, 0))


def _alert(now: datetime) -> dict[str, Any]:
    return {
        "labels": {"alertname": "MailTest", "severity": "warning", "started": f"{now:%Y%m%dT%H%M%S.%f}"},
        "annotations": {
            "summary": "Alerts arrive",
            "description": "A test that was asked for. There is nothing to do.",
        },
        "startsAt": now.isoformat(),
        "endsAt": (now + LASTS).isoformat(),
    }


def _counts(url: str) -> Mapping[str, Counts]:
    found: dict[str, dict[str, float]] = {SENT: {}, FAILED: {}}
    for family in text_string_to_metric_families(_ask(f"{url}/metrics").decode()):
        for sample in family.samples:
            if sample.name in found:
                found[sample.name][sample.labels["integration"]] = sample.value
    return found


def _post(url: str, content: Any) -> None:
    body, headers = json.dumps(content).encode(), {"Content-Type": "application/json"}
    _ask(urllib.request.Request(url, body, headers))  # noqa: S310 - the admin's own URL


def _ask(request: str | urllib.request.Request) -> bytes:
    try:
        with urllib.request.urlopen(request, timeout=TIMEOUT) as answer:  # noqa: S310 - the admin's own URL
            body: bytes = answer.read()
    except (OSError, ValueError) as error:
        raise LeitstandError(
            f"Alertmanager does not answer: {error}", "is prometheus-alertmanager running? --alertmanager URL"
        ) from error
    return body
