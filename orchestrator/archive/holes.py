"""Holes of sparse files as content: one and the same block of zeros, again and again.

It is recognised by ``is ZEROS`` and need not be deflated twice.
"""

from collections.abc import Iterator

BLOCK_BYTES = 1 << 20
ZEROS = bytes(BLOCK_BYTES)


def zeros(start: int, end: int) -> Iterator[bytes]:
    """The bytes of a hole, cut at multiples of BLOCK_BYTES."""
    while start < end:
        length = min(end - start, BLOCK_BYTES - start % BLOCK_BYTES)
        yield ZEROS if length == BLOCK_BYTES else ZEROS[:length]
        start += length
