"""A spot check: some files of a snapshot against the live source they came from.

All other proofs hold the store's bytes against the manifest. This one asks whether the manifest itself is of
what the source holds.
"""

import hashlib
import os
import random
import stat
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from orchestrator.archive import ArchiveError, Entry, EntryChanged, FileRecord, Kind, Problem
from orchestrator.repository.manifest import Row
from orchestrator.repository.snapshot import Snapshot
from orchestrator.sources.files import FilesSource
from orchestrator.sources.reading import read_file
from orchestrator.sources.remote_files import RemoteFilesSource
from orchestrator.verify.full import Finding, Verified

# For files that change often, this many candidates are tried per unchanged one.
_CANDIDATES_PER_FILE = 20
_FEWEST_CANDIDATES = 200
LiveFiles = FilesSource | RemoteFilesSource


@dataclass
class Spotted(Verified):
    """``files`` were compared; ``changed`` candidates are newer at the source, or gone from there."""

    changed: int = 0
    paths_stored: int = 0
    paths_live: int = 0


def spot_check(
    snapshot: Snapshot, sources: Sequence[LiveFiles], count: int, tolerance: float, result: Spotted
) -> Spotted:
    """Compare ``count`` files whose size and time are those of the snapshot; the numbers of paths, too.

    ``tolerance`` is the share (0..1) by which the numbers may differ. Raises SourceError.
    """
    labels = [os.fsencode(source.label) for source in sources]
    candidates = _draw(
        _rows_of(snapshot, labels, result), max(count * _CANDIDATES_PER_FILE, _FEWEST_CANDIDATES)
    )
    live = _Live({row.record.path: row.record for row in candidates})
    result.paths_live = sum(live.count(source) for source in sources)
    for row in candidates:
        if result.files == count:
            break
        _compare(snapshot, row, live.sha256(row.record), result)
    if candidates and not result.files:
        what = f"none of {len(candidates)} files is at the source as it was: nothing could be compared"
        result.findings.append(Finding(snapshot.name.id, what))
    if abs(result.paths_live - result.paths_stored) > tolerance * result.paths_stored:
        what = f"has {result.paths_stored} paths, the source {result.paths_live}"
        result.findings.append(Finding(snapshot.name.id, what))
    return result


def _rows_of(snapshot: Snapshot, labels: Sequence[bytes], result: Spotted) -> Iterator[Row]:
    """The regular files of these sources that were read well; counts all their paths."""
    for row in snapshot.manifest.rows():
        path = row.record.path
        if any(path == label or path.startswith(label + b"/") for label in labels):
            result.paths_stored += 1
            metadata = row.record.metadata
            if metadata.kind is Kind.FILE and not metadata.sparse and not row.record.problem:
                yield row


def _draw(rows: Iterator[Row], most: int) -> list[Row]:
    """``most`` rows, each with the same chance, in one pass and in random order (reservoir sampling)."""
    chance = random.SystemRandom()
    drawn: list[Row] = []
    for seen, row in enumerate(rows, start=1):
        if len(drawn) < most:
            drawn.append(row)
        elif (place := chance.randrange(seen)) < most:
            drawn[place] = row
    chance.shuffle(drawn)
    return drawn


def _compare(snapshot: Snapshot, row: Row, live: bytes | None, result: Spotted) -> None:
    record = row.record
    if live is None:
        result.changed += 1
        return
    result.files += 1
    result.content_bytes += record.size
    where = os.fsdecode(record.path)
    if live != record.sha256:
        what = "has another content at the source, where size and time are the same"
        result.findings.append(Finding(where, what))
    try:
        snapshot.copy(record, row.layer, lambda _: None)
    except ArchiveError as error:
        result.findings.append(Finding(where, error.message))


@dataclass
class _Live:
    """The source as it is now. A far host sends all of it, as it does for a run: its key can ask no more."""

    candidates: Mapping[bytes, FileRecord]
    _far: dict[bytes, bytes] | None = None

    def count(self, source: LiveFiles) -> int:
        """The number of paths; of a far host's files that are candidates the SHA-256 is kept."""
        if isinstance(source, FilesSource):
            return sum(1 for _ in source.entries(_unheeded))
        paths, found, lost = 0, {}, set[bytes]()

        def note(problem: Problem) -> None:
            if problem.path in self.candidates:  # a host may have any number of others
                lost.add(problem.path)

        for entry in source.entries(note):
            paths += 1
            record = self.candidates.get(entry.path)
            if record is not None and _is_as_it_was(entry, record):
                found[entry.path] = _sha256(entry.blocks())
        for path in lost:
            found.pop(path, None)
        self._far = {**(self._far or {}), **found}
        return paths

    def sha256(self, record: FileRecord) -> bytes | None:
        """The SHA-256 of a file; None when it is no longer the one that was saved."""
        return _sha256_here(record) if self._far is None else self._far.get(record.path)


def _unheeded(problem: Problem) -> None:
    """What cannot be read is a run's concern."""


def _is_as_it_was(entry: Entry, record: FileRecord) -> bool:
    now, then = entry.metadata, record.metadata
    return (now.kind, entry.size, now.mtime_ns) == (then.kind, record.size, then.mtime_ns)


def _sha256_here(record: FileRecord) -> bytes | None:
    place = os.fsdecode(b"/" + record.path.partition(b"/")[2])
    try:
        status = Path(place).lstat()
        as_it_was = (status.st_size, status.st_mtime_ns) == (record.size, record.metadata.mtime_ns)
        if not stat.S_ISREG(status.st_mode) or not as_it_was:
            return None
        return _sha256(read_file(place, status))
    except (OSError, EntryChanged):
        return None


def _sha256(blocks: Iterable[bytes]) -> bytes:
    digest = hashlib.sha256()
    for block in blocks:
        digest.update(block)
    return digest.digest()
