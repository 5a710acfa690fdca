"""Load a restored SQLite database: SQLite's own full check, then the rows of each table."""

import re
import sqlite3
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from urllib.parse import quote

from leitstand.errors import LeitstandError
from orchestrator.sources.sqlite import table_rows
from orchestrator.verify.databases.loaded import LOAD_SECONDS, CannotLoadError, DumpError, Loaded

_STEPS = 100_000  # of SQLite's machine, between two looks at the clock
_ESCAPED = re.compile(r"\\(?:u?([0-9A-Fa-f]{4})|\\)")
# What an application brings itself, or only a newer SQLite knows; and a full disk.
_LACKS = re.compile(
    r"no such (?:module|function|collation sequence)|unknown (?:function|tokenizer)|unsupported file format"
    r"|database or disk is full|^interrupted"
)


def load_sqlite(dump: Path, folder: Path) -> Loaded:
    """The rows of a database file. It is opened read-only and checked in full, its foreign keys, too."""
    try:
        with closing(sqlite3.connect(f"file:{quote(str(dump))}?mode=ro&immutable=1", uri=True)) as database:
            return _checked(database)
    except sqlite3.Error as error:
        raise _judged(str(error)) from error


def load_sqlite_text(dump: Path, folder: Path) -> Loaded:
    """The rows that the SQL of sqlite3's ``.dump`` gives, loaded into a file in ``folder``."""
    scratch = folder / "sqlite-scratch"
    scratch.unlink(missing_ok=True)
    try:
        with closing(sqlite3.connect(scratch, isolation_level=None)) as database:
            # Another host wrote this SQL and we may be root: it gets no other file (ATTACH, VACUUM INTO).
            database.setlimit(sqlite3.SQLITE_LIMIT_ATTACHED, 0)
            database.create_function("unistr", 1, _unistr, deterministic=True)
            deadline = time.monotonic() + LOAD_SECONDS
            database.set_progress_handler(lambda: time.monotonic() > deadline, _STEPS)
            for statement in _statements(dump):
                database.execute(statement)
            return _checked(database)
    except (sqlite3.Error, UnicodeDecodeError) as error:
        raise _judged(str(error)) from error
    finally:
        scratch.unlink(missing_ok=True)


def _unistr(text: str) -> str:
    """A text with its control characters, which ``.dump`` escapes since SQLite 3.50 (lang_corefunc.html)."""
    return _ESCAPED.sub(lambda found: chr(int(found[1], 16)) if found[1] else "\\", text)


def _statements(dump: Path) -> Iterator[str]:
    """The statements of SQL as ``.dump`` writes it, one at a time: a dump may be larger than memory."""
    lines: list[str] = []
    with dump.open(encoding="utf-8", newline="") as file:
        for line in file:
            lines.append(line)
            if line.rstrip().endswith(";") and sqlite3.complete_statement(text := "".join(lines)):
                yield text
                lines.clear()
    yield "".join(lines)


def _judged(error: str) -> LeitstandError:
    return CannotLoadError(error) if _LACKS.search(error) else DumpError(error)


def _checked(database: sqlite3.Connection) -> Loaded:
    problems = [row[0] for row in database.execute("PRAGMA integrity_check(3)") if row != ("ok",)]
    if problems:
        raise _judged(f"the database is damaged: {problems[0]}")
    return Loaded(table_rows(database))
