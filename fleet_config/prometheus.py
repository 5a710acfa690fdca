"""A complete folder for Prometheus: configuration, rules, targets, and blackbox_exporter's modules."""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import timedelta
from functools import partial
from pathlib import Path
from typing import Any

from fleet_config.blackbox import CANARY_MODULE, PAGE_MODULE, blackbox_files, module_name
from fleet_config.claims import claim_rules
from fleet_config.durations import format_duration, parse
from fleet_config.expected import Expected, expected_files, status_page_url
from fleet_config.hosts import JOB, host_files, host_jobs, inventory_jobs
from fleet_config.output import Files, json_text, read_yaml, yaml_text
from fleet_config.rules import rule_files
from leitstand.settings.fleet import Fleet

VANTAGE = "local"
PROBING_JOBS = ("probe", "canary", "status-page")


@dataclass(frozen=True)
class Addresses:
    """``host:port`` of the programs that Prometheus speaks to, and its own."""

    prometheus: str = "127.0.0.1:9090"
    alertmanager: str = "127.0.0.1:9093"
    blackbox: str = "127.0.0.1:9115"


def prometheus_files(
    fleet: Fleet, expected: Expected, addresses: Addresses, share: Path, *, inventory: bool = False
) -> Files:
    """Every file of the folder. ``share`` is the room ``prometheus`` as shipped.

    With ``inventory`` the hosts are asked for one series per item of their inventory, too.
    """
    probe = partial(_probe, addresses.blackbox)
    services = [probe(each.url, module_name(name), service=name) for name, each in fleet.services.items()]
    canaries = [probe(url, CANARY_MODULE) for url in fleet.probing.canaries]
    page = status_page_url(fleet, expected)
    return {
        **host_files(fleet),
        "targets/services.json": json_text(services),
        "targets/canaries.json": json_text(canaries),
        "targets/status-page.json": json_text([probe(page, PAGE_MODULE)] if page else []),
        **blackbox_files(fleet, share),
        **rule_files(fleet, share),
        **expected_files(fleet, expected),
        "prometheus.yml": yaml_text(_configuration(fleet, expected, addresses, share, inventory)),
    }


def _probe(prober: str, url: str, module: str, **labels: str) -> dict[str, Any]:
    return {
        "targets": [url],
        "labels": {**labels, "vantage": VANTAGE, "__module": module, "__prober": prober},
    }


def _configuration(
    fleet: Fleet, expected: Expected, addresses: Addresses, share: Path, inventory: bool
) -> dict[str, Any]:
    configuration: dict[str, Any] = read_yaml(share / "prometheus.yml")
    # Prometheus 3 reads $NAME in an external label as a variable of its environment.
    site = fleet.site.name.in_language("en").replace("$", "")
    configuration["global"]["external_labels"] = {"site": site}
    configuration["alerting"]["alertmanagers"][0]["static_configs"] = _static(addresses.alertmanager)
    own = {job: _static(address) for job, address in vars(addresses).items()}
    for job in configuration["scrape_configs"]:
        if job["job_name"] in own:
            job["static_configs"] = own[job["job_name"]]
        if job["job_name"] == JOB:
            job["metric_relabel_configs"] += claim_rules(fleet, expected)
        if job["job_name"] in PROBING_JOBS:
            job |= _pace(fleet.probing.interval, parse(configuration["global"]["scrape_timeout"]))
    configuration["scrape_configs"] = [
        made for job in configuration["scrape_configs"] for made in _jobs(fleet, job, inventory)
    ]
    return configuration


def _jobs(fleet: Fleet, job: dict[str, Any], inventory: bool) -> Iterator[dict[str, Any]]:
    if job["job_name"] != JOB:
        yield job
        return
    yield from host_jobs(fleet, job)
    if inventory:
        yield from inventory_jobs(fleet, job)


def _static(address: str) -> list[dict[str, list[str]]]:
    return [{"targets": [address]}]


def _pace(interval: timedelta, timeout: timedelta) -> dict[str, str]:
    # Prometheus refuses a timeout that is longer than the interval.
    return {
        "scrape_interval": format_duration(interval),
        "scrape_timeout": format_duration(min(interval, timeout)),
    }
