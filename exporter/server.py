"""A small HTTP/1.1 server for scrapes: one thread waits for all clients, workers do what is ready to be done.

It knows nothing of metrics. What it promises: a silent or slow client delays nobody, whatever the clients do
threads and file descriptors stay below ``Limits``, and a broken web configuration never opens the door.
"""

import errno
import logging
import select
import socket
import threading
import time
from collections import Counter
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from http import HTTPStatus
from pathlib import Path

from exporter.conversation import ENDED, PARKED, READ, Conversation, Limits
from exporter.http1 import METHODS, Handler, Request, Response, problem, write_response
from exporter.listening import listen_on
from exporter.rules import Rules

_log = logging.getLogger(__name__)
_TURN_SECONDS = 0.5  # how often deadlines and `stop` are looked at when nothing happens
_SPARE_WORKERS = 4  # for handshakes and refusals while every request slot is taken
_ACCEPTS_PER_TURN = 64
_OUT_OF_DESCRIPTORS = (errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM)
REFUSALS = ("connections", "deadline", "parallel_requests", "password", "rate_limit")


@dataclass(frozen=True)
class ServerStatus:
    """How the server does: open connections, and what was refused since its start, by reason (REFUSALS)."""

    connections: int
    refused: Mapping[str, int]


class Server:
    """Listens on every address given and answers with ``handler``, which many threads may call at once.

    ``listen``: ``host:port``, ``[v6]:port`` or ``:port`` (all addresses, both families); port 0: a free one.
    Raises UsageError for a wrong address or web configuration, LeitstandError when an address cannot be had.
    """

    def __init__(
        self,
        listen: list[str],
        handler: Handler,
        web_config: Path | None = None,
        limits: Limits | None = None,
    ) -> None:
        self.limits = limits or Limits()
        self._handler = handler
        self.rules = _rules_from(web_config)
        self._listeners = {sock.fileno(): sock for sock in listen_on(listen)}
        self._epoll = select.epoll()
        for descriptor in self._listeners:
            self._epoll.register(descriptor, READ)
        self._workers = ThreadPoolExecutor(self.limits.requests + _SPARE_WORKERS, "http")
        self._slots = threading.Semaphore(self.limits.requests)
        # Guards what follows, and that nobody closes a connection that another thread hands back.
        self._lock = threading.Lock()
        self._open: dict[int, Conversation] = {}
        self._refused: Counter[str] = Counter(dict.fromkeys(REFUSALS, 0))
        self._closed = False

    @property
    def addresses(self) -> list[tuple[str, int]]:
        """Host and port of every listening socket, as bound."""
        return [sock.getsockname()[:2] for sock in self._listeners.values()]

    def status(self) -> ServerStatus:
        """The figures of this moment."""
        with self._lock:
            return ServerStatus(len(self._open), dict(self._refused))

    def serve_until(self, stop: threading.Event) -> None:
        """Serve until ``stop`` is set, then give answers under way a few seconds, and close."""
        next_sweep = 0.0
        while not stop.is_set():
            self._turn()
            if (now := time.monotonic()) >= next_sweep:
                self._sweep(now)
                next_sweep = now + _TURN_SECONDS
        self._finish()
        self.close()

    def close(self) -> None:
        """Close every socket now. May be called twice."""
        with self._lock:
            if self._closed:
                return
            self._closed = True
            for conversation in self._open.values():
                if not conversation.busy:
                    conversation.sock.close()
            self._open.clear()
        for sock in self._listeners.values():
            sock.close()
        self._epoll.close()
        self._workers.shutdown(wait=False, cancel_futures=True)

    def _turn(self) -> None:
        for descriptor, _ in self._epoll.poll(_TURN_SECONDS):
            if descriptor in self._listeners:
                self._accept(self._listeners[descriptor])
            elif conversation := self._open.get(descriptor):
                conversation.busy = True
                self._workers.submit(self._advance, conversation)

    def _finish(self) -> None:
        """Take no new client, and wait for answers under way."""
        for sock in self._listeners.values():
            self._epoll.unregister(sock)
        end = time.monotonic() + self.limits.shutdown_seconds
        while time.monotonic() < end and any(c.busy for c in list(self._open.values())):
            time.sleep(0.02)

    # Accepting

    def _accept(self, listener: socket.socket) -> None:
        for _ in range(_ACCEPTS_PER_TURN):
            try:
                sock, address = listener.accept()
            except BlockingIOError:
                return
            except OSError as error:
                self._accept_failed(error)
                return
            self._admit(sock, address[0].removeprefix("::ffff:"))

    def _accept_failed(self, error: OSError) -> None:
        if error.errno in _OUT_OF_DESCRIPTORS and not self._make_room():
            # The listener stays readable: without a pause this thread would spin.
            time.sleep(0.05)

    def _admit(self, sock: socket.socket, client: str) -> None:
        if len(self._open) >= self.limits.connections and not self._make_room():
            self._turn_away(sock)
            return
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        conversation = Conversation(sock, client, self)
        with self._lock:
            self._open[sock.fileno()] = conversation
        self._epoll.register(sock.fileno(), READ | select.EPOLLONESHOT)

    def _make_room(self) -> bool:
        """End the connection that is missed least: one that never got an answer before one that idles."""
        with self._lock:
            waiting = [item for item in self._open.items() if not item[1].busy]
            if not waiting:
                return False
            descriptor, oldest = min(waiting, key=lambda item: (item[1].served > 0, item[1].deadline))
            self._drop(descriptor, oldest, "connections")
        return True

    def _turn_away(self, sock: socket.socket) -> None:
        with self._lock:
            self._refused["connections"] += 1
        answer = problem(HTTPStatus.SERVICE_UNAVAILABLE, "too many connections")
        sock.setblocking(False)
        try:
            if self.rules().context is None:
                sock.send(write_response(answer, head_only=False, keep_alive=False))
        except OSError:
            pass
        finally:
            sock.close()

    # Waiting

    def _sweep(self, now: float) -> None:
        with self._lock:
            late = [item for item in self._open.items() if not item[1].busy and item[1].deadline < now]
            for descriptor, conversation in late:
                self._drop(descriptor, conversation, "deadline")

    def _drop(self, descriptor: int, conversation: Conversation, reason: str) -> None:
        """Close a connection that no worker has. Needs the lock."""
        del self._open[descriptor]
        conversation.sock.close()
        self._refused[reason] += 1

    # Working

    def _advance(self, conversation: Conversation) -> None:
        descriptor = conversation.sock.fileno()
        try:
            wanted = conversation.advance()
        except Exception:  # noqa: BLE001 - one client's connection must not end the server
            _log.exception("a connection from %s ended by an internal error", conversation.client)
            wanted = ENDED
        if wanted != PARKED:
            self._hand_back(descriptor, conversation, wanted)

    def _hand_back(self, descriptor: int, conversation: Conversation, wanted: int) -> None:
        with self._lock:
            if wanted == ENDED or self._closed:
                self._open.pop(descriptor, None)
                conversation.sock.close()
                return
            conversation.busy = False
            self._epoll.modify(descriptor, wanted | select.EPOLLONESHOT)

    def answer(self, request: Request) -> Response | None:
        """The answer to one request; None while its password is being checked."""
        if request.method not in METHODS:
            return problem(HTTPStatus.METHOD_NOT_ALLOWED, headers=(("Allow", ", ".join(METHODS)),))
        return self._handle(request)

    def _handle(self, request: Request) -> Response:
        if not self._slots.acquire(blocking=False):
            self._count("parallel_requests")
            return problem(
                HTTPStatus.SERVICE_UNAVAILABLE, f"{self.limits.requests} requests at once are the limit"
            )
        try:
            return self._handler(request)
        except Exception:  # noqa: BLE001 - answered with 500, and the server goes on
            _log.exception("%s %s failed", request.method, request.path)
            return problem(HTTPStatus.INTERNAL_SERVER_ERROR)
        finally:
            self._slots.release()

    def _count(self, reason: str) -> None:
        with self._lock:
            self._refused[reason] += 1


def _rules_from(web_config: Path | None) -> Callable[[], Rules]:
    if web_config is None:
        rules = Rules()
        return lambda: rules
    # Imported here: a server without a web configuration need not hold pydantic in memory.
    from exporter.web_config import WebConfigFile

    return WebConfigFile(web_config).current
