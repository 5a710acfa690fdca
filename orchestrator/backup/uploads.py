"""Send volumes to all stores of a job while the archive is still being written."""

import logging
from collections import deque
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field

from leitstand.errors import LeitstandError
from orchestrator.archive import Volume
from orchestrator.repository.commit import MOST_VOLUMES
from orchestrator.repository.layout import SINGLE_VOLUME, SnapshotName, volume_name
from orchestrator.repository.volume_info import VolumeInfo
from orchestrator.stores import Store, StoreError

_log = logging.getLogger(__name__)


@dataclass
class Lane:
    """One store during one run: what was put there, and why it dropped out, if it did."""

    store: Store
    keys: list[str] = field(default_factory=list)
    error: StoreError | None = None

    def put(self, key: str, data: bytes | bytearray | memoryview, sha256: str, md5: str = "") -> None:
        """Put one object, unless this store has dropped out already."""
        if self.error is not None:
            return
        self.keys.append(key)
        try:
            self.store.put(key, data, sha256=sha256, md5=md5)
        except StoreError as error:
            self.drop_out(error)

    def drop_out(self, error: StoreError) -> None:
        """Go on without this store: the other stores of the job still get their snapshot."""
        _log.debug("%s drops out of this run: %s", self.store.name, error)
        self.error = error

    def take_back(self, key: str) -> None:
        """Remove one object again, unless this store has dropped out."""
        if self.error is None:
            try:
                self.store.delete(key)
            except StoreError as error:
                _log.debug("%s: %s remains but is never read: %s", self.store.name, key, error)

    def clean_up(self) -> None:
        """Remove what an unfinished run put there, COMMIT first; prune removes what remains."""
        for key in reversed(self.keys):
            try:
                self.store.delete(key)
            except StoreError as error:
                _log.debug("%s: %s stays until prune sweeps it: %s", self.store.name, key, error)
                return


class Uploads:
    """Takes volumes in order (`deliver`) and sends each to every lane, ``in_flight`` volumes at a time.

    A volume waits in its file until every store has it; the next one is hashed meanwhile.
    """

    def __init__(self, lanes: list[Lane], name: SnapshotName, volume_bytes: int, in_flight: int) -> None:
        self.lanes, self.name, self.volume_bytes, self.in_flight = lanes, name, volume_bytes, in_flight
        self.volumes: list[VolumeInfo] = []
        self._first: Volume | None = None
        self._waiting: deque[list[Future[None]]] = deque()
        self._pool = ThreadPoolExecutor(max(1, len(lanes)) * in_flight, "upload")

    def deliver(self, volume: Volume) -> None:
        """Take the next volume. Raises StoreError when no store is left, LeitstandError for one too many."""
        if volume.index > MOST_VOLUMES:
            raise LeitstandError(
                f"{self.name.job}: more than {MOST_VOLUMES} volumes, which no reader need take",
                "set a larger volume_size",
            )
        self.volumes.append(VolumeInfo(volume.index, volume.size, volume.sha256, volume.md5))
        only = volume.index == 1 and volume.size < self.volume_bytes
        # A first volume that is full is hardly ever the only one: it is kept until another follows.
        self._first = volume if volume.index == 1 and not only else None
        self._send(volume, SINGLE_VOLUME if only else volume_name(volume.index))

    def finish(self) -> None:
        """Wait until every volume is stored. Raises StoreError when no store is left."""
        while self._waiting:
            self._wait()
        if self._first is not None:
            self._send(self._first, SINGLE_VOLUME)
            while self._waiting:
                self._wait()
            for lane in self.lanes:  # only now: the snapshot's folder would be empty, and removed meanwhile
                lane.take_back(self.name.key(volume_name(1)))
        self._pool.shutdown()

    def abort(self) -> None:
        self._pool.shutdown(cancel_futures=True)

    def _send(self, volume: Volume, name: str) -> None:
        while len(self._waiting) >= self.in_flight:
            self._wait()
        order = (self.name.key(name), volume.data, volume.sha256.hex(), volume.md5.hex())
        going = [lane for lane in self.lanes if lane.error is None]
        self._waiting.append([self._pool.submit(lane.put, *order) for lane in going])

    def _wait(self) -> None:
        for future in self._waiting.popleft():
            future.result()
        raise_if_none_is_left(self.lanes)


def raise_if_none_is_left(lanes: list[Lane]) -> None:
    """Raises the StoreError of the first lane when every lane has dropped out."""
    errors = [lane.error for lane in lanes if lane.error is not None]
    if len(errors) == len(lanes):
        raise errors[0]
