"""An HTTP proxy that injects faults between a client and a real server, for fault tests.

It forwards the Host header unchanged, so requests signed for the proxy's address stay valid behind it:
Swift's s3api checks the signature over the Host header that it receives.
"""

import http.client
import re
import socket
import sys
import threading
import time
from contextlib import closing
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Literal, Self

from lab.patience import patient

Action = Literal[
    "status", "cut request", "cut answer", "reset", "delay", "hang", "wrong etag", "corrupt", "truncate"
]
HANG_SECONDS = 600.0


@dataclass
class Fault:
    """The fault, the requests it affects (``path`` is a regular expression), how many times."""

    action: Action
    method: str = ""
    path: str = ""
    times: int = 1_000_000
    after: int = 0  # this many matching requests pass first
    status: int = 503
    body: bytes = b""
    seconds: float = 1.0  # of a delay
    headers: tuple[tuple[str, str], ...] = (("Content-Type", "application/xml"),)  # of a status

    def hits(self, method: str, path: str) -> bool:
        """Whether this request is affected; counts it."""
        if (self.method and self.method != method) or not re.search(self.path, path):
            return False
        if self.after > 0:
            self.after -= 1
            return False
        self.times -= 1
        return self.times >= 0


@dataclass
class FaultProxy:
    """``with FaultProxy("127.0.0.1", port) as proxy: proxy.faults.append(Fault("status", "PUT"))``."""

    host: str
    port: int
    faults: list[Fault] = field(default_factory=list)
    seen: list[tuple[str, str, int]] = field(
        default_factory=list
    )  # method, path, status (0: no answer given)
    server: ThreadingHTTPServer | None = None
    closing: threading.Event = field(default_factory=threading.Event)
    lock: threading.Lock = field(default_factory=threading.Lock)

    def __enter__(self) -> Self:
        proxy = self

        class BoundHandler(Handler):
            def __init__(self, *arguments: object) -> None:
                self.proxy = proxy
                super().__init__(*arguments)  # type: ignore[arg-type]

        self.server = _Server(("127.0.0.1", 0), BoundHandler)
        threading.Thread(target=self.server.serve_forever, args=(0.05,), daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self.closing.set()
        if self.server is not None:
            self.server.shutdown()
            self.server.server_close()

    @property
    def url(self) -> str:
        """Where the proxy listens."""
        assert self.server is not None
        return f"http://127.0.0.1:{self.server.server_address[1]}"

    def strike(self, method: str, path: str) -> Fault | None:
        """The first fault that affects this request."""
        with self.lock:
            return next((fault for fault in self.faults if fault.hits(method, path)), None)


class _Server(ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Faults make clients give up or die: print no traceback about that."""
        if not isinstance(sys.exception(), ConnectionError):
            super().handle_error(request, client_address)


class Handler(BaseHTTPRequestHandler):
    """Forwards one request, or applies the fault to it."""

    protocol_version = "HTTP/1.1"
    proxy: FaultProxy

    def do_any(self) -> None:
        """Every method."""
        body = self._body()
        fault = self.proxy.strike(self.command, self.path)
        action = fault.action if fault else None
        if fault and action == "status":
            self._answer(fault.status, list(fault.headers), fault.body)
        elif fault and action == "delay":
            self.proxy.closing.wait(fault.seconds)
            self._pass_on(body, None)
        elif action == "hang":
            self.proxy.closing.wait(HANG_SECONDS)
            self._break_off(reset=False)
        elif action in ("reset", "cut request"):
            # Half of a cut request reaches the server, which must not accept it as complete.
            self._break_off(reset=action == "reset", upstream_body=body if action == "cut request" else None)
        else:
            self._pass_on(body, action)

    do_GET = do_HEAD = do_PUT = do_POST = do_DELETE = do_any  # noqa: N815 - the library's names

    def _body(self) -> bytes:
        return self.rfile.read(int(self.headers.get("Content-Length") or 0))

    def _upstream(self) -> http.client.HTTPConnection:
        return http.client.HTTPConnection(self.proxy.host, self.proxy.port, timeout=patient(120))

    def _pass_on(self, body: bytes, action: Action | None) -> None:
        with closing(self._upstream()) as connection:
            connection.putrequest(self.command, self.path, skip_host=True, skip_accept_encoding=True)
            for name, value in self.headers.items():
                if name.lower() not in ("connection", "expect"):
                    connection.putheader(name, value)
            connection.endheaders(body or None)
            answer = connection.getresponse()
            data = answer.read()
        headers = [
            pair for pair in answer.getheaders() if pair[0].lower() not in ("connection", "transfer-encoding")
        ]
        self._answer(answer.status, *spoil(headers, data, action), declared=len(data), action=action)

    def _answer(
        self,
        status: int,
        headers: list[tuple[str, str]],
        data: bytes,
        declared: int | None = None,
        action: Action | None = None,
    ) -> None:
        self.proxy.seen.append((self.command, self.path, status))
        self.send_response_only(status)
        for name, value in headers:
            if name.lower() != "content-length" or self.command == "HEAD":
                self.send_header(name, value)
        if self.command != "HEAD":
            self.send_header(
                "Content-Length", str(len(data) if declared is None or action == "truncate" else declared)
            )
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(data)
        if action == "cut answer":
            self._break_off(reset=False, count=False)

    def _break_off(self, *, reset: bool, upstream_body: bytes | None = None, count: bool = True) -> None:
        if upstream_body is not None:
            self._send_half(upstream_body)
        if count:
            self.proxy.seen.append((self.command, self.path, 0))
        if reset:
            linger = (1).to_bytes(4, "little") + (0).to_bytes(4, "little")
            self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
        self.close_connection = True
        self.connection.close()

    def _send_half(self, body: bytes) -> None:
        with socket.create_connection((self.proxy.host, self.proxy.port), 10) as upstream:
            upstream.sendall(f"{self.requestline}\r\n{self.headers}".encode() + body[: len(body) // 2])
            time.sleep(0.05)  # let that half arrive before the connection ends

    def log_message(self, format: str, *args: object) -> None:
        """The proxy's ``seen`` is its log."""


def spoil(
    headers: list[tuple[str, str]], data: bytes, action: Action | None
) -> tuple[list[tuple[str, str]], bytes]:
    """The answer with the fault applied."""
    if action == "wrong etag":
        headers = [
            (name, '"00000000000000000000000000000000"' if name.lower() == "etag" else value)
            for name, value in headers
        ]
    elif action == "corrupt" and data:
        middle = len(data) // 2
        data = data[:middle] + bytes([data[middle] ^ 1]) + data[middle + 1 :]
    elif action in ("cut answer", "truncate"):
        data = data[: len(data) // 2]
    return headers, data
