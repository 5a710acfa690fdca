"""A path's row in the manifest: JSON with whole words, defaults left out, bytes as text that comes back the same."""

import base64
from typing import Any

from orchestrator.archive.entry import FileRecord, Kind, Metadata, Method
from orchestrator.archive.names import path_of, stored_name

_NUMBERS = ("mode", "uid", "gid", "mtime_ns", "ctime_ns", "inode", "device")
_TEXTS = ("user", "group")
_SPAN = ("size", "crc32", "offset", "length")
_SHA256_BYTES = 32


def row_of(record: FileRecord) -> dict[str, Any]:
    """The row of a record."""
    metadata = record.metadata
    row: dict[str, Any] = {"path": stored_name(metadata.path), "kind": metadata.kind.value}
    for name in (*_NUMBERS, *_TEXTS):
        if value := getattr(metadata, name):
            row[name] = value
    if metadata.link:
        row["link"] = stored_name(metadata.link)
    if metadata.xattrs:
        row["xattrs"] = [[stored_name(name), base64.b64encode(value).decode()] for name, value in metadata.xattrs]
    for name in _SPAN:
        row[name] = getattr(record, name)
    row["sha256"], row["method"] = record.sha256.hex(), record.method.value
    if record.problem:
        row["problem"] = record.problem
    return row


def record_from(row: dict[str, Any]) -> FileRecord:
    """The inverse of ``row_of``; takes all of ``row``. Raises KeyError, TypeError and ValueError."""
    metadata = _metadata(row)
    size, crc32, offset, length = (_natural(row.pop(name)) for name in _SPAN)
    sha256, method = bytes.fromhex(row.pop("sha256")), Method(row.pop("method"))
    problem = _text(row.pop("problem", ""))
    if row or len(sha256) != _SHA256_BYTES:
        raise ValueError(f"not a row, or of a newer version: {sorted(row)}")
    return FileRecord(metadata, size, sha256, crc32, offset, length, method, problem)


def _metadata(row: dict[str, Any]) -> Metadata:
    numbers = {name: _whole(row.pop(name, 0)) for name in _NUMBERS}
    texts = {name: _text(row.pop(name, "")) for name in _TEXTS}
    return Metadata(
        path=path_of(_text(row.pop("path"))),
        kind=Kind(row.pop("kind")),
        link=path_of(_text(row.pop("link", ""))),
        xattrs=tuple((path_of(name), base64.b64decode(value)) for name, value in row.pop("xattrs", ())),
        **numbers,
        **texts,
    )


def _whole(value: Any) -> int:
    if type(value) is not int:
        raise TypeError("a number is expected")
    return value


def _natural(value: Any) -> int:
    if _whole(value) < 0:
        raise ValueError("a number is below zero")
    return int(value)


def _text(value: Any) -> str:
    if type(value) is not str:
        raise TypeError("a text is expected")
    return value
