"""A web configuration, certificates and users that change while the server runs, well or badly."""

import base64
import logging
import ssl
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import bcrypt
import pytest


class Load:
    """Scrapers in threads, one new connection a scrape; ``failures`` has what went wrong."""

    def __init__(self, running: Any, threads: int = 3) -> None:
        self._running = running
        self._stop = threading.Event()
        self.scrapes = 0
        self.failures: list[str] = []
        self._threads = [threading.Thread(target=self._scrape) for _ in range(threads)]

    def __enter__(self) -> "Load":
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join()

    def _scrape(self) -> None:
        while not self._stop.is_set():
            answer = self._running.get("/metrics")
            self.scrapes += 1
            if answer.status != 200:
                self.failures.append(f"status {answer.status}")


def served_certificate(running: Any) -> bytes:
    with running.connect() as sock:
        return sock.getpeercert(binary_form=True)


def test_a_certificate_is_renewed_under_load_without_a_failed_scrape(
    serve: Callable[..., Any], eventually: Callable[..., Any], pki: Any, tmp_path: Path
) -> None:
    certificate, key = tmp_path / "server.pem", tmp_path / "server.key"
    pairs = [pki.server, pki.renewed]
    certificate.write_bytes(pki.server[0].read_bytes())
    key.write_bytes(pki.server[1].read_bytes())
    running = serve(config="tls_server_config: {cert_file: server.pem, key_file: server.key}\n")
    with Load(running) as load:
        for turn in range(1, 9):
            pair = pairs[turn % 2]
            wanted = ssl.PEM_cert_to_DER_cert(pair[0].read_text())
            # Not atomically, and with a moment between: the pair does not fit meanwhile.
            certificate.write_bytes(pair[0].read_bytes())
            scrapes = load.scrapes
            eventually(lambda before=scrapes: load.scrapes > before + 3)
            key.write_bytes(pair[1].read_bytes())
            eventually(lambda der=wanted: served_certificate(running) == der)
    assert load.failures == []
    assert load.scrapes > 20


@pytest.mark.parametrize(
    "broken", ["tls_server_config: [", "unknown_key: 1\n", "basic_auth_users: {prometheus: clear}\n", None]
)
def test_a_broken_file_leaves_the_old_one_in_force(
    serve: Callable[..., Any],
    users_config: str,
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
    broken: str | None,
) -> None:
    caplog.set_level(logging.INFO)
    running = serve(config=users_config)
    entrance = {"Authorization": "Basic " + base64.b64encode(b"prometheus:correct horse").decode()}
    assert (running.get().status, running.get(headers=entrance).status) == (401, 200)
    path = tmp_path / "web.yml"
    path.unlink() if broken is None else path.write_text(broken)
    for _ in range(3):
        assert (running.get().status, running.get(headers=entrance).status) == (401, 200)
    state = running.server.status().rules
    assert not state.valid
    assert caplog.text.count("is refused, the previous one stays in use") == 1
    assert "clear" not in caplog.text
    path.write_text(users_config + "http_server_config: {headers: {X-Frame-Options: deny}}\n")
    answer = running.get(headers=entrance)
    assert (answer.status, answer.headers["x-frame-options"]) == (200, "deny")
    assert running.server.status().rules.valid
    assert running.server.status().rules.loaded >= state.loaded


@pytest.mark.parametrize("truncated", ["", "# being written\n", "http_server_config: {http2: false}\n"])
def test_a_file_without_its_users_opens_nothing_while_the_server_runs(
    serve: Callable[..., Any],
    tls_config: str,
    users_config: str,
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
    truncated: str,
) -> None:
    running = serve(config=tls_config + users_config)
    (tmp_path / "web.yml").write_text(truncated)
    assert running.get().status == 401
    (tmp_path / "web.yml").write_text(tls_config + truncated)
    assert running.get().status == 401
    assert "basic_auth_users: would open what is closed" in caplog.text


def test_client_certificates_cannot_be_given_up_while_the_server_runs(
    serve: Callable[..., Any], tls_config: str, pki: Any, tmp_path: Path
) -> None:
    closed = f"{tls_config}  client_ca_file: {pki.ca}\n  client_auth_type: "
    running = serve(config=closed + "RequireAndVerifyClientCert\n")
    assert running.get().status == 0
    for opened in (tls_config, closed + "VerifyClientCertIfGiven\n"):
        (tmp_path / "web.yml").write_text(opened)
        assert running.get().status == 0
    assert not running.server.status().rules.valid


def test_users_are_added_and_changed_while_the_server_runs(
    serve: Callable[..., Any], users_config: str, tmp_path: Path
) -> None:
    running = serve(config="# open\n")
    entrance = {"Authorization": "Basic " + base64.b64encode(b"prometheus:correct horse").decode()}
    assert running.get().status == 200
    (tmp_path / "web.yml").write_text(users_config)
    assert (running.get().status, running.get(headers=entrance).status) == (401, 200)
    other = bcrypt.hashpw(b"other", bcrypt.gensalt(4)).decode()
    (tmp_path / "web.yml").write_text(f"basic_auth_users: {{prometheus: {other}}}\n")
    assert running.get(headers=entrance).status == 401


def test_allowed_names_of_client_certificates(
    serve: Callable[..., Any], tls_config: str, pki: Any, client_context: ssl.SSLContext, tmp_path: Path
) -> None:
    start = f"{tls_config}  client_ca_file: {pki.ca}\n  client_auth_type: RequireAndVerifyClientCert\n"
    client_context.load_cert_chain(*pki.client)
    running = serve(config=start + "  client_allowed_sans: [other.example.org]\n")
    assert running.get().status == 0
    names = ("prometheus.example.org", "ops@example.org", "2001:DB8:0::7", "spiffe://example.org/prometheus")
    for name in names:
        (tmp_path / "web.yml").write_text(f'{start}  client_allowed_sans: [x, "{name}"]\n')
        assert running.get().status == 200, name
    (tmp_path / "web.yml").write_text(f"{start}  client_allowed_sans: [example.org]\n")
    assert running.get().status == 0
