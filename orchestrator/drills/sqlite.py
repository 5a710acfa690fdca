"""Load a restored SQLite database: SQLite's own full check, then the rows of each table."""

import sqlite3
from collections.abc import Mapping
from contextlib import closing
from pathlib import Path
from urllib.parse import quote

from leitstand.errors import LeitstandError
from orchestrator.sources.sqlite import table_rows


class DumpError(LeitstandError):
    """A dump does not load, or what it loads is damaged."""


def load_sqlite(dump: Path, folder: Path) -> Mapping[str, int]:
    """The rows of a database file. It is opened read-only and checked in full, its foreign keys, too."""
    try:
        with closing(sqlite3.connect(f"file:{quote(str(dump))}?mode=ro&immutable=1", uri=True)) as database:
            return _checked(database)
    except sqlite3.Error as error:
        raise DumpError(str(error)) from error


def load_sqlite_text(dump: Path, folder: Path) -> Mapping[str, int]:
    """The rows that the SQL of sqlite3's ``.dump`` gives, loaded into a file in ``folder``."""
    scratch = folder / "sqlite-scratch"
    scratch.unlink(missing_ok=True)
    try:
        with closing(sqlite3.connect(scratch)) as database:
            database.executescript(dump.read_text(encoding="utf-8"))
            return _checked(database)
    except (sqlite3.Error, UnicodeDecodeError) as error:
        raise DumpError(str(error)) from error
    finally:
        scratch.unlink(missing_ok=True)


def _checked(database: sqlite3.Connection) -> Mapping[str, int]:
    problems = [row[0] for row in database.execute("PRAGMA integrity_check(3)") if row != ("ok",)]
    if problems:
        raise DumpError(f"the database is damaged: {problems[0]}")
    return table_rows(database)
