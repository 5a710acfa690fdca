"""What the documentation starts is closed to the web pages that an admin's browser shows."""

import re
import shlex
import urllib.request
from pathlib import Path

import pytest

from lab.patience import patient
from lab.processes import Server, free_port

QUICK_START = Path(__file__).resolve().parents[2] / "docs" / "quickstart-by-hand.md"


def arguments(program: str) -> list[str]:
    """What the quick start writes to /etc/default, as systemd splits it."""
    (found,) = re.findall(
        rf'^cat >/etc/default/{program} <<END\nARGS="(.*)"\nEND$', QUICK_START.read_text(), re.MULTILINE
    )
    return shlex.split(found)


def test_no_foreign_web_page_reads_prometheus(rendered, tmp_path):
    port = free_port()
    argv = ["prometheus", f"--storage.tsdb.path={tmp_path}/data", *arguments("prometheus")]
    place = {"--config.file": f"{rendered}/prometheus.yml", "--web.listen-address": f"127.0.0.1:{port}"}
    argv = [f"{name}={place[name]}" if (name := word.partition("=")[0]) in place else word for word in argv]
    server = Server("prometheus", argv, tmp_path / "log", port, "/-/ready")
    server.start()
    try:
        for origin in ("https://evil.example", "null", "http://127.0.0.1:3000", "none.evil.example"):
            url = f"http://127.0.0.1:{port}/api/v1/query?query=up"
            request = urllib.request.Request(url, headers={"Origin": origin})
            with urllib.request.urlopen(request, timeout=patient(60)) as answer:
                assert answer.headers["Access-Control-Allow-Origin"] is None, origin
    finally:
        server.stop()


@pytest.mark.parametrize("program", ["prometheus", "prometheus-alertmanager", "prometheus-blackbox-exporter"])
def test_the_servers_listen_on_loopback_only(program):
    (address,) = [word for word in arguments(program) if word.startswith("--web.listen-address")]
    assert "=127.0.0.1:" in address


def test_grafana_has_a_password_of_its_own_before_its_first_start():
    step = QUICK_START.read_text().partition("## 8. Grafana")[2]
    assert "GF_SECURITY_ADMIN_PASSWORD=$__file{" in step.partition("systemctl restart grafana-server")[0]
    assert "umask 077" in step
    # A shell would replace what Grafana is to replace.
    assert "<<'END'\nPROVISIONING_CFG_DIR" in step
