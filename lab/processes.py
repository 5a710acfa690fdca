"""Start real servers as children that never outlive us; wait until they serve; end them by process id."""

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

READY_SECONDS = 120.0  # generous: a busy machine is slow, and a dead child is noticed at once
STOP_SECONDS = 10.0
DIE_WITH_PARENT = ("setpriv", "--pdeathsig", "TERM", "--")


class LabError(Exception):
    """A server of the lab did not do what it should; the message says which and shows its log's end."""


def free_port() -> int:
    """A loopback port nobody listens on, outside the range that outgoing connections take theirs from."""
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


def wait_until(
    condition: Callable[[], object], what: str, seconds: float = READY_SECONDS, pause: float = 0.05
) -> float:
    """Wait until ``condition()`` is true; the seconds it took. LabError naming ``what`` after ``seconds``."""
    start = time.monotonic()
    while not condition():
        if time.monotonic() - start > seconds:
            raise LabError(f"waited {seconds:.0f} s in vain for: {what}")
        time.sleep(pause)
    return time.monotonic() - start


def fetch(url: str, timeout: float = 5.0) -> tuple[int, str]:
    """Status and text of a GET; (0, reason) when nobody answers."""
    try:
        with _answer(url, timeout) as answer:
            return answer.status or 0, answer.read().decode(errors="replace")
    except (OSError, http.client.HTTPException) as error:  # also an answer that broke off
        return 0, str(error)


def _answer(url: str, timeout: float) -> http.client.HTTPResponse | urllib.error.HTTPError:
    """The answer, also one that says no."""
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
        """Whether the child is there."""
        return self.process is not None and self.process.poll() is None

    def start(self) -> "Server":
        """Start the child and wait until it serves. Raises LabError with the end of its log."""
        self.launch()
        if self.port:
            wait_until(self._ready_or_dead, f"{self.name} to serve (log: {self.log})")
        if not self.running:
            raise LabError(f"{self.name} ended at once; the end of {self.log}:\n{self.log_end()}")
        return self

    def launch(self) -> None:
        """Start the child; do not wait. It is sent SIGTERM when this process dies, however it dies."""
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
        if self.ready_path is None:
            with socket.socket() as probe:
                return probe.connect_ex(("127.0.0.1", self.port)) == 0
        return 200 <= fetch(self.url + self.ready_path, 20)[0] < 400  # a first page may take its time

    def stop(self) -> None:
        """SIGTERM, and SIGKILL for the child's whole process group when it does not end."""
        if self.process is None:
            return
        self.process.terminate()
        try:
            self.process.wait(STOP_SECONDS)
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
