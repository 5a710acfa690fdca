"""Work that is done in parallel and finished in order, with a bound on what is in progress."""

from collections import deque
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

T = TypeVar("T")


# Content in progress: the memory that the pipeline needs (twice: read and deflated).
_BYTES_UNDER_WAY = 12 << 20


class OrderedWork:
    """Runs jobs in ``threads`` threads; each ``finish`` in the calling thread, in the order of ``put``."""

    def __init__(self, threads: int) -> None:
        self._pool = ThreadPoolExecutor(threads, "archive")
        self._most = 4 * threads
        self._queue: deque[tuple[Callable[[], None], int]] = deque()
        self._weight = 0

    def put(self, job: Callable[[], T], finish: Callable[[T], None], weight: int) -> None:
        """Start a job of ``weight`` bytes, and finish older ones while too much is in progress."""
        future = self._pool.submit(job)
        self._enqueue(lambda: finish(_result(future)), weight)

    def then(self, finish: Callable[[], None], weight: int = 0) -> None:
        """Queue a ``finish`` without a job, in order."""
        self._enqueue(finish, weight)

    def drain(self) -> None:
        while self._queue:
            self._finish_one()

    def stop(self) -> None:
        """Drop jobs that have not started, and wait for those that have."""
        self._queue.clear()
        self._pool.shutdown(wait=True, cancel_futures=True)

    def _enqueue(self, finish: Callable[[], None], weight: int) -> None:
        self._queue.append((finish, weight))
        self._weight += weight
        while len(self._queue) > 1 and (self._weight > _BYTES_UNDER_WAY or len(self._queue) > self._most):
            self._finish_one()

    def _finish_one(self) -> None:
        finish, weight = self._queue.popleft()
        self._weight -= weight
        finish()


def _result(future: "Future[T]") -> T:
    return future.result()
