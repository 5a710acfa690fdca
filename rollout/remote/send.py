"""Send the configuration to the leitstand host and show what it says."""

import sys
from dataclasses import dataclass
from pathlib import Path

from leitstand.errors import LeitstandError, UsageError
from leitstand.process import open_stream
from rollout.remote.parcel import Order, pack

_SSH_FAILED = 255  # ssh(1), exit status
_MOST_SECONDS = 4 * 3600.0
_CHUNK = 65536


@dataclass(frozen=True)
class Way:
    """How to reach the leitstand host: ``[USER@]HOST[:PORT]``, and files in place of the user's own."""

    host: str
    identity: Path | None = None
    known_hosts: Path | None = None

    def argv(self) -> list[str]:
        """The words of ssh; a key that is not known is refused, and no question is asked."""
        name, _, port = self.host.rpartition(":")
        has_port = bool(name) and port.isdecimal() and (":" not in name or name.endswith("]"))
        place = (name if has_port else self.host).replace("[", "").replace("]", "")
        if not place or place.startswith("-") or any(letter.isspace() for letter in place):
            raise UsageError(f"--on: '{self.host}' is not a host", "such as: root@leitstand.example.org")
        words = ["ssh", "-T", "-o", "BatchMode=yes", "-o", "StrictHostKeyChecking=yes"]
        words += (
            ["-o", "ServerAliveInterval=30", "-p", port] if has_port else ["-o", "ServerAliveInterval=30"]
        )
        if self.known_hosts:
            words += ["-o", f"UserKnownHostsFile={self.known_hosts.absolute()}"]
        if self.identity:
            words += ["-o", "IdentitiesOnly=yes", "-i", str(self.identity.absolute())]
        return [*words, "--", place, "leitstand deploy receive"]


def send(config: Path, order: Order, way: Way) -> int:
    """Have ``config`` applied by the leitstand host; returns the exit code of its ``leitstand apply``."""
    argv, parcel = way.argv(), pack(config, order)
    with open_stream(argv, stdin=parcel, keep_errors=False) as stream:
        while chunk := stream.stdout.read1(_CHUNK):  # type: ignore[attr-defined]
            sys.stdout.write(chunk.decode(errors="replace"))
            sys.stdout.flush()
        status = stream.finish(_MOST_SECONDS).status
    if status == _SSH_FAILED or status < 0:
        raise LeitstandError(
            f"{way.host}: the connection failed or broke, so the outcome is unknown",
            f"look there: leitstand deploy status; by hand: {' '.join(argv[:-1])}",
        )
    return status
