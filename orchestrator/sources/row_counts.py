"""Count the rows of each table in a passing dump, and look for the line that ends a complete dump."""

import re
from collections import deque
from collections.abc import Iterable

# Possessive ("+"): backtracking in a text of 16 MiB would take 2 GB.
_MYSQL_TABLE = re.compile(
    rb"^(?:CREATE TABLE|INSERT INTO) `((?:[^`]|``){1,400}+)`(?: VALUES)?(.*)", re.DOTALL
)
_MYSQL_TEXT = re.compile(rb"'(?:[^'\\]++|\\.)*+'|`(?:[^`]++|``)*+`", re.DOTALL)
_LOOSE_ENGINE = re.compile(rb"^\) ENGINE=(?:MyISAM|Aria|MEMORY|CSV|ARCHIVE|MRG_M[yY]ISAM)\b")
TABLES_NAMED = 10
_PART = rb'(?:"(?:[^"]|""){1,400}+"|[^\s".]{1,400}+)'
# A table without columns has no list of them.
_POSTGRESQL_COPY = re.compile(
    rb"^COPY (" + _PART + rb"(?:\." + _PART + rb")?) (?:\(.*\))? ?FROM stdin;$", re.DOTALL
)
_LONGEST_COPY = 1 << 16  # bytes of a statement in several lines
# A dump may name more tables than fit in memory. Above this number rows are not counted.
MOST_TABLES, _LONGEST_NAME = 200_000, 400
# The part of a line that is kept. mysqldump's lines with several rows have at most 16 MiB: a longer one is
# one row.
LONGEST_LINE, _MOST_OF_ROWS = 17 << 20, 16 << 20
LAST_LINES = 8  # since 2025 pg_dump writes a \unrestrict line after its trailer


class LineWatcher:
    """Cuts a dump into lines, whose meaning is the subclass's; ``tables`` has the rows of each table."""

    trailer = b""
    starts: tuple[bytes, ...] = (b"",)  # what a dump begins with
    fault = ""  # an error that a program wrote into its output

    def __init__(self) -> None:
        self.tables: dict[str, int] = {}
        self._too_many = False
        self._rest: list[bytes] = []
        self._rest_bytes = 0
        self._last: deque[bytes] = deque(maxlen=LAST_LINES)

    def feed(self, block: bytes) -> None:
        """Take any piece of the dump, in order."""
        head, newline, tail = block.partition(b"\n")
        self._rest.append(head[: LONGEST_LINE - self._rest_bytes])
        self._rest_bytes += len(self._rest[-1])
        if not newline:
            return
        *lines, rest = [b"".join(self._rest), *tail.split(b"\n")]
        for line in lines:
            self.line(line)
        self._last.extend(line for line in lines[-2 * LAST_LINES :] if line)
        self._rest, self._rest_bytes = [rest], len(rest)

    def saw_the_end(self) -> bool:
        """Whether one of the last lines begins with the trailer."""
        return any(line.startswith(self.trailer) for line in (*self._last, b"".join(self._rest)))

    def notes(self) -> Iterable[str]:
        """Warnings about a complete dump, a line each."""
        if self._too_many:
            yield f"more than {MOST_TABLES} tables: a restore test cannot compare their rows"

    def count(self, table: str, rows: int) -> None:
        if self._too_many or len(table) > _LONGEST_NAME:
            return
        self.tables[table] = self.tables.get(table, 0) + rows
        if len(self.tables) > MOST_TABLES:
            self._too_many = True
            self.tables.clear()

    def line(self, line: bytes) -> None:
        raise NotImplementedError


