"""Who may open what: the public keys in ``recipients/``, and what an age file says of its readers."""

import base64
import hashlib
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, get_args

from leitstand.errors import LeitstandError, UsageError
from leitstand.files import make_public_folder, write_atomically

Vault = Literal["default", "control"]
VAULTS: tuple[Vault, ...] = get_args(Vault)
_NAME = re.compile(r"[a-z0-9][a-z0-9_-]{0,31}")
_KEY = re.compile(r"(age1[0-9a-z]{50,70})|(ssh-(?:ed25519|rsa) [A-Za-z0-9+/=]+)(?: .*)?")
_OPENS = "# opens:"
_MOST = 65536  # bytes of a file with public keys


@dataclass(frozen=True)
class Recipient:
    """A person or the pipeline: name, public keys as age takes them, and the vaults they open."""

    name: str
    keys: tuple[str, ...]
    vaults: tuple[Vault, ...]

    def text(self) -> str:
        """The content of the file in ``recipients/``."""
        return "\n".join([f"{_OPENS} {' '.join(self.vaults)}", *self.keys, ""])


def valid_name(name: str) -> str:
    """``name``; raises UsageError if it is not one of a file."""
    if not _NAME.fullmatch(name):
        raise UsageError(f"'{name}' is not a name", "use letters a-z, digits, - and _, such as: ada")
    return name


def parse_keys(text: str, where: str) -> tuple[str, ...]:
    """The public keys of a file, without comments. Raises UsageError, also for a private key."""
    if "PRIVATE KEY" in text or "AGE-SECRET-KEY" in text:
        raise UsageError(f"{where}: this is a private key", "give the public one, such as id_ed25519.pub")
    lines = [line.strip() for line in text.splitlines() if line.strip() and not line.startswith("#")]
    found = [_KEY.fullmatch(line) for line in lines]
    for number, match in enumerate(found, 1):
        if match is None:
            raise UsageError(
                f"{where}: key {number} is of a kind that age does not take",
                "take one that begins with ssh-ed25519, ssh-rsa or age1",
            )
    if not found:
        raise UsageError(f"{where}: contains no public key", "such as id_ed25519.pub")
    return tuple(match[1] or match[2] for match in found if match)


def read_keys(file: Path) -> tuple[str, ...]:
    """The public keys in ``file``. Raises UsageError."""
    return parse_keys(_read(file), str(file))


def _read(file: Path) -> str:
    try:
        with file.open("rb") as stream:
            return stream.read(_MOST).decode(errors="replace")
    except OSError as error:
        raise UsageError(
            f"{file}: cannot be read: {error.strerror}", "give a file with a public key"
        ) from error


def read_recipients(folder: Path) -> list[Recipient]:
    """Everyone in ``folder``, a folder ``secrets``, by name. Raises UsageError for a file it cannot take."""
    return [_recipient(file) for file in sorted((folder / "recipients").glob("*.pub"))]


def _recipient(file: Path) -> Recipient:
    text = _read(file)
    first = next(iter(text.splitlines()), "")
    words = first.removeprefix(_OPENS).split() if first.startswith(_OPENS) else list(VAULTS)
    vaults = tuple(vault for vault in VAULTS if vault in words)
    if unknown := set(words) - set(VAULTS):
        raise UsageError(f"{file}:1: unknown vault '{min(unknown)}'", f"known: {', '.join(VAULTS)}")
    return Recipient(valid_name(file.stem), parse_keys(text, str(file)), vaults)


def write_recipient(folder: Path, recipient: Recipient) -> None:
    """Add or replace one. Raises OSError."""
    make_public_folder(folder / "recipients")
    write_atomically(folder / "recipients" / f"{recipient.name}.pub", recipient.text())


def keys_of(recipients: list[Recipient], vault: Vault) -> list[str]:
    """The public keys that must open ``vault``, each once."""
    return list(dict.fromkeys(key for one in recipients if vault in one.vaults for key in one.keys))


def stanzas(armored: bytes) -> list[list[str]]:
    """The words of each recipient line in the header of an armored age file (age-encryption.org/v1).

    Raises LeitstandError if it is none.
    """
    lines = armored.decode(errors="replace").strip().splitlines()
    try:
        body = base64.b64decode("".join(lines[1:-1]), validate=True)
        if not body.startswith(b"age-encryption.org/v1\n"):
            raise ValueError
    except ValueError as error:
        raise LeitstandError("is not an armored age file", "restore it with git") from error
    header = body.partition(b"\n---")[0].decode(errors="replace")
    return [line[3:].split() for line in header.splitlines() if line.startswith("-> ")]


def is_reader(key: str, found: list[list[str]]) -> bool | None:
    """Whether ``key`` is among the readers; None for an age key, whose stanza does not name it."""
    kind, _, encoded = key.partition(" ")
    if not encoded:
        return None
    tag = base64.b64encode(hashlib.sha256(base64.b64decode(encoded)).digest()[:4]).decode().rstrip("=")
    return any(words[:2] == [kind, tag] for words in found)
