"""How many paths are new, changed or gone since the last run: kept on this host in 16 bytes for each path.

A cache: without it the previous run is unknown, and no changes are reported.
"""

import hashlib
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

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
        part, path = _digest(record.path)
        metadata = record.metadata
        content = record.sha256
        if metadata.kind is not Kind.FILE:
            content = _without_content(metadata.kind, metadata.link)
        self._parts[part] += path + content[:_HALF]

    def has_file(self, path: bytes) -> bool:
        index, digest = _digest(path)
        part = self._parts[index]
        start = part.find(digest)
        while start >= 0 and start % (2 * _HALF):
            start = part.find(digest, start + 1)
        return start >= 0 and part[start + _HALF : start + 2 * _HALF] != _FOLDER

    def since(self, file: Path) -> Changed | None:
        """The differences from the run that was saved there; None when that cannot be read."""
        new = changed = gone = 0
        try:
            with file.open("rb") as before:
                for old, now in zip(map(_table, _decoded(before)), map(_table, self._parts), strict=True):
                    new += len(now.keys() - old.keys())
                    gone += len(old.keys() - now.keys())
                    changed += sum(now[path] != old[path] for path in now.keys() & old.keys())
        except (OSError, ValueError):
            return None
        return Changed(new, changed, gone)

    @property
    def repeated(self) -> bool:
        return any(len(_table(part)) * 2 * _HALF != len(part) for part in self._parts)

    def save(self, file: Path) -> None:
        """Keep the paths for the next run. Raises OSError."""
        lengths = [len(part).to_bytes(_LENGTH) for part in self._parts]
        write_atomically(file, b"".join([_MAGIC, *lengths, *self._parts]), mode=0o600)


def _digest(path: bytes) -> tuple[int, bytes]:
    """The part in which a path is noted, and as what."""
    digest = hashlib.blake2b(path, digest_size=_HALF + 1).digest()
    return digest[0], digest[1:]


def _without_content(kind: Kind, link: bytes = b"") -> bytes:
    return hashlib.blake2b(kind.encode() + link).digest()


_FOLDER = _without_content(Kind.DIRECTORY)[:_HALF]


def _table(part: bytes | bytearray) -> dict[bytes, bytes]:
    return dict(_pairs(bytes(part)))


def _pairs(part: bytes) -> Iterator[tuple[bytes, bytes]]:
    for start in range(0, len(part), 2 * _HALF):
        yield part[start : start + _HALF], part[start + _HALF : start + 2 * _HALF]


def _decoded(file: BinaryIO) -> Iterator[bytes]:
    """The parts, one after the other. Raises ValueError for a file that is none of these, or cut."""
    if file.read(len(_MAGIC)) != _MAGIC:
        raise ValueError("not a file of changes")
    lengths, size = file.read(_PARTS * _LENGTH), os.fstat(file.fileno()).st_size
    for start in range(0, len(lengths), _LENGTH):
        length = int.from_bytes(lengths[start : start + _LENGTH])
        part = file.read(min(length, size))
        if len(part) != length:
            raise ValueError("a file of changes was cut")
        yield part
    if file.read(1):
        raise ValueError("a file of changes is longer than it says")
