"""The manifest: every path of a snapshot with what proves and restores it, as an encrypted ZIP of JSON lines.

Written and read as a stream, so that a million files need no more memory than ten. Format:
``docs/archive-format.md``.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import BinaryIO

from orchestrator.archive.entry import FileRecord, Problem


@dataclass(frozen=True, slots=True)
class ManifestHeader:
    """Whose manifest this is. ``created`` is UTC in ISO 8601; ``layers`` the snapshots whose archives it
    needs."""

    snapshot: str
    host: str
    job: str
    created: str
    layers: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Row:
    """One path: its record, the layer (snapshot id) whose archive holds it, and for a dump the rows per
    table."""

    record: FileRecord
    layer: str
    tables: Mapping[str, int] | None = None


@dataclass(frozen=True, slots=True)
class VolumeInfo:
    """One volume of this snapshot's own archive; ``index`` counts from 1."""

    index: int
    size: int
    sha256: bytes
    md5: bytes


@dataclass(frozen=True, slots=True)
class ManifestEnd:
    """The last line: what only the end of a run knows. ``rows`` and ``problems`` are the counts that must be
    there."""

    rows: int
    problems: int
    content_bytes: int
    volumes: tuple[VolumeInfo, ...]


class ManifestWriter:
    """Writes a manifest to ``file`` (needs only ``write``), encrypted as it goes."""

    def __init__(self, file: BinaryIO, password: str, header: ManifestHeader) -> None: ...

    def add(self, record: FileRecord, *, layer: str = "", tables: Mapping[str, int] | None = None) -> None:
        """One row; ``layer`` defaults to this snapshot. Rows of one layer keep the order of its stream."""
        raise NotImplementedError

    def add_problem(self, problem: Problem) -> None:
        raise NotImplementedError

    def close(self, volumes: tuple[VolumeInfo, ...]) -> ManifestEnd:
        """Write the end; the manifest is whole when this returns."""
        raise NotImplementedError


class ManifestReader:
    """Reads a manifest of ``size`` bytes from a seekable ``file``, after its MAC has proven all of it.

    Raises ArchiveError (damaged, forged, of a newer version, hostile paths) and WrongPasswordError.
    """

    header: ManifestHeader
    end: ManifestEnd

    def __init__(self, file: BinaryIO, password: str) -> None: ...

    def rows(self) -> Iterator[Row]:
        """All rows, in order; may be called again. Absolute, climbing and repeated paths are refused."""
        raise NotImplementedError

    def problems(self) -> Iterator[Problem]:
        """All problems that the run met."""
        raise NotImplementedError


@dataclass(frozen=True)
class Manifest:
    """A whole manifest in memory: for tests and small ones. Large ones go through the writer and reader
    above."""

    header: ManifestHeader
    rows: tuple[Row, ...]
    problems: tuple[Problem, ...]
    volumes: tuple[VolumeInfo, ...]


def encode(manifest: Manifest, password: str) -> bytes:
    raise NotImplementedError


def decode(data: bytes, password: str) -> Manifest:
    raise NotImplementedError
