"""A small real fleet: exporter with backup metrics, prober, Prometheus with our rules, 15 times as fast."""

import json
import sys
import time
import urllib.parse
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import promql_parser
import pytest
import yaml
from prometheus_client import CollectorRegistry, write_to_textfile

from fleet_config.expected import Expected
from fleet_config.output import write_files
from fleet_config.prometheus import Addresses, prometheus_files
from lab.patience import patient
from lab.processes import Server, fetch, free_ports, on_free_ports, wait_until
from lab.shorten import shorten_folder
from leitstand.settings.config import load_document, read
from leitstand.settings.fleet import Fleet
from orchestrator.config.settings import Job
from orchestrator.config.tasks import Task
from orchestrator.state.facts import StoreFacts
from orchestrator.state.metrics import TEXTFILE, BackupCollector
from status_page.metrics import write_metrics
from status_page.snapshot import PublicSnapshot

ROOT = Path(__file__).parent.parent.parent
SPEED = 15
JOB = {
    "host": "web1",
    "sources": [{"files": "/srv"}],
    "stores": ["swift", "disk"],
    "schedule": "daily 03:00",
    "drill": {"schedule": "monthly 1 05:00"},
    "keys_file": "/etc/leitstand/keys",
}


@dataclass(frozen=True)
class SmallFleet:
    exporter: str
    prometheus: str

    def ask(self, expression: str, *, instant: bool) -> list:
        """The samples of a query, now or over the last half minute. AssertionError when it is refused.

        On a busy machine a scrape may come too late; then there are no samples for a moment.
        """
        now = time.time()
        parts = {"time": now} if instant else {"start": now - 30, "end": now, "step": 1}
        path = "query" if instant else "query_range"
        query = urllib.parse.urlencode({"query": expression, **parts})
        status, body = fetch(f"{self.prometheus}/api/v1/{path}?{query}", timeout=patient(60))
        assert status == 200, f"{expression}: {body}"
        return json.loads(body)["data"]["result"]


@pytest.fixture(scope="module")
def small_fleet(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    folder = tmp_path_factory.mktemp("small-fleet")
    backup_metrics(folder / "metrics")
    page_metrics(folder / "metrics")
    servers = []

    def start():
        while servers:
            servers.pop().stop()
        ports = free_ports("exporter", "blackbox", "prometheus")
        render(folder, ports)
        servers.extend(server(folder, ports, name) for name in ports)
        for each in servers:
            each.start()

    try:
        on_free_ports(start)
        fleet = SmallFleet(servers[0].url, servers[2].url)
        for expression in ("service:verdict", "instance:host_health:state", 'ALERTS{alertstate="firing"}'):
            wait_until(lambda: fleet.ask(expression, instant=True), expression)  # noqa: B023 - asked at once
        # Two evaluations of what is built on the rates.
        wait_until(lambda: fleet.ask("instance:node_cpu_utilisation:rate5m offset 2s", instant=True), "rates")
        yield fleet
    finally:
        for each in reversed(servers):
            each.stop()


def render(folder, ports):
    configuration = {
        "hosts": {"web1": {"address": "127.0.0.1", "exporter_port": ports["exporter"]}},
        "services": {
            "website": {"name": "Website", "url": f"http://127.0.0.1:{ports['exporter']}/-/healthy"}
        },
        "maintenance": {
            "long": {
                "services": ["website"],
                "start": "2020-01-01T00:00:00Z",
                "end": "2100-01-01T00:00:00Z",
                "text": "Work",
            }
        },
        "backups": {"website": JOB},
        "stores": {"swift": {"type": "folder", "path": "/a"}, "disk": {"type": "folder", "path": "/b"}},
        "status_page": {"listen": f"127.0.0.1:{ports['exporter']}"},
    }
    (folder / "leitstand.yml").write_text(yaml.safe_dump(configuration))
    document = load_document(folder / "leitstand.yml")
    fleet, expected = read(document, Fleet), read(document, Expected)
    addresses = Addresses(
        prometheus=f"127.0.0.1:{ports['prometheus']}", blackbox=f"127.0.0.1:{ports['blackbox']}"
    )
    write_files(folder / "rendered", prometheus_files(fleet, expected, addresses, ROOT / "prometheus"))
    shorten_folder(folder / "rendered", SPEED)


def server(folder, ports, name):
    listen = f"--web.listen-address=127.0.0.1:{ports[name]}"
    rendered = folder / "rendered"
    argv = {
        "exporter": [
            sys.executable,
            "-m",
            "leitstand",
            "exporter",
            f"--collector.textfile.directory={folder}/metrics",
        ],
        "blackbox": ["prometheus-blackbox-exporter", f"--config.file={rendered}/blackbox.yml"],
        "prometheus": [
            "prometheus",
            f"--config.file={rendered}/prometheus.yml",
            f"--storage.tsdb.path={folder}/data",
        ],
    }
    ready = "/-/ready" if name == "prometheus" else "/-/healthy"
    return Server(name, [*argv[name], listen], folder / f"{name}.log", ports[name], ready)


def backup_metrics(folder):
    """What the orchestrator writes for one job in two stores, one of them not yet reached."""
    folder.mkdir()
    job = Job.model_validate(JOB)
    now = time.time()
    good = StoreFacts(
        last_run=now - 60,
        last_run_success=True,
        last_success=now - 60,
        duration_seconds=12.5,
        stored_bytes=10_000,
        source_bytes=50_000,
        files=7,
        snapshots=3,
        oldest=now - 200_000,
        verified={"full": now - 30},
    )
    facts = {"website": {"swift": good, "disk": StoreFacts(last_run=now - 60)}}
    starts = {Task("website", "run"): datetime.now(UTC) + timedelta(hours=1)}
    registry = CollectorRegistry()
    registry.register(BackupCollector(facts, {"website": job}, starts))
    write_to_textfile(str(folder / TEXTFILE), registry)


def page_metrics(folder):
    """What the status page's collector writes."""
    name = {"de": "Racing team", "en": "Racing team"}
    told = PublicSnapshot(name, ("en",), "UTC", time.time(), time.time(), 0, 0, 15, 1)
    write_metrics(folder, told, {}, 0)


@pytest.fixture(scope="session")
def selectors() -> Callable[[str], list[Any]]:
    """The selectors of a PromQL expression: (metric name, {label: (operator, value)})."""
    return lambda expression: list(selectors_in(promql_parser.parse(expression)))


def selectors_in(node):
    if isinstance(node, promql_parser.VectorSelector):
        yield node.name, {matcher.name: matcher.value for matcher in node.matchers.matchers}
        return
    for part in ("lhs", "rhs", "expr", "vector_selector", "args"):
        child = getattr(node, part, None)
        for each in child if isinstance(child, list) else [child]:
            if each is not None:
                yield from selectors_in(each)
