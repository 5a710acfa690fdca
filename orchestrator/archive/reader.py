"""Read a sealed archive back: all of it, proving every byte, or one file of it."""

from collections.abc import Callable, Iterable
from typing import BinaryIO

from orchestrator.archive.content import ContentCheck
from orchestrator.archive.entry import ArchiveError, FileRecord, Method, Problem
from orchestrator.archive.mapped_memory import Buffer
from orchestrator.archive.names import printable
from orchestrator.archive.spool import Spool
from orchestrator.archive.unseal import READ_BYTES, ReadRange, SealedEntry
from orchestrator.archive.verify import ArchiveVerification
from orchestrator.archive.writer import ENTRY_NAME


class SealedReader:
    """A sealed archive of ``size`` bytes, read through ``read_range(offset, length)``, perhaps from another
    thread.

    Opening reads the first hundred bytes. Raises ArchiveError when they or the size are not what SealedWriter
    writes (AE-1, ZipCrypto, plain entries, prepended bytes …) and WrongPasswordError.
    """

    def __init__(self, read_range: ReadRange, size: int, password: str, *, threads: int = 2) -> None:
        self._entry = SealedEntry(read_range, size, password, ENTRY_NAME)
        self._threads = threads

    def verify(self, records: Iterable[FileRecord]) -> list[Problem]:
        """Read every byte: the MAC over all, each record's SHA-256, and that the ZIP holds these entries and
        no other.

        ``records`` are those of this archive in the order of the stream. Returns what is wrong, each with the
        path it concerns (empty: the archive as a whole); an empty list proves the archive. Goes on after
        damage.
        """
        return ArchiveVerification(self._entry, self._threads).run(records)

    def copy(self, record: FileRecord, write: Callable[[Buffer], object]) -> None:
        """Give one file's content to ``write`` in blocks, reading its bytes in the archive and nothing else.

        It is proven only when this returns: write to a temporary name and rename after. Raises ArchiveError.
        """
        if record.method is Method.NONE:
            return
        check, done = ContentCheck(record, write), 0
        if not 0 <= record.offset <= record.offset + record.length <= self._entry.length:
            raise ArchiveError(f"{printable(record.path)}: the manifest places it outside of the archive")
        while done < record.length:
            data = self._entry.read(record.offset + done, min(READ_BYTES, record.length - done))
            if not data:
                raise ArchiveError(f"{printable(record.path)}: the archive ends before it does")
            check.feed(data)
            done += len(data)
        if problem := check.problem():
            raise ArchiveError(f"{printable(record.path)}: {problem}")

    def open(self, record: FileRecord) -> BinaryIO:
        """One file's content, proven before a byte is handed out.

        Up to 8 MiB stay in memory; more goes to an unlinked temporary file, encrypted with a key that is
        nowhere else.
        """
        spool = Spool()
        self.copy(record, spool.write)
        return spool.reader()
