"""Clients that are silent, slow or hostile, and files that change under load: honest scrapes go on."""

import base64
import contextlib
import logging
import os
import resource
import select
import socket
import ssl
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import bcrypt
import pytest

from exporter.conversation import Limits
from exporter.http1 import Response

CLIENTS = 400
# Long enough for a busy test machine, short enough that one wait for a silent client breaks it.
SCRAPE_SECONDS = 1.0
HELLO_START = b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03"


@pytest.fixture
def crowd() -> Iterator[Callable[[int, bytes], list[socket.socket]]]:
    """Many clients that send some bytes, and nothing after them."""
    with contextlib.ExitStack() as opened:

        def gather(port: int, sent: bytes) -> list[socket.socket]:
            clients = []
            for _ in range(CLIENTS):
                client = opened.enter_context(socket.create_connection(("127.0.0.1", port), timeout=10))
                with contextlib.suppress(OSError):  # one that had to make room already
                    client.sendall(sent)
                clients.append(client)
            return clients

        yield gather


def scrape(running: Any, headers: str = "", seconds: float = SCRAPE_SECONDS) -> None:
    """One scrape on a new connection, done within the promised time."""
    end = time.monotonic() + seconds
    with running.connect() as sock:
        sock.settimeout(seconds)
        sock.sendall(f"GET /metrics HTTP/1.1\r\nHost: x\r\nConnection: close\r\n{headers}\r\n".encode())
        answer = b"".join(iter(lambda: sock.recv(65536), b""))
    assert answer.startswith(b"HTTP/1.1 200 "), answer[:80]
    assert time.monotonic() < end


@pytest.mark.parametrize("with_tls", [False, True], ids=["plain", "tls"])
@pytest.mark.parametrize(
    "sent",
    [b"", b"GET /metrics HT", b"GET / HTTP/1.1\r\nHost: x\r\nX-Half: ", HELLO_START],
    ids=["silent", "half a line", "half a header", "half a hello"],
)
def test_400_clients_that_send_nothing_whole_delay_no_scrape(
    serve: Callable[..., Any], crowd: Callable[..., Any], tls_config: str, with_tls: bool, sent: bytes
) -> None:
    threads_before = threading.active_count()
    running = serve(config=tls_config if with_tls else None)
    clients = crowd(running.port, sent)
    for _ in range(5):
        scrape(running)
    status = running.server.status()
    assert status.connections <= running.server.limits.connections < len(clients)
    assert threading.active_count() - threads_before <= running.server.limits.requests + 10


def test_400_clients_that_stop_within_the_handshake_delay_no_scrape(
    serve: Callable[..., Any], crowd: Callable[..., Any], tls_config: str, client_context: ssl.SSLContext
) -> None:
    running = serve(config=tls_config)
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    with pytest.raises(ssl.SSLWantReadError):
        client_context.wrap_bio(incoming, outgoing, server_hostname="localhost").do_handshake()
    crowd(running.port, outgoing.read())
    for _ in range(5):
        scrape(running)


def test_an_idle_scraper_keeps_its_connection_when_a_crowd_comes(
    serve: Callable[..., Any], crowd: Callable[..., Any]
) -> None:
    running = serve()
    with running.connect() as scraper:
        scraper.sendall(b"GET /1 HTTP/1.1\r\nHost: x\r\n\r\n")
        assert b"GET /1" in scraper.recv(65536)
        crowd(running.port, b"")
        scraper.sendall(b"GET /2 HTTP/1.1\r\nHost: x\r\n\r\n")
        assert b"GET /2" in scraper.recv(65536)


def ask_without_end(sock: socket.socket, stop: threading.Event) -> None:
    """Send request after request, and never wait for an answer."""
    sock.setblocking(False)
    requests = b"GET / HTTP/1.1\r\nHost: x\r\n\r\n" * 100
    left = requests
    with sock, contextlib.suppress(ConnectionError):
        while not stop.is_set():
            readable, writable, _ = select.select([sock], [sock], [], 0.1)
            if readable:
                sock.recv(1 << 20)
            if writable:
                left = left[sock.send(left) :] or requests


def test_clients_that_never_stop_asking_leave_the_others_their_turn(serve: Callable[..., Any]) -> None:
    running = serve(lambda _: Response(200), limits=Limits(requests=1))
    stop = threading.Event()
    greedy = [
        threading.Thread(target=ask_without_end, args=(running.connect(), stop), daemon=True)
        for _ in range(running.server.limits.requests + 8)
    ]
    for thread in greedy:
        thread.start()
    try:
        with running.connect() as scraper:
            scraper.settimeout(10)
            scraper.sendall(b"GET /metrics HTTP/1.0\r\n\r\n")
            assert scraper.recv(100).startswith(b"HTTP/1.1 ")
    finally:
        stop.set()
        for thread in greedy:
            thread.join(10)


