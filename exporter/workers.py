"""Threads that wait for work: starting one for each task would cost a new stack and memory arena."""

import queue
import threading
from collections import deque
from collections.abc import Callable

Task = Callable[[], object]
_Orders = queue.SimpleQueue[Task | None]  # one per thread: with a common one, each task would wake two


class Workers:
    """Runs tasks in at most ``most`` threads; further tasks wait. A task must not raise.

    The thread that was busy last gets the next task: its memory is still in the CPU's cache.
    """

    def __init__(self, name: str, most: int) -> None:
        self._name, self._most = name, most
        self._lock = threading.Lock()
        self._idle: list[_Orders] = []
        self._waiting: deque[Task] = deque()
        self._count = 0
        self._closed = False

    def submit(self, task: Task) -> None:
        """Run the task soon."""
        with self._lock:
            if self._idle:
                self._idle.pop().put(task)
            elif self._count < self._most:
                orders: _Orders = queue.SimpleQueue()
                orders.put(task)
                threading.Thread(target=self._live, args=(orders,), name=self._name, daemon=True).start()
                self._count += 1
            else:
                self._waiting.append(task)

    def close(self) -> None:
        """End each thread once there is no more work. Does not wait for them."""
        with self._lock:
            self._closed = True
            while self._idle:
                self._idle.pop().put(None)

    def _live(self, orders: _Orders) -> None:
        while (task := orders.get()) is not None:
            task()
            del task  # not kept, with what it holds, while the thread waits
            with self._lock:
                if self._waiting or self._closed:
                    orders.put(self._waiting.popleft() if self._waiting else None)
                else:
                    self._idle.append(orders)
