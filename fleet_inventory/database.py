"""The items of each host and when they were there, in SQLite.

A row is one thing in one state. It is seen from ``first_seen`` until ``last_seen``, both Unix times of a
pull; ``last_seen`` is null as long as it is still there. Rows never change but for that.
"""

import os
import sqlite3
from collections.abc import Iterable, Iterator, Sequence
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from fleet_inventory.document import InventoryDocument, Item
from leitstand.errors import LeitstandError
from leitstand.files import make_public_folder

SCHEMA = """
CREATE TABLE IF NOT EXISTS host (
  name TEXT PRIMARY KEY,
  etag TEXT NOT NULL DEFAULT '',
  pulled REAL,           -- when a document was last taken over
  checked REAL,          -- when the host last answered
  error TEXT NOT NULL DEFAULT '',
  begins REAL,           -- what went before this time is forgotten
  incomplete TEXT NOT NULL DEFAULT ''  -- kinds of which the host did not know all, with commas
) STRICT;
CREATE TABLE IF NOT EXISTS item (
  host TEXT NOT NULL,
  kind TEXT NOT NULL,
  name TEXT NOT NULL,
  version TEXT NOT NULL,
  manager TEXT NOT NULL,
  key TEXT NOT NULL,
  fields TEXT NOT NULL,
  first_seen REAL NOT NULL,
  last_seen REAL
) STRICT;
CREATE INDEX IF NOT EXISTS item_of_host ON item (host, kind);
CREATE INDEX IF NOT EXISTS item_by_name ON item (name COLLATE NOCASE, kind);
"""
VERSION = 3
# The column of the table of hosts that each version but the first has added.
_ADDED = ("", "begins REAL", "incomplete TEXT NOT NULL DEFAULT ''")
# Of each host; the current state does not count. A host that sends other items at each pull fills no disk.
HISTORY_SECONDS = 800 * 86_400
HISTORY_BYTES = 64 << 20
_ROW_BYTES = 400  # overhead of a row, indexes included


class DatabaseError(LeitstandError):
    """The database cannot be used."""


@dataclass(frozen=True)
class HostState:
    """The state of a host: its last ETag, Unix times (None for never) and what went wrong last.

    ``incomplete`` names the kinds, with commas, of which it did not know all when it was last pulled.
    """

    name: str
    etag: str = ""
    pulled: float | None = None
    checked: float | None = None
    error: str = ""
    incomplete: str = ""


@dataclass(frozen=True)
class Row:
    host: str
    item: Item
    first_seen: float
    last_seen: float | None


