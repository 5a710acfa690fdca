"""No more than so many bytes a second, so that a backup leaves room on the line or the disk for others."""

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import BinaryIO

BURST_SECONDS = 1.0


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


@dataclass
class LimitedFile:
    """A file that is read no faster than its bucket allows: the body of a request, as it goes out."""

    data: BinaryIO
    bucket: TokenBucket

    def read(self, count: int = -1) -> bytes:
        """The next bytes, when there is credit for them."""
        block = self.data.read(count)
        self.bucket.take(len(block))
        return block

    def seek(self, offset: int, whence: int = 0) -> int:
        """Go to a place in the file."""
        return self.data.seek(offset, whence)

    def tell(self) -> int:
        """The place in the file."""
        return self.data.tell()


def bucket_for(limit: int | None) -> TokenBucket | None:
    """The bucket of a store with this limit in bytes a second; none without."""
    return TokenBucket(limit) if limit else None
