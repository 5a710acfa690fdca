"""No more than so many bytes a second, so that a backup leaves room on the line or the disk for others."""

import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

from orchestrator.pages import Buffer, pieces

BURST_SECONDS = 1.0
# Small, so that a slow line still moves every few seconds and the other end does not give up on it.
_LIMITED_PIECE_BYTES = 64 << 10


@dataclass
class TokenBucket:
    """``rate`` bytes a second over time, and at once no more than fits the bucket, which fills while idle.

    Whatever is larger than the bucket is let through on credit: what comes after it waits until that is paid.
    """

    rate: float
    clock: Callable[[], float] = time.monotonic
    sleep: Callable[[float], object] = time.sleep
    _lock: threading.Lock = field(default_factory=threading.Lock)
    _level: float = 0.0
    _seen: float | None = None

    def take(self, count: int) -> None:
        """Wait until there is credit again, then take ``count`` bytes of it. For any number of threads."""
        with self._lock:
            now = self.clock()
            passed = 0.0 if self._seen is None else max(0.0, now - self._seen)
            self._seen = now
            self._level = min(self.rate * BURST_SECONDS, self._level + passed * self.rate) - count
            wait = -self._level / self.rate
        if wait > 0:
            self.sleep(wait)


def limited(data: Buffer, bucket: TokenBucket | None) -> Iterator[memoryview]:
    """``data`` in pieces, each when the bucket has credit for it."""
    if bucket is None:
        yield from pieces(data)
        return
    for piece in pieces(data, _LIMITED_PIECE_BYTES):
        bucket.take(len(piece))
        yield piece


def bucket_for(limit: int | None) -> TokenBucket | None:
    """The bucket of a store with this limit in bytes a second; none without."""
    return TokenBucket(limit) if limit else None
