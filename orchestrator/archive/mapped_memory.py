"""Bytes that may be mapped from a file, piece by piece, without keeping in memory what was read."""

import mmap
from collections.abc import Iterator

Buffer = bytes | bytearray | memoryview
PIECE_BYTES = 1 << 20
_RELEASE_BYTES = 8 << 20


def pieces(data: Buffer, size: int = PIECE_BYTES) -> Iterator[memoryview]:
    """``data`` in pieces of ``size``, without copying; pages of a mapped file are released once read."""
    view, unreleased = memoryview(data).cast("B"), 0
    for start in range(0, len(view), size):
        yield view[start : start + size]
        unreleased += size
        if unreleased >= _RELEASE_BYTES:
            release_pages(view)
            unreleased = 0
    release_pages(view)


def release_pages(data: Buffer) -> None:
    """Release the memory of a mapped file; it is read again on the next access.

    Volumes are mapped from a file: once hashed or sent, their pages would only fill the memory.
    """
    mapping = data.obj if isinstance(data, memoryview) else None
    if isinstance(mapping, mmap.mmap):
        mapping.madvise(mmap.MADV_DONTNEED)
