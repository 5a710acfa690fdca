"""The server, spoken to by real sockets."""

import contextlib
import gc
import http.client
import os
import socket
import threading
import weakref
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from exporter.web.conversation import Limits
from exporter.web.http1 import Request, Response
from exporter.web.server import Server
from lab.patience import patient
from leitstand.errors import LeitstandError, UsageError

GET = b"GET /a?b=c HTTP/1.1\r\nHost: x\r\n\r\n"


def has_ipv6() -> bool:
    try:
        socket.create_server(("::1", 0), family=socket.AF_INET6).close()
    except OSError:
        return False
    return True


def test_it_answers_and_keeps_the_connection(serve: Callable[..., Any]) -> None:
    running = serve()
    client = http.client.HTTPConnection("127.0.0.1", running.port, timeout=patient(60))
    for number in range(3):
        client.request("GET", f"/{number}?q")
        answer = client.getresponse()
        assert (answer.status, answer.read()) == (200, b"GET /%d q\n" % number)
    assert running.server.status().connections == 1
    client.close()


def test_head_has_the_length_and_no_body(serve: Callable[..., Any]) -> None:
    running = serve()
    answer = running.raw(b"HEAD /a HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
    assert b"Content-Length: 9\r\n" in answer
    assert answer.endswith(b"\r\n\r\n")


def test_requests_sent_at_once_are_answered_in_order(serve: Callable[..., Any]) -> None:
    answer = serve().raw(GET.replace(b"/a", b"/1") + GET.replace(b"/a", b"/2") + GET.replace(b"/a", b"/3"))
    assert [answer.index(b"GET /%d" % number) for number in (1, 2, 3)] == sorted(
        answer.index(b"GET /%d" % number) for number in (1, 2, 3)
    )


@pytest.mark.parametrize("with_tls", [False, True], ids=["plain", "tls"])
def test_many_requests_sent_at_once_are_all_answered(
    serve: Callable[..., Any], tls_config: str, with_tls: bool
) -> None:
    running = serve(lambda _: Response(200, b"x"), config=tls_config if with_tls else None)
    sent = b"GET / HTTP/1.1\r\nHost: a\r\nX: %s\r\n\r\n" % (b"y" * 300)
    answer = running.raw(sent * 200 + b"GET / HTTP/1.0\r\n\r\n")
    assert answer.count(b"HTTP/1.1 200 OK\r\n") == 201


def test_http_1_0_ends_the_connection_unless_asked_otherwise(serve: Callable[..., Any]) -> None:
    running = serve()
    with running.connect() as sock:
        sock.sendall(b"GET / HTTP/1.0\r\n\r\n")
        assert b"Connection: close" in b"".join(iter(lambda: sock.recv(65536), b""))
    with running.connect() as sock:
        sock.sendall(b"GET /1 HTTP/1.0\r\nConnection: Keep-Alive\r\n\r\n")
        assert b"GET /1" in sock.recv(65536)
        sock.sendall(b"GET /2 HTTP/1.0\r\n\r\n")
        assert b"GET /2" in sock.recv(65536)


@pytest.mark.parametrize(
    ("sent", "status"),
    [
        (b"nonsense\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\nHost: a\r\n folded: b\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\nHost : a\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\nHost: a\x00b\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\nHost: a\r\nContent-Length: -1\r\n\r\n", 400),
        (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", 400),
        (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 505),
        (b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\nabc", 405),
        (b"DELETE / HTTP/1.1\r\nHost: a\r\n\r\n", 405),
        (b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 99999999\r\n\r\n" + b"x" * 100_000, 413),
        (b"GET / HTTP/1.1\r\nHost: a\r\nX: " + b"x" * 200_000 + b"\r\n\r\n", 431),
        (b"GET / HTTP/1.1\r\nHost: a\r\nX: " + b"x" * 200_000, 431),
        (b"\r\n" * 100_000, 431),
        (b"\r\nGET / HTTP/1.0\n\n", 200),
        (b"GET http://elsewhere.example/x HTTP/1.1\r\nHost: a\r\n\r\n", 200),
    ],
)
def test_each_request_gets_the_status_it_deserves(
    serve: Callable[..., Any], sent: bytes, status: int
) -> None:
    answer = serve().raw(sent)
    assert answer.startswith(b"HTTP/1.1 %d " % status), answer[:100]


def test_a_failing_handler_is_a_500_and_the_next_request_is_answered(
    serve: Callable[..., Any], caplog: pytest.LogCaptureFixture
) -> None:
    def handler(request: Request) -> Response:
        if request.path == "/bad":
            raise ValueError("secret detail")
        return Response(200)

    running = serve(handler)
    answer = running.get("/bad")
    assert answer.status == 500
    assert b"secret" not in answer.body
    assert running.get("/good").status == 200
    assert "/bad failed" in caplog.text


def test_a_large_answer_arrives_whole_at_a_slow_reader(serve: Callable[..., Any]) -> None:
    body = os.urandom(3_000_000)
    running = serve(lambda _: Response(200, body))
    with socket.socket() as sock:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        sock.settimeout(60)
        sock.connect(("127.0.0.1", running.port))
        sock.sendall(b"GET / HTTP/1.0\r\n\r\n")
        received = b"".join(iter(lambda: sock.recv(50_000), b""))
    assert received.endswith(body)


def test_more_requests_at_once_than_allowed_get_503_at_once(
    serve: Callable[..., Any], eventually: Callable[..., Any]
) -> None:
    entered, leave = threading.Semaphore(0), threading.Event()

    def handler(request: Request) -> Response:
        entered.release()
        assert leave.wait(60)
        return Response(200)

    running = serve(handler, limits=Limits(requests=2))
    threads = [threading.Thread(target=running.get) for _ in range(2)]
    for thread in threads:
        thread.start()
    assert entered.acquire(timeout=patient(60))
    assert entered.acquire(timeout=patient(60))
    assert running.get().status == 503
    leave.set()
    for thread in threads:
        thread.join()
    assert running.get().status == 200
    assert running.server.status().refused["parallel_requests"] == 1


def test_a_request_under_way_is_answered_when_the_server_stops(serve: Callable[..., Any]) -> None:
    entered, leave = threading.Event(), threading.Event()

    def handler(_: Request) -> Response:
        entered.set()
        assert leave.wait(60)
        return Response(200, b"whole")

    running = serve(handler)
    with running.connect() as sock:
        sock.sendall(GET)
        assert entered.wait(60)
        running.stop.set()
        leave.set()
        assert b"whole" in sock.recv(65536)
    running.end()
    with pytest.raises(OSError):
        running.connect()


def test_a_client_let_in_just_before_the_stop_is_answered(
    serve: Callable[..., Any], eventually: Callable[..., Any]
) -> None:
    """With a socket unit, nobody else would answer it: the next exporter never sees its connection."""
    running = serve(limits=Limits(farewell_seconds=20))
    with running.connect() as sock:
        eventually(lambda: running.server.status().connections == 1)
        running.stop.set()
        eventually(lambda: not running.server.accepts)
        sock.sendall(GET)
        assert sock.recv(65536).startswith(b"HTTP/1.1 200 ")
    running.end()


def test_silent_clients_hold_up_the_stop_for_a_moment_only(
    serve: Callable[..., Any], eventually: Callable[..., Any]
) -> None:
    running = serve(limits=Limits(farewell_seconds=0.05, shutdown_seconds=3600))
    with running.connect():
        eventually(lambda: running.server.status().connections == 1)
        running.end()


def test_an_address_of_either_family_may_be_in_brackets() -> None:
    """As node_exporter's Helm chart writes it: ``--web.listen-address=[$(HOST_IP)]:9100``."""
    server = Server(["[127.0.0.1]:0"], lambda _: Response(200))
    try:
        assert server.addresses == [f"127.0.0.1:{server.ports[0]}"]
    finally:
        server.close()


def test_a_name_of_both_families_is_served_by_ipv4(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where /etc/hosts has localhost for both, the system library names ::1 first."""
    both = [(socket.AF_INET6,), (socket.AF_INET,)]
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: both)
    server = Server(["localhost:0"], lambda _: Response(200))
    try:
        assert server.addresses == [f"127.0.0.1:{server.ports[0]}"]
    finally:
        server.close()


@pytest.mark.skipif(not has_ipv6(), reason="this machine has no IPv6")
def test_several_addresses_of_both_families_are_served() -> None:
    server = Server(["127.0.0.1:0", "[::1]:0", ":0"], lambda _: Response(200))
    try:
        hosts, ports = zip(*[address.rsplit(":", 1) for address in server.addresses], strict=True)
        assert hosts == ("127.0.0.1", "[::1]", "[::]")
        assert [int(port) for port in ports] == server.ports
        assert all(map(int, ports))  # a port of one family may be free in the other, too
    finally:
        server.close()


@pytest.mark.parametrize(
    "address", ["", "9815", "host:", "host:http", ":70000", "::1:9815", "[host]:1", "a:٣"]
)
def test_an_invalid_address_is_refused(address: str) -> None:
    with pytest.raises(UsageError) as refused:
        Server([address], lambda _: Response(200))
    assert address in refused.value.message
    assert refused.value.hint


def test_a_taken_port_is_one_clear_line() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(
            LeitstandError, match=f"cannot listen on 127.0.0.1:{port}: Address already in use"
        ):
            Server(["127.0.0.1:0", f"127.0.0.1:{port}"], lambda _: Response(200))


def test_an_address_of_another_machine_is_not_reported_as_a_port_in_use() -> None:
    with pytest.raises(LeitstandError, match=r"cannot listen on 192\.0\.2\.1:0") as refused:
        Server(["192.0.2.1:0"], lambda _: Response(200))
    assert refused.value.hint == "write an address of this host"


def test_no_descriptor_is_left_behind(serve: Callable[..., Any], eventually: Callable[..., Any]) -> None:
    before = len(list(Path("/proc/self/fd").iterdir()))
    running = serve()
    for _ in range(50):
        assert running.get().status == 200
    running.end()
    assert len(list(Path("/proc/self/fd").iterdir())) <= before


def test_a_large_answer_is_forgotten_when_it_was_sent_and_a_connection_when_it_ended(
    serve: Callable[..., Any], eventually: Callable[..., Any]
) -> None:
    """Without the garbage collector, which comes by seldom: 40 scrapes of 400 kB were 16 MB meanwhile."""
    running = serve(lambda _: Response(200, b"x" * 400_000))
    gc.disable()
    try:
        with contextlib.closing(
            http.client.HTTPConnection("127.0.0.1", running.port, timeout=patient(60))
        ) as client:
            client.request("GET", "/")
            assert len(client.getresponse().read()) == 400_000
            (ended,) = map(weakref.ref, running.server._open.values())
            assert eventually(lambda: not ended().busy)
            assert ended()._out.obj == b""
        assert eventually(lambda: ended() is None)
    finally:
        gc.enable()
