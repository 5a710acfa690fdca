"""What ``leitstand render`` writes, as the programs that read it see it."""

import json
from pathlib import Path

import pytest
import yaml

from fleet_config.expected import Expected
from fleet_config.output import write_files
from fleet_config.prometheus import Addresses, prometheus_files
from leitstand.settings.fleet import Fleet


def test_prometheus_takes_the_rendered_folder(rendered, run):
    done = run("promtool", "check", "config", "--syntax-only", rendered / "prometheus.yml")
    assert done.returncode == 0, done.stdout
    done = run("promtool", "check", "config", rendered / "prometheus.yml")
    assert done.returncode == 0, done.stdout


def test_blackbox_exporter_takes_the_rendered_modules(rendered, run):
    done = run("prometheus-blackbox-exporter", f"--config.file={rendered}/blackbox.yml", "--config.check")
    assert done.returncode == 0, done.stdout


def test_prometheus_accepts_the_shipped_files(room, run):
    done = run("promtool", "check", "config", room / "prometheus.yml")
    assert done.returncode == 0, done.stdout
    done = run("prometheus-blackbox-exporter", f"--config.file={room}/blackbox.yml", "--config.check")
    assert done.returncode == 0, done.stdout


def test_a_fleet_without_anything_gives_a_folder_that_works(room, run, tmp_path):
    write_files(tmp_path, prometheus_files(Fleet(), Expected(), Addresses(), room))
    done = run("promtool", "check", "config", tmp_path / "prometheus.yml")
    assert done.returncode == 0, done.stdout
    done = run("prometheus-blackbox-exporter", f"--config.file={tmp_path}/blackbox.yml", "--config.check")
    assert done.returncode == 0, done.stdout


def test_hosts_are_named_as_in_the_configuration_and_asked_at_their_address(rendered):
    assert targets(rendered, "hosts") == [
        {"targets": ["192.0.2.11:9815"], "labels": {"instance": "web1"}},
        {"targets": ["[2001:db8::1]:9900"], "labels": {"instance": "web2"}},
    ]


def test_services_and_canaries_are_asked_through_the_prober_with_their_module(rendered):
    website, wiki = targets(rendered, "services")
    assert website == {
        "targets": ["https://www.example.org/"],
        "labels": {
            "service": "website",
            "vantage": "local",
            "__module": "service_website",
            "__prober": "127.0.0.1:9115",
        },
    }
    assert wiki["labels"]["__module"] == "service_wiki"
    (canary,) = targets(rendered, "canaries")
    assert canary["labels"] == {"vantage": "local", "__module": "canary", "__prober": "127.0.0.1:9115"}


def test_a_module_holds_what_its_service_calls_a_good_answer(rendered):
    modules = content(rendered / "blackbox.yml")["modules"]
    website, wiki = modules["service_website"]["http"], modules["service_wiki"]["http"]
    assert website["fail_if_body_not_matches_regexp"] == ['(?i)will"kommen\\s+#1: {x}']
    assert website["fail_if_not_ssl"] is True
    assert website["follow_redirects"] is True
    assert "valid_status_codes" not in website
    assert wiki["valid_status_codes"] == [200, 302]
    assert wiki["follow_redirects"] is False
    assert "fail_if_not_ssl" not in wiki


def test_a_url_that_begins_with_a_capital_is_asked_for_as_one(fleet_from, room, tmp_path):
    fleet = fleet_from('services: {website: {name: Website, url: "Https://WWW.example.org/A"}}')
    write_files(tmp_path, prometheus_files(fleet, Expected(), Addresses(), room))
    assert [target["targets"] for target in targets(tmp_path, "services")] == [["https://WWW.example.org/A"]]


