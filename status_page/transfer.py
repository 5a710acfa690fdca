"""Ready-made pages for the other hosts of the page: sent over SSH, taken there by a forced command.

A round is sent as a tar of its release folder (see `ready`). What arrives must be complete by its manifest
before it is served. It also says when it is stale: a page whose sender has stopped shows the age of its data.
"""

import io
import re
import shutil
import tarfile
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO

from leitstand.errors import LeitstandError
from leitstand.process import run
from status_page.ready import ReadyError, read_release, switch

LARGEST = 64 << 20  # bytes of a round; one of a large fleet has a few MB
_MOST_FILES = 10_000
_NAME = re.compile(r"[A-Za-z0-9_-][A-Za-z0-9._-]*(/[A-Za-z0-9_-][A-Za-z0-9._-]*){0,9}")
_SECONDS = 30.0  # for one host; the next round is due by then
RECEIVER = "leitstand status-page receive"


@dataclass(frozen=True)
class Way:
    """How to log in to another host of the page."""

    user: str
    address: str
    port: int
    identity: Path
    known_hosts: Path

    def argv(self) -> list[str]:
        """The words of ssh; a key that is not known is refused, and no question is asked."""
        options = ("BatchMode=yes", "StrictHostKeyChecking=yes", "IdentitiesOnly=yes", "ConnectTimeout=5")
        words = ["ssh", "-T", "-F", "none", *(word for option in options for word in ("-o", option))]
        words += ["-o", f"UserKnownHostsFile={self.known_hosts}", "-i", str(self.identity)]
        return [*words, "-p", str(self.port), "--", f"{self.user}@{self.address}", RECEIVER]


def pack(release: Path) -> bytes:
    """The folder of a round as a tar. Raises OSError, such as when it has just been removed."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=tarfile.PAX_FORMAT) as tar:
        for path in sorted(release.rglob("*")):
            if path.is_file():
                content = path.read_bytes()
                info = tarfile.TarInfo(str(path.relative_to(release)))
                info.size = len(content)
                tar.addfile(info, io.BytesIO(content))
    return buffer.getvalue()


def take(source: BinaryIO, folder: Path) -> None:
    """Read a round to its end, check it, and serve it from now on. Raises ReadyError; the old one stays."""
    packed = source.read(LARGEST + 1)
    if len(packed) > LARGEST:
        raise ReadyError(f"what was sent is larger than {LARGEST >> 20} MiB")
    files = _unpack(packed)
    target = folder / "releases" / f"{time.time_ns():020d}"
    try:
        for name, content in files.items():
            (target / name).parent.mkdir(parents=True, exist_ok=True)
            (target / name).write_bytes(content)
        read_release(target)
        switch(folder, target)
    except (OSError, ReadyError) as error:
        shutil.rmtree(target, ignore_errors=True)
        reason = error.message if isinstance(error, ReadyError) else error.strerror
        raise ReadyError(f"what was sent is not used: {reason}") from error


def _unpack(packed: bytes) -> dict[str, bytes]:
    files: dict[str, bytes] = {}
    try:
        with tarfile.open(fileobj=io.BytesIO(packed), mode="r:") as tar:
            for member in tar:
                if not (member.isreg() and _NAME.fullmatch(member.name)) or len(files) >= _MOST_FILES:
                    raise ReadyError("what was sent contains a link, an unexpected name, or too many files")
                content = tar.extractfile(member)
                files[member.name] = content.read() if content else b""
    except (tarfile.TarError, ValueError, EOFError, OverflowError, OSError) as error:
        raise ReadyError("what was sent is not a complete tar") from error
    return files


@dataclass
class Sender:
    """Sends each new round of ``folder`` once to every host; ``sent`` is what each host has."""

    folder: Path
    sent: dict[str, Path] = field(default_factory=dict)

    def round(self, ways: Mapping[str, Way]) -> dict[str, str]:
        """Send what is new. Returns host → why it does not have it, for those where it failed."""
        try:
            current = (self.folder / "current").resolve(strict=True)
            late = {host: way for host, way in ways.items() if self.sent.get(host) != current}
            packed = pack(current) if late else b""
        except OSError:  # none yet, or just replaced by a newer one
            return {}
        return {host: why for host, way in late.items() if (why := self._send(host, way, current, packed))}

    def _send(self, host: str, way: Way, current: Path, packed: bytes) -> str:
        try:
            done = run(way.argv(), timeout=_SECONDS, stdin=packed)
        except LeitstandError as error:
            return error.message
        if done.status:
            return done.last_words
        self.sent[host] = current
        return ""
