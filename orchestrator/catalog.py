"""Which snapshots there are: read from the store alone, so that a restore needs nothing of this machine."""

import logging
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime

from orchestrator.archive import ArchiveError
from orchestrator.commit import Meta, decode_meta
from orchestrator.layout import COMMIT, META, SnapshotName, job_prefix, parse_key
from orchestrator.snapshot import NoSuchSnapshotError
from orchestrator.stores import ObjectInfo, Store, StoreError

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Listed:
    """One snapshot as a listing shows it: its objects, and what meta.json says (not proven by a key here).

    ``committed`` is the store's own time of COMMIT, None for a run that did not end.
    """

    store: str
    name: SnapshotName
    objects: tuple[ObjectInfo, ...]
    committed: datetime | None
    meta: Meta | None = None

    @property
    def stored_bytes(self) -> int:
        """What the snapshot takes in the store."""
        return sum(info.size for info in self.objects)


def scan(store: Store, host: str, job: str) -> list[Listed]:
    """Every snapshot of a job, complete or not, oldest first; meta.json is not read."""
    grouped: dict[SnapshotName, list[ObjectInfo]] = {}
    for info in store.list(job_prefix(host, job)):
        found = parse_key(info.key)
        if found is not None:
            grouped.setdefault(found[0], []).append(info)
    return sorted((_listed(store.name, name, objects) for name, objects in grouped.items()), key=age)


def age(listed: Listed) -> tuple[datetime, datetime, str]:
    """What snapshots are sorted by, the oldest first."""
    # The name has the time of the machine that ran: if its clock was ahead, the store knows better.
    # Of two runs in one second, the store's finer times tell which was first.
    seen = min(info.modified for info in listed.objects)
    ended = (listed.committed or seen).replace(microsecond=0)
    return min(listed.name.began, ended), seen, listed.name.id


def _listed(store: str, name: SnapshotName, objects: Iterable[ObjectInfo]) -> Listed:
    objects = tuple(objects)
    commits = [info.modified for info in objects if info.key == name.key(COMMIT)]
    return Listed(store, name, objects, commits[0] if commits else None)


def complete(store: Store, host: str, job: str) -> Iterator[Listed]:
    """Every complete snapshot of a job with its meta.json, oldest first. One that cannot be read has none."""
    for listed in scan(store, host, job):
        if listed.committed is not None:
            meta = _meta(store, listed.name)
            yield Listed(listed.store, listed.name, listed.objects, listed.committed, meta)


def _meta(store: Store, name: SnapshotName) -> Meta | None:
    try:
        return decode_meta(store.get(name.key(META)))
    except (ArchiveError, StoreError) as error:
        _log.warning("%s: %s: %s", store.name, name.id, error)
        return None


def newest(store: Store, host: str, job: str) -> SnapshotName:
    """The newest complete snapshot of a job. Raises NoSuchSnapshotError when there is none."""
    names = [listed.name for listed in scan(store, host, job) if listed.committed is not None]
    if not names:
        raise NoSuchSnapshotError(
            f"{store.name}: there is no complete snapshot of {job} yet",
            f"make one: leitstand backup run {job}",
        )
    return names[-1]


def find(store: Store, host: str, job: str, snapshot_id: str | None) -> SnapshotName:
    """The snapshot named, or the newest one."""
    return newest(store, host, job) if snapshot_id is None else SnapshotName(host, job, snapshot_id)
