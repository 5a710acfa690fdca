"""An SQLite database, copied through SQLite's own backup call while others use it."""

import os
import sqlite3
import tempfile
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import quote

from orchestrator.archive import Entry, Kind
from orchestrator.archive.holes import BLOCK_BYTES
from orchestrator.config import SqliteSource as SqliteSettings
from orchestrator.config import source_label
from orchestrator.sources.files import metadata_of
from orchestrator.sources.source import Report, SourceError

BUSY_SECONDS = 60.0


@dataclass
class SqliteSource:
    """One database file. A copy up to ``memory_limit`` bytes is held in memory, a larger one in ``scratch``.

    The scratch file, mode 0600 in a folder of 0700, loses its name before the first byte is copied.
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
        metadata = metadata_of(status, os.fsencode(self.label), Kind.FILE)
        yield Entry(metadata, None, self._copy)

    def close(self) -> None:
        """The copy went with its last block."""

    def _copy(self) -> Iterator[bytes]:
        path = self.settings.sqlite
        try:
            with closing(_connect(path)) as source:
                small = _bytes_of(source) <= self.settings.memory_limit
                yield from (self._through_memory if small else self._through_scratch)(source)
        except sqlite3.Error as error:
            raise SourceError(
                f"{path}: {error}", "is it an SQLite database, and not locked for long?"
            ) from error

    def _through_memory(self, source: sqlite3.Connection) -> Iterator[bytes]:
        with closing(sqlite3.connect(":memory:")) as copy:
            source.backup(copy, progress=_refuse_to_wait)
            self._look_over(copy)
            yield copy.serialize()

    def _through_scratch(self, source: sqlite3.Connection) -> Iterator[bytes]:
        # A private folder: SQLite opens by name, and the name must lead nowhere else before it is gone.
        with tempfile.TemporaryDirectory(prefix="leitstand-", dir=self.scratch) as folder:
            name = Path(folder) / "copy"
            descriptor = os.open(name, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
            copy, found = sqlite3.connect(name), sqlite3.connect(name)
            copy.execute("PRAGMA journal_mode = OFF")
            found.execute("PRAGMA schema_version")  # the file is opened only now
            name.unlink()
        with os.fdopen(descriptor, "rb") as file, closing(found):
            with closing(copy):
                source.backup(copy, progress=_refuse_to_wait)
            with _without_log(descriptor):
                self._look_over(found)
            while block := file.read(BLOCK_BYTES):
                yield block

    def _look_over(self, copy: sqlite3.Connection) -> None:
        """Have SQLite look a copy over and count its rows."""
        answer = copy.execute("PRAGMA quick_check(1)").fetchone()
        if answer != ("ok",):
            raise sqlite3.DatabaseError(f"the database is damaged: {answer[0] if answer else 'no answer'}")
        self.tables[os.fsencode(self.label)] = table_rows(copy)


@contextmanager
def _without_log(descriptor: int) -> Iterator[None]:
    """While the block runs the database says that it needs no write-ahead log beside it.

    SQLite would make one by the file's name, and that is gone. Source: Database File Format, 1.3.3 File
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
    """The library tries for ever; it has waited for the lock by then."""
    if status in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED):
        raise sqlite3.OperationalError("database is locked")


def _connect(path: Path) -> sqlite3.Connection:
    return sqlite3.connect(f"file:{quote(str(path))}?mode=ro", uri=True, timeout=BUSY_SECONDS)


def _bytes_of(connection: sqlite3.Connection) -> int:
    pages, page_bytes = (
        connection.execute(f"PRAGMA {name}").fetchone()[0] for name in ("page_count", "page_size")
    )
    return int(pages) * int(page_bytes)


def table_rows(connection: sqlite3.Connection) -> dict[str, int]:
    """Rows of each table of a database."""
    query = "SELECT name FROM sqlite_schema WHERE type = 'table' AND name NOT LIKE 'sqlite_%' ORDER BY name"
    return {name: _count(connection, name) for (name,) in connection.execute(query).fetchall()}


def _count(connection: sqlite3.Connection, table: str) -> int:
    quoted = table.replace('"', '""')
    try:
        (rows,) = connection.execute(f'SELECT count(*) FROM "{quoted}"').fetchone()  # noqa: S608
    except sqlite3.OperationalError:
        return 0  # a virtual table of an extension that is not here
    return int(rows)
