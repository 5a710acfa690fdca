"""One client's connection: handshake, request, response, next request, without ever blocking a thread.

A step that would have to wait returns for what; the server waits for it, and then a worker continues.
So a client that sends nothing, or half a request, costs a file descriptor and no thread.
"""

import contextlib
import enum
import select
import socket
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from exporter.web.access import Rules
from exporter.web.http1 import BadRequestError, Request, Response, parse_head, split_head, write_response

if TYPE_CHECKING:
    import ssl  # loads OpenSSL, which an exporter without TLS does not need

READ, WRITE = select.EPOLLIN, select.EPOLLOUT
ENDED, PARKED, AGAIN = 0, -1, -2

_TLS_HANDSHAKE = b"\x16"  # RFC 8446 5.1: the content type of a record with a ClientHello
_HTTP_STARTS = (b"GET /", b"HEAD ", b"POST ", b"PUT /", b"OPTIO")
_PLAIN_TO_TLS = b"HTTP/1.0 400 Bad Request\r\n\r\nClient sent an HTTP request to an HTTPS server.\n"
_LINGER_BYTES = 1 << 20


@dataclass(frozen=True)
class Limits:
    """Limits on clients. Counts of connections and requests; bytes of a request's head; seconds.

    ``requests`` are handled at once (node_exporter's ``--web.max-requests``); further ones get 503.
    ``checks`` is how many unknown passwords may wait for bcrypt; a further one replaces one of them.
    """

    connections: int = 256
    requests: int = 40
    checks: int = 16
    head_bytes: int = 16 * 1024
    handshake_seconds: float = 10
    head_seconds: float = 10
    idle_seconds: float = 180
    write_seconds: float = 30
    linger_seconds: float = 2
    shutdown_seconds: float = 5
    farewell_seconds: float = 0.5


class Host(Protocol):
    """What a conversation needs from its server."""

    limits: Limits

    def rules(self) -> Rules:
        """The rules in use now."""

    def answer(self, request: Request) -> Response | None:
        """The response; None if it comes later, by ``say`` and another ``advance``."""


class _Phase(enum.Enum):
    START = enum.auto()
    HANDSHAKE = enum.auto()
    HEAD = enum.auto()
    PARKED = enum.auto()
    WRITE = enum.auto()
    LINGER = enum.auto()
    ENDED = enum.auto()


