"""A small HTTP/1.1 server for scrapes: one thread waits for all clients, workers handle those that are ready.

It knows nothing about metrics. It guarantees: a silent or slow client delays no other, threads and file
descriptors always stay below ``Limits``, and a broken web configuration never opens access.
"""

import errno
import logging
import select
import socket
import threading
import time
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import partial
from http import HTTPStatus
from pathlib import Path

from exporter.web.access import NoRules, Rules, RulesSource, RulesState, basic_credentials
from exporter.web.conversation import AGAIN, ENDED, PARKED, READ, Conversation, Limits
from exporter.web.http1 import METHODS, Handler, Request, Response, problem
from exporter.web.listening import listen_on, written_address
from exporter.web.passwords import Attempt, Passwords, Verdict
from exporter.workers import Workers

_log = logging.getLogger(__name__)
_TURN_SECONDS = 0.2  # seconds between checks of deadlines and `stop` when idle
_SPARE_WORKERS = 4  # for handshakes and refusals while all request slots are in use
_OUT_OF_DESCRIPTORS = (errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM)
REFUSALS = ("connections", "deadline", "parallel_requests", "password", "password_checks", "rate_limit")


@dataclass(frozen=True)
class ServerStatus:
    """The server's state: open connections, and refusals since its start, by reason (REFUSALS).

    ``rules`` is the state of the web configuration; None without one.
    """

    connections: int
    refused: Mapping[str, int]
    rules: RulesState | None = None


