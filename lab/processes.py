"""Start real servers as children that never outlive us; wait until they are ready; end them by process id."""

import http.client
import os
import random
import signal
import socket
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeVar

import psutil

from lab.patience import patient

READY_SECONDS = 120.0  # generous for a busy machine; a dead child is noticed at once
STOP_SECONDS = 10.0
Started = TypeVar("Started")
DIE_WITH_PARENT = ("setpriv", "--pdeathsig", "TERM", "--")


TRIES = 5  # for a port that another program may take before the server does


class LabError(Exception):
    """A server of the lab misbehaved; the message names it and shows the end of its log."""


class PortTakenError(LabError):
    """Another program took the server's port after it was found free; another port may work."""


class ServerEndedError(LabError):
    """A server that should be running has ended, so nothing else can succeed with it."""


def free_port() -> int:
    """A free loopback port, outside the range used for outgoing connections."""
    while True:
        port = random.randrange(18_000, 32_000)
        with socket.socket() as probe:
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
            return port


def free_ports(*names: str) -> dict[str, int]:
    """Such a port for each name, all different."""
    found: dict[str, int] = {}
    for name in names:
        while (port := free_port()) in found.values():
            pass
        found[name] = port
    return found


def on_free_ports(start: Callable[[], Started]) -> Started:
    """The result of ``start``, which picks free ports; retried with others if one was taken meanwhile."""
    for _ in range(TRIES - 1):
        try:
            return start()
        except PortTakenError:
            continue
    return start()


def wait_until(
    condition: Callable[[], object], what: str, seconds: float = READY_SECONDS, pause: float = 0.05
) -> float:
    """Wait until ``condition()`` is true; the seconds it took. After ``seconds``, LabError with ``what``."""
    start, seconds = time.monotonic(), patient(seconds)
    while not condition():
        if time.monotonic() - start > seconds:
            raise LabError(f"timed out after {seconds:.0f} s waiting for: {what}")
        time.sleep(pause)
    return time.monotonic() - start


def fetch(url: str, timeout: float = 5.0) -> tuple[int, str]:
    """Status and text of a GET; (0, reason) without an answer."""
    try:
        with _answer(url, timeout) as answer:
            return answer.status or 0, answer.read().decode(errors="replace")
    except (OSError, http.client.HTTPException) as error:  # also an answer that broke off
        return 0, str(error)


def _answer(url: str, timeout: float) -> http.client.HTTPResponse | urllib.error.HTTPError:
    """The answer, including an HTTP error."""
    try:
        found: http.client.HTTPResponse = urllib.request.urlopen(url, timeout=timeout)
    except urllib.error.HTTPError as error:
        return error
    return found


@dataclass
class Server:
    """One program of the lab, ready when ``ready_path`` answers (None: its port is open; port 0: at once)."""

    name: str
    argv: Sequence[str]
    log: Path
    port: int
    ready_path: str | None = "/"
    environment: dict[str, str] = field(default_factory=dict)
    process: subprocess.Popen[bytes] | None = None
    stopped: bool = False  # by us
    was_taken: bool = False  # its port, before it was started

    @property
    def address(self) -> str:
        """``127.0.0.1:PORT``."""
        return f"127.0.0.1:{self.port}"

    @property
    def url(self) -> str:
        """``http://127.0.0.1:PORT``."""
        return f"http://{self.address}"

    @property
    def running(self) -> bool:
        """Whether the child is running."""
        return self.process is not None and self.process.poll() is None

    @property
    def ended(self) -> bool:
        """Whether the child has ended without a call of `stop`."""
        return self.process is not None and not self.running and not self.stopped

    def start(self) -> "Server":
        """Start the child and wait until it is ready. Raises LabError with the end of its log.

        PortTakenError if another program has its port.
        """
        self.launch()
        if self.port:
            wait_until(self._ready_or_dead, f"{self.name} to serve (log: {self.log})")
        if not self.running:
            raise self._error_of_end()
        return self

    def require_running(self) -> None:
        """Raise ServerEndedError, with the end of its log, if the child has ended unexpectedly."""
        if self.ended:
            raise ServerEndedError(f"{self.name} has ended; the end of {self.log}:\n{self.log_end()}")

    def _error_of_end(self) -> LabError:
        kind = (
            PortTakenError
            if self._is_listened_on() or "already in use" in self.log_end().lower()
            else LabError
        )
        return kind(f"{self.name} ended at once; the end of {self.log}:\n{self.log_end()}")

    def launch(self) -> None:
        """Start the child without waiting. It gets SIGTERM when this process dies, however it dies."""
        self.stopped = False
        self.was_taken = self._is_listened_on()
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                [*DIE_WITH_PARENT, *self.argv],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                env={**os.environ, "PYTHONUNBUFFERED": "1", **self.environment},
                start_new_session=True,
            )

    def _ready_or_dead(self) -> bool:
        if not self.running:
            return True
        if not self._has_its_port():  # the answer may be another program's
            return False
        if self.ready_path is None:
            return True
        return 200 <= fetch(self.url + self.ready_path, 20)[0] < 400  # the first page may be slow

    def _has_its_port(self) -> bool:
        """Whether the child, or a child of it, listens on the port."""
        try:
            parent = psutil.Process(self.process.pid if self.process else 0)
            sockets = [
                each for one in (parent, *parent.children(True)) for each in one.net_connections("tcp")
            ]
        except (
            psutil.AccessDenied
        ):  # one disables core dumps, which hides its sockets from all but root, proc(5)
            return not self.was_taken and self._is_listened_on()
        except psutil.Error:  # one of them has just ended
            return False
        return any(each.status == psutil.CONN_LISTEN and each.laddr.port == self.port for each in sockets)

    def _is_listened_on(self) -> bool:
        with socket.socket() as probe:
            return bool(self.port) and probe.connect_ex(("127.0.0.1", self.port)) == 0

    def stop(self) -> None:
        """SIGTERM, and SIGKILL for the child's whole process group when it does not end."""
        self.stopped = True
        if self.process is None:
            return
        self.process.terminate()
        try:
            self.process.wait(patient(STOP_SECONDS))
        except subprocess.TimeoutExpired:
            os.killpg(self.process.pid, signal.SIGKILL)
            self.process.wait()

    def kill(self) -> None:
        """SIGKILL, as a crash or a power cut would."""
        if self.process is not None:
            self.process.kill()
            self.process.wait()

    def log_end(self, lines: int = 15) -> str:
        """The last lines of the child's log."""
        return "\n".join(self.log.read_text(errors="replace").splitlines()[-lines:])
