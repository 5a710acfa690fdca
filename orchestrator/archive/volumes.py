"""Split the archive's byte stream into volumes, and read them back as one."""

import hashlib
import mmap
import tempfile
from bisect import bisect_right
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import accumulate
from pathlib import Path
from typing import BinaryIO, Self

from orchestrator.archive.entry import ArchiveError, Volume
from orchestrator.archive.mapped_memory import Buffer, pieces

DEFAULT_VOLUME_BYTES = 64 << 20
_MEMORY_BYTES = 16 << 20


class VolumeSink:
    """Collects bytes into volumes of ``volume_bytes`` (the last one is shorter) and delivers them in order.

    ``deliver`` runs in a thread of the sink, one volume at a time, while the next one fills: so there are at
    most two volumes (plus the ``kept`` ones that ``deliver`` keeps), in ``folder`` when they would fill the
    memory. The next ``write`` or ``close`` raises what it raises.
    """

    def __init__(
        self,
        deliver: Callable[[Volume], None],
        volume_bytes: int = DEFAULT_VOLUME_BYTES,
        folder: Path | None = None,
        *,
        md5: bool = True,
        kept: int = 1,
    ) -> None:
        if volume_bytes < 1:
            raise ArchiveError("a volume must have at least one byte")
        self._deliver = deliver
        self._volume_bytes = volume_bytes
        self._folder = folder
        self._md5 = md5
        self._memory_bytes = _MEMORY_BYTES // kept
        self._pool = ThreadPoolExecutor(1, "volumes")
        self._under_way: Future[None] | None = None
        self._index = 1
        self._filling = _Filling(folder, self._memory_bytes)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.abort()

    def write(self, data: Buffer) -> None:
        """Take bytes; this is the ``sink`` of SealedWriter."""
        source = memoryview(data)
        while len(source) > (room := self._volume_bytes - self._filling.size):
            self._filling.write(source[:room])
            source = source[room:]
            self._hand_over()
        self._filling.write(source)

    def close(self) -> None:
        """Deliver the last volume and wait until all are delivered."""
        if self._filling.size:
            self._hand_over()
        self._wait()
        self._pool.shutdown()

    def abort(self) -> None:
        """Stop delivering; wait for the delivery in progress. After ``close`` this does nothing."""
        self._pool.shutdown(wait=True, cancel_futures=True)
        self._filling.discard()

    def _hand_over(self) -> None:
        self._wait()
        index, full = self._index, self._filling
        self._under_way = self._pool.submit(lambda: self._deliver(_volume(index, full.content(), self._md5)))
        self._index, self._filling = index + 1, _Filling(self._folder, self._memory_bytes)

    def _wait(self) -> None:
        if self._under_way:
            under_way, self._under_way = self._under_way, None
            under_way.result()


class _Filling:
    """A growing volume: in memory, then in a file, so that large volumes never fill the memory."""

    def __init__(self, folder: Path | None, memory_bytes: int) -> None:
        self._folder = folder
        self._memory_bytes = memory_bytes
        self._memory = bytearray()
        self._file: BinaryIO | None = None
        self.size = 0

    def write(self, data: memoryview) -> None:
        self.size += len(data)
        if self._file is None and self.size > self._memory_bytes:
            self._file = tempfile.TemporaryFile(dir=self._folder)  # noqa: SIM115 - closed by content
            self._file.write(self._memory)
            self._memory = bytearray()
        if self._file is None:
            self._memory += data
        else:
            self._file.write(data)

    def discard(self) -> None:
        if self._file:
            self._file.close()

    def content(self) -> memoryview:
        if self._file is None:
            return memoryview(self._memory).toreadonly()
        with self._file as file:
            file.flush()
            return memoryview(mmap.mmap(file.fileno(), self.size, access=mmap.ACCESS_READ))


def _volume(index: int, data: memoryview, with_md5: bool) -> Volume:
    sha256, md5 = hashlib.sha256(), hashlib.md5(usedforsecurity=False)
    for piece in pieces(data):
        sha256.update(piece)
        if with_md5:
            md5.update(piece)
    return Volume(index, data, sha256.digest(), md5.digest() if with_md5 else b"")


def joined(
    read_volume: Callable[[int, int, int], bytes], sizes: Sequence[int]
) -> Callable[[int, int], bytes]:
    """``read_range(offset, length)`` over the concatenated volumes of ``sizes``.

    ``read_volume(index, start, length)`` reads from one volume; ``index`` starts at 1.
    """
    starts = [0, *accumulate(sizes)]

    def read_range(offset: int, length: int) -> bytes:
        parts = []
        while length > 0 and offset < starts[-1]:
            number = bisect_right(starts, offset) - 1
            count = min(length, starts[number + 1] - offset)
            parts.append(read_volume(number + 1, offset - starts[number], count))
            offset, length = offset + count, length - count
        return parts[0] if len(parts) == 1 else b"".join(parts)

    return read_range
