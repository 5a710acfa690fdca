"""Write into a folder and never outside it, regardless of the names and links in it.

Every step goes from an open folder to the next one (``dir_fd``, ``O_NOFOLLOW``): a link in the path is an
error.
"""

import errno
import hashlib
import os
import secrets
import stat
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Self

from orchestrator.archive import ArchiveError, Kind, Metadata
from orchestrator.archive.mapped_memory import Buffer
from orchestrator.archive.names import printable
from orchestrator.restore.owners import Owners

_OPEN_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_OPEN_FILE = os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK
_PART = b".leitstand-part-"
_SPARSE_BLOCK = 64 << 10
# Only root may write these, and they can give rights to a program.
_XATTR_REFUSED = (
    *(errno.ENOTSUP, errno.EPERM, errno.EACCES, errno.EINVAL),
    *(errno.ERANGE, errno.E2BIG, errno.ENOSPC),  # larger than this file system takes
)
_PRIVILEGED_XATTRS = (b"security.", b"trusted.")


class Tree:
    """A folder to restore into. Paths are relative bytes, with ``/`` between their parts.

    ``exact``: others wrote there, too. Existing files are compared by content and lose extra attributes.
    """

    def __init__(self, root: Path, owners: Owners, *, exact: bool = False) -> None:
        self.owners, self.exact = owners, exact
        self._root = os.open(root, _OPEN_FOLDER)
        if not exact:
            # The folder is ours, and what its parent hands down would be inherited by all that is made in it.
            with suppress(OSError):
                os.removexattr(self._root, "system.posix_acl_default")
        self._folder: tuple[bytes, int] | None = None  # the last parent: neighbours come one after the other
        _remove_parts(self._root)
        # Where names that differ in case only are one: which path has each name. None elsewhere.
        self._taken: dict[str, bytes] | None = {} if _folds_case(self._root) else None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._leave()
        os.close(self._root)

    def has_file(self, metadata: Metadata, size: int, sha256: bytes) -> bool:
        """Whether the file is there already, as of an earlier, interrupted restore."""
        parent, name = self._parent(metadata.path)
        if self.exact:
            # Of a file with large holes the SHA-256 is of its data as packed: it is written anew.
            return not metadata.sparse and self._adopt(name, parent, metadata, (size, sha256))
        with suppress(FileNotFoundError):
            status = os.stat(name, dir_fd=parent, follow_symlinks=False)
            return (status.st_size, status.st_mtime_ns) == (size, metadata.mtime_ns)
        return False

    def _adopt(self, name: bytes, parent: int, metadata: Metadata, content: tuple[int, bytes]) -> bool:
        """Take a file as it is if it has this content. One with several names may belong to others, too."""
        try:
            file = open(name, "rb", 0, opener=lambda *_: os.open(name, _OPEN_FILE, dir_fd=parent))  # noqa: SIM115
        except OSError:  # also that of a folder
            return False
        with file:
            status = os.fstat(file.fileno())
            if not stat.S_ISREG(status.st_mode) or status.st_nlink > 1 or status.st_size != content[0]:
                return False
            if hashlib.file_digest(file, "sha256").digest() != content[1]:
                return False
            self._set_metadata(file.fileno(), metadata)
        return True

    def make_folder(self, path: bytes) -> None:
        """A folder only we may enter; its own metadata come when it is full."""
        parent, name = self._parent(path)
        if not _make_folder(parent, name) and not self.exact:
            _open_up(parent, name)

    def make_link(self, metadata: Metadata) -> None:
        """Create a symbolic link; it is never followed here."""
        parent, name = self._parent(metadata.path)
        _remove(parent, name)
        os.symlink(metadata.link, name, dir_fd=parent)
        self.owners.give(name, metadata, parent)
        self._set_xattrs(b"/proc/self/fd/%d/%s" % (parent, name), metadata, follow=False)
        os.utime(name, ns=(metadata.mtime_ns, metadata.mtime_ns), dir_fd=parent, follow_symlinks=False)

    def remove(self, path: bytes) -> None:
        """Remove what is in the place of a file that is not restored; a folder is an error."""
        parent, name = self._parent(path)
        _remove(parent, name)

    def make_hardlink(self, path: bytes, first: bytes) -> None:
        """One more name for a file that is there already."""
        parent, name = self._parent(path)
        own = os.dup(parent)
        try:
            _remove(own, name)
            first_parent, first_name = self._parent(first)
            os.link(first_name, name, src_dir_fd=first_parent, dst_dir_fd=own, follow_symlinks=False)
        finally:
            os.close(own)

    def make_node(self, metadata: Metadata) -> None:
        """A named pipe, a socket or a device node. Raises PermissionError: only root makes devices."""
        parent, name = self._parent(metadata.path)
        _remove(parent, name)
        device = metadata.device if metadata.kind is Kind.DEVICE else 0
        os.mknod(name, _node_type(metadata) | 0o600, device, dir_fd=parent)
        # Not opened for reading: that does things to a device, and a socket refuses.
        descriptor = os.open(name, os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=parent)
        try:
            self._set_metadata(f"/proc/self/fd/{descriptor}", metadata)
        finally:
            os.close(descriptor)

    @contextmanager
    def new_file(self, metadata: Metadata) -> Iterator["SparseFile"]:
        """A file to write; it gets its name, with all its metadata, only when the block ends well."""
        parent, name = self._parent(metadata.path)
        temporary = _PART + secrets.token_hex(8).encode()
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
        # In its final folder: a file system keeps the files of a folder together where they are made.
        descriptor = os.open(temporary, flags, 0o600, dir_fd=parent)
        try:
            file = SparseFile(descriptor)
            yield file
            file.finish()
            self._set_metadata(descriptor, metadata)
            os.rename(temporary, name, src_dir_fd=parent, dst_dir_fd=parent)
        except BaseException:
            with suppress(OSError):
                os.unlink(temporary, dir_fd=parent)
            raise
        finally:
            os.close(descriptor)

    def finish_folder(self, metadata: Metadata) -> None:
        """Owner, mode and times of a folder, after everything in it was written."""
        parent, name = self._parent(metadata.path)
        descriptor = os.open(name, _OPEN_FILE, dir_fd=parent)
        try:
            self._set_metadata(descriptor, metadata)
        finally:
            os.close(descriptor)

    def _set_metadata(self, target: int | str, metadata: Metadata) -> None:
        self.owners.give(target, metadata)
        os.chmod(target, self.owners.mode(metadata))  # noqa: PTH101 - a descriptor, mostly
        if self.exact:
            _drop_xattrs(target, metadata)
        self._set_xattrs(target, metadata)
        os.utime(target, ns=(metadata.mtime_ns, metadata.mtime_ns))

    def _set_xattrs(self, target: int | str | bytes, metadata: Metadata, *, follow: bool = True) -> None:
        for name, value in metadata.xattrs:
            if name.startswith(_PRIVILEGED_XATTRS) and not self.owners.may_give:
                continue
            try:
                os.setxattr(target, name, value, follow_symlinks=follow)
            except OSError as error:
                # The target's file system may have no attributes, or not this kind: the content still counts.
                if error.errno not in _XATTR_REFUSED:
                    raise
                self.owners.lost_xattrs += 1

    def _parent(self, path: bytes) -> tuple[int, bytes]:
        folder, _, name = path.rpartition(b"/")
        if name in (b"", b".", b"..") or b"\0" in path:
            raise ValueError(f"not a path of a snapshot: {path!r}")
        self._claim(path)
        if self._folder is None or self._folder[0] != folder:
            self._claim(folder)
            descriptor = self._open_folder(folder)
            self._leave()
            self._folder = (folder, descriptor)
        return self._folder[1], name

    def _claim(self, path: bytes) -> None:
        if self._taken is None:
            return
        other = self._taken.setdefault(os.fsdecode(path).casefold(), path)
        if other != path:
            raise ArchiveError(
                f"refused: {printable(path)} and {printable(other)} are one name on this file system",
                "restore to a case-sensitive file system",
            )

    def _open_folder(self, path: bytes) -> int:
        descriptor = os.dup(self._root)
        for part in path.split(b"/") if path else []:
            try:
                _make_folder(descriptor, part)
                inner = os.open(part, _OPEN_FOLDER, dir_fd=descriptor)
            finally:
                os.close(descriptor)
            descriptor = inner
        return descriptor

    def _leave(self) -> None:
        if self._folder is not None:
            os.close(self._folder[1])
            self._folder = None


