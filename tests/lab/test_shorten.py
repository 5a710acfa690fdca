"""The demo's shortened folders: everything faster, nothing else different."""

import subprocess
from pathlib import Path

import pytest
import yaml

from fleet_config.alertmanager import alertmanager_files
from fleet_config.expected import Expected
from fleet_config.output import write_files
from fleet_config.prometheus import Addresses, prometheus_files
from lab.patience import patient
from lab.shorten import shorten, shorten_folder
from leitstand.settings.fleet import Alerts, Fleet, Mail

ROOM = Path(__file__).parent.parent.parent / "prometheus"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    mail = Mail(to=["a@example.org"], sender="l@example.org")
    write_files(tmp_path, prometheus_files(Fleet(), Expected(), Addresses(), ROOM))
    write_files(
        tmp_path / "alertmanager", alertmanager_files(Fleet(alerts=Alerts(mail=mail)), ROOM / "alertmanager")
    )
    return tmp_path


def test_the_shortened_folder_is_still_taken(folder):
    shorten_folder(folder, 5)
    for argv in (
        ["promtool", "check", "config", folder / "prometheus.yml"],
        ["amtool", "check-config", folder / "alertmanager" / "alertmanager.yml"],
        ["prometheus-blackbox-exporter", f"--config.file={folder}/blackbox.yml", "--config.check"],
    ):
        done = subprocess.run(argv, capture_output=True, text=True, timeout=patient(60), check=False)
        assert done.returncode == 0, done.stdout + done.stderr


def test_every_wait_is_a_fifth(folder):
    shorten_folder(folder, 5)
    configuration = content(folder / "prometheus.yml")
    assert configuration["global"]["scrape_interval"] == "3s"
    assert configuration["global"]["evaluation_interval"] == "3s"
    rules = {
        rule.get("alert", rule.get("record")): rule
        for path in (folder / "rules").glob("*.yml")
        for group in content(path)["groups"]
        for rule in group["rules"]
    }
    assert (rules["HostDown"]["for"], rules["HostDown"]["keep_firing_for"]) == ("36s", "60s")
    assert rules["ServiceDown"]["keep_firing_for"] == "24s"
    assert "raw[12s]) >= 4" in rules["service:verdict"]["expr"]
    assert "[60s]" in rules["instance:node_cpu_utilisation:rate5m"]["expr"]
    assert content(folder / "alertmanager" / "alertmanager.yml")["route"]["group_wait"] == "9s"


def test_thresholds_stay_and_a_timeout_is_cut_to_the_interval_only(folder):
    shorten_folder(folder, 5)
    assert content(folder / "prometheus.yml")["global"]["scrape_timeout"] == "3s"
    assert shorten({"scrape_interval": "1m", "scrape_timeout": "10s"}, 2)["scrape_timeout"] == "10s"
    groups = content(folder / "rules" / "backups.rules.yml")["groups"]
    (too_old,) = [rule for group in groups for rule in group["rules"] if rule.get("alert") == "BackupTooOld"]
    interval = (
        "max by (instance, backup, host, store) (last_over_time(leitstand_backup_interval_seconds[120s]))"
    )
    assert f"2 * {interval} + 3600" in too_old["expr"]


def test_nothing_but_durations_changes(folder):
    before = {path: path.read_text() for path in folder.rglob("*") if path.is_file()}
    shorten_folder(folder, 1)
    for path, text in before.items():
        if path.suffix == ".yml":
            assert content(path) == yaml.safe_load(text)
        else:
            assert path.read_text() == text


def content(path):
    return yaml.safe_load(path.read_text())
