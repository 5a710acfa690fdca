"""SIGTERM and Ctrl-C break a run off so that everything is still cleaned up."""

import logging
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

_log = logging.getLogger(__name__)
SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)


@contextmanager
def breaking_off() -> Iterator[None]:
    """The first signal raises KeyboardInterrupt in the main thread; later ones do not disturb the clean-up.

    Only for the main thread: others are not given signals.
    """
    signalled = False

    def handle(number: int, frame: FrameType | None) -> None:
        nonlocal signalled
        if signalled:
            _log.warning("cleaning up already; %s is ignored", signal.Signals(number).name)
            return
        signalled = True
        raise KeyboardInterrupt

    before = {number: signal.signal(number, handle) for number in SIGNALS}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
