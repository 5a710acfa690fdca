"""Each exporter is asked in the way that leitstand.yml says: certificates of both sides, names, passwords."""

import json
import socket
import ssl
import subprocess
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from fleet_inventory.cli import inventory

BODY = b'{"schema_version": 1, "sha256": "x", "incomplete": [], "items": {}}'
ANSWER = b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s" % (len(BODY), BODY)


@dataclass
class Guarded:
    """An exporter that wants a certificate; ``asked`` are the requests it let in."""

    port: int
    certificate: Path
    key: Path
    asked: list[bytes] = field(default_factory=list)

    def settings(self) -> dict[str, Any]:
        shown = {"cert_file": str(self.certificate), "key_file": str(self.key)}
        return {"tls": True, "ca_file": str(self.certificate), "server_name": "web1.internal", **shown}


@pytest.fixture(scope="module")
def pair(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A certificate that vouches for itself and is good for both sides, and its key."""
    folder = tmp_path_factory.mktemp("pair")
    certificate, key = folder / "it.crt", folder / "it.key"
    make = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"]
    names = ["-subj", "/CN=web1", "-addext", "subjectAltName=DNS:web1.internal"]
    subprocess.run([*make, *names, "-out", certificate, "-keyout", key], check=True, capture_output=True)
    return certificate, key


@pytest.fixture
def guarded(pair: tuple[Path, Path]) -> Iterator[Guarded]:
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH, cafile=pair[0])
    context.load_cert_chain(*pair)
    context.verify_mode = ssl.CERT_REQUIRED
    with socket.create_server(("127.0.0.1", 0)) as listener:
        exporter = Guarded(listener.getsockname()[1], *pair)
        threading.Thread(target=answer_all, args=(listener, context, exporter.asked), daemon=True).start()
        yield exporter
        listener.shutdown(socket.SHUT_RDWR)


def answer_all(listener: socket.socket, context: ssl.SSLContext, asked: list[bytes]) -> None:
    while True:
        try:
            plain, _ = listener.accept()
        except OSError:
            return
        try:
            with plain, context.wrap_socket(plain, server_side=True) as link:
                asked.append(link.recv(65536))
                link.sendall(ANSWER)
        except OSError:  # it showed nothing, or does not trust us
            continue


Pull = Callable[..., Result]


@pytest.fixture
def pull(tmp_path: Path, guarded: Guarded) -> Pull:
    """Pulls from one host with settings of its own."""

    def pulled(settings: dict[str, Any], *words: str) -> Result:
        host = {"address": "127.0.0.1", "exporter_port": guarded.port, "exporter": settings}
        (tmp_path / "leitstand.yml").write_text(json.dumps({"hosts": {"web1": host}}))
        places = ["--config", str(tmp_path / "leitstand.yml"), "--database", str(tmp_path / "i.sqlite")]
        return CliRunner().invoke(inventory, ["pull", *places, *words], standalone_mode=False)

    return pulled


def test_certificates_name_and_password_are_those_of_the_host(
    pull: Pull, guarded: Guarded, tmp_path: Path
) -> None:
    (tmp_path / "password").write_text("geheim\n")
    login = {"username": "anna", "password_file": str(tmp_path / "password")}
    assert pull(guarded.settings() | login).output == "web1: 0 changes\n"
    assert b"Authorization: Basic YW5uYTpnZWhlaW0=\r\n" in guarded.asked[0]


@pytest.mark.parametrize(
    ("changed", "message", "hint"),
    [
        (
            {"cert_file": None, "key_file": None},
            "web1: ",
            "certificate of ours",
        ),
        ({"server_name": None}, "web1: its certificate is not trusted: IP address mismatch", "server_name"),
        ({"ca_file": "/nowhere"}, "web1: /nowhere: No such file or directory", "PEM"),
        ({"key_file": "/nowhere"}, ".crt, /nowhere: No such file or directory", "PEM"),
        (
            {"username": "anna", "password_file": "/nowhere"},
            "web1: /nowhere: No such file or directory",
            "password",
        ),
    ],
)
def test_a_mistake_in_the_settings_of_a_host_is_a_line_of_its_own(
    pull: Pull, guarded: Guarded, changed: dict[str, Any], message: str, hint: str
) -> None:
    settings = {name: value for name, value in (guarded.settings() | changed).items() if value}
    refused = pull(settings)
    assert refused.return_value == 3
    assert message in refused.stderr
    assert hint in refused.stderr
    assert len(refused.stderr.splitlines()) == 1


def test_an_option_holds_in_place_of_the_file(pull: Pull, guarded: Guarded) -> None:
    settings = guarded.settings() | {"ca_file": "/nowhere"}
    assert pull(settings, "--ca-file", str(guarded.certificate)).output == "web1: 0 changes\n"
    assert "closed the connection" in pull(settings, "--no-tls").stderr
    assert "/nowhere" in str(pull(guarded.settings(), "--ca-file", "/nowhere").exception)
