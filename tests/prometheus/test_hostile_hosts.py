"""A watched host speaks for itself alone: what it sends changes no verdict and no alert about others."""

import functools
import json
import re
import subprocess
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
import yaml

from fleet_config.expected import Expected
from fleet_config.output import write_files
from fleet_config.prometheus import Addresses, prometheus_files
from lab.patience import patient
from lab.processes import Server, fetch, free_port, wait_until
from tests.prometheus.hostile_series import HOSTILE, Labels

ROOM = Path(__file__).parent.parent.parent / "prometheus"
FLEET = """
hosts:
  lead: {address: 127.0.0.1, roles: [leitstand]}
  page: {address: 192.0.2.10, runs: [status_page]}
  web1: {address: 192.0.2.11}
  db1: {address: 192.0.2.12, ssh: {port: 2222}}
  evil: {address: 192.0.2.13}
stores: {swift: {type: folder, path: /swift}}
backups:
  www: {host: web1, stores: [swift], schedule: daily 03:00, sources: [{files: /srv}], keys_file: /keys}
  db: {host: db1, stores: [swift], schedule: daily 03:00, sources: [{files: /srv}], keys_file: /keys}
status_page: {workers: 1}
"""
JOIN = re.compile(r"\b(?:on|ignoring|group_left|group_right)\s*\(")


@pytest.fixture
def taken_in(fleet_from: Any, tmp_path: Path) -> Path:
    """Prometheus' folder, rendered for the fleet."""
    files = prometheus_files(
        fleet_from(FLEET), fleet_from(FLEET, Expected), Addresses(), ROOM, inventory=True
    )
    write_files(tmp_path / "out", files)
    return tmp_path / "out"


def relabelled(labels: Labels, steps: list[dict[str, object]]) -> dict[str, str] | None:
    """What Prometheus makes of a series on its way in; None if it drops it. Only what our rules use."""
    found = dict(labels)
    for step in steps:
        pattern = re.compile(str(step.get("regex", "(.*)")))
        value = ";".join(found.get(str(name), "") for name in step.get("source_labels", []))
        match step.get("action", "replace"):
            case "drop" if pattern.fullmatch(value):
                return None
            case "replace" if matched := pattern.fullmatch(value):
                found[str(step["target_label"])] = matched.expand(
                    str(step.get("replacement", "$1")).replace("$", "\\")
                )
            case "labelmap":
                new = {name: pattern.fullmatch(name) for name in found}
                form = str(step["replacement"]).replace("$", "\\")
                found |= {made.expand(form): found[name] for name, made in new.items() if made}
            case "labeldrop":
                found = {name: value for name, value in found.items() if not pattern.fullmatch(name)}
        found = {name: value for name, value in found.items() if value}
    return found


def arrives(folder: Path, name: str, labels: Labels, instance: str = "evil") -> dict[str, str] | None:
    """A host's series as Prometheus stores it, or None. The target's own labels win."""
    own = {"job": "host", "instance": instance}
    sent = {f"exported_{key}" if key in own else key: value for key, value in labels.items()}
    return relabelled({"__name__": name, **sent, **own}, steps_of((folder / "prometheus.yml").read_text()))


@functools.cache
def steps_of(configuration: str) -> list[dict[str, object]]:
    """What Prometheus does to each series of a host; asked thousands of times for the same file."""
    jobs = yaml.safe_load(configuration)["scrape_configs"]
    (steps,) = (job["metric_relabel_configs"] for job in jobs if job["job_name"] == "host")
    return steps


def as_text(labels: Labels) -> str:
    inside = ", ".join(f'{name}="{value}"' for name, value in labels.items() if name != "__name__")
    return f"{labels['__name__']}{{{inside}}}"


def all_rules() -> Iterator[tuple[str, str, str]]:
    """File, name and expression of every rule that is shipped."""
    for path in sorted((ROOM / "rules").glob("*.yml")):
        for group in yaml.safe_load(path.read_text())["groups"]:
            for rule in group["rules"]:
                yield path.name, rule.get("alert") or rule["record"], rule["expr"]


