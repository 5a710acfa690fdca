"""Holes of sparse files as content: the same block of zeros, repeated.

It is recognised by ``is ZEROS``, so that it is deflated only once.
"""

from collections.abc import Iterator

BLOCK_BYTES = 1 << 20
ZEROS = bytes(BLOCK_BYTES)


def zeros(start: int, end: int) -> Iterator[bytes]:
    """The bytes of a hole, split at multiples of BLOCK_BYTES."""
    while start < end:
        length = min(end - start, BLOCK_BYTES - start % BLOCK_BYTES)
        yield ZEROS if length == BLOCK_BYTES else ZEROS[:length]
        start += length
