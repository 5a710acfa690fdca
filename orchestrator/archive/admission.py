"""What a row of a snapshot may be: one rule, for a run as for a restore.

What no restore could make, or what would stop one, is refused when it comes in. Numbers are those of Linux:
limits.h, xattr(7), mknod(2), chown(2).
"""

import os
import stat

from orchestrator.archive.entry import Kind, Metadata
from orchestrator.archive.names import is_hostile

LONGEST_PART = 255  # bytes
_LONGEST_LINK = 4095
_LONGEST_OWNER = 256  # letters
_LONGEST_XATTR, _LARGEST_XATTR = 255, 65_536
_MOST_ID = (1 << 32) - 2  # one more means: leave it as it is
_MOST_MAJOR, _MOST_MINOR = 1 << 12, 1 << 20
_MOST_SECONDS = 1 << 62
_LARGEST_FILE = (1 << 63) - 1
_DEVICE_TYPES = (0, stat.S_IFCHR, stat.S_IFBLK)  # old snapshots have none


def refusal(metadata: Metadata, size: int | None = 0) -> str:
    """Why nothing could be made of this row; empty if it is good."""
    return _of_names(metadata) or _of_numbers(metadata, size or 0) or _of_texts(metadata)


def _of_names(metadata: Metadata) -> str:
    if is_hostile(metadata.path):
        return "refused: not a path inside a folder"
    if max(map(len, metadata.path.split(b"/"))) > LONGEST_PART:
        return f"refused: a name of more than {LONGEST_PART} bytes"
    link, kind = metadata.link, metadata.kind
    if kind is Kind.HARDLINK and (is_hostile(link) or link == metadata.path):
        return "refused: another name of what is no path inside a folder, or of itself"
    if kind is Kind.SYMLINK and not (0 < len(link) <= _LONGEST_LINK and b"\0" not in link):
        return "refused: a link that leads to no possible path"
    return ""


def _of_numbers(metadata: Metadata, size: int) -> str:
    mode_bits = 0o177_777 if metadata.kind is Kind.DEVICE else 0o7777
    if metadata.mode & ~mode_bits or not 0 <= max(size, metadata.sparse) <= _LARGEST_FILE:
        return "refused: a mode or size that no file has"
    if not (0 <= metadata.uid <= _MOST_ID and 0 <= metadata.gid <= _MOST_ID):
        return "refused: a number of a user or group that no file has"
    if abs(metadata.mtime_ns) >= _MOST_SECONDS * 1_000_000_000:
        return "refused: a time that no file has"
    if metadata.kind is Kind.DEVICE and not _is_device(metadata):
        return "refused: a device that Linux does not know"
    return ""


def _is_device(metadata: Metadata) -> bool:
    if stat.S_IFMT(metadata.mode) not in _DEVICE_TYPES or not 0 <= metadata.device < 1 << 64:
        return False
    return os.major(metadata.device) < _MOST_MAJOR and os.minor(metadata.device) < _MOST_MINOR


def _of_texts(metadata: Metadata) -> str:
    for owner in (metadata.user, metadata.group):
        if len(owner) > _LONGEST_OWNER or "\0" in owner:
            return "refused: a name of a user or group that no system has"
    for name, value in metadata.xattrs:
        if not 0 < len(name) <= _LONGEST_XATTR or b"\0" in name or len(value) > _LARGEST_XATTR:
            return "refused: an extended attribute that no file has"
    return ""


class Descent:
    """Paths of a walk, each of which must lie right below a folder that the walk is in."""

    def __init__(self) -> None:
        self._folders: list[bytes] = []  # the way down to where the walk is
        self._begun = False

    def refusal(self, path: bytes, is_folder: bool) -> str:
        """Why nothing can be made at this place; empty if something can."""
        parent, depth = path.rpartition(b"/")[0], len(self._folders)
        while depth and self._folders[depth - 1] != parent:
            depth -= 1
        if self._begun and not depth:
            return "refused: what it lies in is no folder, or did not come before it"
        self._begun = True
        del self._folders[depth:]
        if is_folder:
            self._folders.append(path)
        return ""
