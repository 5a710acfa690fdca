"""Rules that say what must be there, even when nothing of it is measured: no data is never good news."""

from collections.abc import Iterator
from typing import Any

from fleet_config.output import Files, yaml_text
from leitstand.settings.fleet import Fleet
from leitstand.settings.problems import Finding
from leitstand.settings.roles import page_hosts
from orchestrator.config.settings import BackupSettings
from status_page.config import StatusPage, StatusPageSettings


class Expected(BackupSettings, StatusPageSettings):
    """The sections whose entries must be heard of, as their owners read them."""

    def cross_check(self, fleet: Fleet) -> Iterator[Finding]:
        """The findings of the owners of the sections."""
        yield from BackupSettings.cross_check(self, fleet)
        yield from StatusPageSettings.cross_check(self, fleet)

    def page(self, fleet: Fleet) -> StatusPage | None:
        """The status page; None without a section for it and without a host with the role."""
        there_is_one = "status_page" in self.model_fields_set or page_hosts(fleet.hosts)
        return self.status_page if there_is_one else None


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
    rules += [_rule("status_page", {})] if expected.page(fleet) else []
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
    page = expected.page(fleet)
    if page is None:
        return None
    address, _, port = page.listen.rpartition(":")
    # An address of "any" is good to listen on, not to connect to.
    own = {"0.0.0.0": "127.0.0.1", "[::]": "[::1]"}.get(address, address)  # noqa: S104
    return f"http://{own}:{port}/" if int(port) else None
