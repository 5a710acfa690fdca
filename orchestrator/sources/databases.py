"""MariaDB/MySQL, PostgreSQL and the output of any program, as sources."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Generic, TypeVar
from urllib.parse import quote

from leitstand.process import ProcessError
from orchestrator.archive import Entry, Problem
from orchestrator.config.settings import (
    ALL_DATABASES,
    CommandSettings,
    MysqlSettings,
    PostgresqlSettings,
    SqliteSettings,
    source_label,
)
from orchestrator.sources.dump import Dump, DumpReader
from orchestrator.sources.rights import Rights, has_roles
from orchestrator.sources.row_counts import GlobalsWatcher, MysqlWatcher, PostgresqlWatcher, SqliteWatcher
from orchestrator.sources.source import Report, SourceError
from orchestrator.sources.ssh import Transport

LIST_SECONDS, MOST_LISTED = 60.0, 1 << 20
SQLITE_SECONDS = 6 * 3600.0
BY_TABLE = "/tables"  # the folder of a database that is dumped table by table
MYSQL_OWN = {"information_schema", "performance_schema", "sys", "mysql"}
# One consistent view of all tables, without buffering, with everything of the database, bytes as hex.
MYSQL_OPTIONS = (
    *("--single-transaction", "--quick", "--routines", "--events", "--triggers", "--hex-blob"),
    *("--default-character-set=utf8mb4", "--order-by-primary", "--skip-dump-date"),
    "--skip-add-locks",  # a table with a sequence as default would not load: the sequence is not locked
    # Unknown to MariaDB, which says so and goes on ("loose"): with transaction ids a dump loads only once.
    "--loose-set-gtid-purged=OFF",
    "--no-tablespaces",  # MySQL's client needs the right PROCESS for them, and no InnoDB table needs them
)

_GRANTS, _ROLES = "SHOW GRANTS", "SELECT CURRENT_ROLE()"
# What rows of versioned tables were before. Programs that do not have it go on without.
HISTORY = "--loose-dump-history"


def _either(program: str, other: str) -> tuple[str, ...]:
    """The command line of ``program``, or of ``other`` on a host that has only that."""
    choice = f'command -v {program} >/dev/null || exec {other} "$@"; exec {program} "$@"'
    return ("sh", "-c", choice, program)


# MariaDB 11 has its programs under names of its own; MySQL, and MariaDB before, under these.
MYSQLDUMP, MYSQL = _either("mysqldump", "mariadb-dump"), _either("mysql", "mariadb")


# As for local databases: one with a write-ahead log that is at rest is read as it is where no file can be
# made beside it, or where it has not been written for a while; it must be the same afterwards.
# A database says itself what is a table. A view among them could call edit(), which runs programs.
# So none of the shell's own functions is for a schema (sqlite.org/pragma.html#pragma_trusted_schema, 3.31).
_SQLITE = (
    "dump() { sqlite3 -readonly -bail -cmd 'PRAGMA trusted_schema = OFF' \"$1\" .dump; }; "
    "known=$(sqlite3 :memory: 'PRAGMA trusted_schema') || exit; "
    'if [ -z "$known" ]; then '
    'echo "error: sqlite3 is older than 3.31 (2020): a database could have it run programs" >&2; exit 1; fi; '
    'real=$(readlink -f -- "$1"); log=$real-wal; '
    '[ ! -e "$real" ] || [ -f "$real" ] || { echo "error: $1: not a file" >&2; exit 1; }; '
    "state() { stat -c '%i %s %y %z' -- \"$real\"; }; "
    'kind=$(od -An -tx1 -j18 -N2 -- "$real" | tr -d " "); '
    'if [ "$kind" != 0202 ] || [ -s "$log" ] || '
    '{ [ -w "${real%/*}/" ] && [ -n "$(find "$real" -mmin -5)" ]; }; '
    'then dump "$1"; exit; fi; '
    'before=$(state); dump "$2" || exit; '
    '[ ! -s "$log" ] && [ "$(state)" = "$before" ] && exit 0; '
    'echo "error: $1 was written while it was read" >&2; exit 1'
)


Settings = TypeVar("Settings", MysqlSettings, PostgresqlSettings, SqliteSettings, CommandSettings)


class DumpSource(Generic[Settings]):
    """Shared by all kinds: a list of dumps, read one after the other."""

    sequential = True

    def __init__(self, settings: Settings, transport: Transport) -> None:
        self.settings: Settings = settings
        self.transport = transport
        self.label = source_label(settings)
        self._reader = DumpReader(transport)
        # Rows of each table, by the dump's path; complete when the entries were read.
        self.tables: Mapping[bytes, Mapping[str, int]] = self._reader.tables

    def dumps(self) -> Iterator[Dump]:
        raise NotImplementedError

    def entries(self, report: Report) -> Iterator[Entry]:
        return (self._reader.entry(dump) for dump in self.dumps())

    def close(self) -> None:
        """Does nothing: each program ended with its last block."""

    def questions(self) -> list[tuple[str, ...]]:
        return []

    def ask(self, argv: Sequence[str], env: Mapping[str, str] | None = None, program: str = "") -> list[str]:
        """The lines that a short program, called ``program``, prints. Raises SourceError when it fails."""
        try:
            finished = self.transport.run(argv, timeout=LIST_SECONDS, env=env)
        except ProcessError as error:
            raise SourceError(f"{self.label}: {error.message}", error.hint) from error
        if finished.status:
            why = finished.last_words
            what = f"{program or argv[0]} on {self.transport.name} failed: {why}"
            raise SourceError(f"{self.label}: {what}", self.transport.hint(finished))
        if len(finished.stdout) > MOST_LISTED:
            raise SourceError(
                f"{self.label}: {self.transport.name} lists more than {MOST_LISTED} bytes of names"
            )
        return finished.stdout.decode(errors="replace").splitlines()


class MysqlDumps(DumpSource[MysqlSettings]):
    """A database of MariaDB or MySQL, or all of them with users and grants, by mysqldump."""

    @property
    def _options(self) -> list[str]:
        # Must be the first option of all, says the manual of the client programs.
        file = self.settings.defaults_file
        return [f"--defaults-extra-file={file}"] if file else []

    def entries(self, report: Report) -> Iterator[Entry]:
        databases = self._databases()
        self._report_hidden(databases, report)
        for dump in self._dumps(databases):
            if self.settings.by_table and dump.path.endswith(BY_TABLE):
                yield from self._reader.pieces(dump)
            else:
                yield self._reader.entry(dump)

    def dumps(self) -> Iterator[Dump]:
        return self._dumps(self._databases())

    def questions(self) -> list[tuple[str, ...]]:
        return [self._question(_GRANTS), self._question(_ROLES)]

    def _question(self, statement: str) -> tuple[str, ...]:
        return (*MYSQL, *self._options, "--batch", "--skip-column-names", f"--execute={statement}")

    def _rights(self) -> Rights:
        lines = self.ask(self._question(_GRANTS), program="mysql")
        if has_roles(lines):
            roles = (self.ask(self._question(_ROLES), program="mysql") or ["NONE"])[-1]
            if roles != "NONE":
                question = self._question(f"SHOW GRANTS FOR CURRENT_USER() USING {roles}")
                lines = self.ask(question, program="mysql")
        return Rights(lines)

    def _report_hidden(self, databases: list[str], report: Report) -> None:
        """Report what this user is not allowed to see: the dump would look complete without it."""
        try:
            rights = self._rights()
        except SourceError as error:
            what = f"{error.message}: it is unknown whether this user sees everything"
            report(Problem(b"", what))
            return
        if self.settings.mysql == ALL_DATABASES and not rights.sees_every_database():
            what = "this user cannot see all databases, so not all are saved (GRANT SHOW DATABASES ON *.*)"
            report(Problem(b"", f"{self.label}: {what}"))
        for database in databases:
            if hidden := rights.hidden(database):
                what = f"not saved if there are any, as this user cannot see them: {', '.join(hidden)}"
                report(Problem(b"", f"mysql/{database}: {what}"))

    def _dumps(self, databases: list[str]) -> Iterator[Dump]:
        for database in databases:
            # Without --databases, so that the dump can be loaded under another name: the drill does that.
            history = [HISTORY] if self.settings.history else []
            argv = (*MYSQLDUMP, *self._options, *MYSQL_OPTIONS, *history, "--", database)
            name = BY_TABLE if self.settings.by_table else "/dump.sql"
            yield self._dump(f"mysql/{quote(database, safe='')}{name}", argv)
        if self.settings.users:
            argv = (*MYSQLDUMP, *self._options, "--system=users", "--skip-dump-date")
            yield self._dump("mysql/users.sql", argv)

    def _dump(self, path: str, argv: tuple[str, ...]) -> Dump:
        seconds = self.settings.timeout.total_seconds()
        return Dump(path, argv, seconds, self.settings.minimum_size, MysqlWatcher, program="mysqldump")

    def _databases(self) -> list[str]:
        if self.settings.mysql != ALL_DATABASES:
            return [self.settings.mysql]
        return sorted(set(self.ask(self._question("SHOW DATABASES"), program="mysql")) - MYSQL_OWN)


_LIST = (
    "SELECT CASE WHEN NOT datallowconn THEN 'closed' WHEN NOT has_database_privilege(datname, 'CONNECT')"
    " THEN 'denied' ELSE 'open' END || ' ' || datname"
    " FROM pg_database WHERE NOT datistemplate ORDER BY datname"
)
_CLOSED = {
    "open": "",
    "closed": "it does not allow connections (ALTER DATABASE … ALLOW_CONNECTIONS true)",
    "denied": "this role may not connect to it (GRANT CONNECT ON DATABASE …)",
}


class PostgresqlDumps(DumpSource[PostgresqlSettings]):
    """A database of PostgreSQL, or all of them, by pg_dump; roles and grants by pg_dumpall."""

    @property
    def _env(self) -> dict[str, str]:
        settings = self.settings
        named = {
            "PGSERVICEFILE": settings.service_file,
            "PGPASSFILE": settings.password_file,
            "PGSERVICE": settings.service,
            "PGHOST": settings.host,
            "PGPORT": settings.port,
            "PGUSER": settings.user,
        }
        return {name: str(value) for name, value in named.items() if value is not None}

    def entries(self, report: Report) -> Iterator[Entry]:
        """One entry per dump. A database that cannot be connected to is reported, the others are saved."""
        databases, closed = self._databases()
        for database, why in closed.items():
            report(Problem(b"", f"postgresql/{database}: not saved: {why}"))
        return (self._reader.entry(dump) for dump in self._dumps(databases))

    def dumps(self) -> Iterator[Dump]:
        return self._dumps(self._databases()[0])

    def _dumps(self, databases: list[str]) -> Iterator[Dump]:
        plain = self.settings.format == "plain"
        for database in databases:
            name = "dump.sql" if plain else "dump.pgc"
            # The ZIP compresses; it cannot compress a dump that is already compressed.
            form = ["--format=plain"] if plain else ["--format=custom", "--compress=0"]
            argv = ("pg_dump", "--no-password", *form, "--", database)
            yield self._dump(f"postgresql/{quote(database, safe='')}/{name}", argv, plain)
        if self.settings.globals:
            yield self._globals()

    def _dump(self, path: str, argv: tuple[str, ...], plain: bool) -> Dump:
        seconds, minimum = self.settings.timeout.total_seconds(), self.settings.minimum_size
        if plain:
            return Dump(path, argv, seconds, minimum, PostgresqlWatcher, env=self._env)
        return Dump(path, argv, seconds, minimum, env=self._env)

    def _globals(self) -> Dump:
        argv = ("pg_dumpall", "--no-password", "--globals-only")
        seconds = self.settings.timeout.total_seconds()
        return Dump("postgresql/globals.sql", argv, seconds, 1, GlobalsWatcher, env=self._env)

    def _databases(self) -> tuple[list[str], dict[str, str]]:
        """The databases to save, and those that cannot be connected to, with the reason."""
        if self.settings.postgresql != ALL_DATABASES:
            return [self.settings.postgresql], {}
        options = ["--no-password", "--no-psqlrc", "--tuples-only", "--no-align", f"--command={_LIST}"]
        lines = self.ask(["psql", *options, "postgres"], self._env)
        listed = (line.partition(" ") for line in lines)
        # A shell may have printed something before.
        found = {name: _CLOSED[state] for state, _, name in listed if state in _CLOSED}
        return [name for name, why in found.items() if not why], {n: why for n, why in found.items() if why}


class RemoteSqliteDump(DumpSource[SqliteSettings]):
    """An SQLite database of another host, as SQL by its own sqlite3 program: one read transaction."""

    def dumps(self) -> Iterator[Dump]:
        path = str(self.settings.sqlite)
        argv = ("sh", "-c", _SQLITE, "sqlite3", path, f"file:{quote(path)}?immutable=1")
        yield Dump(f"{self.label}.sql", argv, SQLITE_SECONDS, watcher=SqliteWatcher, program="sqlite3")


class CommandOutput(DumpSource[CommandSettings]):
    """The output of any program; its exit status shows whether it is complete."""

    def dumps(self) -> Iterator[Dump]:
        settings = self.settings
        path = f"{self.label}/{settings.file_name or 'output'}"
        yield Dump(path, tuple(settings.command), settings.timeout.total_seconds(), settings.minimum_size)
