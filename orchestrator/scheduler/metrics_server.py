"""A small web server for metrics: GET /metrics and nothing else, so many at a time, none for long."""

import socket
import threading
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from leitstand.errors import UsageError
from leitstand.exposition import CONTENT_TYPE

MOST_CLIENTS = 8
CLIENT_SECONDS = 10.0  # for all that one client says and hears, or does not


class _Handler(BaseHTTPRequestHandler):
    server: "MetricsServer"
    server_version = "leitstand"
    sys_version = ""
    timeout = CLIENT_SECONDS

    def setup(self) -> None:
        super().setup()
        # The time-out above is for each read: who sends a letter now and then is ended by this one.
        self.end = threading.Timer(CLIENT_SECONDS, _hang_up, (self.connection,))
        self.end.daemon = True
        self.end.start()

    def finish(self) -> None:
        self.end.cancel()
        super().finish()

    def do_GET(self) -> None:
        """Answer with the metrics, or 404."""
        if self.path.partition("?")[0] != "/metrics":
            self.send_error(404, "only /metrics is here")
            return
        text = self.server.text().encode()
        self.send_response(200)
        self.send_header("Content-Type", CONTENT_TYPE)
        self.send_header("Content-Length", str(len(text)))
        self.end_headers()
        self.wfile.write(text)

    def log_message(self, format: str, *args: Any) -> None:
        """A scrape every 15 seconds is no news."""


class MetricsServer(ThreadingHTTPServer):
    """Serves ``text()`` from a thread of its own, from `start` to `stop`."""

    daemon_threads = True
    request_queue_size = 16

    def __init__(self, address: tuple[str, int], text: Callable[[], str]) -> None:
        self.text = text
        self._free = threading.BoundedSemaphore(MOST_CLIENTS)
        self.address_family = socket.AF_INET6 if ":" in address[0] else socket.AF_INET
        try:
            super().__init__(address, _Handler)
        except OSError as error:
            raise UsageError(
                f"--listen {address[0]}:{address[1]}: {error.strerror}", "choose another port"
            ) from error

    def start(self) -> None:
        """Serve in the background."""
        threading.Thread(target=self.serve_forever, name="metrics", daemon=True).start()

    def stop(self) -> None:
        """Serve nobody any more."""
        self.shutdown()
        self.server_close()

    def process_request(self, request: Any, client_address: Any) -> None:
        """Hand a client to a thread, or hang up when there are too many."""
        if not self._free.acquire(blocking=False):
            self.shutdown_request(request)
            return
        super().process_request(request, client_address)

    def process_request_thread(self, request: Any, client_address: Any) -> None:
        """Serve one client."""
        try:
            super().process_request_thread(request, client_address)
        finally:
            self._free.release()

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that went away is nobody's error."""


def _hang_up(connection: socket.socket) -> None:
    try:
        connection.shutdown(socket.SHUT_RDWR)
    except OSError:
        return  # gone already


def parse_listen(text: str) -> tuple[str, int]:
    """``127.0.0.1:9816``, ``[::1]:9816`` or ``:9816`` (loopback) as address and port. Raises UsageError."""
    host, colon, port = text.rpartition(":")
    if not colon or not port.isdecimal() or int(port) > 65535 or (":" in host and not host.startswith("[")):
        raise UsageError(f"--listen {text}: not an address with a port", "write it as 127.0.0.1:9816")
    return host.strip("[]") or "127.0.0.1", int(port)