class Server:
    """Listens on all given addresses and answers with ``handler``, which several threads may call at once.

    ``listen``: ``host:port``, ``[v6]:port`` or ``:port`` (all addresses, both families); port 0: a free one;
    ``systemd``: the sockets that systemd passes.
    Raises UsageError for a wrong address or web configuration, LeitstandError for an unavailable address.
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
        self._source = _rules_from(web_config)
        self.rules = self._source.current
        self._listeners = {sock.fileno(): sock for sock in listen_on(listen)}
        self._epoll = select.epoll()
        for descriptor in self._listeners:
            self._epoll.register(descriptor, READ)
        self._workers = Workers("http", self.limits.requests + _SPARE_WORKERS)
        self._passwords = Passwords(self.limits.checks)
        self._slots = threading.Semaphore(self.limits.requests)
        # Guards the following, and keeps connections open that another thread hands back.
        self._lock = threading.Lock()
        self._open: dict[int, Conversation] = {}
        self._refused: Counter[str] = Counter(dict.fromkeys(REFUSALS, 0))
        self._closed = False
        # Runs until ``serve_until`` returns.
        self.accepts = True

    @property
    def ports(self) -> list[int]:
        """The bound port of every listening socket that has one."""
        return [sock.getsockname()[1] for sock in self._listeners.values() if sock.family != socket.AF_UNIX]

    @property
    def addresses(self) -> list[str]:
        """Every listening socket: ``host:port``, or the path of a Unix socket."""
        return [written_address(sock) for sock in self._listeners.values()]

    def status(self) -> ServerStatus:
        """The current state."""
        with self._lock:
            return ServerStatus(len(self._open), dict(self._refused), self._source.state())

    def serve_until(self, stop: threading.Event) -> None:
        """Serve until ``stop`` is set, then give current requests a few seconds, and close."""
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
                if conversation.parked or not conversation.busy:
                    conversation.sock.close()
            self._open.clear()
        for sock in self._listeners.values():
            sock.close()
        self._epoll.close()
        self._passwords.close()
        # Connections that wait for a worker are not cancelled: the worker closes them.
        self._workers.close()

    def _turn(self, seconds: float = _TURN_SECONDS) -> None:
        for descriptor, _ in self._epoll.poll(seconds):
            if descriptor in self._listeners:
                self._accept(self._listeners[descriptor])
            elif conversation := self._open.get(descriptor):
                conversation.busy = True
                if conversation.lingers:
                    self._advance(conversation)  # cheaper than to wake a thread
                else:
                    self._workers.submit(partial(self._advance, conversation))

    def _finish(self) -> None:
        """Accept no new clients, and give connected ones a last response."""
        for sock in self._listeners.values():
            self._epoll.unregister(sock)
        self.accepts = False
        start = time.monotonic()
        while time.monotonic() < start + self.limits.shutdown_seconds:
            # A client just accepted has already sent its request: the next exporter would never see it.
            is_fresh = time.monotonic() < start + self.limits.farewell_seconds
            clients = list(self._open.values())
            if not any(client.busy or (is_fresh and not client.served) for client in clients):
                break
            self._turn(0.02)

    # Accepting

    def _accept(self, listener: socket.socket) -> None:
        """Accept one client; the listener stays readable while there are more.

        Never try once more: without free descriptors that fails, and closes a connection for nothing.
        """
        try:
            sock, address = listener.accept()
        except OSError as error:
            if error.errno in _OUT_OF_DESCRIPTORS and not self._make_room():
                # Without a pause this thread would spin.
                time.sleep(0.05)
            return
        # A client of a Unix socket has no address.
        self._admit(sock, address[0].removeprefix("::ffff:") if isinstance(address, tuple) else "local")

    def _admit(self, sock: socket.socket, client: str) -> None:
        if len(self._open) >= self.limits.connections and not self._make_room():
            self._count("connections")
            sock.close()
            return
        if sock.family != socket.AF_UNIX:
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        conversation = Conversation(sock, client, self)
        with self._lock:
            self._open[sock.fileno()] = conversation
        self._epoll.register(sock.fileno(), READ | select.EPOLLONESHOT)

    def _make_room(self) -> bool:
        """Close the least valuable connection: one that never got a response before one that idles."""
        with self._lock:
            waiting = [item for item in self._open.items() if not item[1].busy]
            if not waiting:
                return False
            descriptor, oldest = min(waiting, key=lambda item: (item[1].served > 0, item[1].deadline))
            self._drop(descriptor, oldest, "connections")
        return True

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
            wanted = ENDED if self._closed else conversation.advance()
        except Exception:  # noqa: BLE001 - one client's connection must not end the server
            _log.exception("a connection from %s ended by an internal error", conversation.client)
            wanted = ENDED
        # Parked before _closed is checked: one that is parked after the close is closed here.
        if wanted == PARKED and not self._closed:
            self._check_password(conversation)
        else:
            self._hand_back(descriptor, conversation, wanted)

    def _hand_back(self, descriptor: int, conversation: Conversation, wanted: int) -> None:
        with self._lock:
            if wanted == ENDED or self._closed:
                self._open.pop(descriptor, None)
                conversation.sock.close()
                return
            if wanted == AGAIN:
                # Behind all waiting clients: otherwise busy clients, one per worker, would occupy them all.
                self._workers.submit(partial(self._advance, conversation))
                return
            if conversation.deadline < time.monotonic():
                # _sweep may never find a client idle that sends a byte now and then.
                self._drop(descriptor, conversation, "deadline")
                return
            conversation.busy = False
            self._epoll.modify(descriptor, wanted | select.EPOLLONESHOT)

    def answer(self, request: Request) -> Response | None:
        """The response to one request; None while its password is being checked."""
        rules = self.rules()
        if rules.limiter and not rules.limiter.allows():
            self._count("rate_limit")
            return problem(HTTPStatus.TOO_MANY_REQUESTS)
        if not rules.users:
            return self._answer_admitted(request, rules)
        attempt = self._attempt(request, rules)
        verdict = self._passwords.known_verdict(attempt) if attempt else False
        return None if verdict is None else self._answer_after_check(request, rules, verdict)

    def _attempt(self, request: Request, rules: Rules) -> Attempt | None:
        credentials = basic_credentials(request.headers.get("authorization", ""))
        return self._passwords.attempt(rules.users, *credentials) if credentials else None

    def _check_password(self, conversation: Conversation) -> None:
        request, rules = conversation.request, self.rules()
        attempt = self._attempt(request, rules) if request else None
        if request is None or attempt is None:  # the users have just changed
            self._resume(conversation, problem(HTTPStatus.SERVICE_UNAVAILABLE))
            return

        def tell(verdict: Verdict) -> None:
            self._workers.submit(partial(self._resume_after_check, conversation, request, rules, verdict))

        self._passwords.check(conversation.client, attempt, tell)

    def _resume_after_check(
        self, conversation: Conversation, request: Request, rules: Rules, verdict: Verdict
    ) -> None:
        self._resume(conversation, self._answer_after_check(request, rules, verdict))

    def _resume(self, conversation: Conversation, response: Response) -> None:
        conversation.say(response)
        self._advance(conversation)

    def _answer_after_check(self, request: Request, rules: Rules, verdict: Verdict) -> Response:
        if verdict:
            return self._answer_admitted(request, rules)
        if verdict is None:
            self._count("password_checks")
            refusal = problem(HTTPStatus.SERVICE_UNAVAILABLE, "too many passwords to check")
        else:
            self._count("password")
            refusal = problem(HTTPStatus.UNAUTHORIZED, headers=(("WWW-Authenticate", "Basic"),))
        return _with_headers(refusal, rules.headers)

    def _answer_admitted(self, request: Request, rules: Rules) -> Response:
        if request.method in METHODS:
            response = self._handle(request)
        else:
            response = problem(HTTPStatus.METHOD_NOT_ALLOWED, headers=(("Allow", ", ".join(METHODS)),))
        return _with_headers(response, rules.headers)

    def _handle(self, request: Request) -> Response:
        if not self._slots.acquire(blocking=False):
            self._count("parallel_requests")
            return problem(
                HTTPStatus.SERVICE_UNAVAILABLE, f"the limit is {self.limits.requests} requests at once"
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


def _with_headers(response: Response, headers: tuple[tuple[str, str], ...]) -> Response:
    """The response with further headers, which replace those of the same name."""
    if not headers:
        return response
    named = {name.lower() for name, _ in headers}
    kept = tuple(header for header in response.headers if header[0].lower() not in named)
    return replace(response, headers=(*kept, *headers))


def _rules_from(web_config: Path | None) -> RulesSource:
    if web_config is None:
        return NoRules()
    # Imported here: a server without a web configuration does not need the YAML parser in memory.
    from exporter.web.config import WebConfigFile

    return WebConfigFile(web_config)
