"""Write a sealed archive to a sink that cannot seek."""

from collections.abc import Callable
from types import TracebackType
from typing import Self

from orchestrator.archive.entry import ArchiveSummary, Entry, FileRecord, Problem

Sink = Callable[[bytes | bytearray | memoryview], None]


class SealedWriter:
    """The inner plain ZIP inside one WinZip AES-256 (AE-2) entry, streamed to ``sink``.

    Used from one thread. ``on_record`` gets each saved path in the order of the stream, which is the order of
    ``add``; ``on_problem`` each path that could not be read (no record follows) or whose content is doubtful (a record
    with ``problem`` follows). Both run in the calling thread, inside ``add``, ``add_stream`` or ``close``; what
    they raise fails the archive. ``sink`` gets buffers that are only valid during the call.

    Left without ``close()`` (an error in the ``with`` block), nothing usable is left behind: no archive that opens.
    """

    def __init__(
        self,
        sink: Sink,
        password: str,
        *,
        on_record: Callable[[FileRecord], None],
        on_problem: Callable[[Problem], None],
        threads: int = 2,
        level: int = 3,
    ) -> None: ...

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.abort()

    def add(self, entry: Entry) -> None:
        """Save one path. Its ``blocks`` may be read later, in a worker thread, but before ``close`` returns."""
        raise NotImplementedError

    def add_stream(self, entry: Entry) -> None:
        """Save one path whose ``blocks`` are read now, in this thread: for dumps and streams of many files.

        An OSError from the blocks before the first one is a problem of that path; any later error fails the archive
        for a stream of unknown size (``size`` None), as half a dump is worse than none.
        """
        raise NotImplementedError

    def close(self) -> ArchiveSummary:
        """Write what is pending and both central directories; the archive is whole when this returns."""
        raise NotImplementedError

    def abort(self) -> None:
        """Stop the workers and write nothing more. After ``close`` this does nothing."""
        raise NotImplementedError