class Database:
    """The fleet's inventory in one file. Not for several threads."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection

    def states(self) -> dict[str, HostState]:
        rows = self._connection.execute(
            "SELECT name, etag, pulled, checked, error, incomplete FROM host ORDER BY name"
        )
        return {row[0]: HostState(*row) for row in rows}

    def note(self, host: str, moment: float, error: str = "") -> None:
        """The host answered that nothing is new, or could not be asked."""
        with self._connection:
            self._connection.execute("INSERT OR IGNORE INTO host (name) VALUES (?)", (host,))
            checked = "" if error else ", checked = :moment"
            self._connection.execute(
                f"UPDATE host SET error = :error{checked} WHERE name = :host",  # noqa: S608 - a constant
                {"host": host, "error": error, "moment": moment},
            )

    def take(self, host: str, etag: str, document: InventoryDocument, moment: float) -> int:
        """Take over a document: close what is gone, add what is new; how many rows changed."""
        new = {(item.kind, item.fields): item for item in document.items}
        with self._connection:
            # Two pulls at once must not both add what neither has seen of the other.
            self._connection.execute("BEGIN IMMEDIATE")
            known = self._connection.execute(
                "SELECT rowid, kind, fields, manager FROM item WHERE host = ? AND last_seen IS NULL", (host,)
            )
            gone = [
                number
                for number, kind, fields, manager in known
                if not new.pop((kind, fields), None) and document.describes(kind, manager)
            ]
            self._connection.executemany(
                "UPDATE item SET last_seen = ? WHERE rowid = ?", [(moment, number) for number in gone]
            )
            self._connection.executemany(
                "INSERT INTO item VALUES (?, ?, ?, ?, ?, ?, ?, ?, NULL)",
                [
                    (host, item.kind, item.name, item.version, item.manager, item.key, item.fields, moment)
                    for item in new.values()
                ],
            )
            self._connection.execute(
                "INSERT INTO host VALUES (?1, ?2, ?3, ?3, '', NULL, ?4) ON CONFLICT (name) DO UPDATE"
                " SET etag = ?2, pulled = ?3, checked = ?3, error = '', incomplete = ?4",
                (host, etag, moment, ",".join(sorted(document.incomplete | document.untold))),
            )
            if gone:
                self._forget_oldest(host, moment - HISTORY_SECONDS)
        return len(gone) + len(new)

    def _forget_oldest(self, host: str, earliest: float) -> None:
        """Remove what a host no longer has since before ``earliest``, or where the history is too large."""
        (begin,) = self._connection.execute(
            "SELECT max(last_seen) FROM (SELECT last_seen,"
            " sum(length(fields) + ?) OVER (ORDER BY last_seen DESC, rowid DESC) AS size"
            " FROM item WHERE host = ? AND last_seen IS NOT NULL) WHERE size > ? OR last_seen < ?",
            (_ROW_BYTES, host, HISTORY_BYTES, earliest),
        ).fetchone()
        if begin is not None:
            self._connection.execute("DELETE FROM item WHERE host = ? AND last_seen <= ?", (host, begin))
            self._connection.execute("UPDATE host SET begins = ? WHERE name = ?", (begin, host))

    def at(self, host: str, moment: float | None = None) -> list[Row]:
        """The items on a host at a moment; None is now."""
        if moment is None:
            return self._rows("host = ? AND last_seen IS NULL", (host,))
        return self._rows(
            "host = ? AND first_seen <= ? AND (last_seen IS NULL OR last_seen > ?)", (host, moment, moment)
        )

    def now(self, host: str, kind: str) -> list[Row]:
        return self._rows("host = ? AND kind = ? AND last_seen IS NULL", (host, kind))

    def current(self, kinds: Sequence[str], pattern: str = "*") -> list[Row]:
        """The items on all hosts now, of these kinds, with a name or words in it like the pattern.

        The pattern is the shell's, in lower case. More may be among it, and PHP always is: it goes by other
        names than its row.
        """
        marks = ", ".join("?" * len(kinds))
        # A package has one word, and there are more of them than of everything else.
        words = "kind != 'package' AND ' ' || lower(name) || ' ' GLOB '* ' || ? || ' *'"
        return self._rows(
            f"last_seen IS NULL AND kind IN ({marks}) AND (lower(name) GLOB ? OR {words} OR kind = 'php')",
            (*kinds, pattern, pattern),
        )

    def kinds(self) -> list[str]:
        rows = self._connection.execute("SELECT DISTINCT kind FROM item ORDER BY kind")
        return [row[0] for row in rows]

    def first_pull(self, host: str) -> float | None:
        first, begins = self._connection.execute(
            "SELECT min(first_seen), (SELECT begins FROM host WHERE name = ?1) FROM item WHERE host = ?1",
            (host,),
        ).fetchone()
        return None if first is None else max(float(first), begins or 0.0)

    def rename(self, old: str, new: str) -> None:
        """Let a host that has no history have another's, which is no more."""
        with self._connection:
            self._connection.execute("DELETE FROM host WHERE name = ?", (new,))
            self._connection.execute("UPDATE host SET name = ? WHERE name = ?", (new, old))
            self._connection.execute("UPDATE item SET host = ? WHERE host = ?", (new, old))

    def forget(self, host: str) -> int:
        """Remove a host and its history; how many rows that were."""
        with self._connection:
            self._connection.execute("DELETE FROM host WHERE name = ?", (host,))
            return self._connection.execute("DELETE FROM item WHERE host = ?", (host,)).rowcount

    def _rows(self, condition: str, values: Iterable[object]) -> list[Row]:
        query = (
            "SELECT host, kind, name, version, manager, key, fields, first_seen, last_seen FROM item"  # noqa: S608
            f" WHERE {condition} ORDER BY host, kind, name, version, fields"
        )
        found = self._connection.execute(query, tuple(values))
        return [Row(row[0], Item(*row[1:7]), row[7], row[8]) for row in found]


@contextmanager
def open_database(path: Path, *, create: bool = False) -> Iterator[Database]:
    """Open the database. Raises DatabaseError if it is missing, damaged or of another release."""
    if not create and not path.exists():
        raise DatabaseError(f"{path}: no inventory has been pulled yet", "leitstand inventory pull")
    try:
        make_public_folder(path.parent)  # metrics may be written there, too
        make_private(path)
        with closing(sqlite3.connect(path, timeout=30)) as connection:
            prepare(connection, path)
            yield Database(connection)
    except (sqlite3.Error, OSError) as error:
        hint = "is it a database of leitstand, on a disk with room?"
        if path.exists() and not os.access(path, os.W_OK):
            hint = "run this as the user who pulls, usually root"
        raise DatabaseError(f"{path}: {error}", hint) from error


def make_private(path: Path) -> None:
    """The file, new or not, is for its owner alone: it tells of users, keys and weak software of all hosts.

    SQLite gives its journal files the same mode. Raises OSError.
    """
    if not path.exists():
        os.close(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, 0o600))
    for file in (path, *(path.with_name(path.name + suffix) for suffix in ("-wal", "-shm"))):
        with suppress(FileNotFoundError):
            state = file.stat()
            if state.st_mode & 0o077 and os.geteuid() in (0, state.st_uid):
                file.chmod(0o600)


def prepare(connection: sqlite3.Connection, path: Path) -> None:
    """Make the tables, or see that they are of this release."""
    (version,) = connection.execute("PRAGMA user_version").fetchone()
    if version not in range(VERSION + 1):
        raise DatabaseError(
            f"{path}: made by another release ({version})", f"this one knows version {VERSION}"
        )
    for added in _ADDED[version:] if version else ():
        connection.execute(f"ALTER TABLE host ADD COLUMN {added}")
        connection.execute("UPDATE host SET etag = ''")  # what the column is for is asked for anew
    connection.execute("PRAGMA journal_mode = WAL")
    connection.executescript(SCHEMA)
    connection.execute(f"PRAGMA user_version = {VERSION}")
