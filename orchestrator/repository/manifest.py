"""The manifest: every path of a snapshot with all that verifies and restores it, an encrypted ZIP of JSON
lines.

Written and read as a stream: a million files need no more memory than ten. The format:
``docs/archive-format.md``.
"""

import io
import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass
from threading import Lock
from typing import Any, BinaryIO, TypeVar

from orchestrator.archive.deflate import DAMAGED, Inflater
from orchestrator.archive.distinct import Distinct
from orchestrator.archive.entry import ArchiveError, FileRecord, Kind, Problem
from orchestrator.archive.names import path_of, refuse_hostile, stored_name
from orchestrator.archive.sealed_zip import SealedZipFile
from orchestrator.archive.unseal import SealedEntry
from orchestrator.repository.manifest_rows import path_in, record_from, row_of
from orchestrator.repository.volume_info import VolumeInfo, volume_from_json, volume_to_json

T = TypeVar("T")

_to_json = json.JSONEncoder(separators=(",", ":"), check_circular=False).encode

ENTRY_NAME = "manifest.jsonl"
VERSION = 1
_FORMAT = "leitstand-manifest"
# As the writer formats it; within a path the quotes would be escaped.
_HARDLINK = f'"kind":"{Kind.HARDLINK}"'.encode()
_NOT_UNDERSTOOD = (ValueError, KeyError, TypeError, AttributeError)
# Lines are collected before they are deflated.
_BUFFER_BYTES = 256 << 10


@dataclass(frozen=True, slots=True)
class ManifestHeader:
    """The snapshot. ``created``: UTC, ISO 8601; ``layers``: snapshots whose archives it needs."""

    snapshot: str
    host: str
    job: str
    created: str
    layers: tuple[str, ...]


@dataclass(slots=True)
class Row:
    """One path: its record, the layer (snapshot id) whose archive holds it; for a dump the rows per table."""

    record: FileRecord
    layer: str
    tables: Mapping[str, int] | None = None


@dataclass(frozen=True, slots=True)
class ManifestEnd:
    """The last line: known only at the end of a run. ``rows`` and ``problems`` are the expected numbers."""

    rows: int
    problems: int
    content_bytes: int
    volumes: tuple[VolumeInfo, ...]


class ManifestWriter:
    """Writes a manifest to ``file`` (needs only ``write``), encrypted as it goes.

    Without ``close`` no readable manifest is left behind.
    """

    def __init__(self, file: BinaryIO, password: str, header: ManifestHeader) -> None:
        self._zip = SealedZipFile(file.write, password)
        self._entry = self._zip.start(ENTRY_NAME, deflated=True)
        self._snapshot = header.snapshot
        self._buffer = bytearray()
        self._rows = self._problems = self._content_bytes = 0
        self._line(_to_json({"format": _FORMAT, "version": VERSION, **asdict(header)}))

    def add(self, record: FileRecord, *, layer: str = "", tables: Mapping[str, int] | None = None) -> None:
        """One row; ``layer`` defaults to this snapshot. Rows of one layer keep the order of its stream."""
        more: dict[str, object] = {}
        if layer not in ("", self._snapshot):
            more["layer"] = layer
        if tables is not None:
            more["tables"] = dict(tables)
        self._line(row_of(record, more))
        self._rows += 1
        self._content_bytes += record.size

    def add_problem(self, problem: Problem) -> None:
        self._line(_to_json({"problem_with": stored_name(problem.path), "what": problem.what}))
        self._problems += 1

    def close(self, volumes: tuple[VolumeInfo, ...]) -> ManifestEnd:
        """Write the end; when this returns, the manifest is complete."""
        end = ManifestEnd(self._rows, self._problems, self._content_bytes, volumes)
        content = {**asdict(end), "volumes": [volume_to_json(volume) for volume in volumes]}
        self._line(_to_json({"end": content}))
        self._flush()
        self._entry.close()
        self._zip.close()
        return end

    def _line(self, text: str) -> None:
        self._buffer += text.encode() + b"\n"
        if len(self._buffer) >= _BUFFER_BYTES:
            self._flush()

    def _flush(self) -> None:
        self._entry.write(bytes(self._buffer))
        self._buffer.clear()


