"""Write the inner ZIP into the sealed entry: offsets, records, the central directory."""

import hashlib
from collections.abc import Callable, Iterable, Iterator
from typing import TypeVar

from orchestrator.archive.deflate import STREAM_END, crc32, deflate_block, shrinks
from orchestrator.archive.entry import ArchiveError, Entry, EntryChanged, FileRecord, Metadata, Method
from orchestrator.archive.inner import (
    Common,
    HeaderFields,
    central_header,
    common,
    descriptor,
    end_records,
    local_header,
)
from orchestrator.archive.names import printable
from orchestrator.archive.pack import CHANGED, Packed, describe
from orchestrator.archive.spool import Spool
from orchestrator.archive.work import OrderedWork

T = TypeVar("T")
BLOCK = 1 << 20


class AtOnce:
    """Does each job immediately: for what must be written now, ahead of jobs that wait."""

    def put(self, job: Callable[[], T], finish: Callable[[T], None], weight: int) -> None:
        finish(job())

    def then(self, finish: Callable[[], None], weight: int = 0) -> None:
        finish()


Work = AtOnce | OrderedWork


class InnerZip:
    """A plain ZIP written to ``write``. The central directory, which can be large, waits in a spool."""

    def __init__(self, write: Callable[[bytes], object], on_record: Callable[[FileRecord], None]) -> None:
        self._write = write
        self._on_record = on_record
        self._directory = Spool(compress=True)
        self._directory_bytes = 0
        self.position = 0
        self.entries = 0
        self.content_bytes = 0

    def put(self, data: bytes) -> None:
        self._write(data)
        self.position += len(data)

    def add(self, packed: Packed) -> None:
        start, made = self.position, packed.fields
        self.put(packed.header + packed.data)
        fields = HeaderFields(start, made.method, made.crc32, made.length, made.size, False)
        record = (packed.metadata, packed.both, fields, start + len(packed.header), packed.sha256)
        self.record(*record, packed.problem)

    def record(
        self, metadata: Metadata, both: Common, fields: HeaderFields, offset: int, sha256: bytes, problem: str
    ) -> None:
        """Add a written entry to the central directory, and report its record."""
        stored = fields.method is not Method.NONE
        if stored:
            row = central_header(both, fields)
            self._directory.write(row)
            self._directory_bytes += len(row)
            self.entries += 1
        self.content_bytes += fields.size
        span = (offset, fields.length) if stored else (0, 0)
        self._on_record(
            FileRecord(metadata, fields.size, sha256, fields.crc32, *span, fields.method, problem)
        )

    def close(self) -> None:
        """Write the central directory and its end records."""
        start = self.position
        for block in self._directory.blocks():
            self.put(block)
        self.put(end_records(self.entries, start, self._directory_bytes))


class StreamedEntry:
    """Writes one entry of any length: hashed here as it is read, deflated by ``work`` block by block."""

    def __init__(self, inner: InnerZip, work: Work, entry: Entry, level: int) -> None:
        self._inner = inner
        self._work = work
        self._entry = entry
        self._both = common(entry.metadata)
        self._level = level
        self._sha256 = hashlib.sha256()
        self._crc32 = self._size = 0
        self._before = b""
        self._header = self._offset = 0
        self._method = Method.STORE

    def save(self, blocks: Iterable[bytes]) -> str:
        """Read all blocks and queue the work; returns the problem, or "".

        An error before the first byte leaves no entry.
        """
        pieces, problem, begun = evenly(blocks), "", False
        try:
            for piece in pieces:
                if not begun:
                    begun = self._start(piece)
                self._take(piece)
        except EntryChanged:
            problem = CHANGED
        except OSError as error:
            if not begun:
                return describe(error)
            problem = self._cut_short(error)
        if not begun:
            self._start(b"")
        self._end(problem)
        return problem

    def _cut_short(self, error: OSError) -> str:
        what = describe(error)
        if self._entry.size is None:
            raise ArchiveError(f"{printable(self._entry.path)}: the stream broke off: {what}") from error
        return f"cut short: {what}"

    def _start(self, first: bytes) -> bool:
        self._method = Method.DEFLATE if shrinks(first) else Method.STORE
        self._work.then(self._open)
        return True

    def _take(self, piece: bytes) -> None:
        self._sha256.update(piece)
        self._crc32 = crc32(piece, self._crc32)
        self._size += len(piece)
        if self._method is Method.STORE:
            self._work.then(lambda: self._inner.put(piece), len(piece))
            return
        before, self._before = self._before, piece
        self._work.put(lambda: deflate_block(piece, before, self._level), self._inner.put, len(piece))

    def _end(self, problem: str) -> None:
        if self._method is Method.DEFLATE:
            self._work.then(lambda: self._inner.put(STREAM_END))
        self._work.then(lambda: self._close(problem))

    def _fields(self) -> HeaderFields:
        length = self._inner.position - self._offset
        return HeaderFields(self._header, self._method, self._crc32, length, self._size, True)

    def _open(self) -> None:
        self._header = self._inner.position
        self._inner.put(local_header(self._both, self._fields()))
        self._offset = self._inner.position

    def _close(self, problem: str) -> None:
        fields = self._fields()
        self._inner.put(descriptor(fields))
        record = (self._entry.metadata, self._both, fields, self._offset, self._sha256.digest())
        self._inner.record(*record, problem)


def evenly(blocks: Iterable[bytes]) -> Iterator[bytes]:
    """The same bytes in blocks of 1 MiB, the last one shorter; an error comes after the bytes before it."""
    waiting = bytearray()
    failure: BaseException | None = None
    try:
        for block in blocks:
            if not waiting and len(block) == BLOCK:
                yield block
                continue
            waiting += block
            while len(waiting) >= BLOCK:
                yield bytes(waiting[:BLOCK])
                del waiting[:BLOCK]
    except (EntryChanged, OSError) as error:
        failure = error
    if waiting:
        yield bytes(waiting)
    if failure:
        raise failure
