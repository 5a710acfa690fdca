"""A ZIP of one AES-256 (AE-2) entry, written through pyzipper to a sink that cannot seek.

pyzipper writes the format; this subclass corrects what is unsafe in it: extra fields were lost, an error left
a well-formed archive of half a dump, entries could be written unencrypted, a 64-bit stream had the wrong
version and sizes.
"""

from collections.abc import Callable
from typing import Any

from pyzipper import WZ_AES, ZIP_DEFLATED, ZIP_STORED, AESZipFile
from pyzipper.zipfile import _ZipWriteFile
from pyzipper.zipfile_aes import WZ_AES_V2, WZ_AES_VENDOR_ID, AESZipInfo

from orchestrator.archive.aes import OVERHEAD, Sealer
from orchestrator.archive.deflate import Compressor, compressor
from orchestrator.archive.entry import ArchiveError
from orchestrator.archive.mapped_memory import Buffer

Sink = Callable[[Buffer], object]

_ENCRYPTED_FLAG, _DESCRIPTOR_FLAG = 1, 1 << 3
_AES_256 = 3
# "Version needed to extract" 5.1: AES.
_AES_VERSION = 51
_ZIP64_FIELD = b"\x01\x00"
_MAX32 = 0xFFFFFFFF
_LEVEL = 2
# From here on pyzipper uses 64-bit fields.
_ZIP64_LIMIT = (1 << 31) - 1


class SealedZipInfo(AESZipInfo):  # type: ignore[misc]  # pyzipper has no types
    """An entry's headers, with its own extra fields and with the sizes and version of a 64-bit stream."""

    __slots__ = ()

    def encode_local_header(self, *, extra: bytes, extract_version: int, **fields: Any) -> bytes:
        if extra.startswith(_ZIP64_FIELD) and self.use_datadescripter:
            fields["file_size"] = fields["compress_size"] = _MAX32
        version = max(extract_version, _AES_VERSION)
        header: bytes = super().encode_local_header(
            extra=extra + self.extra, extract_version=version, **fields
        )
        return header

    def encode_central_directory(
        self, *, extra_data: bytes, extract_version: int, **fields: Any
    ) -> tuple[bytes, bytes, bytes]:
        version = max(extract_version, _AES_VERSION)
        parts: tuple[bytes, bytes, bytes] = super().encode_central_directory(
            extra_data=extra_data + self.extra, extract_version=version, **fields
        )
        return parts


class _Encrypter:
    """pyzipper's encrypter interface over a Sealer."""

    def __init__(self, password: str) -> None:
        self.sealer = Sealer(password)

    def update_zipinfo(self, info: SealedZipInfo) -> None:
        _mark_as_aes(info)

    def finalize_zipinfo(self, info: SealedZipInfo) -> None:
        """Does nothing: the sink cannot seek back to the headers."""

    def encryption_header(self) -> bytes:
        return self.sealer.header


class SealedEntryFile(_ZipWriteFile):  # type: ignore[misc]
    """The open entry. If an error ends it, or it is never closed, the archive is invalid, not half a dump."""

    def __init__(
        self, archive: "SealedZipFile", info: SealedZipInfo, zip64: bool, encrypter: _Encrypter
    ) -> None:
        super().__init__(archive, info, zip64, encrypter)
        if info.compress_type == ZIP_DEFLATED:
            self._compressor: Compressor | None = compressor(_LEVEL)

    def write(self, data: Buffer) -> int:
        if self.closed or self._zipfile.aborted:
            raise ArchiveError("the archive was closed or aborted")
        self._file_size += len(data)
        self._seal(self._compressor.compress(data) if self._compressor else data)
        return len(data)

    def close(self) -> None:
        if self.closed or self._zipfile.aborted:
            return
        if self._compressor:
            self._seal(self._compressor.flush())
            self._compressor = None
        self._put(self._encrypter.sealer.finish())
        # The rest of pyzipper's close calls the encrypter again, for nothing.
        self._encrypter.encrypt = self._encrypter.flush = lambda *_: b""
        super().close()

    def __exit__(self, kind: object, error: object, trace: object) -> None:
        if kind is not None:
            self._zipfile.abort()
        self.close()

    def __del__(self) -> None:
        # Never closed means incomplete: Python would close it, and so make it look finished.
        if not self.closed:
            self._zipfile.abort()

    def _seal(self, data: Buffer) -> None:
        if self._encrypter.sealer.takes(data):
            return
        for piece in self._encrypter.sealer.pieces(data):
            self._put(piece)

    def _put(self, data: Buffer) -> None:
        self._compress_size += len(data)
        self._fileobj.write(data)