class ManifestReader:
    """Reads a manifest from a seekable ``file``, after checking the MAC over all of it.

    Raises ArchiveError (damaged, forged, of a newer version, hostile paths) and WrongPasswordError.
    """

    header: ManifestHeader
    end: ManifestEnd

    def __init__(self, file: BinaryIO, password: str) -> None:
        size = file.seek(0, io.SEEK_END)
        self._entry = SealedEntry(_ranges(file), size, password, ENTRY_NAME, deflated=True)
        first, last = self._prove()
        self.header = _understood(_header, first)
        self.end = _understood(_end, last)

    def rows(self, wanted: Callable[[bytes], bool] | None = None) -> Iterator[Row]:
        """All rows, or those whose path is ``wanted``, in order; may be called again.

        Absolute and repeated paths and those with ``..`` are refused. Repetition is noticed only at the end:
        until then no restored file may get its final name. Of unwanted rows only the path is read.
        """
        seen, count = Distinct(), 0
        for line in self._lines(b'{"path"'):
            count += 1
            if wanted is None or wanted(_path_in(line)):
                row = _understood(self._row, line)
                seen.add(row.record.path)
                yield row
        if seen.repeated or count != self.end.rows:
            raise ArchiveError("the manifest names a path twice, or its number of rows is wrong")

    def hardlinks(self) -> Iterator[Row]:
        """The rows of hard links: searching a line costs a fortieth of parsing it."""
        return (_understood(self._row, line) for line in self._lines(b'{"path"') if _HARDLINK in line)

    def problems(self) -> Iterator[Problem]:
        return (_understood(_problem, line) for line in self._lines(b'{"problem_with"'))

    def _prove(self) -> tuple[bytes, bytes]:
        """One pass over all bytes: the first and the last line, once the MAC matches."""
        first = last = b""
        try:
            for line in self._all_lines():
                first, last = first or line, line
        except DAMAGED as error:
            raise ArchiveError(f"the manifest is damaged: {error}") from error
        return first, last

    def _lines(self, start: bytes) -> Iterator[bytes]:
        return (line for line in self._all_lines() if line.startswith(start))

    def _all_lines(self) -> Iterator[bytes]:
        inflater, rest = Inflater(self._entry.size), b""
        for block in self._entry.blocks():
            for text in inflater.feed(block):
                *lines, rest = (rest + text).split(b"\n")
                yield from lines
        if problems := self._entry.problems():
            raise ArchiveError(f"the manifest is damaged: {problems[0]}")
        inflater.finish()

    def _row(self, content: dict[str, Any]) -> Row:
        layer = content.pop("layer", self.header.snapshot)
        tables = content.pop("tables", None)
        record = record_from(content)
        refuse_hostile(record.path)
        if record.metadata.kind is Kind.HARDLINK:
            refuse_hostile(record.metadata.link)
        if layer not in self.header.layers:
            raise ValueError(f"unknown layer {layer}")
        return Row(record, layer, tables)


@dataclass(frozen=True)
class Manifest:
    """A whole manifest in memory: for small ones. Large ones go through the writer and reader above."""

    header: ManifestHeader
    rows: tuple[Row, ...]
    problems: tuple[Problem, ...]
    volumes: tuple[VolumeInfo, ...]


def encode(manifest: Manifest, password: str) -> bytes:
    """The manifest as an encrypted ZIP."""
    file = io.BytesIO()
    writer = ManifestWriter(file, password, manifest.header)
    for row in manifest.rows:
        writer.add(row.record, layer=row.layer, tables=row.tables)
    for problem in manifest.problems:
        writer.add_problem(problem)
    writer.close(manifest.volumes)
    return file.getvalue()


def decode(data: bytes, password: str) -> Manifest:
    """The inverse of ``encode``. Raises ArchiveError and WrongPasswordError."""
    reader = ManifestReader(io.BytesIO(data), password)
    return Manifest(reader.header, tuple(reader.rows()), tuple(reader.problems()), reader.end.volumes)


def _ranges(file: BinaryIO) -> Callable[[int, int], bytes]:
    # Rows and problems may be read in parallel, each from its own position.
    lock = Lock()

    def read_range(offset: int, length: int) -> bytes:
        with lock:
            file.seek(offset)
            return file.read(length)

    return read_range


def _understood(parse: Callable[[dict[str, Any]], T], line: bytes) -> T:
    try:
        return parse(json.loads(line.decode()))
    except _NOT_UNDERSTOOD as error:
        raise _strange(error) from error


def _path_in(line: bytes) -> bytes:
    try:
        return path_in(line)
    except _NOT_UNDERSTOOD as error:
        raise _strange(error) from error


def _strange(error: Exception) -> ArchiveError:
    return ArchiveError(f"the manifest has an invalid line: {error}")


def _header(content: dict[str, Any]) -> ManifestHeader:
    if content.pop("format") != _FORMAT or (version := content.pop("version")) != VERSION:
        raise ArchiveError(
            "the manifest has a format or version that this Leitstand does not know", "update Leitstand"
        )
    del version
    return ManifestHeader(**{**content, "layers": tuple(content["layers"])})


def _problem(content: dict[str, Any]) -> Problem:
    return Problem(path_of(content["problem_with"]), content["what"])


def _end(content: dict[str, Any]) -> ManifestEnd:
    end = content["end"]
    return ManifestEnd(**{**end, "volumes": tuple(volume_from_json(volume) for volume in end["volumes"])})
