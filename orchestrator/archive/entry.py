"""What goes into an archive and what is known of it afterwards: plain values, no I/O."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from enum import StrEnum

from leitstand.errors import LeitstandError


class ArchiveError(LeitstandError):
    """An archive, a manifest or a part of them is damaged, forged, or cannot be made."""


class WrongPasswordError(ArchiveError):
    """The password does not open this archive."""


class EntryChanged(Exception):  # noqa: N818 - a report, not a failure: the bytes that were read are kept
    """Raised by an entry's blocks after the last one: the file changed while it was read."""


class Kind(StrEnum):
    """What a path is. ``fifo``, ``socket`` and ``device`` are known to the manifest only, not to the ZIP."""

    FILE = "file"
    DIRECTORY = "directory"
    SYMLINK = "symlink"
    HARDLINK = "hardlink"
    FIFO = "fifo"
    SOCKET = "socket"
    DEVICE = "device"


class Method(StrEnum):
    """How the bytes stand in the inner ZIP; ``none``: the manifest alone knows the path."""

    STORE = "store"
    DEFLATE = "deflate"
    NONE = "none"


# Metadata, Entry and FileRecord are not frozen: that takes four times as long to make, and there may be a
# million. Nobody changes them.
@dataclass(slots=True, kw_only=True)
class Metadata:
    """What a path has besides its content.

    ``path`` is relative, with ``/`` between its parts and none at its ends; any bytes but NUL.
    ``mode`` holds permission bits (0o7777). ``link`` is a symbolic link's target as it stands, or the path
    (in this archive) of the first name of a hard link. ``ctime_ns``, ``inode`` and ``device`` tell a later
    run whether a file changed; for ``Kind.DEVICE`` ``device`` is the node's own number, and ``mode`` holds
    its type as well. ``sparse`` is the size of a file of which the archive has the data alone (see `sparse`),
    and 0 for every other.
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
    """The content of what has none: directories, links, special files."""
    return ()


@dataclass(slots=True)
class Entry:
    """One path to be saved.

    ``size`` is a hint in bytes (None: unknown, as of a dump). ``blocks`` is called once, perhaps in another
    thread, and gives the content in blocks of any length. What it raises: OSError (the file vanished or
    cannot be read), ``EntryChanged`` after the last block, ``ArchiveError`` or anything else to fail the
    archive.
    """

    metadata: Metadata
    size: int | None = 0
    blocks: Callable[[], Iterable[bytes]] = no_blocks

    @property
    def path(self) -> bytes:
        return self.metadata.path


@dataclass(slots=True)
class FileRecord:
    """One saved path: what the manifest keeps of it and what a restore of it alone needs.

    ``size``, ``sha256`` (32 bytes) and ``crc32`` are those of the content: of a link, of the text that stands
    in the ZIP. ``offset`` and ``length`` are bytes of the inner ZIP and span the content as it stands there
    (deflated or stored). ``problem`` is empty, or says why the content may not be the file's
    (``changed while it was read``, or the error that cut it short).
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
    """A path that is not, or not surely, what the source has: ``what`` is one line, without the path."""

    path: bytes
    what: str


@dataclass(frozen=True, slots=True)
class ArchiveSummary:
    """A finished archive: bytes of the content, and of the whole."""

    content_bytes: int
    archive_bytes: int


@dataclass(frozen=True, slots=True)
class Volume:
    """One finished part of the archive's byte stream; ``index`` counts from 1, ``data`` may be kept.

    ``md5`` is empty unless it was asked for.
    """

    index: int
    data: memoryview
    sha256: bytes
    md5: bytes

    @property
    def size(self) -> int:
        return len(self.data)
