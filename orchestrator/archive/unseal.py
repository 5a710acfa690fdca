"""Read what SealedZipFile wrote: one encrypted entry, and the bytes around it, which must match exactly."""

import struct
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor

from orchestrator.archive.aes import (
    MAC_BYTES,
    OVERHEAD,
    SALT_BYTES,
    VERIFIER_BYTES,
    Checker,
    CounterCipher,
    derive,
)
from orchestrator.archive.entry import ArchiveError, WrongPasswordError
from orchestrator.archive.sealed_zip import frame, probes

ReadRange = Callable[[int, int], bytes]

READ_BYTES = 4 << 20
_DESCRIPTOR = struct.Struct("<4sLQQ")


class SealedEntry:
    """The entry ``name`` of a sealed ZIP of ``total`` bytes; its content takes ``length`` bytes in it.

    Raises WrongPasswordError, and ArchiveError when the first bytes or the length do not match such a ZIP
    (prepended or missing bytes, AE-1, ZipCrypto, an unencrypted entry, another name).
    """

    def __init__(
        self, read_range: ReadRange, total: int, password: str, name: str, *, deflated: bool = False
    ) -> None:
        self._read_range = read_range
        self.length, self.size = _lengths(read_range, total, name, deflated)
        head, self._tail = frame(name, self.length, self.size, deflated=deflated)
        self._start = len(head) + SALT_BYTES + VERIFIER_BYTES
        prefix = read_range(0, self._start)
        if prefix[: len(head)] != head:
            raise ArchiveError(f"this is not an archive with the one entry {name!r}, or its start is damaged")
        self._keys = derive(password, prefix[len(head) : -VERIFIER_BYTES])
        if self._keys.verifier != prefix[-VERIFIER_BYTES:]:
            raise WrongPasswordError(
                "the password does not open this archive, or its first bytes are damaged",
                "are these the keys of another generation or snapshot?",
            )
        self._cipher = CounterCipher(self._keys.cipher)
        self._problems: list[str] = []

    def read(self, offset: int, length: int) -> bytearray:
        """Bytes of the content, not authenticated: the MAC covers only the whole. Short if the archive is."""
        return self._cipher.apply(self._read_range(self._start + offset, length), offset)

    def blocks(self) -> Iterator[bytearray]:
        """The whole content, not authenticated until the end: then ``problems`` says what is wrong."""
        check, position = Checker(self._keys), 0
        for data in self._ahead(READ_BYTES):
            check.update(data)
            yield self._cipher.apply(data, position)
            position += len(data)
        self._problems = list(self._wrong(check, position))

    def problems(self) -> list[str]:
        """The fault of the archive as a whole, known once ``blocks`` has ended."""
        return self._problems

    def _wrong(self, check: Checker, position: int) -> Iterator[str]:
        end = self._read_range(self._start + self.length, MAC_BYTES + len(self._tail))
        if position != self.length or len(end) != MAC_BYTES + len(self._tail):
            yield "it is shorter than it should be"
        if not check.matches(end[:MAC_BYTES]):
            yield "its MAC does not match: bytes were changed"
        if end[MAC_BYTES:] != self._tail:
            yield "the bytes after its data were changed"

    def _ahead(self, size: int) -> Iterator[bytes]:
        """All encrypted bytes in blocks; each is read while the one before it is processed."""
        starts = range(0, self.length, size)
        with ThreadPoolExecutor(1, "read-ahead") as pool:
            waiting = None
            for start in starts:
                read = pool.submit(self._read_range, self._start + start, min(size, self.length - start))
                if waiting:
                    yield waiting.result()
                waiting = read
            if waiting:
                yield waiting.result()


def _lengths(read_range: ReadRange, total: int, name: str, deflated: bool) -> tuple[int, int]:
    """The lengths of data and content, from the archive's length and, if deflated, its data descriptor."""
    for length_probe, size_probe in probes(deflated):
        head, tail = frame(name, length_probe, size_probe, deflated=deflated)
        length = total - len(head) - len(tail) - OVERHEAD
        size = length
        if deflated and length >= 0:
            size = _size_in_descriptor(read_range(len(head) + OVERHEAD + length, _DESCRIPTOR.size))
        if length >= 0 and size >= 0 and len(frame(name, length, size, deflated=deflated)[1]) == len(tail):
            return length, size
    raise ArchiveError(f"{total} bytes is not a valid length of such an archive: it was cut or extended")


def _size_in_descriptor(data: bytes) -> int:
    if len(data) != _DESCRIPTOR.size or not data.startswith(b"PK\7\x08"):
        return -1
    size: int = _DESCRIPTOR.unpack(data)[3]
    return size
