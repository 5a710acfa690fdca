"""Run tasks that may raise or hang, so that each affects only itself.

A thread that waits in the kernel (a dead NFS server, a broken driver) cannot be killed. So the tasks run one
after another in a worker thread; if one hangs, another worker continues with the rest, and the hanging task
is not tried again until it returns: at most one stuck thread per task, no matter how often the tasks run.
"""

import threading
import time
from collections import deque
from collections.abc import Callable, Mapping
from typing import Generic, NamedTuple, TypeVar

from exporter.workers import Workers
from leitstand.text import words_of

Result = TypeVar("Result")


class Stuck(Exception):  # noqa: N818 - reads as a sentence where it is raised
    """The task did not return in time, or still has not returned since an earlier run."""


class Outcome(NamedTuple, Generic[Result]):
    """The result of one task: its value, or its error; and the seconds it took."""

    value: Result | None
    error: BaseException | None
    seconds: float

    @property
    def problem(self) -> str:
        return "" if self.error is None else words_of(self.error)


class Guard(Generic[Result]):
    """Runs named tasks. After ``patience`` seconds of one task the others continue in parallel.

    At most ``maximum_stuck`` threads are lost to hanging tasks; at this limit no task runs until one of
    them returns.
    """

    def __init__(self, name: str, patience: float = 0.5, maximum_stuck: int = 8) -> None:
        self._workers = Workers(f"{name}-guard", maximum_stuck)
        self.patience = patience
        self.maximum_stuck = maximum_stuck
        self._lock = threading.Lock()
        self._stuck: set[str] = set()

    @property
    def stuck(self) -> frozenset[str]:
        """The tasks whose thread has not returned."""
        with self._lock:
            return frozenset(self._stuck)

    def run(self, tasks: Mapping[str, Callable[[], Result]], seconds: float) -> dict[str, Outcome[Result]]:
        """Run all tasks in order, for at most ``seconds``; outcomes are in the order of the tasks."""
        stuck = self.stuck
        if len(stuck) >= self.maximum_stuck:
            return dict.fromkeys(tasks, Outcome(None, Stuck("too many threads hang already"), 0.0))
        free = {name: task for name, task in tasks.items() if name not in stuck}
        batch = _Batch(free, self._returned)
        self._drive(batch, time.monotonic() + seconds)
        with self._lock:
            outcomes, running = batch.close()
            self._stuck |= running
        return {name: outcomes.get(name) or _nothing(name in free, seconds) for name in tasks}

    def _drive(self, batch: "_Batch[Result]", deadline: float) -> None:
        while batch.missing and (left := deadline - time.monotonic()) > 0:
            if batch.needs_worker and batch.workers + len(self._stuck) < self.maximum_stuck:
                batch.workers += 1
                batch.needs_worker = False
                self._workers.submit(batch.work)
            batch.wait(min(self.patience, left))

    def _returned(self, name: str) -> None:
        with self._lock:
            self._stuck.discard(name)


class _Batch(Generic[Result]):
    """One run: the pending tasks, the running ones, and the outcomes so far."""

    def __init__(self, tasks: Mapping[str, Callable[[], Result]], returned: Callable[[str], None]) -> None:
        self._waiting = deque(tasks.items())
        self._returned = returned
        self._running: set[str] = set()
        self._outcomes: dict[str, Outcome[Result]] = {}
        self.missing = len(tasks)
        self._closed = False
        self._lock = threading.Lock()
        self._done = threading.Lock()  # released after the last task; cheaper than an Event
        self._done.acquire()
        self.workers = 0
        self.needs_worker = True

    def wait(self, seconds: float) -> None:
        """Wait for all tasks, at most ``seconds``; then check whether one holds up the others."""
        before = self.missing
        if not self._done.acquire(timeout=seconds):
            with self._lock:
                self.needs_worker = bool(self._waiting) and self.missing == before

    def close(self) -> tuple[dict[str, Outcome[Result]], set[str]]:
        """The outcomes, and the tasks still running. After this no task starts and no outcome counts."""
        with self._lock:
            self._closed = True
            self._waiting.clear()
            return self._outcomes, set(self._running)

    def work(self) -> None:
        entry = self._next()
        while entry is not None:
            outcome = _attempt(entry[1])
            entry = self._next(entry[0], outcome)

    def _next(
        self, ended: str = "", outcome: Outcome[Result] | None = None
    ) -> tuple[str, Callable[[], Result]] | None:
        """Note the outcome of the task that ended, and begin the next one, if any."""
        with self._lock:
            if outcome is not None:
                self._end(ended, outcome)
            if not self._waiting:
                return None
            entry = self._waiting.popleft()
            self._running.add(entry[0])
            return entry

    def _end(self, name: str, outcome: Outcome[Result]) -> None:
        self._running.discard(name)
        self.missing -= 1
        if self.missing == 0:
            self._done.release()
        if self._closed:
            self._returned(name)
        else:
            self._outcomes[name] = outcome


def _attempt(task: Callable[[], Result]) -> Outcome[Result]:
    start = time.perf_counter()
    try:
        value = task()
    except BaseException as error:  # noqa: BLE001 - the one place where a part may fail in any way
        # What is no Exception (exit(), asyncio's CancelledError) would end the worker, and hold up the rest.
        return Outcome(None, error, time.perf_counter() - start)
    return Outcome(value, None, time.perf_counter() - start)


def _nothing(was_tried: bool, seconds: float) -> Outcome[Result]:
    if was_tried:
        return Outcome(None, Stuck(f"not done within {seconds:.3g} s"), seconds)
    return Outcome(None, Stuck("still waiting for an earlier attempt to return"), 0.0)
