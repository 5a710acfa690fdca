"""Read a regular file of this machine: exactly the inode that was checked, without its holes."""

import errno
import os
from array import array
from collections.abc import Iterable, Iterator
from contextlib import contextmanager

from orchestrator.archive import EntryChanged
from orchestrator.archive.holes import BLOCK_BYTES, zeros
from orchestrator.archive.sparse import LARGE_HOLES, MOST_PIECES, packed

_LONGEST_PATH = 4096  # bytes, including the final NUL; linux/limits.h
_STAT_BLOCK = 512


def data_bytes(status: os.stat_result) -> int:
    """The approximate data in a file; its size if that is less."""
    return min(status.st_size, status.st_blocks * _STAT_BLOCK)


def has_large_holes(status: os.stat_result) -> bool:
    """Whether a file is saved without its holes."""
    return status.st_size - data_bytes(status) >= LARGE_HOLES


def read_file(place: str, expected: os.stat_result, *, follow: bool = False) -> Iterator[bytes]:
    """The content of a regular file in blocks, at most the size that it had when it was opened.

    Raises OSError, ESTALE if the path now leads to another file; EntryChanged after the last block if the
    file was written meanwhile.
    """
    with _opened(place, expected, follow) as descriptor:
        before, position = os.fstat(descriptor), 0
        for start, end in _data_of(descriptor, before):
            yield from zeros(position, start)
            position = start
            while position < end and (block := _block(descriptor, position, end)):
                position += len(block)
                yield block
            if position < end:
                raise EntryChanged
        yield from zeros(position, before.st_size)
        _require_unchanged(descriptor, expected)


def read_packed(place: str, expected: os.stat_result, *, follow: bool = False) -> Iterator[bytes]:
    """The data of a file with large holes, packed (see `archive.sparse`). Raises as `read_file`."""
    with _opened(place, expected, follow) as descriptor:
        extents = array("q")
        for start, end in _in_blocks(_data_of(descriptor, expected), expected.st_size):
            if len(extents) == 2 * MOST_PIECES:  # the rest as one piece, its holes as zeros
                extents[-1] = expected.st_size - extents[-2]
                break
            extents.extend((start, end - start))
        yield from packed(expected.st_size, extents, _pieces(descriptor, extents))
        _require_unchanged(descriptor, expected)


def _in_blocks(pieces: Iterable[tuple[int, int]], size: int) -> Iterator[tuple[int, int]]:
    """The pieces, widened to whole blocks."""
    done = 0
    for start, end in pieces:
        start, end = max(done, start - start % _STAT_BLOCK), min(size, end + -end % _STAT_BLOCK)
        if start < end:
            yield start, end
            done = end


def _pieces(descriptor: int, extents: "array[int]") -> Iterator[bytes]:
    for index in range(0, len(extents), 2):
        position, end = extents[index], extents[index] + extents[index + 1]
        while position < end:
            # The map has been written: missing data becomes zeros, and the file counts as changed.
            block = _block(descriptor, position, end) or bytes(min(end - position, BLOCK_BYTES))
            position += len(block)
            yield block


def _block(descriptor: int, position: int, end: int) -> bytes:
    return os.pread(descriptor, min(end - position, BLOCK_BYTES - position % BLOCK_BYTES), position)


@contextmanager
def _opened(place: str, expected: os.stat_result, follow: bool) -> Iterator[int]:
    flags = os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK | (0 if follow else os.O_NOFOLLOW)
    descriptor = _open(place, flags)
    try:
        status = os.fstat(descriptor)
        if (status.st_dev, status.st_ino) != (expected.st_dev, expected.st_ino):
            raise OSError(errno.ESTALE, "replaced while it was read")
        yield descriptor
    finally:
        os.close(descriptor)


def _require_unchanged(descriptor: int, expected: os.stat_result) -> None:
    after = os.fstat(descriptor)
    if (after.st_mtime_ns, after.st_size) != (expected.st_mtime_ns, expected.st_size):
        raise EntryChanged


def _data_of(descriptor: int, status: os.stat_result) -> Iterator[tuple[int, int]]:
    """Start and end of each piece of data of an open file; the rest are holes."""
    if status.st_blocks * _STAT_BLOCK >= status.st_size:
        yield 0, status.st_size
        return
    end = 0
    while end < status.st_size:
        try:
            start = os.lseek(descriptor, end, os.SEEK_DATA)
            end = min(os.lseek(descriptor, start, os.SEEK_HOLE), status.st_size)
        except OSError as error:
            if error.errno == errno.ENXIO:  # a hole up to the end
                return
            start = end  # a file system without this feature
        if start >= status.st_size:  # data that was added meanwhile
            return
        if end <= start:
            end = status.st_size
        yield start, end


def _open(place: str, flags: int) -> int:
    """Open a path that may be longer than the kernel takes at once (PATH_MAX)."""
    if len(os.fsencode(place)) < _LONGEST_PATH:
        return os.open(place, flags)
    folder, _, name = place.rpartition("/")
    descriptor = os.open("/", os.O_PATH | os.O_CLOEXEC)
    for part in filter(None, folder.split("/")):
        try:
            inner = os.open(part, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC, dir_fd=descriptor)
        finally:
            os.close(descriptor)
        descriptor = inner
    try:
        return os.open(name, flags, dir_fd=descriptor)
    finally:
        os.close(descriptor)
