"""A path's row in the manifest: JSON with full words, without defaults, bytes encoded reversibly."""

import base64
import json
from collections.abc import Iterable, Mapping
from json.encoder import encode_basestring_ascii as quoted
from operator import itemgetter
from typing import Any

from orchestrator.archive.entry import FileRecord, Kind, Metadata, Method
from orchestrator.archive.names import path_of, stored_name

# The fields of every row, formatted by hand: for a million rows json's encoder takes ten seconds.
_ROW = (
    '{"path":%s,"kind":"%s","mode":%d,"uid":%d,"gid":%d,"mtime_ns":%d,"size":%d,"sha256":"%s","crc32":%d,'
    '"offset":%d,"length":%d,"method":"%s"'
)
_START = b'{"path":"'
_NUMBERS = ("mode", "uid", "gid", "mtime_ns", "size", "crc32", "offset", "length")
_RARE_NUMBERS = ("ctime_ns", "inode", "device", "sparse")
_RARE_TEXTS = ("user", "group", "problem")
_KNOWN = frozenset(
    (*_NUMBERS, *_RARE_NUMBERS, *_RARE_TEXTS, "path", "kind", "link", "xattrs", "sha256", "method")
)
_KINDS = {kind.value: kind for kind in Kind}
_METHODS = {method.value: method for method in Method}
_SHA256_BYTES = 32

_numbers_in = itemgetter(*_NUMBERS)


def row_of(record: FileRecord, more: Mapping[str, object]) -> str:
    metadata = record.metadata
    row = _ROW % (
        quoted(stored_name(metadata.path)),
        metadata.kind,
        metadata.mode,
        metadata.uid,
        metadata.gid,
        metadata.mtime_ns,
        record.size,
        record.sha256.hex(),
        record.crc32,
        record.offset,
        record.length,
        record.method,
    )
    return row + _rare(record, metadata) + ("".join(map(_member, more.items())) if more else "") + "}"


def _rare(record: FileRecord, metadata: Metadata) -> str:
    """The fields that only some rows have."""
    text = ""
    if metadata.user:
        text += f',"user":{quoted(metadata.user)}'
    if metadata.group:
        text += f',"group":{quoted(metadata.group)}'
    if metadata.ctime_ns:
        text += f',"ctime_ns":{metadata.ctime_ns}'
    if metadata.inode:
        text += f',"inode":{metadata.inode}'
    if metadata.device:
        text += f',"device":{metadata.device}'
    if metadata.sparse:
        text += f',"sparse":{metadata.sparse}'
    if metadata.link or metadata.xattrs or record.problem:
        text += "".join(map(_member, _rarest(record, metadata)))
    return text


def _rarest(record: FileRecord, metadata: Metadata) -> Iterable[tuple[str, object]]:
    if metadata.link:
        yield "link", stored_name(metadata.link)
    if metadata.xattrs:
        xattrs = [[stored_name(name), base64.b64encode(value).decode()] for name, value in metadata.xattrs]
        yield "xattrs", xattrs
    if record.problem:
        yield "problem", record.problem


def _member(pair: tuple[str, object]) -> str:
    name, value = pair
    return f',"{name}":{json.dumps(value, separators=(",", ":"))}'


def record_from(row: dict[str, Any]) -> FileRecord:
    """The inverse of ``row_of``, parsed. Raises KeyError, TypeError and ValueError for other texts."""
    get = row.get
    numbers = _numbers_in(row)
    rare = get("ctime_ns", 0), get("inode", 0), get("device", 0), get("sparse", 0)
    texts = get("user", ""), get("group", ""), get("problem", "")
    if not row.keys() <= _KNOWN:
        raise ValueError(f"unknown: {sorted(row.keys() - _KNOWN)}")
    if {*map(type, numbers), *map(type, rare)} != {int} or {*map(type, texts)} != {str}:
        raise TypeError("a number or a text has the wrong type")
    mode, uid, gid, mtime_ns, size, crc32, offset, length = numbers
    sha256 = bytes.fromhex(row["sha256"])
    if min(size, crc32, offset, length, rare[3]) < 0 or crc32 >= 1 << 32 or len(sha256) != _SHA256_BYTES:
        raise ValueError("a number or a digest is invalid")
    metadata = Metadata(
        path=path_of(row["path"]),
        kind=_KINDS[row["kind"]],
        mode=mode,
        uid=uid,
        gid=gid,
        user=texts[0],
        group=texts[1],
        mtime_ns=mtime_ns,
        link=path_of(get("link", "")),
        xattrs=_xattrs(get("xattrs", ())),
        ctime_ns=rare[0],
        inode=rare[1],
        device=rare[2],
        sparse=rare[3],
    )
    return FileRecord(metadata, size, sha256, crc32, offset, length, _METHODS[row["method"]], texts[2])


def path_in(line: bytes) -> bytes:
    """The path of a row as written in the manifest, without parsing the rest if ``row_of`` wrote it.

    Raises KeyError, TypeError and ValueError.
    """
    if line.startswith(_START):
        path = line[len(_START) : line.find(b'"', len(_START))]
        if b"\\" not in path and b"%" not in path:
            return path
    return path_of(json.loads(line)["path"])


def _xattrs(pairs: Iterable[Any]) -> tuple[tuple[bytes, bytes], ...]:
    return tuple((path_of(name), base64.b64decode(value)) for name, value in pairs)
