"""Verify a rotating share of all volumes, so that every stored byte is read again within so many days.

No state decides what is read: each volume has its day, by a hash of its key. Days without a verification are
made up for, as the date of the last one tells how many shares are due.
"""

import hashlib
import re
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date

from orchestrator.archive import ArchiveError
from orchestrator.catalog import scan
from orchestrator.config import Job
from orchestrator.keys import KeyRing
from orchestrator.layout import COMMIT, SnapshotName
from orchestrator.manifest import VolumeInfo
from orchestrator.snapshot import CHUNK_BYTES, read_meta
from orchestrator.stores import ObjectMissingError, Store
from orchestrator.verify import Finding, Verified

_SHARE = re.compile(r"^1/([1-9][0-9]{0,3})$")


@dataclass
class Shared(Verified):
    """What a share read: of ``all_volumes`` so many ``volumes``, and what it found."""

    volumes: int = 0
    all_volumes: int = 0


def parse_share(text: str) -> int:
    """``1/30`` as 30. Raises ValueError for anything else."""
    found = _SHARE.match(text)
    if found is None:
        raise ValueError("a share is written as 1/30")
    return int(found[1])


def due_slots(parts: int, today: date, last: date | None) -> frozenset[int]:
    """The slots whose turn it is: today's, and those of the days since the last verification."""
    missed = 1 if last is None else max(1, min(parts, (today - last).days))
    return frozenset((today.toordinal() - days) % parts for days in range(missed))


def slot(key: str, parts: int) -> int:
    """The slot of a volume: the same on every machine."""
    return int.from_bytes(hashlib.sha256(key.encode()).digest()[:8]) % parts


def verify_share(
    store: Store, job_name: str, job: Job, keys: KeyRing, parts: int, slots: frozenset[int], result: Shared
) -> Shared:
    """Prove COMMIT and meta.json of every snapshot, and the SHA-256 of the volumes whose turn it is.

    Where it is no volume's turn the one that has it next is read, so that each share proves something.
    """
    volumes = [
        each
        for name, of_snapshot in _snapshots(store, job_name, job, keys, result)
        for each in zip(name.volume_keys(len(of_snapshot)), of_snapshot, strict=True)
    ]
    result.all_volumes += len(volumes)
    due = [each for each in volumes if slot(each[0], parts) in slots]
    if volumes and not due:
        due = [min(volumes, key=lambda each: (slot(each[0], parts) - max(slots)) % parts)]
    for key, volume in due:
        result.volumes += 1
        _verify_volume(store, key, volume, result)
    return result


def _snapshots(
    store: Store, job_name: str, job: Job, keys: KeyRing, result: Shared
) -> Iterator[tuple[SnapshotName, tuple[VolumeInfo, ...]]]:
    for listed in scan(store, job.host, job_name):
        if listed.committed is not None:
            try:
                meta, _ = read_meta(store, listed.name, keys)
            except ArchiveError as error:  # one bad snapshot keeps no other from being read
                result.findings.append(Finding(listed.name.key(COMMIT), error.message))
                continue
            yield listed.name, meta.volumes


def _verify_volume(store: Store, key: str, volume: VolumeInfo, result: Shared) -> None:
    digest = hashlib.sha256()
    try:
        for start in range(0, volume.size, CHUNK_BYTES):
            data = store.get(key, start, min(CHUNK_BYTES, volume.size - start))
            digest.update(data)
            result.archive_bytes += len(data)
    except ObjectMissingError:
        result.findings.append(Finding(key, "is missing"))
        return
    if digest.digest() != volume.sha256:
        result.findings.append(Finding(key, "is damaged: its SHA-256 is another one"))
