"""A path's row in the manifest: JSON with whole words, defaults left out, bytes as text that comes back the
same.
"""

import base64
from collections.abc import Iterable
from typing import Any

from orchestrator.archive.entry import FileRecord, Kind, Metadata, Method
from orchestrator.archive.names import path_of, stored_name

_TEXTS = ("user", "group")
_RARE = (*_TEXTS, "ctime_ns", "inode", "device")
_SHA256_BYTES = 32
_WHOLE = frozenset(
    ("mode", "uid", "gid", "mtime_ns", "ctime_ns", "inode", "device", "size", "crc32", "offset", "length")
)
_KNOWN = _WHOLE | {*_TEXTS, "path", "kind", "link", "xattrs", "sha256", "method", "problem"}


def row_of(record: FileRecord) -> dict[str, Any]:
    """The row of a record."""
    metadata = record.metadata
    row: dict[str, Any] = {
        "path": stored_name(metadata.path),
        "kind": metadata.kind.value,
        "mode": metadata.mode,
        "uid": metadata.uid,
        "gid": metadata.gid,
        "mtime_ns": metadata.mtime_ns,
        "size": record.size,
        "sha256": record.sha256.hex(),
        "crc32": record.crc32,
        "offset": record.offset,
        "length": record.length,
        "method": record.method.value,
    }
    for name in _RARE:
        if value := getattr(metadata, name):
            row[name] = value
    if metadata.link:
        row["link"] = stored_name(metadata.link)
    if metadata.xattrs:
        row["xattrs"] = [
            [stored_name(name), base64.b64encode(value).decode()] for name, value in metadata.xattrs
        ]
    if record.problem:
        row["problem"] = record.problem
    return row


def record_from(row: dict[str, Any]) -> FileRecord:
    """The inverse of ``row_of``. Raises KeyError, TypeError and ValueError for what it could not have
    written.
    """
    get = row.get
    metadata = Metadata(
        path=path_of(row["path"]),
        kind=Kind(row["kind"]),
        mode=row["mode"],
        uid=row["uid"],
        gid=row["gid"],
        user=get("user", ""),
        group=get("group", ""),
        mtime_ns=row["mtime_ns"],
        link=path_of(get("link", "")),
        xattrs=_xattrs(get("xattrs", ())),
        ctime_ns=get("ctime_ns", 0),
        inode=get("inode", 0),
        device=get("device", 0),
    )
    size, crc32, offset, length = row["size"], row["crc32"], row["offset"], row["length"]
    sha256, problem = bytes.fromhex(row["sha256"]), get("problem", "")
    _check(row, (metadata.user, metadata.group, problem))
    if min(size, crc32, offset, length) < 0 or crc32 >= 1 << 32 or len(sha256) != _SHA256_BYTES:
        raise ValueError("a number or a digest is not one")
    return FileRecord(metadata, size, sha256, crc32, offset, length, Method(row["method"]), problem)


def _check(row: dict[str, Any], texts: tuple[Any, ...]) -> None:
    if not row.keys() <= _KNOWN:
        raise ValueError(f"unknown: {sorted(row.keys() - _KNOWN)}")
    if set(map(type, map(row.get, row.keys() & _WHOLE))) != {int} or set(map(type, texts)) != {str}:
        raise TypeError("a number or a text is of another type")


def _xattrs(pairs: Iterable[Any]) -> tuple[tuple[bytes, bytes], ...]:
    return tuple((path_of(name), base64.b64decode(value)) for name, value in pairs)
