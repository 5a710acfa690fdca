"""Debian's node_exporter and our server, asked the same under the same web configuration, answer the same."""

import base64
import contextlib
import socket
import ssl
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import pytest

from exporter.web.http1 import Request, Response, problem
from lab.patience import patient

# What a client notices: how far it comes, the status, what it must do to enter, and the configured headers.
TOLD = (
    "www-authenticate",
    "x-frame-options",
    "x-content-type-options",
    "strict-transport-security",
    "content-security-policy",
    "x-xss-protection",
)


def metrics_alone(request: Request) -> Response:
    """What both have in common: a page of metrics at /metrics."""
    return Response(200, b"up 1\n") if request.path == "/metrics" else problem(404)


@dataclass(frozen=True)
class Probe:
    """One question: what is sent in which kind of connection."""

    send: bytes = b"GET /metrics HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"
    client: str = ""
    newest: ssl.TLSVersion | None = None
    ciphers: str = ""
    curve: str = ""
    plain: bool = False


def get(*lines: str, start: str = "GET /metrics HTTP/1.1") -> bytes:
    return "\r\n".join([start, "Host: localhost", "Connection: close", *lines, "", ""]).encode()


def basic(text: str, scheme: str = "Basic") -> str:
    return f"Authorization: {scheme} {base64.b64encode(text.encode()).decode()}"


GOOD_USER = basic("prometheus:correct horse")
USERS = {
    "no password": Probe(),
    "right password": Probe(get(GOOD_USER)),
    "right password again": Probe(get(GOOD_USER)),
    "scheme in small letters": Probe(get(basic("prometheus:correct horse", "basic"))),
    "wrong password": Probe(get(basic("prometheus:wrong"))),
    "empty password": Probe(get(basic("prometheus:"))),
    "unknown user": Probe(get(basic("nobody:correct horse"))),
    "unknown user with the password of nobody": Probe(get(basic("nobody:fakepassword"))),
    "no colon": Probe(get(basic("prometheus"))),
    "not base64": Probe(get("Authorization: Basic ???")),
    "other scheme": Probe(get("Authorization: Bearer abc")),
    "no credentials": Probe(get("Authorization: Basic")),
    "missing page, no password": Probe(get(start="GET /nothing HTTP/1.1")),
    "a password of 80 bytes": Probe(get(basic("prometheus:" + "x" * 80))),
    "head": Probe(get(GOOD_USER, start="HEAD /metrics HTTP/1.1")),
}
PLAIN = {
    "page": Probe(),
    "head": Probe(get(start="HEAD /metrics HTTP/1.1")),
    "http 1.0": Probe(b"GET /metrics HTTP/1.0\r\n\r\n"),
    "line feeds alone": Probe(b"GET /metrics HTTP/1.0\n\n"),
    "no host": Probe(b"GET /metrics HTTP/1.1\r\nConnection: close\r\n\r\n"),
    "two hosts": Probe(get("Host: other")),
    "no request line": Probe(b"hello\r\n\r\n"),
    "header without a colon": Probe(get("nonsense")),
    "header with a blank in its name": Probe(get("a b: c")),
    "http 3": Probe(get(start="GET /metrics HTTP/3.0")),
    "huge header": Probe(get("X: " + "x" * 3_000_000)),
    "tls hello": Probe(bytes.fromhex("160301007a0100007603030a0d0a0d0a") + b"\n" * 110),
}
TLS = {
    "page": Probe(),
    "plain http": Probe(plain=True),
    "plain http post": Probe(b"POST / HTTP/1.1\r\nHost: x\r\n\r\n", plain=True),
    "plain junk": Probe(b"\x00\x01\x02\x03\x04\x05", plain=True),
    "tls 1.2": Probe(newest=ssl.TLSVersion.TLSv1_2),
    "tls 1.1": Probe(newest=ssl.TLSVersion.TLSv1_1),
    "own certificate nobody asked for": Probe(client="client"),
}
CLIENTS = {
    "no certificate": Probe(),
    "right certificate": Probe(client="client"),
    "foreign certificate": Probe(client="stranger"),
    "right certificate, tls 1.2": Probe(client="client", newest=ssl.TLSVersion.TLSv1_2),
    "no certificate, tls 1.2": Probe(newest=ssl.TLSVersion.TLSv1_2),
}
SUITES = {
    "allowed suite": Probe(newest=ssl.TLSVersion.TLSv1_2, ciphers="ECDHE-ECDSA-AES128-GCM-SHA256"),
    "other suite": Probe(newest=ssl.TLSVersion.TLSv1_2, ciphers="ECDHE-ECDSA-AES256-GCM-SHA384"),
    "allowed curve": Probe(curve="prime256v1"),
    "other curve": Probe(curve="secp384r1"),
}
_CLIENT_CA = "  client_ca_file: {ca}\n"
TABLES: dict[str, tuple[str, dict[str, Probe]]] = {
    "nothing configured": ("{{}}\n", PLAIN),
    "users": ("{users}", USERS),
    "tls": ("{tls}", TLS),
    "tls 1.3 alone": ("{tls}  min_version: TLS13\n", TLS),
    "tls 1.2 at most": ("{tls}  max_version: TLS12\n", TLS),
    "old tls": ("{tls}  min_version: TLS10\n", TLS),
    "suite and curve": (
        "{tls}  curve_preferences: [CurveP256]\n  cipher_suites: [TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256]\n",
        SUITES,
    ),
    "client certificates": ("{tls}  client_auth_type: RequireAndVerifyClientCert\n" + _CLIENT_CA, CLIENTS),
    "optional certificates": ("{tls}  client_auth_type: VerifyClientCertIfGiven\n" + _CLIENT_CA, CLIENTS),
    "requested certificates": ("{tls}  client_auth_type: RequestClientCert\n", CLIENTS),
    "a certificate as its own authority": (
        "{tls}  client_auth_type: RequireAndVerifyClientCert\n  client_ca_file: {stranger}\n",
        CLIENTS,
    ),
    "tls and users": ("{tls}{users}", USERS),
    "headers": (
        "{users}http_server_config:\n  headers:\n"
        "    X-Frame-Options: deny\n    X-Content-Type-Options: nosniff\n"
        "    Strict-Transport-Security: max-age=1\n    Content-Security-Policy: default-src 'none'\n"
        "    X-XSS-Protection: '0'\n",
        {key: USERS[key] for key in ("no password", "right password")},
    ),
}


