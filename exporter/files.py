"""Read the kernel's small files quickly, bounded, and never outside their root.

One openat2(2) per file makes the kernel itself keep links inside the root (RESOLVE_IN_ROOT, Linux 5.6).
Where the call is refused (an old kernel, a strict sandbox), the slower walk of exporter.tree resolves the
links instead. On the running host no link leads outside, and a plain open takes half the time.
"""

import ctypes
import errno
import os
from collections.abc import Callable
from pathlib import Path

from exporter.skipped import OUT_OF_RANGE, Skipped, in_range
from exporter.tree import TooLarge, Tree

DEFAULT_LIMIT = 8 * 1024 * 1024  # bytes; the largest real one is /proc/net/tcp or mountinfo of a huge host
ATTRIBUTE_LIMIT = 4096  # bytes; sysfs returns at most one page
MAXIMUM_ENTRIES = 200_000
_CHUNK = 65536

_OPENAT2 = 437  # the same number on every architecture, as for all system calls since Linux 5.1
_RESOLVE = 0x02 | 0x10  # RESOLVE_NO_MAGICLINKS, RESOLVE_IN_ROOT
_FLAGS = os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK  # a FIFO must not block a scrape
_RUNNING_HOST = ("/", "/proc", "/sys")
_RETRIES = 8  # a concurrent rename or mount gives EAGAIN; openat2(2) asks to try again


class _How(ctypes.Structure):
    """struct open_how of openat2(2)."""

    _fields_ = (("flags", ctypes.c_uint64), ("mode", ctypes.c_uint64), ("resolve", ctypes.c_uint64))


_syscall = ctypes.CDLL(None, use_errno=True).syscall
_syscall.argtypes = (ctypes.c_long, ctypes.c_int, ctypes.c_char_p, ctypes.POINTER(_How), ctypes.c_size_t)
_syscall.restype = ctypes.c_long
_LIST, _LOOK = _FLAGS | os.O_DIRECTORY, os.O_PATH | os.O_CLOEXEC
_HOW = {flags: ctypes.pointer(_How(flags, 0, _RESOLVE)) for flags in (_FLAGS, _LIST, _LOOK)}
_SIZE = ctypes.sizeof(_How)


