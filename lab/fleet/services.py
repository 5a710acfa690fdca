"""What hosts meet on their network: an object store, a mail server, and a stranger."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path

from lab.fleet.enclosure import Enclosure
from lab.fleet.names import ADDRESSES
from lab.processes import LabError, Server, wait_until
from lab.swift_process import REPOSITORY, Swift, make_certificates, start_swift

NAME = "lab.fleet.test"  # of both servers


def swift(enclosure: Enclosure, folder: Path) -> AbstractContextManager[Swift]:
    """A real Swift over TLS, at the bridge's address. Its ``ca_file`` must be copied to hosts that use it."""
    folder.mkdir()
    authority, certificate, key = make_certificates(folder, ADDRESSES[0], NAME)
    tls = ("--tls", str(certificate), str(key), "--address", ADDRESSES[0])
    return start_swift(folder, *tls, ca_file=authority, command=enclosure.command)


@dataclass
class MailSink:
    """A mail server; `stop` and `start` of its ``server`` take it away and bring it back."""

    folder: Path
    server: Server

    def mails(self) -> list[str]:
        """Every mail that arrived, oldest first."""
        return [path.read_text(errors="replace") for path in sorted(self.folder.glob("*.eml"))]


@contextmanager
def mail_sink(enclosure: Enclosure, folder: Path) -> Iterator[MailSink]:
    """A mail server at the bridge's address."""
    folder.mkdir()
    argv = [sys.executable, "-P", "-m", "lab.mail_sink", "25", str(folder), ADDRESSES[0]]
    server = Server(
        "mail sink",
        enclosure.command(argv),
        folder / "log",
        port=0,
        environment={"PYTHONPATH": str(REPOSITORY)},
    )
    try:
        server.start()
        wait_until(lambda: server.ended or _accepts(enclosure, 25), "the mail sink to accept connections")
        server.require_running()
        yield MailSink(folder, server)
    finally:
        server.stop()


def _accepts(enclosure: Enclosure, port: int) -> bool:
    argv = enclosure.command(["bash", "-c", f"</dev/tcp/{ADDRESSES[0]}/{port}"])
    return subprocess.run(argv, capture_output=True, check=False).returncode == 0


@dataclass(frozen=True)
class Outsider:
    """A machine on the same network that no host knows: it sees what the world would see."""

    enclosure: Enclosure
    namespace: str

    def run(
        self, argv: Sequence[str | os.PathLike[str]], *, check: bool = True
    ) -> "subprocess.CompletedProcess[str]":
        """Run a program of this machine there; with ``check``, LabError if it fails."""
        command = self.enclosure.command(argv, namespace=self.namespace)
        done = subprocess.run(command, capture_output=True, text=True, stdin=subprocess.DEVNULL, check=False)
        if check and done.returncode:
            raise LabError(f"{argv[0]} exited {done.returncode}:\n{done.stdout}{done.stderr}")
        return done

    def open_ports(self, address: str) -> list[int]:
        """All TCP ports of an address that accept a connection from here."""
        scan = Path(__file__).with_name("scan.py")
        ports: list[int] = json.loads(self.run([sys.executable, "-P", scan, address]).stdout)
        return ports
