"""granian around the WSGI application: listen, serve, and end with all its processes."""

import ctypes
import os
import signal
import socket
import sys
from collections.abc import Callable
from contextlib import suppress
from typing import Any

from granian.constants import Interfaces
from granian.http import HTTP1Settings
from granian.log import LogLevels
from granian.net import SocketHolder  # type: ignore[attr-defined]
from granian.server.mp import MPServer

from leitstand.errors import LeitstandError
from status_page.web import Application

# A ready-made page takes microseconds: more threads would only wait for the interpreter's lock.
THREADS = 2
CONNECTIONS = 4096
HEADER_SECONDS = 10
STOP_SECONDS = 5
POLL_SECONDS = 0.02
_PR_SET_PDEATHSIG = 1  # prctl(2)


class _Server(MPServer):
    """granian, which also takes a socket that is already listening, and says when clients can connect."""

    passed: socket.socket | None = None
    say: Callable[[], None]

    def startup(self, *arguments: Any) -> None:
        # Starts the workers, which listen later.
        super().startup(*arguments)  # type: ignore[no-untyped-call]
        while self.passed is None:
            with suppress(OSError), socket.create_connection((self.bind_addr, self.bind_port), STOP_SECONDS):
                break
            if self.main_loop_interrupt.wait(POLL_SECONDS):
                return
        self.say()

    def _init_shared_socket(self) -> None:
        if self.passed is None:
            super()._init_shared_socket()  # type: ignore[no-untyped-call]
            return
        self.passed.set_inheritable(True)
        number = self.passed.fileno()
        holder = SocketHolder(number, False, CONNECTIONS)  # type: ignore[call-arg]
        vars(self).update(_sso=self.passed, _sfd=number, _shd=holder)


def serve(
    build: Callable[[], Application], address: str, port: int, workers: int, say: Callable[[str], None]
) -> None:
    """Serve until SIGTERM or SIGINT. ``say`` gets the address; port 0 means any free one.

    Raises LeitstandError when the address is taken or not ours.
    """
    with reserved(address, port) as reservation:
        chosen = reservation.getsockname()[1]
        _server(address, chosen, workers, say).serve(target_loader=_Loader(build), wrap_loader=False)


def serve_passed(
    build: Callable[[], Application], passed: socket.socket, workers: int, say: Callable[[str], None]
) -> None:
    """The same on a socket that systemd listens on: this process needs no permission to open connections."""
    address, port, *_ = passed.getsockname()
    server = _server(address, port, workers, say)
    server.passed = passed
    server.serve(target_loader=_Loader(build), wrap_loader=False)


def _server(address: str, port: int, workers: int, say: Callable[[str], None]) -> _Server:
    server = _Server(
        "leitstand status page",
        address=address,
        port=port,
        interface=Interfaces.WSGI,
        workers=workers,
        blocking_threads=THREADS,
        backlog=CONNECTIONS,
        backpressure=CONNECTIONS,
        http1_settings=HTTP1Settings(header_read_timeout=HEADER_SECONDS * 1000, max_buffer_size=65_536),
        websockets=False,
        log_level=LogLevels.error,
        workers_kill_timeout=STOP_SECONDS,
        respawn_failed_workers=True,
    )
    host = f"[{address}]" if ":" in address else address
    server.say = lambda: say(f"listening on http://{host}:{port}/")
    return server


def reserved(address: str, port: int) -> socket.socket:
    """A bound socket that holds the port, without listening, while the workers bind it too (SO_REUSEPORT).

    Bound exclusively at first: two servers on one port would silently share its visitors.
    """
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    try:
        with socket.socket(family) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind((address, port))
            port = probe.getsockname()[1]
        reservation = socket.socket(family)
        reservation.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        reservation.bind((address, port))
    except OSError as error:
        raise LeitstandError(
            f"cannot listen on {address}:{port}: {error.strerror or error}",
            "use another address: --listen ADDRESS:PORT",
        ) from error
    return reservation


class _Loader:
    """Builds the application in the worker, after tying the worker's life to its parent's."""

    def __init__(self, build: Callable[[], Application]) -> None:
        self._build, self._parent = build, os.getpid()

    def __call__(self) -> Application:
        die_with_parent(self._parent)
        return self._build()


def die_with_parent(parent: int) -> None:
    """Have the kernel end this process when its parent dies, however it dies. prctl(2), PR_SET_PDEATHSIG."""
    if sys.platform == "linux":
        ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:
        os._exit(1)
