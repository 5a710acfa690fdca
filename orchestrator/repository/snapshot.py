"""Open a snapshot in a store: verify COMMIT, meta.json and the manifest, then read files from its layers."""

import hashlib
import tempfile
import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime
from typing import IO, TYPE_CHECKING, BinaryIO, Literal, cast

from leitstand.errors import LeitstandError
from orchestrator.archive import ArchiveError, FileRecord, joined
from orchestrator.archive.mapped_memory import Buffer
from orchestrator.repository.commit import (
    COMMIT_BYTES,
    META_BYTES,
    Meta,
    OtherKeysError,
    committed_manifest,
    decode_meta,
)
from orchestrator.repository.keys import KeyRing
from orchestrator.repository.layout import COMMIT, MANIFEST, META, SnapshotName
from orchestrator.stores import ObjectMissingError, Store, get_small

if TYPE_CHECKING:  # ciphers and compressors, which a list of snapshots does not need
    from orchestrator.archive.reader import SealedReader
    from orchestrator.repository.manifest import ManifestReader

ReadVolume = Callable[[int, int, int], bytes]  # index from 1, start, length
CHUNK_BYTES = 8 << 20
FIRST_READ_AHEAD = 128 << 10
MANIFEST_IN_MEMORY = 8 << 20
_ANOTHER = "use another store or another snapshot, see: leitstand backup list"


class NoSuchSnapshotError(LeitstandError):
    """There is no finished snapshot of this name."""


@dataclass
class ReadAhead:
    """Serves small reads in ascending order from a few large ones: each request to a store costs a round
    trip.

    The read-ahead doubles while reads are consecutive: one small file costs little more than its size.
    """

    read_range: Callable[[int, int], bytes]
    size: int
    _start: int = 0
    _data: bytes = b""
    _ahead: int = FIRST_READ_AHEAD
    _lock: threading.Lock = field(default_factory=threading.Lock)  # several threads may use one reader

    def __call__(self, offset: int, length: int) -> bytes:
        """``length`` bytes from ``offset``, fewer at the end."""
        with self._lock:
            return self._serve(offset, max(0, min(length, self.size - offset)))

    def _serve(self, offset: int, length: int) -> bytes:
        if not self._start <= offset <= offset + length <= self._start + len(self._data):
            self._fill(offset, length)
        at = offset - self._start
        return self._data[at : at + length]

    def _fill(self, offset: int, length: int) -> None:
        end = self._start + len(self._data)
        follows = bool(self._data) and end - CHUNK_BYTES <= offset <= end + self._ahead
        self._ahead = min(self._ahead * 2, CHUNK_BYTES) if follows else FIRST_READ_AHEAD
        wanted = min(max(length, self._ahead), self.size - offset)
        kept = self._data[offset - self._start :] if self._start <= offset < end else b""
        try:
            more = self.read_range(offset + len(kept), max(0, wanted - len(kept)))
        except (ArchiveError, ObjectMissingError):
            if wanted == length:
                raise
            # The damage may be after the requested bytes.
            kept, more = b"", self.read_range(offset, length)
        self._start, self._data = offset, kept + more


def open_archive(
    store: Store, name: SnapshotName, meta: Meta, keys: KeyRing, read_volume: ReadVolume | None = None
) -> "SealedReader":
    from orchestrator.archive.reader import SealedReader

    volumes = name.volume_keys(len(meta.volumes))

    def from_store(index: int, start: int, length: int) -> bytes:
        data = store.get(volumes[index - 1], start, length)
        if len(data) < length:  # otherwise the bytes of the next volume would be taken for these
            raise ArchiveError(f"{store.name}: {volumes[index - 1]} is too short")
        return data

    read_range = joined(read_volume or from_store, [volume.size for volume in meta.volumes])
    password = keys.archive_password(name.id, meta.generation)
    return SealedReader(ReadAhead(read_range, meta.archive_bytes), meta.archive_bytes, password)


class NotProvenError(ArchiveError):
    """It is not proven to be one of our snapshots; ``state`` is a summary in a word or two."""

    def __init__(self, message: str, hint: str, state: Literal["unreadable", "not proven", "forged"]) -> None:
        super().__init__(message, hint)
        self.state = state


def read_meta(store: Store, name: SnapshotName, keys: KeyRing) -> tuple[Meta, bytes]:
    """A snapshot's meta.json and the SHA-256 of its manifest, both authenticated by COMMIT.

    Raises NoSuchSnapshotError without COMMIT, NotProvenError if something was changed or with other keys.
    """
    where = f"{store.name}: {name.id}"
    try:
        commit = get_small(store, name.key(COMMIT), COMMIT_BYTES)
    except ObjectMissingError:
        raise NoSuchSnapshotError(
            f"{store.name}: there is no complete snapshot {name.id} of {name.job}",
            f"see: leitstand backup list {name.job}",
        ) from None
    meta, data = _read_unproven(store, name)
    if meta.generation not in keys.generations:
        raise NotProvenError(
            f"{where}: the keys have no generation {meta.generation}, which {META} names",
            "this snapshot was made with other keys: use the key file or recovery kit from that time",
            "not proven",
        )
    try:
        manifest_sha256 = committed_manifest(commit, name.id, meta=data, key=keys.commit_key(meta.generation))
    except ArchiveError as error:
        raise NotProvenError(
            f"{where}: {COMMIT} was made with other keys, or {META} or {COMMIT} was changed",
            error.message,
            "not proven" if isinstance(error, OtherKeysError) else "forged",
        ) from error
    _refuse_misplaced(where, name, meta)
    _refuse_retired(store, name, meta, keys)
    return meta, manifest_sha256