def test_addresses_are_set_in_every_place(fleet, room, tmp_path):
    addresses = Addresses(prometheus="127.0.0.1:1", alertmanager="127.0.0.1:2", blackbox="127.0.0.1:3")
    write_files(tmp_path, prometheus_files(fleet, Expected(), addresses, room))
    configuration = content(tmp_path / "prometheus.yml")
    own = {
        job["job_name"]: job["static_configs"][0]["targets"]
        for job in configuration["scrape_configs"]
        if "static_configs" in job
    }
    assert own == {
        "prometheus": ["127.0.0.1:1"],
        "alertmanager": ["127.0.0.1:2"],
        "blackbox": ["127.0.0.1:3"],
    }
    alertmanagers = configuration["alerting"]["alertmanagers"]
    assert alertmanagers == [{"static_configs": [{"targets": ["127.0.0.1:2"]}]}]
    assert {target["labels"]["__prober"] for target in targets(tmp_path, "services")} == {"127.0.0.1:3"}


def test_the_inventory_is_a_job_of_its_own_with_limits_if_it_is_wanted(fleet_from, room, run, tmp_path):
    fleet = fleet_from("""
hosts:
  web1: {address: 192.0.2.11}
  web2: {address: 192.0.2.12, exporter: {tls: true, username: anna, password_file: /etc/hostname}}
""")
    write_files(tmp_path, prometheus_files(fleet, Expected(), Addresses(), room, inventory=True))
    done = run("promtool", "check", "config", tmp_path / "prometheus.yml")
    assert done.returncode == 0, done.stdout
    jobs = {job["job_name"]: job for job in content(tmp_path / "prometheus.yml")["scrape_configs"]}
    for host, inventory in (("host", "inventory"), ("host-1", "inventory-1")):
        assert jobs[inventory]["metrics_path"] == "/metrics/inventory"
        assert jobs[inventory]["scrape_interval"] == "2m"
        assert {"sample_limit", "label_limit", "label_value_length_limit", "body_size_limit"} <= jobs[
            inventory
        ].keys()
        for same in ("file_sd_configs", "scheme", "basic_auth"):
            assert jobs[inventory].get(same) == jobs[host].get(same)
    assert jobs["inventory-1"]["relabel_configs"] == [{"target_label": "job", "replacement": "inventory"}]


def test_every_scrape_of_others_has_limits(rendered):
    jobs = {job["job_name"]: job for job in content(rendered / "prometheus.yml")["scrape_configs"]}
    for name in ("host", "probe", "canary"):
        assert {"sample_limit", "label_limit", "label_value_length_limit", "body_size_limit"} <= jobs[
            name
        ].keys()


def test_the_site_is_named_without_what_prometheus_would_replace(rendered):
    labels = content(rendered / "prometheus.yml")["global"]["external_labels"]
    assert labels == {"site": "Racing team"}


@pytest.mark.parametrize(("interval", "window", "timeout"), [("30s", "[120s]", "10s"), ("3s", "[12s]", "3s")])
def test_the_status_rules_count_samples_so_their_windows_follow_the_interval(
    interval, window, timeout, fleet_from, room, tmp_path
):
    fleet = fleet_from(f"probing: {{interval: {interval}}}")
    write_files(tmp_path, prometheus_files(fleet, Expected(), Addresses(), room))
    jobs = {job["job_name"]: job for job in content(tmp_path / "prometheus.yml")["scrape_configs"]}
    assert (jobs["probe"]["scrape_interval"], jobs["probe"]["scrape_timeout"]) == (interval, timeout)
    assert "scrape_interval" not in jobs["host"]
    (group,) = content(tmp_path / "rules" / "status.rules.yml")["groups"]
    verdict = next(rule["expr"] for rule in group["rules"] if rule["record"] == "service:verdict")
    assert group["interval"] == interval
    assert f"max_over_time(service:raw{window}) == 0 and count_over_time(service:raw{window}) >= 4" in verdict


def test_alerts_point_to_the_published_runbooks_if_there_are_any(fleet_from, room, tmp_path):
    fleet = fleet_from("alerts: {runbook_url: 'https://wiki.example.org/runbooks/{alert}'}")
    write_files(tmp_path, prometheus_files(fleet, Expected(), Addresses(), room))
    groups = content(tmp_path / "rules" / "alerts.rules.yml")["groups"]
    urls = {rule["alert"]: rule["annotations"]["runbook_url"] for group in groups for rule in group["rules"]}
    assert urls["HostDown"] == "https://wiki.example.org/runbooks/HostDown"


