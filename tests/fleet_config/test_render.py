"""``leitstand render`` as its user meets it."""

import json
import os
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from leitstand.cli import run as run_leitstand
from leitstand.share import share

CONFIGURATION = """
hosts: {web1: {address: 192.0.2.11}}
services: {website: {name: Website, url: "https://www.example.org/"}}
alerts: {mail: {to: [a@example.org], sender: l@example.org}}
"""


@pytest.fixture
def render(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Callable[..., Any]:
    """Run ``leitstand render`` on ``leitstand.yml`` in tmp_path; exit code and both outputs."""
    (tmp_path / "leitstand.yml").write_text(CONFIGURATION)
    monkeypatch.setenv("LEITSTAND_CONFIG", str(tmp_path / "leitstand.yml"))

    def run(*arguments):
        words = ["render", *map(str, arguments)]
        capsys.readouterr()
        return subprocess.CompletedProcess(words, run_leitstand(words), *capsys.readouterr())

    return run


def test_the_first_run_writes_all_and_names_the_programs_to_reload(render, tmp_path):
    done = render("prometheus", "--out", tmp_path / "out")
    assert done.returncode == 0
    assert f"new  {tmp_path}/out/targets/hosts.json\n" in done.stdout
    assert done.stdout.endswith("18 of 18 files written; reload: Prometheus, blackbox_exporter\n")


def test_a_second_run_touches_nothing(render, tmp_path):
    render("prometheus", "--out", tmp_path / "out")
    before = stamps(tmp_path / "out")
    done = render("prometheus", "--out", tmp_path / "out")
    assert done.stdout == "0 of 18 files written\n"
    assert stamps(tmp_path / "out") == before


def test_a_new_host_changes_the_list_of_hosts_and_what_is_expected_only(render, tmp_path):
    render("prometheus", "--out", tmp_path / "out")
    before = stamps(tmp_path / "out")
    hosts = "hosts: {web1: {address: 192.0.2.11}, web2: {address: 192.0.2.12}}"
    configuration = CONFIGURATION.replace("hosts: {web1: {address: 192.0.2.11}}", hosts)
    (tmp_path / "leitstand.yml").write_text(configuration)
    done = render("prometheus", "--out", tmp_path / "out", "--json")
    answer = json.loads(done.stdout)
    changed = [file["path"] for file in answer["files"] if file["change"] == "changed"]
    expected = {"targets/hosts.json", "rules/expected.rules.yml"}
    assert set(changed) == {f"{tmp_path}/out/{path}" for path in expected}
    assert answer["reload"] == ["Prometheus"]
    after = stamps(tmp_path / "out")
    assert {path for path in after if after[path] != before[path]} == expected


def test_manual_changes_are_undone_and_foreign_files_stay(render, tmp_path):
    render("prometheus", "--out", tmp_path / "out")
    own_rules = tmp_path / "out" / "rules" / "own.yml"
    own_rules.write_text("groups: []\n")
    (tmp_path / "out" / "prometheus.yml").write_text("broken")
    done = render("prometheus", "--out", tmp_path / "out")
    assert (
        done.stdout
        == f"  changed  {tmp_path}/out/prometheus.yml\n1 of 18 files written; reload: Prometheus\n"
    )
    assert own_rules.read_text() == "groups: []\n"


def test_rules_of_an_earlier_release_are_removed_as_prometheus_would_read_them(render, tmp_path):
    render("prometheus", "--out", tmp_path / "out")
    rules = tmp_path / "out" / "rules"
    former = rules / "former.rules.yml"
    former.write_bytes((rules / "host.rules.yml").read_bytes())
    (rules / "linked.yml").symlink_to("host.rules.yml")
    done = render("prometheus", "--out", tmp_path / "out")
    assert done.stdout == f"  removed  {former}\n0 of 18 files written, 1 removed; reload: Prometheus\n"
    assert not former.exists()
    assert (rules / "linked.yml").exists()


def test_rendered_files_can_be_read_by_other_users_with_any_umask(render, tmp_path):
    before = os.umask(0o077)
    try:
        render("prometheus", "--out", tmp_path / "etc" / "prometheus")
    finally:
        os.umask(before)
    written = [tmp_path / "etc", *(tmp_path / "etc").rglob("*")]
    assert [path for path in written if path.stat().st_mode & 0o044 != 0o044] == []
    assert [path for path in written if path.is_dir() and path.stat().st_mode & 0o011 != 0o011] == []


def test_alertmanager_gets_a_folder_of_its_own(render, tmp_path):
    done = render("alertmanager", "--out", tmp_path / "out")
    assert (done.returncode, done.stderr) == (0, "")
    assert sorted(stamps(tmp_path / "out")) == ["alertmanager.yml", "templates/leitstand.tmpl"]


def test_grafana_gets_its_data_source_its_dashboards_and_a_way_to_the_runbooks(render, tmp_path):
    runbooks = "https://wiki.example.org/{alert}"
    (tmp_path / "leitstand.yml").write_text(f"alerts: {{runbook_url: '{runbooks}'}}\n")
    out = tmp_path / "out"
    done = render("grafana", "--out", out, "--prometheus", "192.0.2.1:9090")
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.endswith("4 of 4 files written; reload: Grafana\n")
    (source,) = yaml.safe_load((out / "provisioning/datasources/leitstand.yml").read_text())["datasources"]
    (provider,) = yaml.safe_load((out / "provisioning/dashboards/leitstand.yml").read_text())["providers"]
    assert source["url"] == "http://192.0.2.1:9090"
    assert provider["options"]["path"] == str(out / "dashboards")
    overview = (out / "dashboards/Leitstand/fleet-overview.json").read_text()
    assert overview.count('"url": "https://wiki.example.org/${__value.raw}"') == 1
    assert "$LEITSTAND" not in "".join(path.read_text() for path in out.rglob("*") if path.is_file())


def test_grafana_takes_no_part_of_a_path_or_link_for_a_variable(render, tmp_path):
    (tmp_path / "leitstand.yml").write_text(
        "alerts: {runbook_url: 'https://wiki.example.org/$HOME/{alert}'}\n"
    )
    out = tmp_path / "$HOME"
    render("grafana", "--out", out)
    (provider,) = yaml.safe_load((out / "provisioning/dashboards/leitstand.yml").read_text())["providers"]
    assert provider["options"]["path"] == f"{tmp_path}/$$HOME/dashboards"
    overview = (out / "dashboards/Leitstand/fleet-overview.json").read_text()
    assert '"url": "https://wiki.example.org/%24HOME/${__value.raw}"' in overview


def test_dashboards_are_as_shipped_where_no_runbooks_are_published(render, tmp_path):
    render("grafana", "--out", tmp_path / "out")
    shipped = share("grafana") / "dashboards"
    for path in shipped.rglob("*.json"):
        rendered = tmp_path / "out" / "dashboards" / path.relative_to(shipped)
        assert rendered.read_text() == path.read_text()


def test_a_fleet_whose_alerts_reach_no_one_is_a_warning(render, tmp_path):
    (tmp_path / "leitstand.yml").write_text("hosts: {}\n")
    done = render("alertmanager", "--out", tmp_path / "out")
    assert done.returncode == 1
    assert "no alert will reach anyone" in done.stderr
    assert (tmp_path / "out" / "alertmanager.yml").exists()


def test_a_broken_configuration_writes_nothing(render, tmp_path):
    (tmp_path / "leitstand.yml").write_text("hosts: {web1: {adress: 192.0.2.11}}\n")
    done = render("prometheus", "--out", tmp_path / "out")
    assert done.returncode == 2
    assert "leitstand.yml:1: hosts.web1" in done.stderr
    assert not (tmp_path / "out").exists()


def test_an_invalid_address_of_the_status_page_is_one_clear_line(render, tmp_path):
    (tmp_path / "leitstand.yml").write_text("status_page: {listen: ':x'}\n")
    done = render("prometheus", "--out", tmp_path / "out")
    told = "status_page.listen: an address to listen on is written as 127.0.0.1:8080 or [::1]:8080"
    assert (done.returncode, done.stderr) == (2, f"{tmp_path}/leitstand.yml:1: {told}\n")


@pytest.mark.parametrize(
    "address", ["9115", "http://127.0.0.1:9115", "127.0.0.1:", "127.0.0.1:99999", ":9115"]
)
def test_an_address_is_host_and_port(address, render, tmp_path):
    done = render("prometheus", "--out", tmp_path / "out", "--blackbox", address)
    assert done.returncode == 2
    assert f"'{address}' is not HOST:PORT, such as 127.0.0.1:9115" in done.stderr
    assert not (tmp_path / "out").exists()


def test_a_folder_that_cannot_be_written_is_one_clear_line(render, tmp_path):
    (tmp_path / "out").write_text("a file")
    done = render("prometheus", "--out", tmp_path / "out" / "below")
    assert done.returncode == 3
    first, hint = done.stderr.splitlines()
    assert first == f"{tmp_path}/out/below/targets/hosts.json: cannot be written: Not a directory"
    assert hint == "  hint: give --out a folder that you may write to"


def test_help_has_an_example(render):
    for command in ("prometheus", "alertmanager", "grafana"):
        done = render(command, "--help")
        assert done.returncode == 0
        assert f"Example: leitstand render {command} --out " in done.stdout


def stamps(folder):
    """What changes when a file is written anew, even with the same content."""
    files = [path for path in folder.rglob("*") if path.is_file()]
    return {str(path.relative_to(folder)): (path.stat().st_ino, path.stat().st_mtime_ns) for path in files}
