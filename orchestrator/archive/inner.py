"""The records of the inner ZIP, as bytes: a pure function of an entry's metadata, sizes and position.

Source: PKWARE APPNOTE 6.3.10, Info-ZIP's extra fields 0x5455 and 0x7875. The reader builds the same bytes
from the manifest and compares them, so any difference between the contents is found.
"""

import stat
import struct
import time
from dataclasses import dataclass
from functools import lru_cache

from orchestrator.archive.entry import Kind, Metadata, Method
from orchestrator.archive.names import link_to, stored_name
from orchestrator.archive.sparse import SUFFIX

LOCAL = struct.Struct("<4s5H3L2H")
CENTRAL = struct.Struct("<4s6H3L5H2L")
DESCRIPTOR = struct.Struct("<4sLQQ")
_ZIP64_LOCAL = struct.Struct("<2H2Q")
_TIME = struct.Struct("<2HBl")
_OWNER = struct.Struct("<2H2BLBL")
_END64 = struct.Struct("<4sQ2H2L4Q")
_LOCATOR = struct.Struct("<4sLQL")
_END = struct.Struct("<4s4H2LH")

_METHODS = {Method.STORE: 0, Method.DEFLATE: 8}
_FORMATS = {Kind.DIRECTORY: stat.S_IFDIR, Kind.SYMLINK: stat.S_IFLNK, Kind.HARDLINK: stat.S_IFLNK}
# Kinds that are in the manifest only: no ZIP program creates them, and some create files instead.
UNSTORED = frozenset({Kind.FIFO, Kind.SOCKET, Kind.DEVICE})

_UNIX = 3 << 8
_ZIP64_VERSION, _VERSION = 45, 20
_UTF8_FLAG, _DESCRIPTOR_FLAG = 1 << 11, 1 << 3
_MAX16, _MAX32 = 0xFFFF, 0xFFFFFFFF
_FOLDER_ATTRIBUTE = 0x10
# The largest size of an entry that is not a stream.
LARGEST_SMALL = _MAX32 - 1


@dataclass(slots=True)
class HeaderFields:
    """Where an entry's header starts, its contents, and whether its sizes follow the data (a stream)."""

    header: int
    method: Method
    crc32: int
    length: int
    size: int
    streamed: bool


@dataclass(slots=True)
class Common:
    """The part that both headers of an entry share; built once for each, as there may be a million."""

    name: bytes
    flags: int
    stamp: tuple[int, int]
    attributes: int
    extra: bytes


def common(metadata: Metadata) -> Common:
    """The part of the headers that depends on the metadata only."""
    name = stored_name(metadata.path)
    if metadata.sparse:
        name += SUFFIX
    encoded = (name + "/" if metadata.kind is Kind.DIRECTORY else name).encode()
    seconds = metadata.mtime_ns // 1_000_000_000
    mode = _FORMATS.get(metadata.kind, stat.S_IFREG) | metadata.mode & 0o7777
    attributes = mode << 16 | (_FOLDER_ATTRIBUTE if metadata.kind is Kind.DIRECTORY else 0)
    flags = 0 if encoded.isascii() else _UTF8_FLAG
    return Common(encoded, flags, _dos_time(seconds), attributes, _extra(metadata, seconds))


def fixed_content(metadata: Metadata) -> bytes | None:
    """The content, where the metadata determines it: nothing, or the text of a link; None for a file."""
    match metadata.kind:
        case Kind.FILE:
            return None
        case Kind.SYMLINK:
            return metadata.link
        case Kind.HARDLINK:
            return link_to(metadata.path, metadata.link)
        case _:
            return b""


def local_header(both: Common, fields: HeaderFields) -> bytes:
    """The header before an entry's data; for a stream, the sizes are in the descriptor."""
    name, flags, extra = both.name, both.flags, both.extra
    version, crc, length, size = _VERSION, fields.crc32, fields.length, fields.size
    if fields.streamed:
        version, flags, crc, length, size = _ZIP64_VERSION, flags | _DESCRIPTOR_FLAG, 0, _MAX32, _MAX32
        extra = _ZIP64_LOCAL.pack(1, 16, 0, 0) + extra
    head = (b"PK\3\4", version, flags, _METHODS[fields.method], *both.stamp, crc, length, size)
    return LOCAL.pack(*head, len(name), len(extra)) + name + extra


def small_header_length(both: Common) -> int:
    """The length of ``local_header`` for an entry that is not a stream."""
    return LOCAL.size + len(both.name) + len(both.extra)


def descriptor(fields: HeaderFields) -> bytes:
    """The descriptor after the data of a stream."""
    return DESCRIPTOR.pack(b"PK\7\x08", fields.crc32, fields.length, fields.size) if fields.streamed else b""


def central_header(both: Common, fields: HeaderFields) -> bytes:
    """The entry's row in the central directory."""
    version, flags, extra = _VERSION, both.flags, both.extra
    length, size, header = fields.length, fields.size, fields.header
    if fields.streamed:
        version, flags = _ZIP64_VERSION, flags | _DESCRIPTOR_FLAG
    if max(size, length, header) >= _MAX32:
        large = [value for value in (size, length, header) if value >= _MAX32]
        extra = struct.pack(f"<2H{len(large)}Q", 1, 8 * len(large), *large) + extra
        version = _ZIP64_VERSION
        length, size, header = min(length, _MAX32), min(size, _MAX32), min(header, _MAX32)
    head = (
        b"PK\1\2",
        _UNIX | _ZIP64_VERSION,
        version,
        flags,
        _METHODS[fields.method],
        *both.stamp,
        fields.crc32,
    )
    tail = (len(both.name), len(extra), 0, 0, 0, both.attributes, header)
    return CENTRAL.pack(*head, length, size, *tail) + both.name + extra


def end_records(entries: int, start: int, length: int) -> bytes:
    """The end records after a central directory of ``entries`` rows, ``length`` bytes from ``start``."""
    counts = (min(entries, _MAX16), min(entries, _MAX16))
    end = _END.pack(b"PK\5\6", 0, 0, *counts, min(length, _MAX32), min(start, _MAX32), 0)
    if entries < _MAX16 and length < _MAX32 and start < _MAX32:
        return end
    large = (entries, entries, length, start)
    end64 = _END64.pack(b"PK\6\6", 44, _UNIX | _ZIP64_VERSION, _ZIP64_VERSION, 0, 0, *large)
    return end64 + _LOCATOR.pack(b"PK\6\7", 0, start + length, 1) + end


def _extra(metadata: Metadata, seconds: int) -> bytes:
    """Modification time and owner, if the fields can hold them; the manifest always can."""
    extra = b""
    if -(1 << 31) <= seconds < 1 << 31:
        extra = _TIME.pack(0x5455, 5, 1, seconds)
    if 0 <= metadata.uid <= _MAX32 and 0 <= metadata.gid <= _MAX32:
        extra += _OWNER.pack(0x7875, 11, 1, 4, metadata.uid, 4, metadata.gid)
    return extra


@lru_cache(maxsize=1024)
def _dos_time(seconds: int) -> tuple[int, int]:
    """Time and date in DOS format, in UTC, within the years that it can express."""
    # 315532800 is the start of 1980, 4354819198 the end of 2107.
    moment = time.gmtime(min(max(seconds, 315_532_800), 4_354_819_198))
    clock = moment.tm_hour << 11 | moment.tm_min << 5 | moment.tm_sec // 2
    return clock, (moment.tm_year - 1980) << 9 | moment.tm_mon << 5 | moment.tm_mday
