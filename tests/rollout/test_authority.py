"""The CA of the fleet is made once; its certificates are renewed in time, also with a wrong clock."""

import json
import os
import ssl
import stat
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography import x509

from fleet_inventory.access import tls_context
from lab.patience import patient
from lab.processes import Server, fetch, free_port, wait_until
from leitstand.ask import Server as Address
from leitstand.ask import get
from leitstand.errors import LeitstandError
from leitstand.settings.hosts import ExporterAccess
from rollout.authority import ensure_certificates

NOW = datetime(2026, 11, 30, 12, tzinfo=UTC)
HOSTS = {"web1": "192.0.2.11", "web2": "web2.example.org.", "db": "2001:db8::13"}
ALL = ["prometheus", "hosts/web1", "hosts/web2", "hosts/db"]


@pytest.fixture
def ca(tmp_path: Path) -> Path:
    """A CA's folder with certificates for HOSTS."""
    assert ensure_certificates(tmp_path / "ca", HOSTS, NOW) == ALL
    return tmp_path / "ca"


def certificate(path: Path) -> x509.Certificate:
    return x509.load_pem_x509_certificate(path.read_bytes())


def contents(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_keys_are_private_and_certificates_are_not(ca: Path) -> None:
    modes = {path: stat.S_IMODE(path.stat().st_mode) for path in ca.rglob("*") if path.is_file()}
    assert {mode for path, mode in modes.items() if path.suffix == ".key"} == {0o600}
    assert {mode for path, mode in modes.items() if path.suffix == ".crt"} == {0o644}
    assert stat.S_IMODE((ca / "hosts").stat().st_mode) == 0o700
    assert stat.S_IMODE(ca.stat().st_mode) == 0o755, "Prometheus reads its own files in it"


@pytest.mark.parametrize(
    "later",
    [timedelta(), timedelta(hours=-1), timedelta(days=30), timedelta(days=-3650), timedelta(days=334)],
)
def test_again_changes_nothing_whichever_way_the_clock_went(ca: Path, later: timedelta) -> None:
    before = contents(ca)
    assert ensure_certificates(ca, HOSTS, NOW + later) == []
    assert contents(ca) == before


def test_thirty_days_before_the_end_certificates_are_renewed_and_keys_stay(ca: Path) -> None:
    before, first = contents(ca), certificate(ca / "hosts" / "web1.crt")
    assert ensure_certificates(ca, HOSTS, NOW + timedelta(days=335)) == ALL
    renewed = certificate(ca / "hosts" / "web1.crt")
    assert renewed.not_valid_after_utc == NOW + timedelta(days=335 + 365)
    assert renewed.serial_number > first.serial_number
    changed = {name for name, content in contents(ca).items() if before[name] != content}
    assert changed == {"serial", *(f"{stem}.crt" for stem in ALL)}


def test_certificates_of_a_clock_that_was_wrong_are_good_and_renewed_once_it_is_right(tmp_path: Path) -> None:
    ca = tmp_path / "ca"
    ensure_certificates(ca, HOSTS, NOW + timedelta(days=30))  # the clock is ahead
    assert certificate(ca / "ca.crt").not_valid_before_utc < NOW - timedelta(days=365)
    assert certificate(ca / "prometheus.crt").not_valid_before_utc < NOW - timedelta(days=365)
    assert ensure_certificates(ca, HOSTS, NOW) == []
    ensure_certificates(tmp_path / "other", HOSTS, datetime(2021, 1, 1, tzinfo=UTC))  # an RTC without battery
    assert ensure_certificates(tmp_path / "other", HOSTS, NOW) == ALL
    assert ensure_certificates(tmp_path / "other", HOSTS, NOW) == []


def test_no_serial_number_is_given_twice(ca: Path) -> None:
    numbers = [certificate(ca / f"{stem}.crt").serial_number for stem in ALL]
    (ca / "serial").unlink()
    ensure_certificates(ca, HOSTS, NOW + timedelta(days=340))
    numbers += [certificate(ca / f"{stem}.crt").serial_number for stem in ALL]
    ensure_certificates(ca, {}, NOW)
    ensure_certificates(ca, HOSTS, NOW + timedelta(days=340))
    numbers += [certificate(ca / f"{stem}.crt").serial_number for stem in ALL[1:]]
    assert numbers == sorted(set(numbers))


def test_a_new_host_a_new_address_and_a_removed_host_change_their_own_files_alone(ca: Path) -> None:
    before = contents(ca)
    hosts = {"web1": "192.0.2.99", "db": HOSTS["db"], "web3": "192.0.2.14"}
    assert ensure_certificates(ca, hosts, NOW) == ["hosts/web1", "hosts/web3"]
    after = contents(ca)
    assert after.keys() - before.keys() == {"hosts/web3.crt", "hosts/web3.key"}
    assert before.keys() - after.keys() == {"hosts/web2.crt", "hosts/web2.key"}
    assert {name for name in before.keys() & after.keys() if before[name] != after[name]} == {
        "hosts/web1.crt",
        "serial",
    }


@pytest.mark.parametrize("content", [None, b"", b"nonsense"])
def test_a_key_of_the_ca_that_is_missing_or_damaged_is_named_and_nothing_is_replaced(
    ca: Path, content: bytes | None
) -> None:
    (ca / "ca.key").unlink() if content is None else (ca / "ca.key").write_bytes(content)
    before = contents(ca)
    with pytest.raises(LeitstandError, match="the key of the CA is missing or damaged") as caught:
        ensure_certificates(ca, HOSTS, NOW)
    assert "restore it from a backup" in caught.value.hint
    assert contents(ca) == before


def test_a_key_of_the_ca_that_others_may_read_is_not_used(ca: Path) -> None:
    (ca / "ca.key").chmod(0o640)
    with pytest.raises(LeitstandError, match="may be read by others") as caught:
        ensure_certificates(ca, HOSTS, NOW)
    assert caught.value.hint.startswith("chmod 600")


@pytest.mark.parametrize("cut", [b"", b"-----BEGIN CERTIFICATE-----\nMII"])
def test_only_damaged_files_are_made_again(ca: Path, cut: bytes) -> None:
    for name, again in (("hosts/db.crt", ["hosts/db"]), ("hosts/db.key", ["hosts/db"]), ("ca.crt", [])):
        (ca / name).write_bytes(cut)
        assert ensure_certificates(ca, HOSTS, NOW) == again
        assert ensure_certificates(ca, HOSTS, NOW) == []


def test_every_certificate_is_made_again_by_a_new_ca(ca: Path) -> None:
    (ca / "ca.key").unlink()
    (ca / "ca.crt").unlink()
    assert ensure_certificates(ca, HOSTS, NOW) == ALL


@pytest.fixture
def served(tmp_path: Path) -> Iterator[tuple[Path, int]]:
    """A CA's folder and the port of an exporter that asks for its certificates."""
    ca = tmp_path / "ca"
    ensure_certificates(ca, {"web1": "127.0.0.1"}, datetime.now(UTC))
    tls = {
        "cert_file": str(ca / "hosts" / "web1.crt"),
        "key_file": str(ca / "hosts" / "web1.key"),
        "client_ca_file": str(ca / "ca.crt"),
        "client_auth_type": "RequireAndVerifyClientCert",
    }
    (tmp_path / "web.yml").write_text(json.dumps({"tls_server_config": tls}))
    port = free_port()
    argv = [sys.executable, "-m", "leitstand", "exporter", "--web.listen-address", f"127.0.0.1:{port}"]
    argv += ["--collector.disable-defaults", "--collector.loadavg", "--inventory.disable-defaults"]
    with running("exporter", [*argv, "--web.config.file", str(tmp_path / "web.yml")], tmp_path, port):
        yield ca, port


@contextmanager
def running(name: str, argv: list[str], folder: Path, port: int, ready: str | None = None) -> Iterator[None]:
    server = Server(name, argv, folder / f"{name}.log", port, ready)
    server.start()
    try:
        yield
    finally:
        server.stop()


def status(port: int, address: str, **access: Path) -> int:
    context = tls_context(ExporterAccess.model_validate({"tls": True, **access}))
    patience = patient(10)
    answer = get(
        Address(address, port, context), "/metrics", {}, seconds=patience, silence=patience, largest=1 << 20
    )
    return answer.status


def test_an_exporter_answers_who_holds_the_certificate_of_prometheus_alone(served: tuple[Path, int]) -> None:
    ca, port = served
    own = {"cert_file": ca / "prometheus.crt", "key_file": ca / "prometheus.key"}
    assert status(port, "127.0.0.1", ca_file=ca / "ca.crt", **own) == 200
    of_a_host = {"cert_file": ca / "hosts" / "web1.crt", "key_file": ca / "hosts" / "web1.key"}
    refusals: list[Callable[[], int]] = [
        lambda: status(port, "127.0.0.1", ca_file=ca / "ca.crt"),
        lambda: status(port, "127.0.0.1", ca_file=ca / "ca.crt", **of_a_host),
    ]
    for refused in refusals:
        with pytest.raises(OSError, match=r"(?i)certificate|alert|reset|eof|pipe|closed"):
            refused()
    with pytest.raises(ssl.SSLCertVerificationError):
        status(
            port, "localhost", ca_file=ca / "ca.crt", **own
        )  # an address that its certificate does not name


def test_prometheus_takes_the_certificates(served: tuple[Path, int], tmp_path: Path) -> None:
    ca, port = served
    job = {
        "job_name": "host",
        "scheme": "https",
        "scrape_interval": "1s",
        "tls_config": {
            "ca_file": str(ca / "ca.crt"),
            "cert_file": str(ca / "prometheus.crt"),
            "key_file": str(ca / "prometheus.key"),
        },
        "static_configs": [{"targets": [f"127.0.0.1:{port}"]}],
    }
    (tmp_path / "prometheus.yml").write_text(json.dumps({"scrape_configs": [job]}))
    own = free_port()
    argv = ["prometheus", f"--config.file={tmp_path}/prometheus.yml", f"--storage.tsdb.path={tmp_path}/data"]
    with running("prometheus", [*argv, f"--web.listen-address=127.0.0.1:{own}"], tmp_path, own, "/-/ready"):
        url = f"http://127.0.0.1:{own}/api/v1/query?query=up%3D%3D1"
        wait_until(lambda: json.loads(fetch(url)[1])["data"]["result"], "a good sample of the exporter")


def test_the_command_makes_and_names_certificates_for_hosts_with_roles(tmp_path: Path) -> None:
    hosts = {
        "control": {"address": "192.0.2.10", "roles": ["leitstand"]},
        "web1": {"address": "192.0.2.11", "roles": ["watched"]},
        "open": {"address": "192.0.2.12", "roles": ["watched"], "exporter": {"tls": False}},
        "router": {"address": "192.0.2.1"},
    }
    (tmp_path / "leitstand.yml").write_text(json.dumps({"hosts": hosts}))
    argv = [sys.executable, "-m", "leitstand", "deploy", "certificates", "--folder", str(tmp_path / "ca")]
    own = {**os.environ, "LEITSTAND_CONFIG": str(tmp_path / "leitstand.yml")}
    made, again = (
        json.loads(subprocess.run([*argv, "--json"], check=True, capture_output=True, env=own).stdout)["new"]
        for _ in range(2)
    )
    assert made == ["prometheus", "hosts/control", "hosts/web1"]
    assert again == []
