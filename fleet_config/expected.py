"""What must be there, as rules that say so even when nothing of it is measured: no data is never good news.

The models read only the names that are needed; the sections belong to other programs, which check the rest.
"""

from collections.abc import Iterator
from typing import Any

from pydantic import ConfigDict, Field

from fleet_config.output import Files, yaml_text
from leitstand.settings.fields import Listen
from leitstand.settings.fleet import Finding, Fleet
from leitstand.settings.models import Model, Name


class _Part(Model):
    model_config = ConfigDict(extra="ignore")


class _Job(_Part):
    host: Name
    stores: list[Name]
    schedule: str | None = None


class _Page(_Part):
    listen: Listen = "127.0.0.1:8080"


class Expected(Model):
    """The sections whose entries must be heard of."""

    backups: dict[Name, _Job] = Field(default={})
    status_page: _Page | None = None

    def cross_check(self, fleet: Fleet) -> Iterator[Finding]:
        """Nothing: the owners of the sections do so."""
        yield from ()


def expected_files(fleet: Fleet, expected: Expected) -> Files:
    """``rules/expected.rules.yml``: a series for each host, scheduled backup and status page, and during each
    maintenance one for each of its services."""
    rules = [_rule("host", {"job": "host", "instance": name}) for name in fleet.hosts]
    rules += [
        _rule("backup", {"backup": name, "host": job.host, "store": store})
        for name, job in expected.backups.items()
        if job.schedule
        for store in job.stores
    ]
    rules += [_rule("status_page", {})] if expected.status_page else []
    groups = [
        {"name": "expected", "interval": "1m", "rules": rules},
        {"name": "maintenance", "rules": list(_maintenance(fleet))},
    ]
    return {"rules/expected.rules.yml": yaml_text({"groups": groups})}


def _rule(what: str, labels: dict[str, str]) -> dict[str, Any]:
    return {"record": f"expected:{what}", "expr": "vector(1)", "labels": labels}


def _maintenance(fleet: Fleet) -> Iterator[dict[str, Any]]:
    for name, work in fleet.maintenance.items():
        begin, end = work.start.timestamp(), work.end.timestamp()
        for service in work.services:
            yield {
                "record": "service:maintenance",
                "expr": f"vector(time()) >= {begin:.0f} < {end:.0f}",
                "labels": {"service": service, "maintenance": name},
            }


def status_page_url(fleet: Fleet, expected: Expected) -> str | None:
    """Where the status page is asked for: where the public finds it, else where it listens. None: nowhere."""
    if fleet.site.url:
        return fleet.site.url
    if expected.status_page is None:
        return None
    address, _, port = expected.status_page.listen.rpartition(":")
    # An address of "any" is good to listen on, not to connect to.
    own = {"0.0.0.0": "127.0.0.1", "[::]": "[::1]"}.get(address, address)  # noqa: S104
    return f"http://{own}:{port}/" if int(port) else None
