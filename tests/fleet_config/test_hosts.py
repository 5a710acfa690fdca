"""Exporters that want TLS and a password are asked by Prometheus as leitstand.yml says."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

import bcrypt
import pytest

from lab.patience import patient
from lab.processes import Server, fetch, free_port, wait_until

SECRET = "correct horse"


@pytest.fixture
def secured(tmp_path: Path) -> Iterator[int]:
    """An exporter behind TLS and a password; gives its port."""
    argv = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"]
    argv += ["-keyout", str(tmp_path / "server.key"), "-out", str(tmp_path / "server.crt"), "-days", "2"]
    argv += ["-subj", "/CN=exporter", "-addext", "subjectAltName=DNS:exporter.internal"]
    subprocess.run(argv, check=True, capture_output=True, timeout=patient(60))
    (tmp_path / "password").write_text(SECRET)
    known = bcrypt.hashpw(SECRET.encode(), bcrypt.gensalt(4)).decode()
    web = {
        "tls_server_config": {"cert_file": "server.crt", "key_file": "server.key"},
        "basic_auth_users": {"prometheus": known},
    }
    (tmp_path / "web.yml").write_text(json.dumps(web))
    with exporter(tmp_path, "--web.config.file", str(tmp_path / "web.yml")) as port:
        yield port


@contextmanager
def running(name: str, argv: list[str], folder: Path, port: int, ready: str | None) -> Iterator[int]:
    server = Server(name, argv, folder / f"{name}-{port}.log", port, ready)
    server.start()
    try:
        yield port
    finally:
        server.stop()


def exporter(folder: Path, *options: str) -> AbstractContextManager[int]:
    port = free_port()
    argv = [sys.executable, "-m", "leitstand", "exporter", "--web.listen-address", f"127.0.0.1:{port}"]
    argv += ["--collector.disable-defaults", "--collector.loadavg", "--inventory.disable-defaults", *options]
    return running("exporter", argv, folder, port, None)


def test_prometheus_scrapes_each_host_with_its_own_settings_in_one_job(tmp_path, secured):
    with exporter(tmp_path) as plain:
        access = {
            "tls": True,
            "ca_file": str(tmp_path / "server.crt"),
            "server_name": "exporter.internal",
            "username": "prometheus",
            "password_file": str(tmp_path / "password"),
        }
        hosts = {
            "open": {"address": "127.0.0.1", "exporter_port": plain},
            "secured": {"address": "127.0.0.1", "exporter_port": secured, "exporter": access},
            "asked-wrongly": {"address": "127.0.0.1", "exporter_port": secured},
        }
        (tmp_path / "leitstand.yml").write_text(json.dumps({"hosts": hosts}))
        render(tmp_path)
        assert prometheus_says(tmp_path) == {"open": "1", "secured": "1", "asked-wrongly": "0"}
    assert SECRET not in (tmp_path / "out" / "prometheus.yml").read_text()


def render(folder: Path) -> None:
    argv = [sys.executable, "-m", "leitstand", "render", "prometheus", "--out", str(folder / "out")]
    environment = {**os.environ, "LEITSTAND_CONFIG": str(folder / "leitstand.yml")}
    subprocess.run(argv, check=True, capture_output=True, env=environment, timeout=patient(60))
    configuration = folder / "out" / "prometheus.yml"
    configuration.write_text(configuration.read_text().replace("interval: 15s", "interval: 1s"))
    configuration.write_text(configuration.read_text().replace("timeout: 10s", "timeout: 1s"))


def prometheus_says(folder: Path) -> dict[str, str]:
    """``up`` of every host, once each was asked."""
    port = free_port()
    argv = [
        "prometheus",
        f"--config.file={folder}/out/prometheus.yml",
        f"--storage.tsdb.path={folder}/data",
        f"--web.listen-address=127.0.0.1:{port}",
    ]
    with running("prometheus", argv, folder, port, "/-/ready"):
        url = f"http://127.0.0.1:{port}/api/v1/query?query=up%7Bjob%3D%22host%22%7D"

        def found() -> dict[str, str]:
            status, body = fetch(url)
            samples = json.loads(body)["data"]["result"] if status == 200 else []
            return {sample["metric"]["instance"]: sample["value"][1] for sample in samples}

        wait_until(lambda: len(found()) == 3, "a sample of each host")
        wait_until(lambda: found().get("secured") == "1", "the secured exporter's figures")
        return found()


def test_hosts_with_roles_are_scraped_over_tls_in_one_job_unless_configured_otherwise(tmp_path):
    hosts = {
        "control": {"address": "127.0.0.1", "roles": ["leitstand"]},
        "web1": {"address": "192.0.2.11", "roles": ["watched"]},
        "web2": {"address": "192.0.2.12", "roles": ["watched"]},
        "open": {"address": "192.0.2.13", "roles": ["watched"], "exporter": {"tls": False}},
        "router": {"address": "192.0.2.1"},
    }
    sections = {"hosts": hosts, "deploy": {"allow": ["192.0.2.10"]}}
    (tmp_path / "leitstand.yml").write_text(json.dumps(sections))
    render(tmp_path)
    out = tmp_path / "out"
    plain, secured = (
        json.loads((out / "targets" / name).read_text()) for name in ("hosts.json", "hosts-1.json")
    )
    assert [each["labels"]["instance"] for each in plain] == ["control", "open", "router"]
    assert [each["labels"]["instance"] for each in secured] == ["web1", "web2"]
    assert not (out / "targets" / "hosts-2.json").exists()
    assert (out / "prometheus.yml").read_text().count("/etc/leitstand/ca/prometheus.key") == 1
