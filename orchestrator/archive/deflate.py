"""Deflate with ISA-L where its wheel is installed, otherwise with zlib; both write the same format."""

import zlib
from collections.abc import Iterator
from functools import cache
from typing import Protocol, cast

from orchestrator.archive.holes import ZEROS

try:
    from isal import isal_zlib as fast
except ImportError:  # no wheel for this processor: five times the CPU, a little smaller
    import zlib as fast  # type: ignore[no-redef]

# Raw deflate, as in ZIP.
_RAW = -15
_WINDOW = 32 << 10
PROBE_BYTES, _PROBE_LEVEL = 64 << 10, 1
_INPUT_BYTES, _OUTPUT_BYTES = 256 << 10, 1 << 20
# One empty final block: ends a deflate stream whose last block was flushed.
STREAM_END = b"\x03\x00"

crc32 = fast.crc32
# Raised when a damaged stream is read.
DAMAGED: tuple[type[Exception], ...] = (zlib.error, cast(type[Exception], fast.error), ValueError, EOFError)


class Compressor(Protocol):
    """The part of zlib's compressor that is used."""

    def compress(self, data: bytes | bytearray | memoryview, /) -> bytes: ...
    def flush(self, mode: int = ..., /) -> bytes: ...


def compressor(level: int) -> Compressor:
    made: Compressor = fast.compressobj(level, zlib.DEFLATED, _RAW)
    return made


def shrink(data: bytes, level: int) -> bytes | None:
    """``data`` deflated, or None when that is not worth it, as for pictures (judged by 64 KiB)."""
    if len(data) > PROBE_BYTES and not shrinks(data):
        return None
    deflated: bytes = fast.compress(data, level, _RAW)
    return deflated if _worth(len(deflated), len(data)) else None


def shrinks(data: bytes) -> bool:
    """Whether deflating is worth it, judged by the first 64 KiB at the cheapest level."""
    probed = data[:PROBE_BYTES]
    return _worth(len(fast.compress(probed, _PROBE_LEVEL, _RAW)), len(probed))


def _worth(deflated: int, plain: int) -> bool:
    # Pictures shrink by one percent or less, which is not worth inflating them at each restore and
    # verification.
    return deflated < plain - plain // 64


def deflate_block(block: bytes, before: bytes, level: int) -> bytes:
    """One block of a longer stream, deflated on its own but with the window of the block before it.

    So blocks can be deflated in parallel; joined, and ended by ``STREAM_END``, they form one stream.
    """
    return _deflated_hole(level) if block is ZEROS and before is ZEROS else _deflated(block, before, level)


@cache
def _deflated_hole(level: int) -> bytes:
    return _deflated(ZEROS, ZEROS, level)


def _deflated(block: bytes, before: bytes, level: int) -> bytes:
    if before:
        stream = fast.compressobj(level, zlib.DEFLATED, _RAW, zdict=before[-_WINDOW:])
    else:
        stream = fast.compressobj(level, zlib.DEFLATED, _RAW)
    deflated: bytes = stream.compress(block) + stream.flush(zlib.Z_SYNC_FLUSH)
    return deflated


class Inflater:
    """Inflates one stream of a size known in advance; refuses one byte more (bombs) or less.

    Raises zlib's or ISA-L's error and ValueError: both are in ``DAMAGED``.
    """

    def __init__(self, size: int) -> None:
        self._stream = fast.decompressobj(_RAW)
        self._left = size

    def feed(self, data: bytes | bytearray | memoryview) -> Iterator[bytes]:
        """The content up to the end of ``data``, in blocks of at most 1 MiB, never more than expected."""
        source = memoryview(data)
        for start in range(0, len(source), _INPUT_BYTES):
            yield from self._inflate(source[start : start + _INPUT_BYTES])

    def finish(self) -> None:
        """Raises ValueError unless the stream ended and yielded all of its content."""
        if self._left or not self._stream.eof:
            raise ValueError("its deflate stream ends early")

    def _inflate(self, data: bytes | memoryview) -> Iterator[bytes]:
        while True:
            # Request one byte over the limit: a stream that holds more is noticed, but not unpacked.
            most = min(_OUTPUT_BYTES, self._left + 1)
            content: bytes = self._stream.decompress(data, most)
            self._left -= len(content)
            if self._left < 0:
                raise ValueError("it holds more than the manifest says")
            if self._stream.unused_data:
                raise ValueError("bytes follow the end of its deflate stream")
            yield content
            data = self._stream.unconsumed_tail
            if not data and len(content) < most:
                return
