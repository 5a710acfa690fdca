"""The snapshots of a job: read from the store alone, so that a restore needs nothing on this machine."""

import logging
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime

from leitstand.errors import LeitstandError
from orchestrator.archive import ArchiveError
from orchestrator.repository.commit import META_BYTES, Meta, decode_meta
from orchestrator.repository.keys import KeyRing
from orchestrator.repository.layout import COMMIT, HOLD, META, SnapshotName, job_prefix, parse_key
from orchestrator.repository.order import in_order, times
from orchestrator.repository.snapshot import NoSuchSnapshotError, NotProvenError, read_meta
from orchestrator.stores import ObjectInfo, Store, StoreError, get_small

_log = logging.getLogger(__name__)
NO_KEYS = "there are no keys to verify it with"
PASSED_OVER_SHOWN = 5


@dataclass(frozen=True)
class Listed:
    """One snapshot as a listing shows it: its objects, and what meta.json says.

    ``committed`` is the store's own time of COMMIT, None for an unfinished run. ``doubt`` says why COMMIT
    does not prove the rest, "" if it does. ``volumes`` is their number.
    """

    store: str
    name: SnapshotName
    objects: tuple[ObjectInfo, ...]
    committed: datetime | None
    time: datetime
    meta: Meta | None = None
    doubt: str = NO_KEYS
    state: str = "not proven"
    volumes: int = 0

    @property
    def id(self) -> str:
        return self.name.id

    @property
    def began(self) -> datetime:
        """The time in its name."""
        return self.name.began

    @property
    def previous(self) -> str:
        """The snapshot before it, if that is proven."""
        return self.meta.previous if self.meta is not None and not self.doubt else ""

    @property
    def stored_bytes(self) -> int:
        return sum(info.size for info in self.objects)


def scan(store: Store, host: str, job: str) -> list[Listed]:
    """Every snapshot of a job, finished or not, by the time in its name; nothing is read or proven."""
    grouped: dict[SnapshotName, list[ObjectInfo]] = {}
    for info in store.list(job_prefix(host, job)):
        found = parse_key(info.key)
        if found is not None:
            grouped.setdefault(found[0], []).append(info)
    return [_listed(store.name, name, objects) for name, objects in sorted(grouped.items())]


def _listed(store: str, name: SnapshotName, objects: Iterable[ObjectInfo]) -> Listed:
    objects = tuple(objects)
    commits = [info.modified for info in objects if info.key == name.key(COMMIT)]
    return Listed(store, name, objects, commits[0] if commits else None, name.began)


def is_held(listed: Listed) -> bool:
    """Whether an admin holds this snapshot until it is released."""
    return any(info.key == listed.name.key(HOLD) for info in listed.objects)


def proven(
    store: Store, listed: Iterable[Listed], keys: KeyRing | None, now: datetime | None = None
) -> list[Listed]:
    """The finished ones of the scanned snapshots, each checked against its COMMIT, in the order of all
    commands.

    Without keys none is proven. Raises StoreError if the store does not answer.
    """
    found = [each for each in listed if each.committed is not None]
    read = [_unproven(store, each) if keys is None else _prove(store, each, keys) for each in found]
    made = times(read, now or datetime.now(UTC))
    return in_order([replace(each, time=made[each.id]) for each in read])


def snapshots(store: Store, host: str, job: str, keys: KeyRing | None) -> list[Listed]:
    """Every finished snapshot of a job in a store, proven where possible, oldest first."""
    return proven(store, scan(store, host, job), keys)


def _prove(store: Store, listed: Listed, keys: KeyRing) -> Listed:
    try:
        meta, _ = read_meta(store, listed.name, keys)
    except NotProvenError as error:
        return _doubtful(store, listed, error.message, error.state)
    except NoSuchSnapshotError as error:  # removed since it was listed
        return _doubtful(store, listed, error.message, "unreadable")
    except StoreError as error:
        if not error.permanent:
            raise
        return _doubtful(store, listed, error.message, "unreadable")
    return replace(_with(listed, meta), doubt="", state=meta.state)


def _with(listed: Listed, meta: Meta) -> Listed:
    return replace(listed, meta=replace(meta, volumes=()), volumes=len(meta.volumes))


def _doubtful(store: Store, listed: Listed, why: str, state: str) -> Listed:
    _log.debug("%s", why)
    return replace(
        _unproven(store, listed), doubt=why.removeprefix(f"{store.name}: {listed.id}: "), state=state
    )


def _unproven(store: Store, listed: Listed) -> Listed:
    try:
        return _with(listed, decode_meta(get_small(store, listed.name.key(META), META_BYTES)))
    except (ArchiveError, StoreError) as error:
        if isinstance(error, StoreError) and not error.permanent:
            raise
        return replace(listed, doubt=error.message, state="unreadable")


def newest(store: Store, host: str, job: str, keys: KeyRing, warn: Callable[[str], None]) -> Listed:
    """The newest snapshot of a job that is proven. Raises NoSuchSnapshotError or NotProvenError without one.

    ``warn`` gets a line for each that claims to be newer.
    """
    return newest_of(store.name, job, snapshots(store, host, job, keys), warn)


def newest_of(store: str, job: str, found: Sequence[Listed], warn: Callable[[str], None]) -> Listed:
    """The newest proven one of these, which are in order; see `newest`."""
    good = [each for each in found if not each.doubt]
    if not good:
        raise _none_is_good(store, job, found)
    newer = [each for each in found if each.doubt and each.began >= good[-1].time]
    for each in newer[:PASSED_OVER_SHOWN]:
        warn(f"{store}: {each.id} is skipped because it is {each.state}: {each.doubt}")
    if len(newer) > PASSED_OVER_SHOWN:
        warn(f"{store}: and {len(newer) - PASSED_OVER_SHOWN} more: leitstand backup list {job}")
    return good[-1]


def _none_is_good(store: str, job: str, found: Sequence[Listed]) -> LeitstandError:
    if not found:
        return NoSuchSnapshotError(
            f"{store}: there is no complete snapshot of {job} yet", f"make one: leitstand backup run {job}"
        )
    last = found[-1]
    hint = f"these keys prove no snapshot of {job} there: leitstand backup list {job}"
    return NotProvenError(f"{store}: {last.id}: {last.doubt}", hint, "not proven")
