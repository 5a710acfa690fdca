"""A time limit for a program whose output is read while it runs."""

import threading
from collections.abc import Callable
from typing import Self


class TimeLimit:
    """Calls ``strike`` when its block lasts longer than ``seconds``."""

    def __init__(self, seconds: float, strike: Callable[[], None]) -> None:
        self.struck = False
        self._strike = strike
        self._timer = threading.Timer(seconds, self._end)
        self._timer.daemon = True

    def _end(self) -> None:
        self.struck = True
        self._strike()

    def __enter__(self) -> Self:
        self._timer.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._timer.cancel()
