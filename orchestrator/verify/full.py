"""Read a snapshot back, every byte of it, and say what is wrong."""

import hashlib
import os
from collections.abc import Iterator
from dataclasses import dataclass, field

from orchestrator.archive import ArchiveError, FileRecord, Problem
from orchestrator.archive.admission import refusal
from orchestrator.repository.commit import Meta
from orchestrator.repository.layout import COMMIT, HOLD, MANIFEST, MARK, META, SnapshotName
from orchestrator.repository.snapshot import CHUNK_BYTES, Snapshot, open_archive, read_meta
from orchestrator.stores import ObjectMissingError, Store


@dataclass(frozen=True)
class Finding:
    """One thing that is wrong: the object or the file it concerns, and what."""

    where: str
    what: str

    def __str__(self) -> str:
        return f"{self.where}: {self.what}"


@dataclass
class Verified:
    """The result of a verification; ``beside``: findings about other snapshots."""

    files: int = 0
    archive_bytes: int = 0
    content_bytes: int = 0
    findings: list[Finding] = field(default_factory=list)
    beside: list[Finding] = field(default_factory=list)


def verify_snapshot(snapshot: Snapshot, result: Verified | None = None) -> Verified:
    """Prove every volume's SHA-256, the archive's MAC and every file's SHA-256, in one pass over the bytes.

    Goes on after damage, so that every damaged file is named. Raises StoreError when the store cannot be
    read.
    """
    result = result or Verified()
    for layer in snapshot.manifest.header.layers:
        name = snapshot.name.sibling(layer)
        own = layer == snapshot.name.id
        meta = snapshot.meta if own else read_meta(snapshot.store, name, snapshot.keys)[0]
        _find_strange_objects(snapshot.store, name, meta, result)
        _verify_layer(snapshot, name, meta, result)
    return result


def _find_strange_objects(store: Store, name: SnapshotName, meta: Meta, result: Verified) -> None:
    """Objects in the snapshot's folder that do not belong to it: nothing of ours puts them there."""
    own = {name.key(each) for each in (COMMIT, META, MANIFEST, MARK, HOLD)} | {
        *name.volume_keys(len(meta.volumes))
    }
    for info in store.list(name.key("")):
        if info.key not in own:
            result.findings.append(Finding(info.key, "does not belong to this snapshot"))
        elif info.key == name.key(MANIFEST) and info.size != meta.manifest_bytes:
            result.findings.append(
                Finding(info.key, f"has {info.size} bytes instead of {meta.manifest_bytes}")
            )


def _verify_layer(snapshot: Snapshot, name: SnapshotName, meta: Meta, result: Verified) -> None:
    volumes = WatchedVolumes(snapshot.store, name.volume_keys(len(meta.volumes)), meta, result)
    volumes.check_sizes()

    def records() -> Iterator[FileRecord]:
        for row in snapshot.manifest.rows():
            if row.layer == name.id:
                result.files += 1
                result.content_bytes += row.record.size
                if why := refusal(row.record.metadata, row.record.size):
                    result.findings.append(Finding(os.fsdecode(row.record.path), why))
                yield row.record

    try:
        problems = open_archive(snapshot.store, name, meta, snapshot.keys, volumes.read).verify(records())
    except ArchiveError as error:
        problems = [Problem(b"", error.message)]  # nothing in it can be read; the volumes tell more
    volumes.finish()
    for problem in problems:
        where = os.fsdecode(problem.path) or f"{name.id}: archive"
        result.findings.append(Finding(where, problem.what))


class WatchedVolumes:
    """Volumes that are hashed while a reader reads them. What is missing is read as zeros."""

    def __init__(self, store: Store, keys: list[str], meta: Meta, result: Verified) -> None:
        self.store, self.keys, self.volumes, self.result = store, keys, meta.volumes, result
        self.digests = [hashlib.sha256() for _ in keys]
        self.positions = [0] * len(keys)
        self.bad: set[int] = set()

    def check_sizes(self) -> None:
        """One look at each object: a volume that is longer than it should be reads well otherwise."""
        for index, (key, volume) in enumerate(zip(self.keys, self.volumes, strict=True), start=1):
            info = self.store.stat(key)
            if info is None:
                self._note(index, "is missing")
            elif info.size != volume.size:
                self._note(index, f"has {info.size} bytes instead of {volume.size}")

    def read(self, index: int, start: int, length: int) -> bytes:
        """A part of a volume, always ``length`` bytes."""
        try:
            data = self.store.get(self.keys[index - 1], start, length)
        except ObjectMissingError:
            self._note(index, "is missing")
            data = b""
        if len(data) < length:
            self._note(index, "is too short")
            data += bytes(length - len(data))
        self._digest(index, start, data)
        return data

    def _digest(self, index: int, start: int, data: bytes) -> None:
        position = self.positions[index - 1]
        if start <= position < start + len(data):
            self.digests[index - 1].update(memoryview(data)[position - start :])
            self.result.archive_bytes += start + len(data) - position
            self.positions[index - 1] = start + len(data)

    def finish(self) -> None:
        """Read what the reader skipped, and compare."""
        for index, volume in enumerate(self.volumes, start=1):
            while (position := self.positions[index - 1]) < volume.size:
                self.read(index, position, min(CHUNK_BYTES, volume.size - position))
            if self.digests[index - 1].digest() != volume.sha256:
                self._note(index, "is damaged: SHA-256 mismatch")

    def _note(self, index: int, what: str) -> None:
        if index not in self.bad:
            self.bad.add(index)
            self.result.findings.append(Finding(self.keys[index - 1], what))
