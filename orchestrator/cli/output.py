"""Output on a terminal: sizes, ages, progress.

``rich`` is imported only to draw: the import takes 0.1 s, and a timer's run draws nothing.
"""

import logging
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import datetime, tzinfo

from leitstand.text import visible
from orchestrator.config.sizes import size

_REFRESH_SECONDS = 0.2
LOG_SECONDS = 60.0
_log = logging.getLogger(__name__)


def moment(seconds: float, zone: tzinfo | None) -> str:
    """A readable time with its zone, usually the site's; ``never`` for 0.

    A time beyond the calendar, which a file may have, is given in seconds.
    """
    try:
        return f"{datetime.fromtimestamp(seconds, zone):%Y-%m-%d %H:%M %Z}" if seconds else "never"
    except (ValueError, OverflowError, OSError):
        return f"@{seconds:.0f}"


@contextmanager
def progress(title: str, done: Callable[[], float], total: float | None) -> Iterator[None]:
    """A progress bar on standard error while the block runs; if not a terminal, a log line each minute."""
    if not sys.stderr.isatty():
        with _repeating(lambda: _log.info("%s: %s", title, _so_far(done(), total)), LOG_SECONDS):
            yield
        return
    with _bar(title, total) as update, _repeating(lambda: update(done()), _REFRESH_SECONDS):
        yield


@contextmanager
def _bar(title: str, total: float | None) -> Iterator[Callable[[float], None]]:
    from rich import progress as bars
    from rich.console import Console

    columns = (
        *(bars.TextColumn("{task.description}", markup=False), bars.BarColumn(), bars.DownloadColumn()),
        *(bars.TransferSpeedColumn(), bars.TimeElapsedColumn(), bars.TimeRemainingColumn()),
    )
    below = getattr(sys.stderr, "below", sys.stderr)  # `HarmlessStream` would filter the drawing
    with bars.Progress(*columns, console=Console(file=below), transient=True) as drawn:
        task = drawn.add_task(visible(title), total=total)
        # The total is the last run's; there may be more.
        yield lambda done: drawn.update(task, completed=done, total=total and max(total, done))


def _so_far(done: float, total: float | None) -> str:
    return f"{size(done)} of about {size(total)}" if total else size(done)


@contextmanager
def _repeating(action: Callable[[], object], seconds: float) -> Iterator[None]:
    """Call ``action`` every ``seconds`` while the block runs."""
    ended = threading.Event()

    def repeat() -> None:
        while not ended.wait(seconds):
            action()

    thread = threading.Thread(target=repeat, daemon=True)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()
