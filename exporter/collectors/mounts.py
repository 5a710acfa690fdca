"""Mounted file systems: mountinfo, see proc(5)."""

import re
from typing import NamedTuple

from exporter.files import Files
from exporter.skipped import Skipped

_LEAST_FIELDS = 6
_OCTAL = re.compile(r"\\([0-7]{3})")
_LIMIT = 32 * 1024 * 1024  # bytes; a thousand containers have a thousand overlays of a few kB each


class Mount(NamedTuple):
    """One mount of the host. ``options`` are those of the mount and of the file system below it.

    Names are as from `os.fsdecode`: names that are not UTF-8 still lead to the file system.
    """

    device: str
    point: str
    kind: str
    number: str  # major:minor
    options: str

    @property
    def is_read_only(self) -> bool:
        return not _READ_ONLY.isdisjoint(self.options.split(","))

    @property
    def labels(self) -> tuple[str, str, str]:
        """Device, kind and mount point as valid UTF-8."""
        return _readable(self.device), self.kind, _readable(self.point)


def read_mounts(files: Files, skipped: Skipped) -> list[Mount]:
    """The mounts as process 1 sees them, or this process if that is hidden. Raises OSError."""
    try:
        content = files.read("1/mountinfo", _LIMIT)
    except (FileNotFoundError, PermissionError):
        content = files.read("self/mountinfo", _LIMIT)
    return parse_mounts(content, skipped)


def parse_mounts(content: bytes, skipped: Skipped) -> list[Mount]:
    # Not splitlines(): a name may contain every other line separator.
    lines = content.decode("utf-8", "surrogateescape").removesuffix("\n").split("\n") if content else []
    return skipped.each("mountinfo", lines, _parse_line)


def _parse_line(line: str) -> Mount:
    before, separator, after = line.partition(" - ")
    # The options may contain spaces, as with drvfs: "rw,aname=drvfs;path=C:\\Program Files\\Docker".
    fields, rest = before.split(" "), after.split(" ", 2)
    if not separator or len(fields) < _LEAST_FIELDS or len(rest) != 3:
        raise ValueError(f"not a line of mountinfo: {line[:80]!r}")
    kind, device, super_options = rest
    options = f"{fields[5]},{super_options}"
    return Mount(_unescaped(device), _unescaped(fields[4]), kind, fields[2], options)


# The last is set by ext4 after an error that made it stop writing.
_READ_ONLY = frozenset(("ro", "emergency_ro"))


def _readable(name: str) -> str:
    return name if name.isascii() else name.encode("utf-8", "surrogateescape").decode("utf-8", "replace")


def _unescaped(text: str) -> str:
    """Spaces and backslashes are written as octal numbers (mangle() in fs/seq_file.c)."""
    if "\\" not in text:
        return text
    return _OCTAL.sub(lambda match: chr(int(match[1], 8)), text)
