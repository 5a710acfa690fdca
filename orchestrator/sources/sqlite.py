"""An SQLite database, copied through SQLite's own backup call while others use it."""

import os
import sqlite3
import stat
import tempfile
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO, TypeVar
from urllib.parse import quote

from orchestrator.archive import Entry, Kind
from orchestrator.archive.holes import BLOCK_BYTES
from orchestrator.config.settings import SqliteSettings, source_label
from orchestrator.sources.files import metadata_of
from orchestrator.sources.source import Report, SourceError

BUSY_SECONDS = 60.0
_TRIES = 3  # of reading an idle database, before it is considered to be in use
Got = TypeVar("Got")


@dataclass
class SqliteSource:
    """One database file. A copy up to ``memory_limit`` bytes is kept in memory, a larger one in ``scratch``.

    The scratch file, mode 0600 in a folder of mode 0700, is unlinked before the first byte is copied.
    """

    settings: SqliteSettings
    scratch: Path
    sequential: bool = True
    label: str = ""
    tables: dict[bytes, dict[str, int]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.label = source_label(self.settings)

    def entries(self, report: Report) -> Iterator[Entry]:
        """The one consistent copy."""
        path = self.settings.sqlite
        try:
            status = path.stat()
        except OSError as error:
            raise SourceError(f"{path}: {error.strerror}", "is the path of the database right?") from error
        if not stat.S_ISREG(status.st_mode):
            # Reading a pipe could block forever.
            raise SourceError(f"{path}: not a file", "is the path of the database right?")
        metadata = metadata_of(status, os.fsencode(self.label), Kind.FILE)
        yield Entry(metadata, None, self._copy)

    def close(self) -> None:
        """Does nothing: the copy was freed with its last block."""

    def hindrance(self) -> str:
        """Why reading it requires creating files next to it, which a hardened unit cannot."""
        log = _log_of(self.settings.sqlite)
        if not log.with_name(f"{log.name[:-4]}-shm").exists() and _size(log):
            return f"{log} has changes of a program that did not exit cleanly"
        return ""

    def _copy(self) -> Iterator[bytes]:
        path = self.settings.sqlite
        try:
            small = self._read(_bytes_of) <= self.settings.memory_limit
            yield from (self._through_memory if small else self._through_scratch)()
        except sqlite3.Error as error:
            hint = "is it an SQLite database, and not locked for long?"
            if why := self.hindrance():
                hint = f"{why}: start it again, or let SQLite apply them: PRAGMA wal_checkpoint(TRUNCATE)"
            raise SourceError(f"{path}: {error}", hint) from error

    def _read(
        self, use: Callable[[sqlite3.Connection], Got], discard: Callable[[Got], object] = lambda result: None
    ) -> Got:
        """The result of ``use`` on the database; ``discard`` gets results that do not count.

        An idle one with a write-ahead log (WAL) is read as it is: opening it normally would create two files
        next to it, which remain, and which a hardened unit forbids. This result counts only if the file is
        unchanged afterwards; otherwise it is in use, and has those files.
        """
        path = self.settings.sqlite
        for _ in range(_TRIES):
            before = _at_rest(path)
            if before is None:
                break
            try:
                with closing(_connect(path, "&immutable=1")) as source:
                    result = use(source)
            except sqlite3.Error:
                if _at_rest(path) == before:
                    raise
            else:
                if _at_rest(path) == before:
                    return result
                discard(result)
        with closing(_connect(path)) as source:
            return use(source)

    def _through_memory(self) -> Iterator[bytes]:
        with closing(sqlite3.connect(":memory:")) as copy:
            self._read(lambda source: source.backup(copy, progress=_refuse_to_wait))
            self._look_over(copy)
            yield copy.serialize()

    def _through_scratch(self) -> Iterator[bytes]:
        with closing(self._read(self._scratch_copy, _ScratchCopy.close)) as copy:
            with _without_log(copy.file.fileno()):
                self._look_over(copy.connection)
            while block := copy.file.read(BLOCK_BYTES):
                yield block

    def _scratch_copy(self, source: sqlite3.Connection) -> "_ScratchCopy":
        # A private folder: SQLite opens by name, which must not lead elsewhere before it is unlinked.
        with tempfile.TemporaryDirectory(prefix="leitstand-", dir=self.scratch) as folder:
            name = Path(folder) / "copy"
            descriptor = os.open(name, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
            copy, found = sqlite3.connect(name), sqlite3.connect(name)
            copy.execute("PRAGMA journal_mode = OFF")
            found.execute("PRAGMA schema_version")  # the file is not opened before this
            name.unlink()
        made = _ScratchCopy(os.fdopen(descriptor, "rb"), found)
        try:
            with closing(copy):
                source.backup(copy, progress=_refuse_to_wait)
        except BaseException:
            made.close()
            raise
        return made

    def _look_over(self, copy: sqlite3.Connection) -> None:
        answer = copy.execute("PRAGMA quick_check(1)").fetchone()
        if answer != ("ok",):
            raise sqlite3.DatabaseError(f"the database is damaged: {answer[0] if answer else 'no answer'}")
        self.tables[os.fsencode(self.label)] = table_rows(copy)


@dataclass
class _ScratchCopy:
    """A copy in a file without a name, and a connection to it."""

    file: BinaryIO
    connection: sqlite3.Connection

    def close(self) -> None:
        self.connection.close()
        self.file.close()


@contextmanager
def _without_log(descriptor: int) -> Iterator[None]:
    """During the block the database is marked as not needing a write-ahead log.

    SQLite would create one by the file's name, which is unlinked. Source: Database File Format, 1.3.3 File
    format version numbers.
    """
    before = os.pread(descriptor, 2, 18)
    if before == b"\2\2":
        os.pwrite(descriptor, b"\1\1", 18)
    try:
        yield
    finally:
        os.pwrite(descriptor, before, 18)


def _refuse_to_wait(status: int, _left: int, _pages: int) -> None:
    """The library would retry forever; by then it has waited for the lock."""
    if status in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED):
        raise sqlite3.OperationalError("database is locked")


def _connect(path: Path, more: str = "") -> sqlite3.Connection:
    return sqlite3.connect(f"file:{quote(str(path))}?mode=ro{more}", uri=True, timeout=BUSY_SECONDS)


def _log_of(path: Path) -> Path:
    """The write-ahead log: next to the file itself, if the path is a link."""
    real = path.resolve()
    return real.with_name(f"{real.name}-wal")


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except OSError:
        return 0


def _at_rest(path: Path) -> tuple[int, ...] | None:
    """The state of a database with an empty write-ahead log; None for one in use, or of another kind.

    Every change is written to the log first. Source: Database File Format, 1.3.3 and 4.
    """
    try:
        with path.open("rb") as file:
            status = os.fstat(file.fileno())
            if os.pread(file.fileno(), 2, 18) != b"\2\2" or _size(_log_of(path)):
                return None
    except OSError:
        return None
    return status.st_ino, status.st_size, status.st_mtime_ns, status.st_ctime_ns


def _bytes_of(connection: sqlite3.Connection) -> int:
    pages, page_bytes = (
        connection.execute(f"PRAGMA {name}").fetchone()[0] for name in ("page_count", "page_size")
    )
    return int(pages) * int(page_bytes)


def table_rows(connection: sqlite3.Connection) -> dict[str, int]:
    query = "SELECT name FROM sqlite_schema WHERE type = 'table' AND name NOT LIKE 'sqlite_%' ORDER BY name"
    return {name: _count(connection, name) for (name,) in connection.execute(query).fetchall()}


def _count(connection: sqlite3.Connection, table: str) -> int:
    quoted = table.replace('"', '""')
    try:
        (rows,) = connection.execute(f'SELECT count(*) FROM "{quoted}"').fetchone()  # noqa: S608
    except sqlite3.OperationalError:
        return 0  # a virtual table of an extension that is not available
    return int(rows)
