"""Verify a whole archive against its manifest.

The manifest determines every byte between the contents, so these bytes are rebuilt and compared. That finds
changed headers, entries that are added, missing, duplicated or overlapping, other compression methods and
trailing bytes.
"""

import hashlib
from collections.abc import Iterable, Iterator
from functools import partial

from orchestrator.archive.content import ContentCheck, check_whole
from orchestrator.archive.entry import FileRecord, Method, Problem
from orchestrator.archive.inner import (
    LARGEST_SMALL,
    HeaderFields,
    central_header,
    common,
    descriptor,
    end_records,
    local_header,
    small_header_length,
)
from orchestrator.archive.mapped_memory import Buffer
from orchestrator.archive.pack import SMALL_BYTES
from orchestrator.archive.unseal import SealedEntry
from orchestrator.archive.work import OrderedWork

_LONGEST_HEADER = 1 << 17
_MISPLACED = "the manifest gives it an impossible position"


class Stream:
    """The bytes of the inner ZIP, in order."""

    def __init__(self, blocks: Iterator[bytearray]) -> None:
        self._blocks = blocks
        self._block = memoryview(b"")
        self.position = 0

    def pieces(self, count: int) -> Iterator[memoryview]:
        """The next ``count`` bytes, in pieces; fewer at the end of the archive."""
        while count > 0:
            if not self._block:
                self._block = memoryview(next(self._blocks, b""))
                if not self._block:
                    return
            piece, self._block = self._block[:count], self._block[count:]
            self.position += len(piece)
            count -= len(piece)
            yield piece

    def take(self, count: int) -> bytes:
        return b"".join(self.pieces(count))


class ArchiveVerification:
    """One pass over an archive; ``problems`` grows while it runs."""

    def __init__(self, entry: SealedEntry, threads: int) -> None:
        self._entry = entry
        self._stream = Stream(entry.blocks())
        self._work, self._serial = OrderedWork(threads), OrderedWork(1)
        self._directory = hashlib.sha256()
        self._directory_bytes = self._entries = 0
        self._batch: list[tuple[FileRecord, list[Buffer]]] = []
        self._batch_bytes = 0
        self.problems: list[Problem] = []

    def run(self, records: Iterable[FileRecord]) -> list[Problem]:
        """Everything that is wrong; first what concerns the archive as a whole."""
        try:
            whole = self._records(records) and self._end()
            self._end_batch()
            self._work.drain()
            self._serial.drain()
        finally:
            self._work.stop()
            self._serial.stop()
        while self._stream.take(1 << 20):
            whole = False
        general = self._entry.problems()
        if not whole and not general:
            general = ["its bytes are not those that its manifest describes"]
        return [*(Problem(b"", what) for what in general), *self.problems]

    def _records(self, records: Iterable[FileRecord]) -> bool:
        for record in records:
            if record.method is not Method.NONE and not self._record(record):
                self.problems.append(Problem(record.path, _MISPLACED))
                return False
        return True

    def _record(self, record: FileRecord) -> bool:
        start = self._stream.position
        inside = record.offset + record.length <= self._entry.length
        fits = inside and 0 < record.offset - start < _LONGEST_HEADER
        if not fits or record.length < 0 or record.size < 0:
            return False
        both = common(record.metadata)
        header = self._stream.take(record.offset - start)
        streamed = len(header) != small_header_length(both) or max(record.length, record.size) > LARGEST_SMALL
        fields = HeaderFields(start, record.method, record.crc32, record.length, record.size, streamed)
        self._content(record)
        trailer = descriptor(fields)
        if header != local_header(both, fields) or self._stream.take(len(trailer)) != trailer:
            self.problems.append(Problem(record.path, "damaged: its header differs from its record"))
        row = central_header(both, fields)
        self._directory.update(row)
        self._directory_bytes += len(row)
        self._entries += 1
        return True

    def _content(self, record: FileRecord) -> None:
        if record.length > SMALL_BYTES:
            self._large_content(record)
            return
        self._batch.append((record, list(self._stream.pieces(record.length))))
        self._batch_bytes += record.length
        if self._batch_bytes >= 1 << 20 or len(self._batch) >= 256:
            self._end_batch()

    def _large_content(self, record: FileRecord) -> None:
        # One thread, so that the pieces stay in order.
        check = ContentCheck(record)
        for piece in self._stream.pieces(record.length):
            self._serial.put(partial(check.feed, piece), _nothing, len(piece))
        self._serial.put(check.problem, partial(self._note, record), 0)

    def _end_batch(self) -> None:
        batch, weight = self._batch, self._batch_bytes
        self._batch, self._batch_bytes = [], 0
        if batch:
            self._work.put(lambda: _check_all(batch), self.problems.extend, weight)

    def _note(self, record: FileRecord, problem: str) -> None:
        if problem:
            self.problems.append(Problem(record.path, problem))

    def _end(self) -> bool:
        start, expected = self._stream.position, self._directory
        found = hashlib.sha256()
        for piece in self._stream.pieces(self._directory_bytes):
            found.update(piece)
        end = end_records(self._entries, start, self._directory_bytes)
        same = found.digest() == expected.digest() and self._stream.take(len(end)) == end
        if not same:
            self.problems.append(Problem(b"", "its central directory differs from its record"))
        return same


def _nothing(_result: None) -> None:
    """The work that remains once a piece was read."""


def _check_all(batch: list[tuple[FileRecord, list[Buffer]]]) -> list[Problem]:
    found = ((record, check_whole(record, pieces)) for record, pieces in batch)
    return [Problem(record.path, problem) for record, problem in found if problem]
