"""Find duplicates among very many paths, in 16 bytes for each."""

import hashlib
from collections.abc import Iterator

_DIGEST_BYTES = 15
_PARTS = 256


class Distinct:
    """Takes paths and reports at the end whether one was repeated.

    Keeps a digest of each, sorted into parts by its first byte, so that only one part at a time becomes
    objects.
    """

    def __init__(self) -> None:
        self._parts = [bytearray() for _ in range(_PARTS)]

    def add(self, path: bytes) -> None:
        digest = hashlib.blake2b(path, digest_size=_DIGEST_BYTES + 1).digest()
        self._parts[digest[0]] += digest[1:]

    @property
    def repeated(self) -> bool:
        return any(len(set(digests)) != len(digests) for digests in map(list, map(_digests, self._parts)))


def _digests(part: bytearray) -> Iterator[bytes]:
    return (bytes(part[start : start + _DIGEST_BYTES]) for start in range(0, len(part), _DIGEST_BYTES))
