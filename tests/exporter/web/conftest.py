"""A certificate authority, servers on free ports, and clients that send exact bytes."""

import contextlib
import datetime
import http.client
import ipaddress
import re
import socket
import ssl
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import bcrypt
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from exporter.web.conversation import Limits
from exporter.web.http1 import Handler, Request, Response
from exporter.web.server import Server
from lab.patience import patient


class Authority:
    """A certificate authority, its certificate in ``path``; issues certificates and keys as files."""

    def __init__(self, folder: Path, name: str) -> None:
        self.folder, self.name = folder, name
        self.key = ec.generate_private_key(ec.SECP256R1())
        self.certificate = self._sign(self.key, name, [], authority=True)
        self.path = folder / f"{name}.pem"
        self.path.write_bytes(self.certificate.public_bytes(serialization.Encoding.PEM))

    def issue(self, name: str, *names: x509.GeneralName) -> tuple[Path, Path]:
        """Certificate and key files for a name with these subject alternative names."""
        key = ec.generate_private_key(ec.SECP256R1())
        certificate = self._sign(key, name, list(names), authority=False)
        paths = self.folder / f"{self.name}-{name}.pem", self.folder / f"{self.name}-{name}.key"
        paths[0].write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
        form = serialization.PrivateFormat.PKCS8
        paths[1].write_bytes(
            key.private_bytes(serialization.Encoding.PEM, form, serialization.NoEncryption())
        )
        return paths

    def _sign(
        self, key: ec.EllipticCurvePrivateKey, name: str, names: list[x509.GeneralName], *, authority: bool
    ) -> x509.Certificate:
        now = datetime.datetime.now(datetime.UTC)
        builder = (
            x509.CertificateBuilder()
            .subject_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)]))
            .issuer_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, self.name)]))
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - datetime.timedelta(days=1))
            .not_valid_after(now + datetime.timedelta(days=30))
            .add_extension(x509.BasicConstraints(ca=authority, path_length=None), critical=True)
        )
        if names:
            builder = builder.add_extension(x509.SubjectAlternativeName(names), critical=False)
        return builder.sign(self.key, hashes.SHA256())


@dataclass
class Pki:
    """Files: ``server``, ``renewed`` and ``client`` are of ``ca``, ``stranger`` of another authority."""

    ca: Path
    server: tuple[Path, Path]
    renewed: tuple[Path, Path]
    client: tuple[Path, Path]
    stranger: tuple[Path, Path]
    encrypted_key: Path
    user_hash: str


PASSWORD = "correct horse"


@pytest.fixture(scope="session")
def pki(tmp_path_factory: pytest.TempPathFactory) -> Pki:
    folder = tmp_path_factory.mktemp("pki")
    authority, foreign = Authority(folder, "authority"), Authority(folder, "foreign")
    here = [x509.DNSName("localhost"), x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]
    names = [
        x509.DNSName("prometheus.example.org"),
        x509.RFC822Name("ops@example.org"),
        x509.IPAddress(ipaddress.ip_address("2001:db8::7")),
        x509.UniformResourceIdentifier("spiffe://example.org/prometheus"),
    ]
    server = authority.issue("server", *here)
    encrypted = folder / "encrypted.key"
    encrypted.write_bytes(
        serialization.load_pem_private_key(server[1].read_bytes(), None).private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.BestAvailableEncryption(b"secret"),
        )
    )
    return Pki(
        ca=authority.path,
        server=server,
        renewed=authority.issue("renewed", *here),
        client=authority.issue("client", *names),
        stranger=foreign.issue("stranger", *names),
        encrypted_key=encrypted,
        user_hash=bcrypt.hashpw(PASSWORD.encode(), bcrypt.gensalt(4)).decode(),
    )


@dataclass
class Answer:
    """What a client got: status 0 when there was no answer."""

    status: int
    body: bytes = b""
    headers: dict[str, str] = field(default_factory=dict)


