"""SIGTERM and Ctrl-C break a command off so that everything is still cleaned up."""

import logging
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType

_log = logging.getLogger(__name__)
SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)


@contextmanager
def breaking_off() -> Iterator[None]:
    """The first signal raises KeyboardInterrupt; later ones do not disturb the clean-up."""
    signalled = False

    def handle(number: int, frame: FrameType | None) -> None:
        nonlocal signalled
        if signalled:
            _log.warning("cleaning up already; %s is ignored", signal.Signals(number).name)
            return
        signalled = True
        raise KeyboardInterrupt

    with _handled_by(handle):
        yield


@contextmanager
def undisturbed() -> Iterator[None]:
    """A signal that comes during the block has its effect after it."""
    came: list[int] = []
    try:
        with _handled_by(lambda number, _: came.append(number)):
            yield
    finally:
        if came:
            signal.raise_signal(came[0])


@contextmanager
def _handled_by(handle: Callable[[int, FrameType | None], object]) -> Iterator[None]:
    """Nothing happens in another thread: only the main one is given signals."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = {number: signal.signal(number, handle) for number in SIGNALS}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
