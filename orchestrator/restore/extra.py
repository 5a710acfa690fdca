"""Files that a folder has and a snapshot does not: find them, remove them.

Every step goes from an open folder to the next (``dir_fd``, ``O_NOFOLLOW``), so no link is followed. What is
mounted below the folder is neither looked into nor removed.
"""

import os
import stat
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from hashlib import blake2b
from pathlib import Path

from orchestrator.archive import Kind
from orchestrator.repository.manifest import ManifestReader

_OPEN_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_DIGEST_BYTES = 12
_NOT_OURS = b"lost+found"


class Known:
    """The paths of a snapshot: a short digest of each, so that a million fit into memory."""

    def __init__(self, manifest: ManifestReader) -> None:
        self._folders: set[bytes] = set()
        self._others: set[bytes] = set()
        self.tops: set[bytes] = set()
        for row in manifest.rows():
            path = row.record.path
            (self._folders if row.record.metadata.kind is Kind.DIRECTORY else self._others).add(_digest(path))
            parent = path.rpartition(b"/")[0]
            # A snapshot may begin deeper than its first folder: what leads there is known, too.
            while parent and _digest(parent) not in self._folders:
                self._folders.add(_digest(parent))
                parent = parent.rpartition(b"/")[0]
            self.tops.add(path.partition(b"/")[0])
        self._unread = {_digest(problem.path) for problem in manifest.problems()}

    def is_folder(self, path: bytes) -> bool:
        return _digest(path) in self._folders

    def lacks(self, path: bytes, is_folder: bool) -> bool:
        """Whether the run found it, or what is in it, and could not read that."""
        return _digest(path) in self._unread and (is_folder or not self.holds(path))

    def holds(self, path: bytes) -> bool:
        return _digest(path) in self._others or self.is_folder(path)


def _digest(path: bytes) -> bytes:
    return blake2b(path, digest_size=_DIGEST_BYTES).digest()


@dataclass(frozen=True)
class Extra:
    """A path that the snapshot does not have, with all that is in it.

    ``in_the_way``: the snapshot has the name, but a folder in place of something else or the other way round.
    ``lacked``: it was there when the snapshot was made, which could not read it; so it is not to be removed.
    """

    path: bytes
    folder: bool
    in_the_way: bool
    lacked: bool = False


def find_extra(root: Path, known: Known) -> Iterator[Extra]:
    """The paths to remove, in the order of names. Raises OSError."""
    top = os.open(root, _OPEN_FOLDER)
    mount = _mount(top)
    stack = [(top, b"", _names(top))]
    try:
        while stack:
            folder, path, names = stack[-1]
            if not names:
                os.close(stack.pop()[0])
                continue
            name = names.pop()
            inner = path + b"/" + name if path else name
            if inner == _NOT_OURS:
                continue
            is_folder = _is_folder(folder, name)
            if known.lacks(inner, is_folder):
                yield Extra(inner, is_folder, in_the_way=False, lacked=True)
                continue
            if known.holds(inner) and known.is_folder(inner) == is_folder:
                if is_folder and (descriptor := _enter(folder, name, mount)) is not None:
                    stack.append((descriptor, inner, _names(descriptor)))
                continue
            yield Extra(inner, is_folder, in_the_way=known.holds(inner))
    finally:
        for descriptor, *_ in stack:
            os.close(descriptor)


def remove_extra(root: Path, extra: Extra) -> Iterator[bytes]:
    """Remove it; the paths that stay, as something is mounted there. Raises OSError."""
    folder, _, name = extra.path.rpartition(b"/")
    descriptor = os.open(root, _OPEN_FOLDER)
    try:
        mount = _mount(descriptor)
        for part in folder.split(b"/") if folder else []:
            inner = os.open(part, _OPEN_FOLDER, dir_fd=descriptor)
            os.close(descriptor)
            descriptor = inner
        if extra.folder:
            yield from _remove_folder(descriptor, name, extra.path, mount)
        else:
            os.unlink(name, dir_fd=descriptor)
    finally:
        os.close(descriptor)


def _remove_folder(parent: int, name: bytes, path: bytes, mount: bytes) -> Iterator[bytes]:
    descriptor = _enter(parent, name, mount)
    if descriptor is None:
        yield path
        return
    stays = False
    try:
        for each in _names(descriptor):
            if _is_folder(descriptor, each):
                for left in _remove_folder(descriptor, each, path + b"/" + each, mount):
                    stays = True
                    yield left
            else:
                os.unlink(each, dir_fd=descriptor)
    finally:
        os.close(descriptor)
    if not stays:
        os.rmdir(name, dir_fd=parent)


def _enter(parent: int, name: bytes, mount: bytes) -> int | None:
    """The folder, opened; None if something else is mounted there."""
    descriptor = os.open(name, _OPEN_FOLDER, dir_fd=parent)
    if _mount(descriptor) == mount:
        return descriptor
    os.close(descriptor)
    return None


def _mount(descriptor: int) -> bytes:
    """Which mount an open folder is on: the device would not tell a bind mount of the same file system.

    Source: proc(5), /proc/pid/fdinfo.
    """
    lines = Path(f"/proc/self/fdinfo/{descriptor}").read_bytes().splitlines()
    return next(line for line in lines if line.startswith(b"mnt_id:"))


def _names(folder: int) -> list[bytes]:
    """Names in the folder, the last one first."""
    return sorted(map(os.fsencode, os.listdir(folder)), reverse=True)


def _is_folder(folder: int, name: bytes) -> bool:
    return stat.S_ISDIR(os.stat(name, dir_fd=folder, follow_symlinks=False).st_mode)


_MARK = "user.leitstand.restored"


def mark(target: Path, job: str) -> None:
    """Note on a folder which job was restored into it, where its file system can hold such a note."""
    with suppress(OSError):
        os.setxattr(target, _MARK, job.encode())


def has_mark(target: Path, job: str) -> bool:
    """Whether an earlier restore of the same job made this folder what it is."""
    with suppress(OSError):
        return os.getxattr(target, _MARK) == job.encode()
    return False
