"""Runs of one job kept apart across machines: an object in each store says that a run is under way.

Advice, never a lock: Swift's If-None-Match is not atomic and its listings lag. Two runs at once do no harm,
as their names differ; they cost time and space. A lease is an object ``<host>/<job>/lease/<owner>.<beat>``,
written anew with every heartbeat (objects are written once) and judged by the store's own times, so that a
wrong clock on either machine does not matter.
"""

import base64
import hashlib
import json
import logging
import os
import re
import secrets
import socket
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from datetime import UTC, datetime, timedelta

from pydantic import ConfigDict, TypeAdapter

from orchestrator.backup.lock import JobBusyError
from orchestrator.repository.layout import LEASE, job_prefix
from orchestrator.stores import ObjectInfo, Store, StoreError, get_small

_log = logging.getLogger(__name__)
BEAT_SECONDS = 60.0
DEAD_AFTER = timedelta(minutes=5)
SETTLE_SECONDS = 2.0
END_SECONDS = 10.0  # for a heartbeat that is under way when the run ends
LARGEST = 4096  # bytes of a lease that are read: it was written by anybody who may write there
_NAME = re.compile(r"[a-z2-7]{16}\.([0-9]{6,12})")


@dataclass(frozen=True)
class Owner:
    """A process of a machine, and the mark of the state folder whose lock of the job it holds."""

    __pydantic_config__ = ConfigDict(strict=True, extra="ignore")

    host: str
    pid: int
    place: str

    @classmethod
    def current(cls, place: str) -> "Owner":
        """This process."""
        return cls(socket.gethostname(), os.getpid(), place)

    def is_gone(self, known: "Owner") -> bool:
        """Whether it surely ended: it held the lock that ``known``, which lives, holds now."""
        return (self.host, self.place) == (known.host, known.place)


_OWNER = TypeAdapter(Owner)  # the beat next to it is for people


@dataclass
class _Lease:
    """This run's lease in one store."""

    store: Store
    prefix: str
    owner: Owner
    name: str
    beat: int = 0
    written: bool = False

    @property
    def key(self) -> str:
        return f"{self.prefix}{self.name}.{self.beat:06}"

    def write(self) -> None:
        """Put the next object; raises StoreError."""
        content = {**asdict(self.owner), "beat": datetime.now(UTC).isoformat(timespec="seconds")}
        data = json.dumps(content).encode()
        self.written = True
        self.store.put(self.key, data, sha256=hashlib.sha256(data).hexdigest())

    def renew(self) -> None:
        """Show that the run is alive. Who may not remove the last sign of it shows no more."""
        if not self.written:
            return
        old = self.key
        self.beat += 1
        try:
            self.write()
            self.store.delete(old)
        except StoreError as error:
            self.written = not error.denied
            _log.debug("%s: lease: %s", self.store.name, error)

    def give_back(self) -> None:
        if self.written:
            _quietly(self.store, lambda: self.store.delete(self.key))

    def rivals(self, dead_after: timedelta) -> tuple[list[ObjectInfo], bool]:
        """Leases that came before this one, and whether any other may be alive, by the store's times.

        Dead ones are removed.
        """
        listed = [
            info
            for info in self.store.list(self.prefix)
            if _NAME.fullmatch(info.key.removeprefix(self.prefix))
        ]
        mine = next((info for info in listed if info.key == self.key), None) or self.store.stat(self.key)
        if mine is None:
            return [], False
        theirs = [info for info in listed if not _last(info.key).startswith(self.name)]
        alive = [info for info in theirs if not self._is_dead(info, mine, dead_after)]
        return [info for info in alive if _came_first(info, mine)], bool(alive)

    def _is_dead(self, info: ObjectInfo, mine: ObjectInfo, dead_after: timedelta) -> bool:
        owner = self.owner_of(info)
        dead = mine.modified - info.modified > dead_after or (owner is not None and owner.is_gone(self.owner))
        if dead:
            _log.info("%s: %s is the lease of a run that died; it is removed", self.store.name, info.key)
            _quietly(self.store, lambda: self.store.delete(info.key))
        return dead

    def owner_of(self, info: ObjectInfo) -> Owner | None:
        """The writer of a lease; None when that cannot be read, or is not ours."""
        try:
            return _OWNER.validate_json(get_small(self.store, info.key, LARGEST))
        except (StoreError, ValueError):
            return None


def _last(key: str) -> str:
    return key.rpartition("/")[2]


def _came_first(theirs: ObjectInfo, mine: ObjectInfo) -> bool:
    # Who has renewed its lease goes on already; of two that begin together always the same one gives way.
    has_renewed = int(theirs.key.rpartition(".")[2]) > 0
    return has_renewed or (theirs.modified, theirs.key) < (mine.modified, mine.key)


@contextmanager
def leased(
    stores: Sequence[Store],
    host: str,
    job: str,
    *,
    place: str,
    beat_seconds: float = BEAT_SECONDS,
    dead_after: timedelta = DEAD_AFTER,
) -> Iterator[None]:
    """Hold the job's lease in every store that lets us. Raises JobBusyError when another run is under way.

    The job's lock must be held in the state folder with the mark ``place``. A store that refuses (a writer
    that may not list), or cannot be reached, prevents no run.
    """
    owner, name = Owner.current(place), base64.b32encode(secrets.token_bytes(10)).decode().lower()
    leases = [_Lease(store, f"{job_prefix(host, job)}{LEASE}/", owner, name) for store in stores]
    ended = threading.Event()
    beats = threading.Thread(target=_beat, args=(leases, ended, beat_seconds), name="lease", daemon=True)
    try:
        for lease in leases:
            _take(lease, job, dead_after)
        beats.start()
        yield
    finally:
        ended.set()
        if beats.ident is not None:
            beats.join(END_SECONDS)
        for lease in leases:
            lease.give_back()


def _take(lease: _Lease, job: str, dead_after: timedelta) -> None:
    """Get a lease where the store gives one. Raises JobBusyError."""
    try:
        lease.store.prepare()
        next(iter(lease.store.list(lease.prefix)), None)  # who may not list would only leave litter
        lease.write()
        before, contested = lease.rivals(dead_after)
        if contested and not before:
            # The store's times are whole seconds: who began in the same one may have shown itself by now.
            time.sleep(SETTLE_SECONDS)
            before, _ = lease.rivals(dead_after)
        if not before:
            lease.renew()
    except StoreError as error:
        _log.debug("%s: no lease: %s", lease.store.name, error)
        return
    if before:
        owner = lease.owner_of(before[0])
        who = f"process {owner.pid} on {owner.host}" if owner else "unknown owner"
        raise JobBusyError(
            f"{job}: another run is under way ({who}, seen in {lease.store.name})",
            f"wait for it to end; one that died is forgotten after {dead_after.total_seconds():.0f} s",
        )


def _beat(leases: Sequence[_Lease], ended: threading.Event, seconds: float) -> None:
    while not ended.wait(seconds):
        for lease in leases:
            lease.renew()


def _quietly(store: Store, action: Callable[[], object]) -> None:
    try:
        action()
    except StoreError as error:
        _log.debug("%s: lease: %s", store.name, error)
