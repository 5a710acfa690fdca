"""WinZip AES-256: key derivation, the little-endian counter cipher, and the MAC.

Source: "AES Encryption Information", version 1.04, of WinZip. OpenSSL counts big-endian only, so its ECB mode
encrypts the counters in slices, and the key stream is XORed with the data. Slices of 256 KiB stay in the
processor's cache, and the buffers are reused: fresh ones cost more in page faults than the cipher itself.
"""

import hashlib
import hmac
import os
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cache
from threading import Lock
from typing import cast

from Cryptodome.Util.strxor import strxor
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes

from orchestrator.archive.mapped_memory import Buffer

SALT_BYTES = 16
VERIFIER_BYTES = 2
MAC_BYTES = 10
# What AES adds to the data of an entry.
OVERHEAD = SALT_BYTES + VERIFIER_BYTES + MAC_BYTES
_KEY_BYTES = 32
_ROUNDS = 1000
_BLOCK = 16
_SLICE_BITS = 14
_SLICE_BLOCKS = 1 << _SLICE_BITS
SLICE = _SLICE_BLOCKS * _BLOCK


@dataclass(frozen=True)
class Keys:
    """Derived from password and salt: cipher key, MAC key, two bytes that reveal most wrong passwords."""

    cipher: bytes = field(repr=False)
    mac: bytes = field(repr=False)
    verifier: bytes = field(repr=False)


def derive(password: str, salt: bytes) -> Keys:
    """PBKDF2-HMAC-SHA1 with 1000 rounds, which the format prescribes: the password itself must be strong."""
    size = 2 * _KEY_BYTES + VERIFIER_BYTES
    material = hashlib.pbkdf2_hmac("sha1", password.encode(), salt, _ROUNDS, size)
    return Keys(material[:_KEY_BYTES], material[_KEY_BYTES:-VERIFIER_BYTES], material[-VERIFIER_BYTES:])


@cache
def _counters() -> tuple[bytes, list[bytes]]:
    """The counters of the first slice, and the four forms that their second bytes take in later ones."""
    first = b"".join(number.to_bytes(_BLOCK, "little") for number in range(_SLICE_BLOCKS))
    seconds = first[1::_BLOCK]
    return first, [bytes(value | top << 6 for value in seconds) for top in range(4)]


class KeyStream:
    """The key stream of one entry, slice by slice. The first block is that of counter 0, not used."""

    def __init__(self, key: bytes) -> None:
        # CTR is built from it.
        self._encryptor = Cipher(algorithms.AES(key), modes.ECB()).encryptor()  # noqa: S305
        first, self._seconds = _counters()
        self._counters = bytearray(first)
        self._stream = bytearray(SLICE + _BLOCK)
        self._view = memoryview(self._stream)[:SLICE]
        self._number = -1

    def slice(self, number: int) -> memoryview:
        """The key stream of one slice; valid until the next call."""
        if number != self._number:
            self._count_from(number)
            self._encryptor.update_into(self._counters, self._stream)
            self._number = number
        return self._view

    def _count_from(self, number: int) -> None:
        # A slice holds 2^14 counters: six bits of their second byte count within the slice, the rest is the
        # slice's number.
        self._counters[1::_BLOCK] = self._seconds[number & 3]
        for place, value in enumerate((number >> 2).to_bytes(8, "little"), start=2):
            if self._counters[place] != value:
                self._counters[place::_BLOCK] = bytes((value,)) * _SLICE_BLOCKS


def _xor(left: memoryview, right: memoryview, out: memoryview) -> None:
    # It is typed for bytes only, but takes any buffer, and ``out`` may be one of the two.
    strxor(cast(bytes, left), cast(bytes, right), out)


class CounterCipher:
    """Encrypts or decrypts any part of an entry (the operation is the same). Thread-safe."""

    def __init__(self, key: bytes) -> None:
        self._stream = KeyStream(key)
        self._lock = Lock()

    def apply(self, data: Buffer, position: int) -> bytearray:
        """Encrypts or decrypts ``data``, which is at byte ``position`` of the entry."""
        source, out = memoryview(data), bytearray(len(data))
        target, done = memoryview(out), 0
        while done < len(out):
            number, start = divmod(position + done + _BLOCK, SLICE)
            end = min(done + SLICE - start, len(out))
            with self._lock:
                key = self._stream.slice(number)[start : start + end - done]
                _xor(source[done:end], key, target[done:end])
            done = end
        return out


class Sealer:
    """Encrypts and authenticates a stream. Each has a new salt: a repeated one would make a two-time pad."""

    def __init__(self, password: str) -> None:
        salt = os.urandom(SALT_BYTES)
        keys = derive(password, salt)
        self.header = salt + keys.verifier
        self._mac = hmac.new(keys.mac, digestmod="sha1")
        self._stream = KeyStream(keys.cipher)
        self._slice = 0
        self._staged = bytearray(SLICE)
        self._view = memoryview(self._staged)
        # The first block of the first slice is counter 0, which the format does not use.
        self._start = self._end = _BLOCK

    def takes(self, data: Buffer) -> bool:
        """Take a few bytes if they do not fill a slice: the quick way for the headers of small files."""
        end = self._end + len(data)
        if end >= SLICE:
            return False
        self._view[self._end : end] = data
        self._end = end
        return True

    def pieces(self, data: Buffer) -> Iterator[memoryview]:
        """Take bytes, yield what is ready. Each piece is valid until the next one is requested."""
        source, taken = memoryview(data), 0
        while taken < len(source):
            count = min(SLICE - self._end, len(source) - taken)
            self._view[self._end : self._end + count] = source[taken : taken + count]
            self._end += count
            taken += count
            if self._end == SLICE:
                yield self._sealed()

    def finish(self) -> bytes:
        """The rest, and the MAC."""
        return bytes(self._sealed()) + self._mac.digest()[:MAC_BYTES]

    def _sealed(self) -> memoryview:
        piece = self._view[self._start : self._end]
        _xor(piece, self._stream.slice(self._slice)[self._start : self._end], piece)
        self._mac.update(piece)
        self._slice += 1
        self._start = self._end = 0
        return piece


class Checker:
    """The MAC of a stream while it is read."""

    def __init__(self, keys: Keys) -> None:
        self._mac = hmac.new(keys.mac, digestmod="sha1")

    def update(self, ciphertext: Buffer) -> None:
        self._mac.update(ciphertext)

    def matches(self, mac: bytes) -> bool:
        return hmac.compare_digest(self._mac.digest()[:MAC_BYTES], mac)