def test_expected_sources_of_metrics_are_written_into_the_rules(fleet_from, room, tmp_path):
    fleet, expected = sections(
        fleet_from,
        """
hosts: {web1: {address: 192.0.2.11}, web2: {address: 192.0.2.12}}
stores: {far: {type: folder, path: /far}, disk: {type: folder, path: /disk}}
backups:
  www: {host: web1, stores: [far, disk], schedule: daily 03:00, sources: [{files: /srv}], keys_file: /k}
  once: {host: web1, stores: [disk], sources: [{files: /srv}], keys_file: /k}
status_page: {workers: 4}
""",
    )
    write_files(tmp_path, prometheus_files(fleet, expected, Addresses(), room))
    group, _ = content(tmp_path / "rules" / "expected.rules.yml")["groups"]
    assert [(rule["record"], rule["labels"]) for rule in group["rules"]] == [
        ("expected:host", {"job": "host", "instance": "web1"}),
        ("expected:host", {"job": "host", "instance": "web2"}),
        ("expected:backup", {"backup": "www", "host": "web1", "store": "far"}),
        ("expected:backup", {"backup": "www", "host": "web1", "store": "disk"}),
        ("expected:status_page", {}),
    ]


MAINTENANCE = """
services: {website: {name: Website, url: "https://www.example.org/"}}
maintenance:
  disks: {services: [website], start: "1970-01-01T00:10:00Z", end: "1970-01-01T01:20:00+01:00", text: Disks}
"""
DOWN_BUT_ANNOUNCED = """
rule_files: [rules/expected.rules.yml, rules/services.rules.yml]
evaluation_interval: 15s
tests:
  - interval: 15s
    input_series: [{series: 'service:verdict{service="website"}', values: "0x120"}]
    promql_expr_test:
      - {expr: 'count(ALERTS{alertname="ServiceDown"})', eval_time: 9m45s, exp_samples: [{value: 1}]}
      # The rules of both files are evaluated in turn, and an alert outlives its end by two minutes.
      - {expr: 'count(ALERTS{alertname="ServiceDown"})', eval_time: 12m30s, exp_samples: []}
      - {expr: 'count(ALERTS{alertname="ServiceDown"})', eval_time: 19m45s, exp_samples: []}
      - {expr: 'count(ALERTS{alertname="ServiceDown"})', eval_time: 20m15s, exp_samples: [{value: 1}]}
"""


def test_an_outage_during_announced_work_is_no_alert(fleet_from, room, run, tmp_path):
    write_files(tmp_path, prometheus_files(fleet_from(MAINTENANCE), Expected(), Addresses(), room))
    (tmp_path / "test.yml").write_text(DOWN_BUT_ANNOUNCED)
    done = run("promtool", "test", "rules", tmp_path / "test.yml")
    assert done.returncode == 0, done.stdout


@pytest.mark.parametrize(
    ("text", "url"),
    [
        ("status_page: {workers: 2}", "http://127.0.0.1:8080/"),
        ("status_page: {listen: '0.0.0.0:8000'}", "http://127.0.0.1:8000/"),
        ("status_page: {listen: '[::]:8000'}", "http://[::1]:8000/"),
        ("status_page: {listen: '192.0.2.1:80'}", "http://192.0.2.1:80/"),
        ("status_page: {listen: '127.0.0.1:0'}", None),
        (
            "site: {url: 'https://status.example.org/'}\nstatus_page: {workers: 2}",
            "https://status.example.org/",
        ),
        ("site: {name: Racing team}", None),
    ],
)
def test_the_status_page_is_asked_for_where_the_public_finds_it_or_where_it_listens(
    text, url, fleet_from, room, tmp_path
):
    fleet, expected = sections(fleet_from, text)
    write_files(tmp_path, prometheus_files(fleet, expected, Addresses(), room))
    assert [target["targets"] for target in targets(tmp_path, "status-page")] == ([[url]] if url else [])


def sections(fleet_from, text):
    return fleet_from(text), fleet_from(text, Expected)


def targets(folder: Path, name: str):
    return json.loads((folder / "targets" / f"{name}.json").read_text())


def content(path: Path):
    return yaml.safe_load(path.read_text())
