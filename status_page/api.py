"""The public JSON: ``/api/v1/status.json``. Documented in docs/status-page.md; keys are only ever added."""

import json
from typing import Any
from zoneinfo import ZoneInfo

from status_page import ages, words
from status_page.days import uptime
from status_page.snapshot import PublicSnapshot, ServiceStatus
from status_page.states import worst
from status_page.words import iso


def status_json(snapshot: PublicSnapshot) -> str:
    return json.dumps(_document(snapshot), ensure_ascii=False, separators=(",", ":")) + "\n"


def _document(snapshot: PublicSnapshot) -> dict[str, Any]:
    zone = ZoneInfo(snapshot.time_zone)
    return {
        "version": 1,
        "site": snapshot.site,
        "state": worst(snapshot.services) if snapshot.certain else "unknown",
        "headline": {language: words.headline(snapshot, language) for language in snapshot.languages},
        "generated_at": iso(snapshot.written_at, zone),
        "measured_at": _time(snapshot.measured_at, zone),
        "age_seconds": _age(snapshot),
        "stale": not snapshot.certain,
        "interval_seconds": snapshot.interval,
        "locations": snapshot.locations if snapshot.certain else 0,
        "services": [_service(service, zone) for service in snapshot.services],
        "maintenance": [
            {
                "services": list(work.services),
                "start": iso(work.start, zone),
                "end": iso(work.end, zone),
                "text": work.text,
            }
            for work in snapshot.work
        ],
        "outages": [
            {
                "service": outage.service,
                "state": outage.state,
                "start": iso(outage.start, zone),
                "end": _time(outage.end, zone),
            }
            for outage in snapshot.outages
        ],
    }


def _service(service: ServiceStatus, zone: ZoneInfo) -> dict[str, Any]:
    now, figures = service.now, uptime(service.days)
    return {
        "id": service.id,
        "name": service.name,
        "group": service.group,
        "state": now.state,
        "live": now.live,
        "last_known": now.last_known,
        "measured_at": _time(now.measured_at, zone),
        "since": _time(service.since, zone),
        "uptime_90_days": {
            "percent": None if figures.percent is None else figures.percent / 100,
            "coverage": int(figures.coverage * 10_000) / 10_000,
            "disturbed_seconds": figures.disturbed,
        },
        "days": [
            [row.date, row.up, row.partial, row.down, row.maintenance, row.unknown]
            for row in service.days
            if any((row.known, row.maintenance))
        ],
    }


def _time(at: float | None, zone: ZoneInfo) -> str | None:
    return None if at is None else iso(at, zone)


def _age(snapshot: PublicSnapshot) -> int | str | None:
    if snapshot.measured_at is None:
        return None
    if not snapshot.certain:
        return ages.SECONDS
    return max(0, int(snapshot.written_at - snapshot.measured_at))
