"""Write a sealed archive to a sink that cannot seek."""

from collections.abc import Callable, Iterable, Iterator
from itertools import chain
from typing import Self

from orchestrator.archive.entry import ArchiveError, ArchiveSummary, Entry, FileRecord, Kind, Problem
from orchestrator.archive.inner_writer import AtOnce, InnerZip, StreamedEntry, Work
from orchestrator.archive.mapped_memory import Buffer
from orchestrator.archive.names import refuse_hostile
from orchestrator.archive.pack import (
    SMALL_BYTES,
    Gathered,
    Grown,
    Packed,
    PackResult,
    describe,
    gather,
    pack_all,
)
from orchestrator.archive.sealed_zip import SealedZipFile, Sink
from orchestrator.archive.work import OrderedWork

# The only entry that is visible without the password.
ENTRY_NAME = "backup.zip"
# A batch of small entries is one job: large enough to be worth passing to a thread.
_BATCH_BYTES = 1 << 20
_BATCH_ENTRIES = 128


class SealedWriter:
    """The inner plain ZIP inside one WinZip AES-256 (AE-2) entry, streamed to ``sink``.

    Not thread-safe. ``on_record`` gets each saved path in stream order, which is the order of ``add``;
    ``on_problem`` gets each path that could not be read (no record follows) or whose content is doubtful (a
    record with ``problem`` follows). Both run in the calling thread, inside ``add``, ``add_stream`` or
    ``close``; what they raise fails the archive. ``sink`` gets buffers that are only valid during the call.
    Without ``close()`` (an error in the ``with`` block) no usable archive is left behind.
    """

    def __init__(
        self,
        sink: Sink,
        password: str,
        *,
        on_record: Callable[[FileRecord], None],
        on_problem: Callable[[Problem], None],
        threads: int = 2,
        level: int = 2,
    ) -> None:
        self._sink = sink
        self._on_problem = on_problem
        self._level = level
        self._archive_bytes = 0
        self._zip = SealedZipFile(self._write, password)
        self._entry = self._zip.start(ENTRY_NAME)
        self._inner = InnerZip(self._entry.write, on_record)
        self._work = OrderedWork(threads)
        self._batch: list[tuple[Entry, Gathered | None]] = []
        self._batch_bytes = 0
        self._open = True

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.abort()

    def add(self, entry: Entry) -> None:
        """Save one path. Its ``blocks`` may be read later, in another thread, before ``close`` returns."""
        self._check(entry)
        if entry.metadata.kind is Kind.FILE and (entry.size is None or entry.size > SMALL_BYTES):
            self.add_stream(entry)
        else:
            self._add_to_batch(entry, None, entry.size or 0)

    def add_stream(self, entry: Entry) -> None:
        """Save one path and read its ``blocks`` now, in this thread: for dumps and streams of many files.

        An OSError before the first block is a problem of that path. A later one cuts the entry short, which
        is also a problem; it fails the archive if the size was unknown, because half a dump is worse than
        none.
        """
        self._check(entry)
        if entry.metadata.kind is not Kind.FILE:
            self._add_to_batch(entry, None, 0)
        elif entry.size is None or entry.size > SMALL_BYTES:
            self._end_batch()
            self._save_stream(self._work, entry, _blocks_of(entry))
        else:
            self._add_small_stream(entry)

    def flush(self) -> None:
        """Write what is pending: when this returns, every path has been reported."""
        self._end_batch()
        self._work.drain()

    def close(self) -> ArchiveSummary:
        """Write what is pending and both central directories; when this returns, the archive is complete."""
        if not self._open:
            raise ArchiveError("the archive was closed or aborted")
        self._end_batch()
        self._work.drain()
        self._inner.close()
        self._entry.close()
        self._zip.close()
        self._open = False
        self._work.stop()
        return ArchiveSummary(self._inner.content_bytes, self._archive_bytes)

    def abort(self) -> None:
        """Stop the workers and write nothing more. After ``close`` this does nothing."""
        if self._open:
            self._open = False
            self._zip.abort()
            self._work.stop()

    def _check(self, entry: Entry) -> None:
        if not self._open:
            raise ArchiveError("the archive was closed or aborted")
        refuse_hostile(entry.path)

    def _write(self, data: Buffer) -> None:
        self._archive_bytes += len(data)
        self._sink(data)

    def _add_small_stream(self, entry: Entry) -> None:
        try:
            start = gather(entry.blocks(), SMALL_BYTES)
        except OSError as error:
            self._end_batch()
            self._report_in_turn(self._work, Problem(entry.path, describe(error)))
            return
        if start.rest is None:
            self._add_to_batch(entry, start, len(start.content))
        else:
            self._end_batch()
            self._save_stream(self._work, entry, chain([start.content], start.rest))

    def _save_stream(self, work: Work, entry: Entry, blocks: Iterable[bytes]) -> None:
        problem = StreamedEntry(self._inner, work, entry, self._level).save(blocks)
        if problem:
            self._report_in_turn(work, Problem(entry.path, problem))

    def _report_in_turn(self, work: Work, problem: Problem) -> None:
        work.then(lambda: self._on_problem(problem))

    def _add_to_batch(self, entry: Entry, gathered: Gathered | None, size: int) -> None:
        self._batch.append((entry, gathered))
        self._batch_bytes += size
        if self._batch_bytes >= _BATCH_BYTES or len(self._batch) >= _BATCH_ENTRIES:
            self._end_batch()

    def _end_batch(self) -> None:
        if self._batch:
            batch, weight = self._batch, self._batch_bytes
            self._batch, self._batch_bytes = [], 0
            self._work.put(lambda: pack_all(batch, self._level), self._write_all, weight)

    def _write_all(self, results: list[PackResult]) -> None:
        for result in results:
            self._write_one(result)

    def _write_one(self, result: PackResult) -> None:
        match result:
            case Problem():
                self._on_problem(result)
            case Packed():
                if result.problem:
                    self._on_problem(Problem(result.metadata.path, result.problem))
                self._inner.add(result)
            case Grown(entry, start):
                rest = start.rest or iter(())
                self._save_stream(AtOnce(), entry, chain([start.content], rest))


def _blocks_of(entry: Entry) -> Iterator[bytes]:
    # Errors of opening are raised with the first block, like errors of reading.
    yield from entry.blocks()
