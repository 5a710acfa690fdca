"""The entries of an archive, and their records afterwards: plain values, no I/O."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from enum import StrEnum

from leitstand.errors import LeitstandError


class ArchiveError(LeitstandError):
    """An archive, a manifest or a part of one is damaged, forged, or cannot be created."""


class WrongPasswordError(ArchiveError):
    """The password does not open this archive."""


class EntryChanged(Exception):  # noqa: N818 - a report, not a failure: the bytes read are kept
    """Raised by an entry's blocks after the last one: the file changed while it was read."""


class Kind(StrEnum):
    """The type of a path. ``fifo``, ``socket`` and ``device`` are in the manifest only, not in the ZIP."""

    FILE = "file"
    DIRECTORY = "directory"
    SYMLINK = "symlink"
    HARDLINK = "hardlink"
    FIFO = "fifo"
    SOCKET = "socket"
    DEVICE = "device"


class Method(StrEnum):
    """How the bytes are stored in the inner ZIP; ``none``: the path is in the manifest only."""

    STORE = "store"
    DEFLATE = "deflate"
    NONE = "none"


# Metadata, Entry and FileRecord are not frozen: creating frozen ones takes four times as long, and there may
# be a million. They are never changed.
@dataclass(slots=True, kw_only=True)
class Metadata:
    """The metadata of a path.

    ``path`` is relative, without ``/`` at either end; any bytes except NUL. ``mode`` holds permission bits
    (0o7777). ``link`` is the target of a symbolic link, unchanged, or the path (in this archive) of the first
    name of a hard link. ``ctime_ns``, ``inode`` and ``device`` show a later run whether a file changed; for
    ``Kind.DEVICE`` ``device`` is the node's own number, and ``mode`` includes its type. ``sparse`` is the
    size of a file of which the archive holds only the data (see `sparse`), otherwise 0.
    """

    path: bytes
    kind: Kind = Kind.FILE
    mode: int = 0o600
    uid: int = 0
    gid: int = 0
    user: str = ""
    group: str = ""
    mtime_ns: int = 0
    link: bytes = b""
    xattrs: tuple[tuple[bytes, bytes], ...] = ()
    ctime_ns: int = 0
    inode: int = 0
    device: int = 0
    sparse: int = 0


def no_blocks() -> Iterable[bytes]:
    """For kinds without content: directories, links, special files."""
    return ()


@dataclass(slots=True)
class Entry:
    """One path to be saved.

    ``size`` is a hint in bytes (None: unknown, as for a dump). ``blocks`` is called once, possibly in another
    thread, and yields the content in blocks of any length. It raises OSError (the file vanished or cannot be
    read), ``EntryChanged`` after the last block, or ``ArchiveError`` or anything else to fail the archive.
    """

    metadata: Metadata
    size: int | None = 0
    blocks: Callable[[], Iterable[bytes]] = no_blocks

    @property
    def path(self) -> bytes:
        return self.metadata.path


@dataclass(slots=True)
class FileRecord:
    """One saved path: what the manifest stores, enough to restore this path alone.

    ``size``, ``sha256`` (32 bytes) and ``crc32`` describe the content; for a link, its text in the ZIP.
    ``offset`` and ``length`` are the byte range of the content in the inner ZIP (deflated or stored).
    ``problem`` is empty, or says why the content may not be that of the file (``changed while it was read``,
    or the error that cut it short).
    """

    metadata: Metadata
    size: int
    sha256: bytes
    crc32: int
    offset: int
    length: int
    method: Method
    problem: str = ""

    @property
    def path(self) -> bytes:
        return self.metadata.path


@dataclass(frozen=True, slots=True)
class Problem:
    """A path that was not saved, or not reliably: ``what`` is one line, without the path."""

    path: bytes
    what: str


@dataclass(frozen=True, slots=True)
class ArchiveSummary:
    """A finished archive: bytes of its content, and in total."""

    content_bytes: int
    archive_bytes: int


@dataclass(frozen=True, slots=True)
class Volume:
    """One finished part of the archive's byte stream; ``index`` starts at 1, ``data`` may be kept.

    ``md5`` is empty unless it was requested.
    """

    index: int
    data: memoryview
    sha256: bytes
    md5: bytes

    @property
    def size(self) -> int:
        return len(self.data)