RULES = list(all_rules())
JOINING = sorted({name for _, name, expression in RULES if JOIN.search(expression)})


def files_of(name: str) -> list[Path]:
    """The rule tests that evaluate a rule."""
    own = ROOM / "tests" / f"{name}_test.yml"
    if own.exists():
        return [own]
    (file,) = {file for file, found, _ in RULES if found == name}
    return [path for path in sorted((ROOM / "tests").glob("recording_*.yml")) if file in path.read_text()]


def promtool(path: Path, series: list[tuple[str, str]], folder: Path, tests: int | None = None) -> str:
    """What promtool says of a file of tests, or of its first ones, when each has these ``series``, too."""
    content = yaml.safe_load(path.read_text())
    content["tests"] = content["tests"][:tests]
    content["rule_files"] = [str((path.parent / file).resolve()) for file in content["rule_files"]]
    for test in content["tests"]:
        test["input_series"] += [{"series": text, "values": values} for text, values in series]
    (folder / "test.yml").write_text(yaml.safe_dump(content, sort_keys=False))
    argv = ["promtool", "test", "rules", folder / "test.yml"]
    done = subprocess.run(argv, capture_output=True, text=True, timeout=patient(300), check=False)
    assert (done.returncode == 0) == ("FAILED" not in done.stdout + done.stderr)
    return done.stdout + done.stderr


def test_every_rule_that_joins_is_tried_against_a_hostile_series():
    assert set(JOINING) <= set(HOSTILE)


@pytest.mark.parametrize("name", HOSTILE)
def test_a_hostile_host_does_not_change_the_result_of_a_rule(name, taken_in, tmp_path):
    paths = files_of(name)
    assert paths
    sent = HOSTILE[name]
    found = [(arrives(taken_in, metric, labels), values) for metric, labels, values in sent]
    series = [(as_text(labels), values) for labels, values in found if labels]
    # Where all is dropped, the tests are those of test_rules.
    assert not series or not any("FAILED" in promtool(path, series, tmp_path) for path in paths)
    # The same series would do harm if they were taken in.
    raw = [
        (as_text({"__name__": metric, "job": "host", "instance": "evil", **labels}), values)
        for metric, labels, values in sent
    ]
    assert len(series) == len(sent) or any(
        "FAILED" in promtool(path, raw, tmp_path, tests=most) for most in (1, None) for path in paths
    )


@pytest.mark.parametrize("path", sorted((ROOM / "tests").glob("*.yml")), ids=lambda path: path.stem)
def test_no_label_that_a_host_adds_ends_a_rule_for_all_hosts(path, taken_in, tmp_path):
    test = yaml.safe_load(path.read_text())["tests"][0]
    series = [
        (text, series["values"])
        for series in test["input_series"]
        for text in doubled(taken_in, series["series"])
    ]
    told = promtool(path, series, tmp_path, tests=1)
    # Alerts of the host about itself there may be; an error would end the rule for everybody.
    assert not re.search(r"same labelset|duplicate series|many-to-|grouping labels|must be explicit", told), (
        told
    )


ADDED = ("severity", "alertname", "alertstate", "state", "level", "host", "store", "release", "x")


def doubled(folder: Path, series: str) -> Iterator[str]:
    """A series of a host twice more for each label, which has another value each time."""
    name, _, inside = series.partition("{")
    labels = dict(re.findall(r'(\w+)="([^"]*)"', inside))
    if labels.get("job", "host") != "host":
        return
    for label in ADDED:
        for value in ("1", "2"):
            sent = {key: text for key, text in labels.items() if key not in ("job", "instance")}
            stored = arrives(folder, name, sent | {label: value}, labels.get("instance", "lead"))
            if stored and label not in labels:
                yield as_text(stored)