class SparseFile:
    """Writes blocks in order; runs of zeros become holes."""

    def __init__(self, descriptor: int) -> None:
        self.descriptor, self.size = descriptor, 0
        self._end = 0  # of what was written; beyond it there is a hole

    def write(self, data: Buffer) -> None:
        """Take the next bytes. Raises OSError, ENOSPC among others."""
        view = memoryview(data)
        for start in range(0, len(view), _SPARSE_BLOCK):
            block = view[start : start + _SPARSE_BLOCK]
            if any(block[:64]) or block.tobytes().count(0) != len(block):
                self._write_at(block)
            self.size += len(block)

    def skip(self, length: int) -> None:
        """Leave a hole."""
        self.size += length

    def _write_at(self, block: memoryview) -> None:
        done = 0
        while done < len(block):
            done += os.pwrite(self.descriptor, block[done:], self.size + done)
        self._end = self.size + done

    def finish(self) -> None:
        """Give the file its full length, should it end in a hole."""
        if self._end < self.size:
            os.ftruncate(self.descriptor, self.size)


def _folds_case(folder: int) -> bool:
    """Whether a name is found under its capital letters, too."""
    name = _PART + b"probe-" + secrets.token_hex(4).encode()
    os.close(os.open(name, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600, dir_fd=folder))
    try:
        os.stat(name.upper(), dir_fd=folder, follow_symlinks=False)
    except FileNotFoundError:
        return False
    finally:
        os.unlink(name, dir_fd=folder)
    return True


