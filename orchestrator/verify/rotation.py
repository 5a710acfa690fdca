"""Verify a rotating share of all volumes and manifests: each stored byte is read again within N days.

No state decides what is read: each of them has its day, by a hash of its key. Days without a verification are
made up for, as the date of the last one tells how many shares are due.
"""

import hashlib
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import date

from orchestrator.archive import ArchiveError
from orchestrator.repository.catalog import Listed
from orchestrator.repository.commit import Meta
from orchestrator.repository.keys import KeyRing
from orchestrator.repository.layout import COMMIT, MANIFEST, SnapshotName
from orchestrator.repository.snapshot import CHUNK_BYTES, NoSuchSnapshotError, read_meta
from orchestrator.stores import ObjectInfo, ObjectMissingError, Store, StoreError
from orchestrator.verify.full import Finding, Verified

_SHARE = re.compile(r"1/([1-9][0-9]{0,3})")


@dataclass
class Shared(Verified):
    """The result of a share: it read ``volumes`` of ``all_volumes``, manifests included."""

    volumes: int = 0
    all_volumes: int = 0


def parse_share(text: str) -> int:
    """``1/30`` as 30. Raises ValueError for anything else."""
    found = _SHARE.fullmatch(text)
    if found is None:
        raise ValueError("a share is written as 1/30")
    return int(found[1])


def due_slots(parts: int, today: date, last: date | None) -> frozenset[int]:
    """The slots whose turn it is: today's, and those of the days since the last verification."""
    missed = 1 if last is None else max(1, min(parts, (today - last).days))
    return frozenset((today.toordinal() - days) % parts for days in range(missed))


def slot(key: str, parts: int) -> int:
    """The slot of an object: the same on every machine."""
    return int.from_bytes(hashlib.sha256(key.encode()).digest()[:8]) % parts


def verify_share(
    store: Store,
    listed: Iterable[Listed],
    keys: KeyRing,
    parts: int,
    slots: frozenset[int],
    result: Shared,
) -> Shared:
    """Prove of each snapshot ``listed`` that all of it is there, and of what has its turn the SHA-256.

    Where it is no object's turn the one that has it next is read, so that each share proves something.
    """
    objects = list(_objects(store, listed, keys, result))
    result.all_volumes += len(objects)
    due = [each for each in objects if slot(each.key, parts) in slots]
    if objects and not due:
        due = [min(objects, key=lambda each: (slot(each.key, parts) - max(slots)) % parts)]
    for each in due:
        result.volumes += 1
        _verify_object(store, each, result)
    return result


@dataclass(frozen=True)
class _Object:
    """A volume or a manifest as COMMIT vouches for it. ``md5`` (hex) is empty where that is not known."""

    key: str
    size: int
    sha256: bytes
    md5: str = ""

    def difference(self, info: ObjectInfo | None) -> str:
        """In what the store's word of the object is another one; nothing if it is not."""
        if info is None:
            return "is missing"
        if info.size != self.size:
            return f"has {info.size} bytes instead of {self.size}"
        return "is damaged: its MD5 is another one" if self.md5 and info.md5 not in ("", self.md5) else ""


def _objects(store: Store, found: Iterable[Listed], keys: KeyRing, result: Shared) -> Iterator[_Object]:
    """Manifests and volumes of all snapshots, but those that are seen to be missing or others."""
    for listed in found:
        try:
            meta, manifest_sha256 = read_meta(store, listed.name, keys)
        except (ArchiveError, NoSuchSnapshotError, StoreError) as error:
            if isinstance(error, StoreError) and not error.permanent:
                raise
            # One bad snapshot keeps no other from being read.
            result.findings.append(Finding(listed.name.key(COMMIT), error.message))
            continue
        own = _objects_of(listed.name, meta, manifest_sha256)
        yield from _present(store, own, listed, result)


def _objects_of(name: SnapshotName, meta: Meta, manifest_sha256: bytes) -> Iterator[_Object]:
    yield _Object(name.key(MANIFEST), meta.manifest_bytes, manifest_sha256)
    for key, volume in zip(name.volume_keys(len(meta.volumes)), meta.volumes, strict=True):
        yield _Object(key, volume.size, volume.sha256, volume.md5.hex())


def _present(store: Store, own: Iterable[_Object], listed: Listed, result: Shared) -> Iterator[_Object]:
    seen = {info.key: info for info in listed.objects}
    for each in own:
        # Listings may lag behind: an object that one does not show as expected is requested.
        if each.difference(seen.get(each.key)) and (what := each.difference(store.stat(each.key))):
            result.findings.append(Finding(each.key, what))
        else:
            yield each


def _verify_object(store: Store, each: _Object, result: Shared) -> None:
    digest = hashlib.sha256()
    try:
        for start in range(0, each.size, CHUNK_BYTES):
            data = store.get(each.key, start, min(CHUNK_BYTES, each.size - start))
            digest.update(data)
            result.archive_bytes += len(data)
    except ObjectMissingError:
        result.findings.append(Finding(each.key, "is missing"))
        return
    if digest.digest() != each.sha256:
        result.findings.append(Finding(each.key, "is damaged: SHA-256 mismatch"))