def test_every_name_that_a_rule_records_is_dropped_at_a_host(taken_in):
    recorded = {name for _, name, _ in RULES if ":" in name} | {"expected:host", "service:maintenance"}
    assert {
        rule["record"]
        for group in yaml.safe_load((taken_in / "rules" / "expected.rules.yml").read_text())["groups"]
        for rule in group["rules"]
    } <= recorded | {"expected:backup", "expected:status_page"}
    servers = {
        name for *_, text in RULES for name in re.findall(r"\b(?:prometheus|alertmanager|blackbox)_\w+", text)
    }
    assert len(servers) >= 10
    others = {"ALERTS", "ALERTS_FOR_STATE", "up", "scrape_series_added", "probe_success"}
    for name in sorted(recorded | servers | others):
        assert arrives(taken_in, name, {}) is None, name
    assert all(":" in name or name[0].isupper() for _, name, _ in RULES)


WHO = {
    # instance, backup, host: whether it is believed
    ("lead", "db", "db1"): True,
    ("lead", "anything", "web1"): True,
    ("web1", "www", "web1"): True,
    ("web1", "www", "db1"): False,
    ("web1", "db", "web1"): False,
    ("db1", "db", "db1"): False,
    ("evil", "db", "db1"): False,
    ("page", "db", "db1"): False,
}


def test_backups_and_the_page_are_believed_of_who_runs_them(taken_in):
    name = "leitstand_backup_interval_seconds"
    found = {
        (instance, backup, host): arrives(taken_in, name, {"backup": backup, "host": host}, instance)
        is not None
        for instance, backup, host in WHO
    }
    assert found == WHO
    page = "leitstand_status_page_written_timestamp_seconds"
    believed = [host for host in ("lead", "page", "web1", "db1", "evil") if arrives(taken_in, page, {}, host)]
    assert believed == ["lead", "page"]
    assert arrives(taken_in, "node_load1", {"__claim": "backup"}) is None
    stored = arrives(taken_in, name, {"backup": "db", "host": "db1"}, "lead")
    assert stored == {"__name__": name, "backup": "db", "host": "db1", "job": "host", "instance": "lead"}


@pytest.mark.parametrize(
    "name", ["leitstand_uncovered_items", "leitstand_uncovered", "leitstand_coverage_known"]
)
def test_only_the_host_that_runs_the_backups_may_report_what_is_uncovered(name, taken_in):
    believed = {
        host
        for host in ("lead", "page", "web1", "db1", "evil")
        if arrives(taken_in, name, {"host": "db1"}, host)
    }
    assert believed == {"lead"}


def test_only_the_leitstand_host_may_say_what_others_should_run(taken_in):
    believed = {
        host
        for host in ("lead", "page", "web1", "db1", "evil")
        if arrives(taken_in, "leitstand_deployment_wanted_info", {"host": "db1"}, host)
    }
    assert believed == {"lead"}


def test_the_inventory_is_taken_in_by_the_same_rules(taken_in):
    jobs = {
        job["job_name"]: job
        for job in yaml.safe_load((taken_in / "prometheus.yml").read_text())["scrape_configs"]
    }
    assert jobs["inventory"]["metric_relabel_configs"] == jobs["host"]["metric_relabel_configs"]


def test_a_part_of_leitstand_that_no_host_runs_is_reported_by_render(tmp_path):
    text = FLEET.replace("address: 127.0.0.1, roles: [leitstand]", "address: 192.0.2.9").replace(
        "runs: [status_page]", "runs: []"
    )
    (tmp_path / "leitstand.yml").write_text(text)
    argv = [sys.executable, "-m", "leitstand", "render", "prometheus", "--out", tmp_path / "out"]
    argv += ["--config", tmp_path / "leitstand.yml"]
    done = subprocess.run(argv, capture_output=True, text=True, timeout=patient(60), check=False)
    assert done.returncode == 1
    assert (
        "no host may report about 'backups'; declare the one that runs it: hosts.NAME.runs: [backups]"
        in done.stderr
    )
    assert "hosts.NAME.runs: [status_page]" in done.stderr