@dataclass
class Running:
    """A server that runs in a thread, and how to talk to it."""

    server: Server
    stop: threading.Event
    thread: threading.Thread
    context: ssl.SSLContext | None

    @property
    def port(self) -> int:
        return self.server.ports[0]

    def end(self) -> None:
        self.stop.set()
        # It looks at `stop` when something happens, or a moment later: let something happen.
        with contextlib.suppress(OSError):
            socket.create_connection(("127.0.0.1", self.port), timeout=1).close()
        self.thread.join(60)
        assert not self.thread.is_alive()

    def connect(self, source: str = "127.0.0.1") -> socket.socket:
        """A connection, with TLS if the server has it."""
        raw = socket.create_connection(
            ("127.0.0.1", self.port), timeout=patient(60), source_address=(source, 0)
        )
        return self.context.wrap_socket(raw, server_hostname="localhost") if self.context else raw

    def get(self, path: str = "/", headers: dict[str, str] | None = None, method: str = "GET") -> Answer:
        return ask(self.port, path, headers, method, self.context)

    def raw(self, data: bytes) -> bytes:
        """Send bytes, say that no more come, and read to the end."""
        with self.connect() as sock:
            sock.sendall(data)
            if self.context is None:
                sock.shutdown(socket.SHUT_WR)
            return b"".join(iter(lambda: sock.recv(65536), b""))


def ask(
    port: int,
    path: str,
    headers: dict[str, str] | None = None,
    method: str = "GET",
    context: ssl.SSLContext | None = None,
) -> Answer:
    if context:
        client: http.client.HTTPConnection = http.client.HTTPSConnection(
            "localhost", port, timeout=patient(60), context=context
        )
    else:
        client = http.client.HTTPConnection("127.0.0.1", port, timeout=patient(60))
    try:
        client.request(method, path, headers=headers or {})
        answer = client.getresponse()
        return Answer(answer.status, answer.read(), {k.lower(): v for k, v in answer.getheaders()})
    except (OSError, http.client.HTTPException):
        return Answer(0)
    finally:
        client.close()


def echo(request: Request) -> Response:
    return Response(200, f"{request.method} {request.path} {request.query}\n".encode())


@pytest.fixture
def client_context(pki: Pki) -> ssl.SSLContext:
    return ssl.create_default_context(cafile=str(pki.ca))


@pytest.fixture
def serve(tmp_path: Path, client_context: ssl.SSLContext) -> Iterator[Callable[..., Running]]:
    """Start a server; ``config`` is a web configuration's text."""
    started: list[Running] = []

    def start(handler: Handler = echo, config: str | None = None, limits: Limits | None = None) -> Running:
        path = None
        if config is not None:
            path = tmp_path / "web.yml"
            path.write_text(config)
        server = Server(["127.0.0.1:0"], handler, path, limits)
        stop = threading.Event()
        thread = threading.Thread(target=server.serve_until, args=(stop,))
        thread.start()
        context = client_context if config and "cert" in config else None
        started.append(Running(server, stop, thread, context))
        return started[-1]

    yield start
    for running in started:
        running.end()


@pytest.fixture
def node_exporter(tmp_path: Path) -> Iterator[Callable[[str | None], int]]:
    """Start Debian's node_exporter with a web configuration; gives its port."""
    processes: list[subprocess.Popen[bytes]] = []

    def start(config: str | None) -> int:
        argv = ["prometheus-node-exporter", "--collector.disable-defaults", "--collector.loadavg"]
        argv.append("--web.listen-address=127.0.0.1:0")
        if config is not None:
            path = tmp_path / "node.yml"
            path.write_text(config)
            argv.append(f"--web.config.file={path}")
        log = tmp_path / f"node-{len(processes)}.log"
        with log.open("wb") as file:
            processes.append(subprocess.Popen(argv, stderr=file))
        return int(wait_for(lambda: _logged_port(log, processes[-1])))

    yield start
    for process in processes:
        process.kill()
        process.wait()


def _logged_port(log: Path, process: subprocess.Popen[bytes]) -> str | None:
    assert process.poll() is None, log.read_text()
    found = re.search(r"address=127\.0\.0\.1:(\d+)", log.read_text())
    return found[1] if found else None


def wait_for(condition: Callable[[], Any], seconds: float = 60) -> Any:
    """The condition's value once it is true."""
    end = time.monotonic() + patient(seconds)
    while not (value := condition()):
        assert time.monotonic() < end, "it never came to be"
        time.sleep(0.01)
    return value


@pytest.fixture
def eventually() -> Callable[..., Any]:
    return wait_for


@pytest.fixture
def tls_config(pki: Pki) -> str:
    """``tls_server_config`` with certificate and key; further keys may follow."""
    return f"tls_server_config:\n  cert_file: {pki.server[0]}\n  key_file: {pki.server[1]}\n"


@pytest.fixture
def users_config(pki: Pki) -> str:
    return f"basic_auth_users:\n  prometheus: {pki.user_hash}\n"
