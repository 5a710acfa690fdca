"""Master keys: generations of 32 random bytes, and the secrets derived from them for each archive.

The file is text, mode 0600, one line per generation, the highest that is not retired is used for new
snapshots::

    leitstand-keys 1
    1 <secret: 52 letters and digits of base32> <check: 8 of them> retired 2026-11-30T12:00:00Z
    2 <secret> <check>

The check is the start of the base32 SHA-256 of ``<number> <secret>``, so that a mistake in a kit typed by
hand is noticed.
"""

import base64
import hashlib
import hmac
import os
import re
import secrets
import shlex
import stat
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Self

from leitstand import process
from leitstand.errors import LeitstandError
from leitstand.files import write_atomically
from leitstand.trust import distrust, exposed

SECRET_BYTES = 32
PASSWORD_BYTES = 20
_STORED, _SHOWN = "%Y-%m-%dT%H:%M:%SZ", "%Y-%m-%d %H:%M UTC"
_FIRST_LINE = "leitstand-keys 1"
_TIME = r"[0-9]{4}-[0-9]{2}-[0-9]{2}(?:T[0-9]{2}:[0-9]{2}:[0-9]{2}Z)?"
_LINE = re.compile(rf"([1-9][0-9]{{0,8}}) ([A-Z2-7]{{52}}) ([A-Z2-7]{{8}})(?: retired ({_TIME}))?")


class KeysError(LeitstandError):
    """The key file is unreadable, readable by others, or lacks a generation."""


class KeyRing:
    """Master generations: number -> secret. Shows no secret when printed.

    A ``retired`` generation signs nothing new: snapshots that claim to be made or stored later are refused.
    """

    def __init__(
        self, generations: Mapping[int, bytes], retired: Mapping[int, datetime] | None = None
    ) -> None:
        if not generations or any(len(secret) != SECRET_BYTES for secret in generations.values()):
            raise KeysError("a key ring needs at least one generation of 32 bytes")
        self._generations, self.retired = dict(sorted(generations.items())), dict(retired or {})

    def __repr__(self) -> str:
        return f"KeyRing(generations={list(self._generations)})"

    @classmethod
    def load(cls, path: Path) -> Self:
        """Read the key file. Raises KeysError if others can read it, too."""
        return cls(*_parse(_read(path), str(path)))

    @classmethod
    def from_command(cls, argv: Sequence[str], timeout: float = 60) -> Self:
        """The output of a program, such as a password manager, in the format of the key file."""
        done = process.run(argv, timeout=timeout)
        if done.status:
            raise KeysError(f"{argv[0]} ended with status {done.status} instead of printing the keys")
        return cls(*_parse(done.stdout, f"the output of {argv[0]}"))

    @property
    def current(self) -> int:
        """The generation for new snapshots: the highest that is not retired. Raises KeysError without one."""
        usable = self._generations.keys() - self.retired.keys()
        if not usable:
            raise KeysError(
                "every generation of the keys is retired, so nothing new can be signed",
                "add one: leitstand backup keys generate --add",
            )
        return max(usable)

    @property
    def generations(self) -> tuple[int, ...]:
        return tuple(self._generations)

    def archive_password(self, snapshot: str, generation: int) -> str:
        """The password of this snapshot's archive and manifest, also in 7-Zip: 32 characters, 160 bits."""
        digest = self._derive(generation, f"leitstand archive password:{snapshot}")
        return base64.b32encode(digest[:PASSWORD_BYTES]).decode()

    def commit_key(self, generation: int) -> bytes:
        """The 32 bytes that COMMIT is signed with."""
        return self._derive(generation, "leitstand commit key")

    def with_new_generation(self) -> "KeyRing":
        """This ring with one more generation for new snapshots. Older snapshots stay readable."""
        number = max(self._generations) + 1
        return KeyRing({**self._generations, number: secrets.token_bytes(SECRET_BYTES)}, self.retired)

    def with_retired(self, generation: int, moment: datetime) -> "KeyRing":
        """This ring with one generation retired from now on. Raises KeysError."""
        if generation not in self._generations:
            raise KeysError(f"the keys have no generation {generation}", f"there are {self.generations}")
        if generation in self.retired:
            raise KeysError(
                f"generation {generation} is already retired: {self.retired[generation]:{_SHOWN}}"
            )
        ring = KeyRing(self._generations, {**self.retired, generation: moment.astimezone(UTC)})
        _ = ring.current  # raises if no other is left to sign with
        return ring

    def export(self) -> str:
        """The text of the key file: enough to read every snapshot. Print it and lock it away."""
        return "\n".join([_FIRST_LINE, *(self._line(each) for each in self._generations)]) + "\n"

    def _line(self, number: int) -> str:
        retired = self.retired.get(number)
        return _line(number, self._generations[number]) + (f" retired {retired:{_STORED}}" if retired else "")

    def save(self, path: Path) -> None:
        """Replace the key file, mode 0600."""
        write_atomically(path, self.export(), mode=0o600)

    def _derive(self, generation: int, purpose: str) -> bytes:
        if generation not in self._generations:
            raise KeysError(
                f"the keys have no generation {generation}",
                "this snapshot was made with other keys: use the key file or recovery kit from that time",
            )
        return hmac.digest(self._generations[generation], purpose.encode(), "sha256")


