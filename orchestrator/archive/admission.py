"""Which rows a snapshot may contain: the same rule for a run and for a restore.

Anything that a restore could not create, or that would stop it, is refused when it is read. The limits are
those of Linux: limits.h, xattr(7), mknod(2), chown(2).
"""

import os
import stat

from orchestrator.archive.entry import Kind, Metadata
from orchestrator.archive.names import is_hostile

LONGEST_PART = 255  # bytes
_LONGEST_LINK = 4095
_LONGEST_OWNER = 256  # characters
_LONGEST_XATTR, _LARGEST_XATTR = 255, 65_536
_MOST_ID = (1 << 32) - 2  # one more means: do not change it
_MOST_MAJOR, _MOST_MINOR = 1 << 12, 1 << 20
_MOST_SECONDS = 1 << 62
_LARGEST_FILE = (1 << 63) - 1
_DEVICE_TYPES = (0, stat.S_IFCHR, stat.S_IFBLK)  # old snapshots have none


def refusal(metadata: Metadata, size: int | None = 0) -> str:
    """Why this row cannot be restored; empty if it can."""
    return _of_names(metadata) or _of_numbers(metadata, size or 0) or _of_texts(metadata)


def _of_names(metadata: Metadata) -> str:
    if is_hostile(metadata.path):
        return "refused: not a path inside a folder"
    if max(map(len, metadata.path.split(b"/"))) > LONGEST_PART:
        return f"refused: a name longer than {LONGEST_PART} bytes"
    link, kind = metadata.link, metadata.kind
    if kind is Kind.HARDLINK and (is_hostile(link) or link == metadata.path):
        return "refused: a hard link to itself or to a path outside the folder"
    if kind is Kind.SYMLINK and not (0 < len(link) <= _LONGEST_LINK and b"\0" not in link):
        return "refused: a link whose target is not a valid path"
    return ""


def _of_numbers(metadata: Metadata, size: int) -> str:
    mode_bits = 0o177_777 if metadata.kind is Kind.DEVICE else 0o7777
    if metadata.mode & ~mode_bits or not 0 <= max(size, metadata.sparse) <= _LARGEST_FILE:
        return "refused: an impossible mode or size"
    if not (0 <= metadata.uid <= _MOST_ID and 0 <= metadata.gid <= _MOST_ID):
        return "refused: an impossible user or group ID"
    if abs(metadata.mtime_ns) >= _MOST_SECONDS * 1_000_000_000:
        return "refused: an impossible time"
    if metadata.kind is Kind.DEVICE and not _is_device(metadata):
        return "refused: an unknown type of device"
    return ""


def _is_device(metadata: Metadata) -> bool:
    if stat.S_IFMT(metadata.mode) not in _DEVICE_TYPES or not 0 <= metadata.device < 1 << 64:
        return False
    return os.major(metadata.device) < _MOST_MAJOR and os.minor(metadata.device) < _MOST_MINOR


def _of_texts(metadata: Metadata) -> str:
    for owner in (metadata.user, metadata.group):
        if len(owner) > _LONGEST_OWNER or "\0" in owner:
            return "refused: an impossible user or group name"
    for name, value in metadata.xattrs:
        if not 0 < len(name) <= _LONGEST_XATTR or b"\0" in name or len(value) > _LARGEST_XATTR:
            return "refused: an impossible extended attribute"
    return ""


class Descent:
    """The paths of a walk; each must be directly inside a folder that the walk is in."""

    def __init__(self) -> None:
        self._folders: list[bytes] = []  # from the root to the current folder
        self._begun = False

    def refusal(self, path: bytes, is_folder: bool) -> str:
        """Why nothing can be restored at this path; empty if something can."""
        parent, depth = path.rpartition(b"/")[0], len(self._folders)
        while depth and self._folders[depth - 1] != parent:
            depth -= 1
        if self._begun and not depth:
            return "refused: its parent is not a folder, or did not come before it"
        self._begun = True
        del self._folders[depth:]
        if is_folder:
            self._folders.append(path)
        return ""