class _Output:
    """A sink with the two methods that pyzipper calls."""

    def __init__(self, sink: Sink) -> None:
        self._sink = sink

    def write(self, data: Buffer) -> int:
        self._sink(data)
        return len(data)

    def flush(self) -> None:
        """Does nothing: there is no buffer."""


class SealedZipFile(AESZipFile):  # type: ignore[misc]
    """Requires a password, and refuses to finish an archive that has an unencrypted entry.

    Call ``start``, write to what it returns and close that, then call ``close``; or ``abort``.
    """

    zipinfo_cls = SealedZipInfo
    zipwritefile_cls = SealedEntryFile

    def __init__(self, sink: Sink, password: str) -> None:
        if not password:
            raise ArchiveError("an archive needs a password")
        self.aborted = False
        self._password = password
        super().__init__(_Output(sink), "w", encryption=WZ_AES)
        self.setpassword(password.encode())

    def get_encrypter(self) -> _Encrypter:
        return _Encrypter(self._password)

    def start(self, name: str, *, deflated: bool = False, extra: bytes = b"") -> SealedEntryFile:
        """Open an entry of unknown size for writing."""
        info = _info(name, deflated)
        info.extra = extra
        entry: SealedEntryFile = self.open(info, "w", force_zip64=True)
        return entry

    def write(self, *_arguments: Any, **_options: Any) -> None:
        """Refused: pyzipper's method follows links and may write unencrypted entries."""
        raise NotImplementedError("use start")

    writestr = extract = extractall = write

    def abort(self) -> None:
        """Abandon the archive: without its central directory no program opens it."""
        self.aborted = True
        self._writing = False
        self.fp = None

    def close(self) -> None:
        """Write the central directory, after checking that every entry is encrypted."""
        if self.fp is None:
            return
        plain = [info.filename for info in self.filelist if not _is_sealed(info)]
        if plain or self._writing:
            self.abort()
            raise ArchiveError(f"refused to finish an archive with an open or unencrypted entry: {plain}")
        super().close()

    def __exit__(self, kind: object, error: object, trace: object) -> None:
        if kind is None:
            self.close()
        else:
            self.abort()

    def __del__(self) -> None:
        self.abort()


class _Frame(SealedZipFile):
    """Writes no entry, only the bytes around one."""

    def __init__(self) -> None:
        self.parts: list[bytes] = []
        super().__init__(lambda data: self.parts.append(bytes(data)), "none is used")

    def tail(self, info: SealedZipInfo, start: int) -> bytes:
        self.parts.clear()
        self.filelist = [info]
        # The counting wrapper that pyzipper puts around an output without a position.
        output: Any = self.fp
        output.offset = self.start_dir = start
        self._write_end_record()
        return b"".join(self.parts)


def frame(name: str, length: int, size: int, *, deflated: bool = False) -> tuple[bytes, bytes]:
    """The bytes that SealedZipFile writes before and after the salt, verifier, data and MAC of its one entry.

    ``length`` is that of the encrypted data alone, ``size`` that of the content.
    """
    info = _info(name, deflated)
    info.flag_bits = _ENCRYPTED_FLAG | _DESCRIPTOR_FLAG
    info.external_attr, info.header_offset, info.CRC = 0o600 << 16, 0, 0
    info.compress_size, info.file_size = length + OVERHEAD, size
    _mark_as_aes(info)
    head, descriptor = info.FileHeader(True), info.datadescripter(True)
    start = len(head) + info.compress_size + len(descriptor)
    return head, descriptor + _Frame().tail(info, start)


def probes(deflated: bool) -> list[tuple[int, int]]:
    """Lengths and sizes that produce every possible length of ``frame``.

    Around 2 GiB its fields become 64 bits wide one after another.
    """
    lengths = (0, _ZIP64_LIMIT - OVERHEAD - 1, _ZIP64_LIMIT - OVERHEAD + 1, _ZIP64_LIMIT + 1)
    sizes = (0, _ZIP64_LIMIT + 1)
    return [(length, size) for length in lengths for size in (sizes if deflated else (length,))]


def _info(name: str, deflated: bool) -> SealedZipInfo:
    info = SealedZipInfo(name)
    info.compress_type = ZIP_DEFLATED if deflated else ZIP_STORED
    return info


def _mark_as_aes(info: SealedZipInfo) -> None:
    info.wz_aes_vendor_id, info.wz_aes_version, info.wz_aes_strength = WZ_AES_VENDOR_ID, WZ_AES_V2, _AES_256


def _is_sealed(info: SealedZipInfo) -> bool:
    return bool(info.flag_bits & _ENCRYPTED_FLAG) and info.wz_aes_version == WZ_AES_V2
