"""Temporary data of any size: in memory up to a limit, then in an unlinked file, encrypted with its own key.

So neither names nor contents reach a disk unencrypted, and memory use is bounded.
"""

import io
import os
import tempfile
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

from cryptography.hazmat.primitives.ciphers import Cipher, CipherContext, algorithms, modes

from orchestrator.archive.mapped_memory import Buffer

MEMORY_BYTES = 8 << 20
_BLOCK = 16
_READ_BYTES = 256 << 10


class CipherFile(io.RawIOBase):
    """A seekable temporary file, written once from its start, whose bytes on disk are AES-256-CTR.

    The key exists only in this object. ``folder`` is where the unlinked file is created (default: the
    system's).
    """

    def __init__(self, folder: Path | None = None) -> None:
        super().__init__()
        self._key = algorithms.AES(os.urandom(32))
        self._file: BinaryIO = tempfile.TemporaryFile(dir=folder)  # noqa: SIM115 - closed by close
        self._writer = self._cipher_at(0)
        self._reader = self._cipher_at(0)

    def readable(self) -> bool:
        return True

    def writable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def write(self, data: bytes | bytearray | memoryview) -> int:  # type: ignore[override]
        self._file.write(self._writer.update(data))
        return len(data)

    def readinto(self, buffer: memoryview) -> int:  # type: ignore[override]
        plain = self._reader.update(self._file.read(len(buffer)))
        buffer[: len(plain)] = plain
        return len(plain)

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        position = self._file.seek(offset, whence)
        self._reader = self._cipher_at(position)
        return position

    def tell(self) -> int:
        return self._file.tell()

    def close(self) -> None:
        if not self.closed:
            self._file.close()
        super().close()

    def _cipher_at(self, position: int) -> CipherContext:
        blocks, rest = divmod(position, _BLOCK)
        context = Cipher(self._key, modes.CTR(blocks.to_bytes(_BLOCK, "big"))).decryptor()
        context.update(bytes(rest))
        return context


class Spool:
    """A growing file: in memory, optionally compressed; a CipherFile once it exceeds the limit."""

    def __init__(self, memory_bytes: int = MEMORY_BYTES, *, compress: bool = False) -> None:
        self._limit = memory_bytes
        self._file: BinaryIO | CipherFile = io.BytesIO()
        self._size = 0
        self._compressor = zlib.compressobj(1) if compress else None
        self._waiting = bytearray()

    def write(self, data: Buffer) -> None:
        if self._compressor is None:
            self._put(data)
            return
        self._waiting += data
        if len(self._waiting) >= _READ_BYTES:
            self._put(self._compressor.compress(self._waiting))
            self._waiting.clear()

    def reader(self) -> BinaryIO:
        """Stop writing; returns the plain bytes as a seekable file (with ``compress``: use ``blocks``)."""
        self._file.seek(0)
        if isinstance(self._file, CipherFile):
            return io.BufferedReader(self._file, _READ_BYTES)
        return self._file

    def blocks(self) -> Iterator[bytes]:
        """Stop writing; yields what was written, in blocks."""
        plain = zlib.decompressobj() if self._compressor else None
        if self._compressor:
            self._put(self._compressor.compress(self._waiting) + self._compressor.flush())
        with self.reader() as file:
            while data := file.read(_READ_BYTES):
                yield plain.decompress(data) if plain else data

    def _put(self, data: Buffer) -> None:
        self._size += len(data)
        if self._size > self._limit and isinstance(self._file, io.BytesIO):
            memory, self._file = self._file, CipherFile()
            self._file.write(memory.getbuffer())
        self._file.write(data)