class Files:
    """Files below ``root``; every path is relative to it. Every method raises OSError when it cannot read."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self._place = f"{root}/" if str(root) in _RUNNING_HOST else ""
        self._kept: dict[str, int] | None = {} if str(root) == "/proc" else None
        self._descriptor = -1
        self._tree: Tree | None = None

    def __del__(self) -> None:
        for descriptor in (self._descriptor, *(self._kept or {}).values()):
            if descriptor >= 0:
                os.close(descriptor)

    def attribute(self, path: str) -> bytes:
        """A file of one value, without surrounding white space; at most one page of it."""
        descriptor = self._open(path, _FLAGS)
        try:
            return os.read(descriptor, ATTRIBUTE_LIMIT).strip()
        finally:
            os.close(descriptor)

    def read(self, path: str, limit: int = DEFAULT_LIMIT) -> bytes:
        """A whole file of at most ``limit`` bytes. Raises TooLarge."""
        if self._kept is not None:
            return self._read_again(self._kept, path, limit)
        descriptor = self._open(path, _FLAGS)
        try:
            return _read_all(lambda _: os.read(descriptor, _CHUNK), path, limit)
        finally:
            os.close(descriptor)

    def _read_again(self, kept: dict[str, int], path: str, limit: int) -> bytes:
        # The kernel writes such a file at each reading from its start, so it can stay open. After an error it
        # is opened again: the kernel module behind it may have been replaced.
        if (descriptor := kept.get(path)) is not None:
            try:
                return _read_all(lambda start: os.pread(descriptor, _CHUNK, start), path, limit)
            except OSError:
                os.close(kept.pop(path))
        kept[path] = opened = self._open(path, _FLAGS)
        return _read_all(lambda start: os.pread(opened, _CHUNK, start), path, limit)

    def open(self, path: str) -> int:
        """A descriptor for reading a file; the caller closes it."""
        return self._open(path, _FLAGS)

    def names(self, folder: str) -> list[str]:
        """The names in a folder, sorted."""
        if self._place or folder == ".":
            names = os.listdir(f"{self.root}/{folder}")  # noqa: PTH208 - quick
        else:
            with self.folder(folder) as opened:
                names = opened.names()
        if len(names) > MAXIMUM_ENTRIES:
            raise TooLarge(f"{folder}: more than {MAXIMUM_ENTRIES} entries")
        return sorted(names)

    def exists(self, path: str) -> bool:
        """Whether the path exists, links followed."""
        try:
            os.close(self._open(path, _LOOK))
        except OSError:
            return False
        return True

    def real(self, path: str) -> str:
        """The path with all links followed, relative to the root."""
        descriptor = self._open(path, _LOOK)
        try:
            found = os.readlink(f"/proc/self/fd/{descriptor}")  # noqa: PTH115 - quick
        finally:
            os.close(descriptor)
        return os.path.relpath(found, os.path.realpath(self.root))

    def folder(self, path: str, skipped: Skipped | None = None) -> "Folder":
        """A folder kept open, for reading many files in it."""
        return Folder(self._open(path, _LIST), skipped or Skipped())

    def _open(self, path: str, flags: int) -> int:
        if self._place:
            return os.open(self._place + path, flags)
        if self._tree is not None:
            return os.open(self._tree.real(path), flags)
        if self._descriptor < 0:
            self._descriptor = os.open(self.root, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
        for _ in range(_RETRIES):
            descriptor: int = _syscall(_OPENAT2, self._descriptor, os.fsencode(path), _HOW[flags], _SIZE)
            if descriptor >= 0:
                return descriptor
            code = ctypes.get_errno()
            if code != errno.EAGAIN:
                break
        if code in (errno.ENOSYS, errno.EPERM):
            return self._without_openat2(path, flags, code)
        raise OSError(code, os.strerror(code), path)

    def _without_openat2(self, path: str, flags: int, code: int) -> int:
        # EPERM may be about the file; only if the root is refused as well, the call itself is refused.
        probe = _syscall(_OPENAT2, self._descriptor, b".", _HOW[_LOOK], _SIZE)
        if probe >= 0:
            os.close(probe)
            raise OSError(code, os.strerror(code), path)
        self._tree = Tree(self.root)
        return os.open(self._tree.real(path), flags)


class Folder:
    """A folder kept open: reading its attributes does not resolve its path again. A context manager.

    Links in it are not followed, as nothing here would keep them inside the root.
    """

    def __init__(self, descriptor: int, skipped: Skipped) -> None:
        self._descriptor, self._skipped = descriptor, skipped

    def __enter__(self) -> "Folder":
        return self

    def __exit__(self, *_: object) -> None:
        os.close(self._descriptor)

    def raw(self, name: str) -> bytes:
        """A file of one value, unchanged; at most one page of it. Raises OSError."""
        descriptor = os.open(name, _FLAGS | os.O_NOFOLLOW, dir_fd=self._descriptor)
        try:
            return os.read(descriptor, ATTRIBUTE_LIMIT)
        finally:
            os.close(descriptor)

    def attribute(self, name: str) -> bytes:
        """As `Files.attribute`. Raises OSError."""
        return self.raw(name).strip()

    def text(self, name: str) -> str:
        """The attribute as text; empty if it cannot be read."""
        try:
            return self.attribute(name).decode("utf-8", "replace")
        except OSError:
            return ""

    def number(self, name: str) -> int | None:
        """The attribute as an integer, decimal or ``0x`` and hexadecimal.

        None if it cannot be read: a device that is off has no speed. One that is not a number is skipped;
        ``<unknown>`` is what the kernel writes for an unknown value.
        """
        text = b""
        try:
            text = self.raw(name)
            number = int(text, 0)
            return number if abs(number) < OUT_OF_RANGE else in_range([number])[0]
        except OSError:
            return None
        except ValueError as error:
            if not text.startswith(b"<"):
                self._skipped.add(name, error)
            return None

    def names(self) -> list[str]:
        """The names in the folder, sorted."""
        return sorted(os.listdir(self._descriptor))  # noqa: PTH208 - a descriptor has no Path


def _read_all(read: Callable[[int], bytes], path: str, limit: int) -> bytes:
    # The kernel may return less than requested long before the end: only an empty read is the end.
    chunks, size = [], 0
    while chunk := read(size):
        chunks.append(chunk)
        size += len(chunk)
        if size > limit:
            raise TooLarge(f"{path}: more than {limit} bytes")
    return b"".join(chunks)