class MysqlWatcher(LineWatcher):
    """mysqldump's SQL: MariaDB writes one row per line, MySQL one INSERT per line; texts have no raw
    newlines.

    Lines of partitions look like rows, and the text of a routine may look like anything.
    """

    trailer = b"-- Dump completed"
    starts: tuple[bytes, ...] = (b"--", b"/*")

    def __init__(self) -> None:
        super().__init__()
        self._table = ""
        self._in_rows = self._in_routine = False
        self._loose: set[str] = set()
        self._versioned: set[str] = set()
        self._has_history = False

    def notes(self) -> Iterable[str]:
        """Warnings about tables that may have been written during the dump, or that lose their history."""
        yield from super().notes()
        if self._loose:
            names = _few(self._loose)
            yield f"not consistent with the rest, as their engine has no transactions: {names}"
        if self._versioned and not self._has_history:
            yield f"the history of these versioned tables is not saved: {_few(self._versioned)}"

    def line(self, line: bytes) -> None:
        if line.startswith(b"DELIMITER "):
            self._in_routine = line.startswith(b"DELIMITER ;;")
        elif self._in_rows and line.startswith(b"("):
            self.count(self._table, 1)
            self._in_rows = not line.endswith(b");")
        elif not self._in_routine:
            self._outside(line)

    def _outside(self, line: bytes) -> None:
        """A line that is not just a row, and not part of a routine."""
        self._in_rows = False
        if line.startswith(b") ENGINE="):
            self._options(line)
        elif line.startswith(b"/*M!") and b"system_versioning_insert_history" in line:
            self._has_history = True
        elif line.startswith((b"INSERT INTO `", b"CREATE TABLE `")) and (found := _MYSQL_TABLE.match(line)):
            self._table = found[1].replace(b"``", b"`").decode(errors="replace")
            self._in_rows = line.startswith(b"INSERT") and not line.endswith(b");")
            rows = _rows_in(found[2]) if line.startswith(b"INSERT") else 0
            self.count(self._table, rows)

    def _options(self, line: bytes) -> None:
        """The end of CREATE TABLE."""
        if _LOOSE_ENGINE.match(line):
            _add(self._loose, self._table)
        if b" WITH SYSTEM VERSIONING" in line:
            _add(self._versioned, self._table)


def _add(names: set[str], name: str) -> None:
    if len(names) <= TABLES_NAMED:  # more are not named
        names.add(name)


def _few(names: set[str]) -> str:
    return ", ".join(sorted(names)[:TABLES_NAMED]) + (", …" if len(names) > TABLES_NAMED else "")


def _rows_in(values: bytes) -> int:
    if not values.strip():
        return 0
    if len(values) > _MOST_OF_ROWS:
        return 1
    return _MYSQL_TEXT.sub(b"", values).count(b"),(") + 1


class PostgresqlWatcher(LineWatcher):
    """pg_dump's plain SQL: the rows are between COPY and ``\\.``, one per line."""

    trailer = b"-- PostgreSQL database dump complete"
    starts: tuple[bytes, ...] = (b"--",)

    def __init__(self) -> None:
        super().__init__()
        self._table: str | None = None
        self._copy = b""  # the start of a statement with a name that continues on the next line

    def line(self, line: bytes) -> None:
        if self._table is not None:
            if line == rb"\.":
                self._table = None
            else:
                self.count(self._table, 1)
        elif self._copy or line.startswith(b"COPY "):
            self._begin(self._copy + line)

    def _begin(self, statement: bytes) -> None:
        """Rows follow if this is a complete COPY statement."""
        is_open = statement.count(b'"') % 2 and len(statement) < _LONGEST_COPY
        self._copy = statement + b"\n" if is_open else b""
        if found := _POSTGRESQL_COPY.match(statement):
            self._table = found[1].decode(errors="replace")
            self.count(self._table, 0)


class GlobalsWatcher(PostgresqlWatcher):
    """pg_dumpall's roles and grants."""

    trailer = b"-- PostgreSQL database cluster dump complete"


class SqliteWatcher(LineWatcher):
    """The sqlite3 program's ``.dump``; rows are not counted, as texts may have newlines."""

    trailer = b"COMMIT;"

    def line(self, line: bytes) -> None:
        """A damaged database ends in ROLLBACK instead; the error is in a comment."""
        if line.startswith(b"/**** ERROR"):
            self.fault = line.strip(b"/* \r").decode(errors="replace")


class AnyBytes(LineWatcher):
    """The output of any program, of unknown format: only the exit status shows failure."""

    def feed(self, block: bytes) -> None:
        """Does nothing."""
