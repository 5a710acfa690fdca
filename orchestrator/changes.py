"""How many paths are new, changed or gone since the last run: kept on this host in 16 bytes for each path.

A cache: without it nothing is known of the last run, and nothing is told.
"""

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from leitstand.files import write_atomically
from orchestrator.archive import FileRecord, Kind

_MAGIC = b"leitstand-changes 1\n"
_PARTS = 256
_HALF = 8  # bytes of a digest, of a path as of its content
_LENGTH = 8


@dataclass(frozen=True)
class Changed:
    """Paths of this run against the last one. ``changed`` have another content, kind or link."""

    new: int
    changed: int
    gone: int


class Paths:
    """Takes the records of a run; tells them from those of the last one.

    Digests lie in parts by their first byte, so that only one part at a time becomes objects.
    """

    def __init__(self) -> None:
        self._parts = [bytearray() for _ in range(_PARTS)]

    def add(self, record: FileRecord) -> None:
        """Note one path."""
        path = hashlib.blake2b(record.path, digest_size=_HALF + 1).digest()
        metadata = record.metadata
        content = record.sha256
        if metadata.kind is not Kind.FILE:
            content = hashlib.blake2b(metadata.kind.encode() + metadata.link).digest()
        self._parts[path[0]] += path[1:] + content[:_HALF]

    def since(self, file: Path) -> Changed | None:
        """What differs from the run that was saved there; None when that cannot be read."""
        try:
            before = _decode(file.read_bytes())
        except (OSError, ValueError):
            return None
        new = changed = gone = 0
        for old, now in zip(map(_table, before), map(_table, self._parts), strict=True):
            new += len(now.keys() - old.keys())
            gone += len(old.keys() - now.keys())
            changed += sum(now[path] != old[path] for path in now.keys() & old.keys())
        return Changed(new, changed, gone)

    @property
    def repeated(self) -> bool:
        """Whether a path was noted twice."""
        return any(len(_table(part)) * 2 * _HALF != len(part) for part in self._parts)

    def save(self, file: Path) -> None:
        """Keep the paths for the next run. Raises OSError."""
        lengths = [len(part).to_bytes(_LENGTH) for part in self._parts]
        write_atomically(file, b"".join([_MAGIC, *lengths, *self._parts]), mode=0o600)


def _table(part: bytes | bytearray) -> dict[bytes, bytes]:
    return dict(_pairs(bytes(part)))


def _pairs(part: bytes) -> Iterator[tuple[bytes, bytes]]:
    for start in range(0, len(part), 2 * _HALF):
        yield part[start : start + _HALF], part[start + _HALF : start + 2 * _HALF]


def _decode(data: bytes) -> list[bytes]:
    """The parts. Raises ValueError for a file that is none of these, or cut."""
    position = len(_MAGIC) + _PARTS * _LENGTH
    if not data.startswith(_MAGIC):
        raise ValueError("not a file of changes")
    parts = []
    for start in range(len(_MAGIC), position, _LENGTH):
        length = int.from_bytes(data[start : start + _LENGTH])
        parts.append(data[position : position + length])
        position += length
    if position != len(data):
        raise ValueError("a file of changes was cut")
    return parts
