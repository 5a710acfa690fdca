"""A spot check: some files of a snapshot against the live source they came from.

All other proofs hold the store's bytes against the manifest. This one asks whether the manifest itself is of
what the source holds.
"""

import hashlib
import os
import random
import stat
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from orchestrator.archive import ArchiveError, EntryChanged, Kind
from orchestrator.manifest import Row
from orchestrator.snapshot import Snapshot
from orchestrator.sources.files import FilesSource, read_file
from orchestrator.verify import Finding, Verified

# Of files that change much, so many candidates are looked at for one that did not.
_CANDIDATES_PER_FILE = 20
_FEWEST_CANDIDATES = 200


@dataclass
class Spotted(Verified):
    """``files`` were compared; ``changed`` candidates are newer at the source, or gone from there."""

    changed: int = 0
    paths_stored: int = 0
    paths_live: int = 0


def spot_check(
    snapshot: Snapshot, sources: Sequence[FilesSource], count: int, tolerance: float, result: Spotted
) -> Spotted:
    """Compare ``count`` files whose size and time are those of the snapshot; the numbers of paths, too.

    ``tolerance`` is the share (0..1) by which the numbers may differ.
    """
    labels = [os.fsencode(source.label) for source in sources]
    candidates = _draw(
        _rows_of(snapshot, labels, result), max(count * _CANDIDATES_PER_FILE, _FEWEST_CANDIDATES)
    )
    for row in candidates:
        if result.files == count:
            break
        _compare(snapshot, row, result)
    if candidates and not result.files:
        what = f"none of {len(candidates)} files is at the source as it was: nothing could be compared"
        result.findings.append(Finding(snapshot.name.id, what))
    result.paths_live = sum(1 for source in sources for _ in source.entries(lambda _: None))
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
            if row.record.metadata.kind is Kind.FILE and not row.record.problem:
                yield row


def _draw(rows: Iterator[Row], most: int) -> list[Row]:
    """So many rows, each with the same chance, in one pass and in random order (reservoir sampling)."""
    chance = random.SystemRandom()
    drawn: list[Row] = []
    for seen, row in enumerate(rows, start=1):
        if len(drawn) < most:
            drawn.append(row)
        elif (place := chance.randrange(seen)) < most:
            drawn[place] = row
    chance.shuffle(drawn)
    return drawn


def _compare(snapshot: Snapshot, row: Row, result: Spotted) -> None:
    record = row.record
    live = _live_sha256(b"/" + record.path.partition(b"/")[2], record.size, record.metadata.mtime_ns)
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


def _live_sha256(path: bytes, size: int, mtime_ns: int) -> bytes | None:
    """The SHA-256 of a file of this host; None when it is no longer the one that was saved."""
    place, digest = os.fsdecode(path), hashlib.sha256()
    try:
        status = Path(place).lstat()
        if not stat.S_ISREG(status.st_mode) or (status.st_size, status.st_mtime_ns) != (size, mtime_ns):
            return None
        for block in read_file(place, status):
            digest.update(block)
    except (OSError, EntryChanged):
        return None
    return digest.digest()
