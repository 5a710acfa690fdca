"""Read a sealed archive back: all of it, proving every byte, or one file of it."""

from collections.abc import Callable, Iterable
from typing import BinaryIO

from orchestrator.archive.entry import FileRecord, Problem

ReadRange = Callable[[int, int], bytes]


class SealedReader:
    """A sealed archive of ``size`` bytes, read through ``read_range(offset, length)``.

    Opening reads the first few hundred bytes. Raises ArchiveError when they are not what SealedWriter writes
    (AE-1, ZipCrypto, plain entries, prepended bytes …) and WrongPasswordError.
    """

    def __init__(self, read_range: ReadRange, size: int, password: str) -> None: ...

    def verify(self, records: Iterable[FileRecord]) -> list[Problem]:
        """Read every byte: the MAC over all, each record's SHA-256, and that the ZIP holds these entries and
        no other.

        ``records`` are those of this archive in the order of the stream. Returns what is wrong, each with the
        path it concerns (empty: the archive as a whole); an empty list proves the archive. Goes on after
        damage.
        """
        raise NotImplementedError

    def copy(self, record: FileRecord, write: Callable[[bytes], object]) -> None:
        """Give one file's content to ``write`` in blocks. It is proven only when this returns: write to a
        temporary name and rename after. Reads the file's bytes in the archive and nothing else. Raises
        ArchiveError.
        """
        raise NotImplementedError

    def open(self, record: FileRecord) -> BinaryIO:
        """One file's content, proven before a byte is handed out.

        Up to 8 MiB stay in memory; more goes to an unlinked temporary file, encrypted with a key that is
        nowhere else.
        """
        raise NotImplementedError
