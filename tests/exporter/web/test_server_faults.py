"""Clients that are silent, slow or hostile: honest scrapes go on."""

import base64
import contextlib
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

from exporter.web.conversation import Limits
from exporter.web.http1 import Response
from lab.patience import patient

CLIENTS = 400
# Long enough for a busy test machine; who waits for one silent client waits for Limits.head_seconds.
SCRAPE_SECONDS = Limits().head_seconds / 2
HELLO_START = b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03"


@pytest.fixture
def crowd() -> Iterator[Callable[[int, bytes], list[socket.socket]]]:
    """Many clients that send some bytes, and nothing after them."""
    with contextlib.ExitStack() as opened:

        def gather(port: int, sent: bytes) -> list[socket.socket]:
            clients = []
            for _ in range(CLIENTS):
                client = opened.enter_context(
                    socket.create_connection(("127.0.0.1", port), timeout=patient(60))
                )
                with contextlib.suppress(OSError):  # one that had to make room already
                    client.sendall(sent)
                clients.append(client)
            return clients

        yield gather


def scrape(running: Any, headers: str = "", seconds: float = SCRAPE_SECONDS) -> None:
    """One scrape on a new connection, done within the promised time."""
    end = time.monotonic() + patient(seconds)
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
    with sock, contextlib.suppress(ConnectionError, BlockingIOError):
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
            scraper.settimeout(60)
            scraper.sendall(b"GET /metrics HTTP/1.0\r\n\r\n")
            assert scraper.recv(100).startswith(b"HTTP/1.1 ")
    finally:
        stop.set()
        for thread in greedy:
            thread.join(60)


@pytest.mark.parametrize("with_tls", [False, True], ids=["plain", "tls"])
def test_slow_clients_are_disconnected(
    serve: Callable[..., Any], eventually: Callable[..., Any], tls_config: str, with_tls: bool
) -> None:
    config = tls_config if with_tls else None
    running = serve(config=config, limits=Limits(head_seconds=1))
    with socket.create_connection(("127.0.0.1", running.port), timeout=patient(60)) as silent:
        with running.connect() as slow, contextlib.suppress(OSError):
            for letter in b"GET / HTTP/1.1\r\nHost: " + b"x" * 10_000:
                slow.sendall(bytes([letter]))
                threading.Event().wait(0.01)
        assert silent.recv(1) == b""
    eventually(lambda: running.server.status().refused["deadline"] == 2)
    with serve(config=config, limits=Limits(idle_seconds=0.3)).connect() as idle:
        idle.sendall(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
        assert idle.recv(65536).startswith(b"HTTP/1.1 200")
        assert idle.recv(65536) == b""


def test_without_free_descriptors_the_server_lives_on(
    serve: Callable[..., Any], eventually: Callable[..., Any]
) -> None:
    running = serve()
    scrape(running)
    waiting = [running.connect() for _ in range(20)]
    # The first scrape's descriptor must be free before the rest is taken away, or it is free afterwards.
    eventually(lambda: running.server.status().connections == len(waiting))
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


def test_the_rate_limit_admits_a_burst_and_then_refuses(serve: Callable[..., Any], users_config: str) -> None:
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
    start = time.monotonic()
    bcrypt.checkpw(b"correct horse", slow.encode())
    seconds = max(5.0, 50 * (time.monotonic() - start))
    guesses(running, "127.0.0.2")
    # Known since before: not delayed at all. A first one, from elsewhere: behind one guess, not behind 200.
    for _ in range(5):
        scrape(running, entrance("prometheus"), seconds)
    scrape(running, entrance("second"), seconds)
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
    waiting = [client.sock for client in list(running.server._open.values()) if client.parked]
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