def generate(path: Path) -> KeyRing:
    """Make a key file with one fresh generation. Raises KeysError when ``path`` exists."""
    if path.exists():
        raise KeysError(
            f"{path} exists; keys are never overwritten", "add a generation to it, or choose another file"
        )
    if not path.parent.is_dir():
        raise KeysError(f"there is no folder {path.parent}", f"mkdir -m 700 {shlex.quote(str(path.parent))}")
    if found := distrust(path.parent):
        raise KeysError(f"{found.place} {found.what}; no keys were made", found.cure)
    ring = KeyRing({1: secrets.token_bytes(SECRET_BYTES)})
    ring.save(path)
    return ring


def append_generation(path: Path) -> KeyRing:
    """Add a fresh generation to the key file, for new snapshots; old snapshots stay readable."""
    ring = KeyRing.load(path).with_new_generation()
    ring.save(path)
    return ring


def retire_generation(path: Path, generation: int, moment: datetime) -> KeyRing:
    """Mark a generation in the key file as retired at ``moment``. Raises KeysError."""
    ring = KeyRing.load(path).with_retired(generation, moment)
    ring.save(path)
    return ring


def _read(path: Path) -> bytes:
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except OSError as error:
        hint = f"make keys with: leitstand backup keys generate (file: {path})"
        if isinstance(error, PermissionError):
            hint = "run this as the user who owns the keys, usually root"
        raise KeysError(f"{path}: {error.strerror}", hint) from error
    if stat.S_ISDIR(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise KeysError(f"{path} is a folder", "name the file in it that holds the keys")
    with os.fdopen(descriptor, "rb") as file:
        if found := exposed(path):
            raise KeysError(f"{found.place} {found.what}", found.cure)
        return file.read(1 << 20)


def _parse(data: bytes, where: str) -> tuple[dict[int, bytes], dict[int, datetime]]:
    lines = [line.strip() for line in data.decode("ascii", "replace").splitlines() if line.strip()]
    if not lines or lines[0] != _FIRST_LINE:
        raise KeysError(f"{where} is not a key file", f"its first line must be: {_FIRST_LINE}")
    found: dict[int, bytes] = {}
    retired: dict[int, datetime] = {}
    for number, line in enumerate(lines[1:], start=2):
        generation, secret, moment = _parse_line(line, f"{where}: line {number}")
        if generation in found:
            raise KeysError(f"{where}: line {number}: generation {generation} appears twice")
        found[generation] = secret
        if moment is not None:
            retired[generation] = moment
    return found, retired


def _parse_line(line: str, where: str) -> tuple[int, bytes, datetime | None]:
    match = _LINE.fullmatch(line)
    if match is None:
        raise KeysError(f"{where} is not '<number> <secret> <check>', with an optional 'retired <date>'")
    number, text, check = int(match[1]), match[2], match[3]
    if _check(number, text) != check:
        raise KeysError(f"{where}: the check does not match the secret", "a character is wrong or missing")
    return number, base64.b32decode(text + "===="), _moment(match[4], where) if match[4] else None


def _moment(text: str, where: str) -> datetime:
    """A date without a time means the end of that day, in UTC."""
    try:
        moment = datetime.fromisoformat(text)
        return moment if moment.tzinfo else moment.replace(tzinfo=UTC) + timedelta(days=1)
    except (ValueError, OverflowError):
        raise KeysError(f"{where}: '{text}' is not a date", "write it as 2026-11-30") from None


def _line(number: int, secret: bytes) -> str:
    text = base64.b32encode(secret).decode().rstrip("=")
    return f"{number} {text} {_check(number, text)}"


def _check(number: int, text: str) -> str:
    return base64.b32encode(hashlib.sha256(f"{number} {text}".encode()).digest()).decode()[:8]