class Asker:
    """Sends a probe to a port and tells what came back."""

    def __init__(self, pki: Any, tls: bool) -> None:
        self._pki, self._tls = pki, tls

    def ask(self, port: int, probe: Probe) -> tuple[Any, ...]:
        try:
            with self._connect(port, probe) as sock:
                self._send(sock, probe)
                return self._told(b"".join(iter(lambda: sock.recv(65536), b"")))
        except ssl.SSLError:
            return ("refused by TLS",)
        except ConnectionError:
            return ("closed",)

    def _connect(self, port: int, probe: Probe) -> socket.socket:
        raw = socket.create_connection(("127.0.0.1", port), timeout=patient(60))
        if not self._tls or probe.plain:
            return raw
        context = ssl.create_default_context(cafile=str(self._pki.ca))
        if probe.newest:
            context.set_ciphers((probe.ciphers or "DEFAULT") + ":@SECLEVEL=0")
            context.minimum_version = ssl.TLSVersion.MINIMUM_SUPPORTED
            context.maximum_version = probe.newest
        if probe.curve:
            context.set_ecdh_curve(probe.curve)
        if probe.client:
            context.load_cert_chain(*getattr(self._pki, probe.client))
        return context.wrap_socket(raw, server_hostname="localhost")

    @staticmethod
    def _send(sock: socket.socket, probe: Probe) -> None:
        # A server may answer, and close, before it has read all.
        with contextlib.suppress(BrokenPipeError, ConnectionResetError):
            sock.sendall(probe.send)

    @staticmethod
    def _told(answer: bytes) -> tuple[Any, ...]:
        if not answer:
            return ("closed",)
        head = answer.partition(b"\r\n\r\n")[0].decode("latin-1").split("\r\n")
        headers = {name.lower(): value for name, _, value in (line.partition(": ") for line in head[1:])}
        return (head[0].split(" ")[1], *(headers.get(name) for name in TOLD))


@pytest.fixture
def configure(pki: Any, tls_config: str, users_config: str) -> Iterator[Callable[[str], str]]:
    yield lambda text: text.format(tls=tls_config, users=users_config, ca=pki.ca, stranger=pki.stranger[0])


@pytest.mark.parametrize("table", TABLES)
@pytest.mark.filterwarnings("ignore:.*TLSv1.*is deprecated:DeprecationWarning")
@pytest.mark.filterwarnings("ignore:.*MINIMUM_SUPPORTED is deprecated:DeprecationWarning")
def test_both_give_the_same_answers(
    table: str,
    pki: Any,
    configure: Callable[[str], str],
    serve: Callable[..., Any],
    node_exporter: Callable[[str | None], int],
) -> None:
    text, probes = TABLES[table]
    config = configure(text)
    theirs, ours = node_exporter(config), serve(metrics_alone, config).port
    asker = Asker(pki, "tls_server_config" in config)
    told = {name: (asker.ask(theirs, probe), asker.ask(ours, probe)) for name, probe in probes.items()}
    assert {name: own for name, (_, own) in told.items()} == {
        name: other for name, (other, _) in told.items()
    }


DIFFERENT = {
    "post": (Probe(get("Content-Length: 0", start="POST /metrics HTTP/1.1")), "200", "405"),
    "two slashes": (Probe(get(start="GET //metrics HTTP/1.1")), "301", "404"),
}


@pytest.mark.parametrize("case", DIFFERENT)
def test_the_answers_that_differ_on_purpose(
    case: str, pki: Any, serve: Callable[..., Any], node_exporter: Callable[[str | None], int]
) -> None:
    probe, theirs, ours = DIFFERENT[case]
    asker = Asker(pki, False)
    assert asker.ask(node_exporter(None), probe)[0] == theirs
    assert asker.ask(serve(metrics_alone).port, probe)[0] == ours