def _read_unproven(store: Store, name: SnapshotName) -> tuple[Meta, bytes]:
    where = f"{store.name}: {name.id}"
    try:
        data = get_small(store, name.key(META), META_BYTES)
        return decode_meta(data), data
    except ObjectMissingError as error:
        raise NotProvenError(f"{where}: {META} is missing", _ANOTHER, "unreadable") from error
    except ArchiveError as error:
        raise NotProvenError(f"{where}: {error.message}", error.hint or _ANOTHER, "unreadable") from error


def _refuse_misplaced(where: str, name: SnapshotName, meta: Meta) -> None:
    if (meta.host, meta.job, meta.snapshot) != (name.host, name.job, name.id):
        raise NotProvenError(
            f"{where}: {META} belongs to {meta.host}/{meta.job}/{meta.snapshot}",
            "objects in the store were moved",
            "forged",
        )


def _refuse_retired(store: Store, name: SnapshotName, meta: Meta, keys: KeyRing) -> None:
    """A thief of old keys can sign any time, but the store has its own."""
    retired = keys.retired.get(meta.generation)
    if retired is None:
        return
    commit = store.stat(name.key(COMMIT))
    made = max(name.began, datetime.fromisoformat(meta.finished))
    if made > retired or commit is None or commit.modified > retired:
        how = "made" if made > retired else "stored"
        raise NotProvenError(
            f"{store.name}: {name.id}: signed with generation {meta.generation} of the keys, but {how} after"
            f" that was retired ({retired:%Y-%m-%d %H:%M} UTC)",
            "the keys were stolen, or the store was copied since: docs/backups.md, 'Keys that may be known'",
            "not proven",
        )


def fetch_manifest(store: Store, name: SnapshotName, meta: Meta, sha256: bytes) -> IO[bytes]:
    """The manifest as a file (still encrypted; unlinked if large), checked against the SHA-256 in COMMIT."""
    file = tempfile.SpooledTemporaryFile(MANIFEST_IN_MEMORY)  # noqa: SIM115 - the caller reads from it
    digest = hashlib.sha256()
    try:
        for start in range(0, meta.manifest_bytes, CHUNK_BYTES):
            block = store.get(name.key(MANIFEST), start, min(CHUNK_BYTES, meta.manifest_bytes - start))
            digest.update(block)
            file.write(block)
        if digest.digest() != sha256:
            raise ArchiveError(f"{store.name}: {name.id}: {MANIFEST} is damaged: SHA-256 mismatch")
    except ObjectMissingError as error:
        file.close()
        raise ArchiveError(f"{store.name}: {name.id}: {MANIFEST} is missing") from error
    except BaseException:
        file.close()
        raise
    file.seek(0)
    return cast("IO[bytes]", file)


@dataclass
class Snapshot:
    """A snapshot whose COMMIT, meta.json and manifest were verified."""

    store: Store
    name: SnapshotName
    keys: KeyRing
    meta: Meta
    manifest: "ManifestReader"
    _layers: "dict[str, SealedReader]" = field(default_factory=dict)

    def layer(self, snapshot_id: str) -> "SealedReader":
        if snapshot_id not in self._layers:
            name = self.name.sibling(snapshot_id)
            meta = self.meta if snapshot_id == self.name.id else read_meta(self.store, name, self.keys)[0]
            self._layers[snapshot_id] = open_archive(self.store, name, meta, self.keys)
        return self._layers[snapshot_id]

    def literal_first(self, patterns: Iterable[str]) -> tuple[str, ...]:
        """The patterns; one that is the name of an item in this snapshot matches only that item."""
        from orchestrator.sources.patterns import literal_first

        return literal_first(patterns, lambda selection: any(self.manifest.rows(selection.__contains__)))

    def copy(self, record: FileRecord, layer: str, write: Callable[[Buffer], object]) -> None:
        """One file's content to ``write``, in blocks; verified only when this returns."""
        self.layer(layer).copy(record, write)


@contextmanager
def open_snapshot(store: Store, name: SnapshotName, keys: KeyRing) -> Iterator[Snapshot]:
    """Verify and open a snapshot. Raises NoSuchSnapshotError and LeitstandErrors of its parts."""
    from orchestrator.repository.manifest import ManifestReader

    meta, sha256 = read_meta(store, name, keys)
    with fetch_manifest(store, name, meta, sha256) as file:
        password = keys.archive_password(name.id, meta.generation)
        yield Snapshot(store, name, keys, meta, ManifestReader(cast("BinaryIO", file), password))
