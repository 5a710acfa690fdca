"""Scrape jobs and target files of the hosts' exporters: one job for each way in which exporters are asked.

Prometheus knows TLS and passwords per job, not per target. All of these jobs give the label ``job="host"``,
by which rules and dashboards find the hosts.
"""

from collections.abc import Iterator, Mapping
from typing import Any

from fleet_config.output import Files, json_text
from leitstand.settings.fleet import Fleet
from leitstand.settings.hosts import ExporterAccess, Host

JOB = "host"
# Thousands of series on each host: asked rarely, but within the 5 minutes that Prometheus looks back. The
# value of a label has up to 1,024 characters of up to four bytes.
_INVENTORY = {
    "job_name": "inventory",
    "metrics_path": "/metrics/inventory",
    "scrape_interval": "2m",
    "scrape_timeout": "30s",
    "sample_limit": 20_000,
    "label_value_length_limit": 4096,
}
_PLAIN = ExporterAccess()


def host_files(fleet: Fleet) -> Files:
    """The target files; ``targets/hosts.json`` also when no host is asked without TLS and password."""
    return {
        f"targets/{_file(number)}": json_text([_target(name, host) for name, host in hosts.items()])
        for number, (_, hosts) in enumerate(_by_access(fleet))
    }


def host_jobs(fleet: Fleet, job: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    """``job``, which is the plain one as shipped, and a copy of it for each other way."""
    name = job["job_name"]
    for number, (access, _) in enumerate(_by_access(fleet)):
        if access == _PLAIN:
            yield dict(job)
            continue
        yield {
            **job,
            "job_name": f"{name}-{number}",
            "file_sd_configs": [{"files": [f"targets/{_file(number)}"]}],
            "relabel_configs": [{"target_label": "job", "replacement": name}],
            **_asked(access),
        }


def inventory_jobs(fleet: Fleet, job: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    """The jobs that ask the hosts of ``job`` for their inventory as series, under ``job="inventory"``."""
    return host_jobs(fleet, {**job, **_INVENTORY})


def _by_access(fleet: Fleet) -> list[tuple[ExporterAccess, dict[str, Host]]]:
    groups: dict[ExporterAccess, dict[str, Host]] = {_PLAIN: {}}
    for name, host in fleet.hosts.items():
        groups.setdefault(host.access, {})[name] = host
    return list(groups.items())


def _file(number: int) -> str:
    return f"hosts-{number}.json" if number else "hosts.json"


def _target(name: str, host: Host) -> dict[str, Any]:
    address = f"[{host.address}]" if ":" in host.address else host.address
    return {"targets": [f"{address}:{host.exporter_port}"], "labels": {"instance": name}}


def _asked(access: ExporterAccess) -> dict[str, Any]:
    """``scheme``, ``tls_config``, ``basic_auth`` of a job. Secrets are named by file; none is read here."""
    tls = {
        name: str(value)
        for name in ("ca_file", "cert_file", "key_file", "server_name")
        if (value := getattr(access, name)) is not None
    }
    asked: dict[str, Any] = {"scheme": "https"} if access.tls else {}
    if tls:
        asked["tls_config"] = tls
    if access.username:
        asked["basic_auth"] = {"username": access.username, "password_file": str(access.password_file)}
    return asked