class Conversation:
    """The state of one connection. One thread at a time may call its methods.

    ``deadline`` (monotonic seconds) is when waiting for the client ends; ``served`` counts whole responses;
    ``request`` is the current one.
    """

    def __init__(self, sock: socket.socket, client: str, host: Host) -> None:
        sock.setblocking(False)
        self.sock, self.client = sock, client
        self._tls: ssl.SSLSocket | None = None
        self.busy = False
        self.served = 0
        self._host = host
        self._phase = _Phase.START
        self._buffer = b""
        self._out = memoryview(b"")
        self.request: Request | None = None
        self._closes = False
        self._lingered = 0
        self.deadline = time.monotonic() + host.limits.head_seconds

    @property
    def parked(self) -> bool:
        """Whether its request waits for a password check, and no thread has it."""
        return self._phase is _Phase.PARKED

    @property
    def lingers(self) -> bool:
        """Whether it is only waiting for the client to close the connection."""
        return self._phase is _Phase.LINGER

    def advance(self) -> int:
        """Continue as far as possible without waiting, at most to the end of one response.

        Returns what to wait for, READ or WRITE, or PARKED (the response comes from elsewhere), or ENDED, or
        AGAIN (nothing to wait for, but it is the others' turn).
        """
        try:
            while (step := _STEPS.get(self._phase)) is not None:
                before = self.served
                self._phase = step(self)
                if self.served > before and self._phase is _Phase.HEAD:
                    return AGAIN if self._has_more else READ
        except BlockingIOError:
            return WRITE if self._phase is _Phase.WRITE else READ
        except OSError as error:
            return ENDED if self._tls is None else _awaited_by_tls(error)
        return PARKED if self.parked else ENDED

    @property
    def _has_more(self) -> bool:
        """Whether bytes of the next request are already buffered, where no wait would notice them."""
        return bool(self._buffer) or (self._tls is not None and self._tls.pending() > 0)

    def say(self, response: Response) -> None:
        """Make ``response`` the response to the current request; ``advance`` sends it."""
        request = self.request
        self._closes = self._closes or request is None or not request.keeps_alive
        head_only = request is not None and request.method == "HEAD"
        self._out = memoryview(write_response(response, head_only=head_only, keep_alive=not self._closes))
        self._phase = _Phase.WRITE
        self._expect(self._host.limits.write_seconds)

    def _expect(self, seconds: float) -> None:
        self.deadline = time.monotonic() + seconds

    def _start(self) -> _Phase:
        context = self._host.rules().context
        if context is None:
            return _Phase.HEAD
        first = self.sock.recv(5, socket.MSG_PEEK)
        if first.startswith(_TLS_HANDSHAKE):
            self.sock = self._tls = context.wrap_socket(
                self.sock, server_side=True, do_handshake_on_connect=False
            )
            self._expect(self._host.limits.handshake_seconds)
            return _Phase.HANDSHAKE
        if first not in _HTTP_STARTS:
            return _Phase.ENDED
        self._closes, self._out = True, memoryview(_PLAIN_TO_TLS)
        return _Phase.WRITE

    def _shake_hands(self) -> _Phase:
        assert self._tls  # noqa: S101 - _start made it
        self._tls.do_handshake()
        if not self._host.rules().admits(self._tls.getpeercert()):
            return _Phase.ENDED
        self._expect(self._host.limits.head_seconds)
        return _Phase.HEAD

    def _read_head(self) -> _Phase:
        try:
            return self._next_request()
        except BadRequestError as error:
            self.request = None
            self._closes = True
            self.say(error.response)
            return _Phase.WRITE

    def _next_request(self) -> _Phase:
        parts = split_head(self._buffer, self._host.limits.head_bytes)
        if parts is None:
            received = self.sock.recv(16 * 1024)
            if received and not self._buffer and self.served:
                self._expect(self._host.limits.head_seconds)
            self._buffer += received
            return _Phase.HEAD if received else _Phase.ENDED
        head, self._buffer = parts
        self.request = parse_head(head, self.client)
        response = self._host.answer(self.request)
        if response is None:
            return _Phase.PARKED
        self.say(response)
        return _Phase.WRITE

    def _write(self) -> _Phase:
        while self._out:
            self._out = self._out[self.sock.send(self._out) :]
        self._out = memoryview(
            b""
        )  # an empty slice of the response would keep all of it in memory while the client idles
        self.served += 1
        if self._closes:
            self._hang_up()
            self._expect(self._host.limits.linger_seconds)
            return _Phase.LINGER
        self._expect(self._host.limits.idle_seconds)
        return _Phase.HEAD

    def _hang_up(self) -> None:
        if self._tls:
            # Send TLS close_notify; there is no need to wait for the client's.
            with contextlib.suppress(OSError, ValueError):
                self.sock = self._tls.unwrap()
        self.sock.shutdown(socket.SHUT_WR)

    def _linger(self) -> _Phase:
        # Closing with unread bytes resets the connection, and the client may lose the response: so read them.
        while received := self.sock.recv(64 * 1024):
            self._lingered += len(received)
            if self._lingered > _LINGER_BYTES:
                return _Phase.ENDED
        return _Phase.ENDED


def _awaited_by_tls(error: OSError) -> int:
    import ssl

    if isinstance(error, ssl.SSLWantWriteError):
        return WRITE
    return READ if isinstance(error, ssl.SSLWantReadError) else ENDED


# Not in the conversation: it would keep itself, and what it sent, in memory until the next collection.
_STEPS: dict[_Phase, Callable[[Conversation], _Phase]] = {
    _Phase.START: Conversation._start,
    _Phase.HANDSHAKE: Conversation._shake_hands,
    _Phase.HEAD: Conversation._read_head,
    _Phase.WRITE: Conversation._write,
    _Phase.LINGER: Conversation._linger,
}
