"""The one loop that retries calls of a store."""

import logging
import random
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TypeVar

from orchestrator.stores.store import StoreError

Answer = TypeVar("Answer")
_log = logging.getLogger(__name__)


@dataclass
class Retry:
    """Tries a call up to ``tries`` times; pauses double from ``first_pause`` to ``longest_pause`` seconds.

    Each pause is random between half and all of that, so that several writers do not retry together. It is
    longer if the store asks for that, but never longer than ``longest_pause``. ``stop`` ends the wait, for
    instance when another volume of the same run has failed permanently.
    """

    tries: int = 6
    first_pause: float = 0.5
    longest_pause: float = 30.0
    stop: threading.Event = field(default_factory=threading.Event)

    def call(self, what: str, action: Callable[[], Answer]) -> Answer:
        """The result of ``action``. Raises its StoreError if that is permanent or the last try failed."""
        for attempt in range(1, self.tries + 1):
            try:
                return action()
            except StoreError as error:
                if error.permanent or attempt == self.tries or self.stop.is_set():
                    raise
                pause = self._pause(attempt, error)
                # The reason is reported once, at the end, if no try succeeds.
                _log.info("%s: try %d of %d failed, next one in %.1f s", what, attempt, self.tries, pause)
                _log.debug("%s: %s", what, error)
                self.stop.wait(pause)
        raise AssertionError("unreachable: the last try returns or raises")

    def _pause(self, attempt: int, error: StoreError) -> float:
        longest = min(self.longest_pause, self.first_pause * 2 ** (attempt - 1))
        pause: float = longest * random.uniform(0.5, 1)  # noqa: S311 - not a secret
        return min(max(pause, error.retry_after), self.longest_pause)