@pytest.mark.parametrize("with_tls", [False, True], ids=["plain", "tls"])
def test_who_is_too_slow_is_hung_up_on(
    serve: Callable[..., Any], eventually: Callable[..., Any], tls_config: str, with_tls: bool
) -> None:
    limits = Limits(head_seconds=0.3, handshake_seconds=0.3, idle_seconds=0.3)
    running = serve(config=tls_config if with_tls else None, limits=limits)
    with running.connect() as slow, contextlib.suppress(OSError):
        slow.settimeout(10)
        for letter in b"GET / HTTP/1.1\r\nHost: " + b"x" * 10_000:
            slow.sendall(bytes([letter]))
            threading.Event().wait(0.01)
    eventually(lambda: running.server.status().refused["deadline"] == 1)
    with running.connect() as idle:
        idle.settimeout(10)
        idle.sendall(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
        assert idle.recv(65536).startswith(b"HTTP/1.1 200")
        assert idle.recv(65536) == b""
    with socket.create_connection(("127.0.0.1", running.port), timeout=10) as silent:
        assert silent.recv(1) == b""


def test_without_free_descriptors_the_server_lives_on(serve: Callable[..., Any]) -> None:
    running = serve()
    scrape(running)
    waiting = [running.connect() for _ in range(20)]
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    hoard = []
    try:
        highest = max(int(entry.name) for entry in Path("/proc/self/fd").iterdir())
        resource.setrlimit(resource.RLIMIT_NOFILE, (highest + 9, before[1]))
        with contextlib.suppress(OSError):
            while True:
                hoard.append(os.open("/dev/null", os.O_RDONLY))
        # One descriptor is left: the client's. The server makes its own by ending a silent client.
        os.close(hoard.pop())
        scrape(running)
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, before)
        for descriptor in hoard:
            os.close(descriptor)
        for client in waiting:
            client.close()
    assert running.server.status().refused["connections"] >= 1


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
    assert caplog.text.count("is refused, the one before stays in force") == 1
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


def test_the_rate_limit_lets_a_burst_in_and_then_nobody(serve: Callable[..., Any], users_config: str) -> None:
    running = serve(config=users_config + "rate_limit: {interval: 1h, burst: 3}\n")
    # Before the password is looked at: a guess costs a token, too.
    assert [running.get().status for _ in range(5)] == [401, 401, 401, 429, 429]
    assert running.server.status().refused["rate_limit"] == 2


@pytest.fixture
def guesses() -> Iterator[Callable[[Any, str], None]]:
    """200 clients at once, each with a wrong password of its own, sent and not waited for."""
    with contextlib.ExitStack() as opened:

        def guess(running: Any, source: str) -> None:
            for number in range(200):
                client = opened.enter_context(running.connect(source))
                token = base64.b64encode(f"prometheus:guess {number}".encode()).decode()
                client.sendall(f"GET / HTTP/1.1\r\nHost: x\r\nAuthorization: Basic {token}\r\n\r\n".encode())

        yield guess


def test_200_wrong_guesses_starve_no_scrape(
    serve: Callable[..., Any], guesses: Callable[[Any, str], None], eventually: Callable[..., Any]
) -> None:
    slow = bcrypt.hashpw(b"correct horse", bcrypt.gensalt(10)).decode()
    config = f"basic_auth_users: {{prometheus: {slow}, second: {slow}}}\n"
    running = serve(config=config, limits=Limits(shutdown_seconds=0))

    def entrance(user: str) -> str:
        return f"Authorization: Basic {base64.b64encode(f'{user}:correct horse'.encode()).decode()}\r\n"

    scrape(running, entrance("prometheus"))
    guesses(running, "127.0.0.2")
    # Known since before: not delayed at all. A first one, from elsewhere: behind one guess, not behind 200.
    # All of those take more than ten seconds.
    for _ in range(5):
        scrape(running, entrance("prometheus"), 5)
    scrape(running, entrance("second"), 5)
    refused = running.server.status().refused
    assert refused["password_checks"] > 0
    assert refused["password"] < 100


def test_a_stop_leaves_no_connection_of_those_whose_passwords_wait(
    serve: Callable[..., Any], guesses: Callable[[Any, str], None], eventually: Callable[..., Any]
) -> None:
    slow = bcrypt.hashpw(b"correct horse", bcrypt.gensalt(10)).decode()
    limits = Limits(shutdown_seconds=0, farewell_seconds=0)
    running = serve(config=f"basic_auth_users: {{prometheus: {slow}}}\n", limits=limits)
    guesses(running, "127.0.0.2")
    eventually(lambda: running.server.status().refused["password_checks"] > 0)
    waiting = [client.sock for client in running.server._open.values() if client.parked]
    running.end()
    assert waiting
    # One that was being checked at that moment is closed by its worker.
    eventually(lambda: {sock.fileno() for sock in waiting} == {-1})


@pytest.mark.parametrize("password", [b"\x00", b"a\x00b", b"\xff\xfe", b"x" * 10_000, b":", b""])
def test_a_strange_password_is_wrong_and_the_next_is_checked(
    serve: Callable[..., Any], users_config: str, password: bytes
) -> None:
    running = serve(config=users_config)

    def status(password: bytes, user: bytes = b"prometheus") -> int:
        token = base64.b64encode(user + b":" + password).decode()
        return running.get(headers={"Authorization": f"Basic {token}"}).status

    assert status(password) == 401
    assert status(password, b"\xff\x00") == 401
    assert status(b"correct horse") == 200


def test_wrong_guesses_do_not_push_out_the_right_password(
    serve: Callable[..., Any], users_config: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    running = serve(config=users_config)
    compared = []
    real = bcrypt.checkpw
    monkeypatch.setattr(bcrypt, "checkpw", lambda *given: compared.append(given[0]) or real(*given))

    def status(password: str) -> int:
        token = base64.b64encode(f"prometheus:{password}".encode()).decode()
        return running.get(headers={"Authorization": f"Basic {token}"}).status

    assert status("correct horse") == 200
    assert {status(f"guess {number}") for number in range(120)} == {401}
    assert status("correct horse") == 200
    assert compared.count(b"correct horse") == 1
    assert status("guess 119") == 401
    assert compared.count(b"guess 119") == 1
    assert status("guess 0") == 401
    assert compared.count(b"guess 0") == 2
