"""Query an HTTP server that may be hostile or hung: one time limit over everything, and a bounded answer.

A socket's own timeout starts anew with each byte, so a server that dribbles (a handshake, headers,
``100 Continue``, trailers) never exceeds it. Here the connection is always cut when the time is over. Only
name resolution has limits of its own.
"""

import contextlib
import http.client
import socket
import ssl
import threading
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from email.message import Message

_PIECE = 1 << 16


@dataclass(frozen=True)
class Server:
    """The server to query; with a context over TLS, with ``name`` in its certificate (empty: its address)."""

    address: str
    port: int
    tls: ssl.SSLContext | None = field(default=None, repr=False)
    name: str = ""


@dataclass(frozen=True)
class Reply:
    """An answer; ``body`` is complete, or longer than allowed and then must not be used."""

    status: int
    reason: str
    headers: Message
    body: bytes


class TooLateError(OSError):
    """The answer was not complete when the time was over."""

    def __init__(self, seconds: float) -> None:
        super().__init__(f"the answer takes longer than {seconds:.0f} s")


def get(
    server: Server, target: str, headers: Mapping[str, str], *, seconds: float, silence: float, largest: int
) -> Reply:
    """GET ``target`` within ``seconds``; the server may never be silent for more than ``silence`` seconds.

    A body of more than ``largest`` bytes is cut; it is read only if the status is 200. Raises OSError
    (TooLateError, TimeoutError) and http.client.HTTPException (IncompleteRead for a truncated answer).
    """
    with _connected(server, seconds, silence) as link:
        connection = http.client.HTTPConnection(server.address, server.port)
        connection.sock = link
        connection.request("GET", target, headers=headers)
        response = connection.getresponse()
        body = _body(response, largest) if response.status == http.HTTPStatus.OK else b""
        return Reply(response.status, response.reason, response.headers, body)


def _body(response: http.client.HTTPResponse, largest: int) -> bytes:
    expected, body = response.length, bytearray()
    while len(body) <= largest and len(body) != expected and (piece := response.read1(_PIECE)):
        body += piece
    if expected is not None and len(body) < min(expected, largest):
        raise http.client.IncompleteRead(b"", expected - len(body))
    return bytes(body)


@contextlib.contextmanager
def _connected(server: Server, seconds: float, silence: float) -> Iterator[socket.socket]:
    """A connection that is cut after ``seconds``; TooLateError if the block has not ended by then."""
    end = time.monotonic() + seconds
    link = _reached(server, end, silence)
    if link is None:
        raise TooLateError(seconds)
    # TLS takes over the socket in its handshake, so the cut uses another handle of the same connection.
    handle, late = link.dup(), threading.Event()

    def cut() -> None:
        late.set()
        with contextlib.suppress(OSError):
            handle.shutdown(socket.SHUT_RDWR)

    timer = threading.Timer(max(0.0, end - time.monotonic()), cut)
    timer.daemon = True
    timer.start()
    try:
        if server.tls:
            link = server.tls.wrap_socket(link, server_hostname=server.name or server.address)
        yield link
    except (OSError, http.client.HTTPException, ValueError):
        if not late.is_set():
            raise
    finally:
        timer.cancel()
        link.close()
        handle.close()
    if late.is_set():
        raise TooLateError(seconds)


def _reached(server: Server, end: float, silence: float) -> socket.socket | None:
    """A TCP connection to the first of its addresses that accepts one; None if ``end`` comes first."""
    problem: OSError | None = None
    for family, kind, protocol, _, place in socket.getaddrinfo(
        server.address, server.port, type=socket.SOCK_STREAM
    ):
        if (left := end - time.monotonic()) <= 0:
            return None
        link = socket.socket(family, kind, protocol)
        try:
            link.settimeout(min(left, silence))
            link.connect(place)
            link.settimeout(silence)
            link.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        except OSError as error:
            link.close()
            problem = error
        else:
            return link
    raise problem or OSError("no address")