EXPOSITION = """\
node_load1 1
up{x="1"} 0
scrape_series_added -1000000
service:verdict{service="website"} 0
service:maintenance{service="website"} 1
ALERTS{alertname="BackupFailed",alertstate="firing",severity="critical",host="lead"} 1
probe_success{service="website",vantage="local"} 0
prometheus_config_last_reload_successful 0
leitstand_backup_interval_seconds{backup="db",host="db1",store="swift"} 1
leitstand_status_page_written_timestamp_seconds 99999999999
node_systemd_unit_state{name="a",state="failed",severity="1"} 1
node_systemd_unit_state{name="a",state="failed",severity="2"} 1
node_load1{__claim="x",instance="lead"} 1
"""
OWN = {"up", "scrape_duration_seconds", "scrape_samples_post_metric_relabeling", "scrape_samples_scraped"}
OWN |= {"scrape_series_added"}


class Hostile(BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200)
        self.send_header("Content-Type", "text/plain; version=0.0.4")
        self.end_headers()
        self.wfile.write(EXPOSITION.encode())

    def log_message(self, *_):
        pass


@pytest.fixture
def hostile_port() -> Iterator[int]:
    with ThreadingHTTPServer(("127.0.0.1", 0), Hostile) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.02,))
        thread.start()
        yield server.server_port
        server.shutdown()
        thread.join()


def test_a_real_prometheus_stores_what_is_the_host_s_own_and_nothing_else(taken_in, hostile_port, tmp_path):
    target = {"targets": [f"127.0.0.1:{hostile_port}"], "labels": {"instance": "evil"}}
    (taken_in / "targets" / "hosts.json").write_text(json.dumps([target]))
    configuration = yaml.safe_load((taken_in / "prometheus.yml").read_text())
    configuration["global"] |= {"scrape_interval": "1s", "scrape_timeout": "1s", "evaluation_interval": "1s"}
    configuration["scrape_configs"] = [
        job for job in configuration["scrape_configs"] if job["job_name"] == "host"
    ]
    (taken_in / "prometheus.yml").write_text(yaml.safe_dump(configuration))
    port = free_port()
    argv = ["prometheus", f"--config.file={taken_in}/prometheus.yml", f"--storage.tsdb.path={tmp_path}/data"]
    server = Server(
        "prometheus", [*argv, f"--web.listen-address=127.0.0.1:{port}"], tmp_path / "log", port, "/-/ready"
    )
    server.start()
    try:
        url = f"http://127.0.0.1:{port}/api/v1"
        query = f"{url}/series?match[]=%7Binstance%3D%22evil%22%2Cjob%3D%22host%22%7D"

        def stored() -> list[dict[str, str]]:
            return json.loads(fetch(query)[1])["data"]

        wait_until(lambda: any(series["__name__"] == "node_load1" for series in stored()), "a scrape")
        series = [
            found for found in stored() if found["__name__"] not in OWN and ":" not in found["__name__"]
        ]
        assert {found["__name__"] for found in stored()} - {"expected:host"} >= OWN
        groups = json.loads(fetch(f"{url}/rules")[1])["data"]["groups"]
        assert [
            rule["lastError"] for group in groups for rule in group["rules"] if rule.get("lastError")
        ] == []
    finally:
        server.stop()
    simulated = [
        arrives(taken_in, line.partition("{")[0].split()[0], dict(re.findall(r'(\w+)="([^"]*)"', line)))
        for line in EXPOSITION.splitlines()
    ]
    kept = [found for found in simulated if found]
    assert sorted(map(as_text, series_of(series))) == sorted(map(as_text, series_of(kept)))
    assert len(kept) == 3


def series_of(found):
    """With the labels in one order; without alerts, which are Prometheus' own."""
    return [dict(sorted(labels.items())) for labels in found if not labels["__name__"].startswith("ALERTS")]
