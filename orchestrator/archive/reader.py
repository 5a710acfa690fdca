"""Read a sealed archive back: all of it, checking every byte, or one file."""

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
    """A sealed archive of ``size`` bytes, read through ``read_range(offset, length)``, possibly from another
    thread.

    Opening reads the first hundred bytes. Raises WrongPasswordError, and ArchiveError when these bytes or the
    size are not what SealedWriter writes (AE-1, ZipCrypto, plain entries, prepended bytes …).
    """

    def __init__(self, read_range: ReadRange, size: int, password: str, *, threads: int = 2) -> None:
        self._entry = SealedEntry(read_range, size, password, ENTRY_NAME)
        self._threads = threads

    def verify(self, records: Iterable[FileRecord]) -> list[Problem]:
        """Read every byte and check the MAC, the SHA-256 of each record, and that the ZIP has exactly these
        entries.

        ``records`` are those of this archive in stream order. Returns each problem with the path it concerns
        (empty: the archive as a whole); an empty list proves the archive. Continues after damage.
        """
        return ArchiveVerification(self._entry, self._threads).run(records)

    def copy(self, record: FileRecord, write: Callable[[Buffer], object]) -> None:
        """Pass one file's content to ``write`` in blocks, reading only its bytes of the archive.

        It is verified only when this returns: write to a temporary name and rename it afterwards. Raises
        ArchiveError.
        """
        if record.method is Method.NONE:
            return
        check, done = ContentCheck(record, write), 0
        if not 0 <= record.offset <= record.offset + record.length <= self._entry.length:
            raise ArchiveError(f"{printable(record.path)}: the manifest places it outside the archive")
        while done < record.length:
            data = self._entry.read(record.offset + done, min(READ_BYTES, record.length - done))
            if not data:
                raise ArchiveError(f"{printable(record.path)}: the archive ends before it does")
            check.feed(data)
            done += len(data)
        if problem := check.problem():
            raise ArchiveError(f"{printable(record.path)}: {problem}")

    def open(self, record: FileRecord) -> BinaryIO:
        """One file's content, verified before any byte is returned.

        Up to 8 MiB stay in memory; more goes to an unlinked temporary file, encrypted with a key that exists
        only in memory.
        """
        spool = Spool()
        self.copy(record, spool.write)
        return spool.reader()