def _make_folder(parent: int, name: bytes) -> bool:
    """Make a folder; False if something is there already."""
    if name in (b"", b".", b".."):
        raise ValueError(f"not a part of a path: {name!r}")
    with suppress(FileExistsError):
        os.mkdir(name, 0o700, dir_fd=parent)
        return True
    return False


def _open_up(parent: int, name: bytes) -> None:
    """Let us write into a folder that an earlier restore had given its own mode."""
    descriptor = os.open(name, os.O_PATH | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=parent)
    try:
        os.chmod(f"/proc/self/fd/{descriptor}", 0o700)  # noqa: PTH101 - a descriptor
    finally:
        os.close(descriptor)


def _node_type(metadata: Metadata) -> int:
    """The type as mknod(2) takes it; a device's is in its mode."""
    types = {Kind.FIFO: stat.S_IFIFO, Kind.SOCKET: stat.S_IFSOCK}
    return types.get(metadata.kind) or stat.S_IFMT(metadata.mode)


def _drop_xattrs(target: int | str, metadata: Metadata) -> None:
    """Remove what others added, but for what the system itself keeps there."""
    wanted = {name for name, _ in metadata.xattrs}
    with suppress(OSError):  # a file system without attributes
        for name in map(os.fsencode, os.listxattr(target)):
            if name not in wanted and not name.startswith(_PRIVILEGED_XATTRS):
                os.removexattr(target, name)


def _remove_parts(root: int) -> None:
    """Remove what a restore that was killed left unfinished."""
    for _, _, names, folder in os.fwalk(".", dir_fd=root):
        for name in names:
            if os.fsencode(name).startswith(_PART):
                os.unlink(name, dir_fd=folder)


def _remove(parent: int, name: bytes) -> None:
    with suppress(FileNotFoundError):
        os.unlink(name, dir_fd=parent)
