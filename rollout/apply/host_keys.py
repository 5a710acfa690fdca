"""The SSH host keys of the fleet: pinned after a person saw their fingerprints; never replaced silently."""

import base64
import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from leitstand.errors import LeitstandError
from leitstand.files import make_private_folder, write_atomically
from leitstand.process import run

_SECONDS = 15
_KIND = "ssh-ed25519"


@dataclass(frozen=True)
class Place:
    """Where a host's sshd answers."""

    address: str
    port: int

    @property
    def name(self) -> str:
        """As in known_hosts: sshd(8), "SSH_KNOWN_HOSTS FILE FORMAT"."""
        return self.address if self.port == 22 else f"[{self.address}]:{self.port}"


def fingerprint(key: str) -> str:
    """The fingerprint of ``TYPE BASE64`` as ssh-keygen prints it."""
    digest = hashlib.sha256(base64.b64decode(key.split()[1])).digest()
    return "SHA256:" + base64.b64encode(digest).decode().rstrip("=")


def scan(places: Mapping[str, Place]) -> dict[str, str]:
    """Host → the ``TYPE BASE64`` of the key that it presents now; hosts that do not answer are missing.

    ssh-keyscan asks all hosts of one port at the same time: those that are down cost its time limit once.
    """
    found: dict[str, str] = {}
    for port in sorted({place.port for place in places.values()}):
        addresses = [place.address for place in places.values() if place.port == port]
        argv = ["ssh-keyscan", "-T", "5", "-t", "ed25519", "-p", str(port), "--", *addresses]
        found |= _keys(run(argv, timeout=_SECONDS).stdout.decode(errors="replace"))
    return {host: found[place.name] for host, place in places.items() if place.name in found}


def pinned(known_hosts: Path) -> dict[str, str]:
    """Name → ``TYPE BASE64`` of the ed25519 keys of a known_hosts file."""
    return _keys(known_hosts.read_text(encoding="utf-8")) if known_hosts.exists() else {}


def _keys(text: str) -> dict[str, str]:
    """Name → ``TYPE BASE64`` of each ed25519 key in lines of ssh-keyscan or known_hosts."""
    lines = [line.split() for line in text.splitlines()]
    return {parts[0]: " ".join(parts[1:3]) for parts in lines if parts[1:2] == [_KIND] and len(parts) > 2}


def new_keys(
    places: Mapping[str, Place], presented: Mapping[str, str], known: Mapping[str, str]
) -> dict[str, str]:
    """Host → key of hosts that are not pinned yet. Raises LeitstandError for one that changed."""
    for host, key in presented.items():
        before = known.get(places[host].name)
        if before not in (None, key):
            what = f"pinned is {fingerprint(before)}, it presents {fingerprint(key)}"
            cure = f"ssh-keygen -R '{places[host].name}' -f /etc/leitstand/ssh/known_hosts"
            raise LeitstandError(
                f"{host}: its SSH host key changed: {what}", f"if the machine was rebuilt: {cure}"
            )
    return {host: key for host, key in presented.items() if places[host].name not in known}


def pin(
    known_hosts: Path, places: Mapping[str, Place], keys: Mapping[str, str], base: Path | None = None
) -> None:
    """Add the keys to the lines that are there, or to those of ``base``; writes only what changes."""
    source = base or known_hosts
    before = source.read_text(encoding="utf-8") if source.exists() else ""
    added = "".join(f"{places[host].name} {key}\n" for host, key in keys.items())
    if added or source != known_hosts:
        make_private_folder(known_hosts.parent)
        write_atomically(known_hosts, before + added, 0o600)
