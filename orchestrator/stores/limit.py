"""Limit bytes per second, so that a backup leaves bandwidth of the line or disk to others."""

import fcntl
import logging
import os
import struct
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from leitstand.files import make_private_folder
from orchestrator.archive.mapped_memory import Buffer, pieces

BURST_SECONDS = 1.0
# Small, so that a slow line sends something every few seconds and the other end does not time out.
_LIMITED_PIECE_BYTES = 64 << 10
_log = logging.getLogger(__name__)
_CREDIT = struct.Struct("dd")  # bytes, and the time, by the clock that all processes share


@dataclass
class TokenBucket:
    """A token bucket: ``rate`` bytes per second on average, in bursts of at most the bucket, which fills
    while idle.

    A piece larger than the bucket is let through on credit: the next one waits until that is repaid.
    Processes with the same file ``shared`` have one bucket; the default clock is the same in all of them.
    """

    rate: float
    clock: Callable[[], float] = time.monotonic
    sleep: Callable[[float], object] = time.sleep
    shared: Path | None = None
    _lock: threading.Lock = field(default_factory=threading.Lock)
    _level: float = 0.0
    _seen: float | None = None

    def take(self, count: int) -> None:
        """Wait until there is credit, then take ``count`` bytes of it. Thread-safe.

        Raises OSError when the shared file cannot be used.
        """
        with self._lock, self._common_credit():
            now = self.clock()
            passed = 0.0 if self._seen is None else max(0.0, now - self._seen)
            self._seen = now
            self._level = min(self.rate * BURST_SECONDS, self._level + passed * self.rate) - count
            wait = -self._level / self.rate
        if wait > 0:
            self.sleep(wait)

    @contextmanager
    def _common_credit(self) -> Iterator[None]:
        if self.shared is None:
            yield
            return
        descriptor = os.open(self.shared, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX)
            found = os.pread(descriptor, _CREDIT.size, 0)
            if len(found) == _CREDIT.size:
                self._level, self._seen = _CREDIT.unpack(found)
            yield
            os.pwrite(descriptor, _CREDIT.pack(self._level, self._seen), 0)
        finally:
            os.close(descriptor)


def credit_file(folder: Path, store: str) -> Path | None:
    """The file for a store's shared bucket; None where this user may not write: then each run has its own."""
    path = folder / store
    try:
        make_private_folder(folder)
        path.touch(mode=0o600)
    except OSError as error:
        _log.warning("%s: upload_limit applies to each run separately: %s", store, error)
        return None
    return path


class Line:
    """The line to one store: limits the bytes per second that are sent to it, and counts them."""

    def __init__(self, limit: int | None, shared: Path | None = None) -> None:
        self.bucket = TokenBucket(limit, shared=shared) if limit else None
        self.sent = 0
        self._lock = threading.Lock()

    def pieces(self, data: Buffer) -> Iterator[memoryview]:
        """``data`` in pieces, each as soon as there is credit for it."""
        for piece in pieces(data, _LIMITED_PIECE_BYTES) if self.bucket else pieces(data):
            if self.bucket:
                self.bucket.take(len(piece))
            with self._lock:
                self.sent += len(piece)
            yield piece
