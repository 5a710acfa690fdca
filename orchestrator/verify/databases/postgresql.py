"""Load a dump of PostgreSQL into a cluster that is made for it and thrown away."""

import re
import secrets
from collections.abc import Mapping, Sequence
from itertools import islice
from pathlib import Path

from leitstand import process
from leitstand.errors import LeitstandError
from orchestrator.sources.time_limit import TimeLimit
from orchestrator.verify.databases.loaded import LOAD_SECONDS, CannotLoadError, DumpError, Loaded, lines_of
from orchestrator.verify.databases.postgresql_needs import Needs, needs_of
from orchestrator.verify.databases.server import (
    READY_SECONDS,
    Fed,
    confined,
    feed,
    running,
    server_folder,
    succeed,
)

_USER = "postgres"
_DATABASE = "drill"
_INSTALLED = Path("/usr/lib/postgresql")  # where Debian keeps the servers, by major version
_HEAD_LINES = 30  # pg_dump's own line is the fifth
_RESTRICT = re.compile(rb"\\restrict ([A-Za-z0-9]+)$")
_PARTS = re.compile(r'"((?:[^"]|"")+)"|([^".]+)')
_PLAIN = re.compile(r"[a-z_][a-z0-9_$]*")
# Each real table once: a partitioned parent has no rows of its own. 'e': an extension put rows there, too.
_TABLES = (
    "SELECT CASE WHEN EXISTS (SELECT FROM pg_depend d WHERE d.classid = 'pg_class'::regclass"
    " AND d.objid = c.oid AND d.deptype = 'e') THEN 'e' ELSE 't' END || format('%I.%I', n.nspname, c.relname)"
    " FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace WHERE c.relkind = 'r'"
    " AND n.nspname NOT IN ('pg_catalog', 'information_schema', 'pg_toast') ORDER BY n.nspname, c.relname"
)
_EXTENSIONS = "SELECT quote_ident(name) FROM pg_available_extensions"
# Errors that tell of this machine, not of the dump.
_LACKS = re.compile(
    r"(?:extension|access method|role|tablespace) \"[^\n]*\" (?:is not available|does not exist)"
    r"|security label provider .* is not loaded|could not (?:load library|access file|create locale)"
    r"|could not connect to server|violates partition constraint"  # which may hang on the source's locale
    r"|must be loaded via \"?shared_preload_libraries|[Nn]o space left on device|could not extend file"
    r"|ICU is not supported|unsupported XML feature|conversion between .* not supported"
)


def load_postgresql(dump: Path, folder: Path) -> Loaded:
    """The rows of each table once the dump (plain or custom) was loaded. Needs Debian's postgresql."""
    programs = newest_programs(_INSTALLED)
    with server_folder(folder, "postgresql") as place:
        user = confined(place)
        data = place / "data"
        options = ["-U", _USER, "-A", "trust", "-E", "UTF8", "-N", "-D", str(data)]
        succeed([*user, str(programs / "initdb"), *options])
        server = [*user, str(programs / "postgres"), "-D", str(data), "-k", str(place)]
        server += ["-c", "listen_addresses=", "-c", "fsync=off"]
        ask = [*user, str(programs / "psql"), "-h", str(place), "-U", _USER, "--no-psqlrc", "-Atq"]
        with running(server, [*ask, "-d", "postgres", "-c", "SELECT 1"]):
            to_sql = [*user, str(programs / "pg_restore"), "--file=-", "--no-tablespaces"]
            needs = _needs(dump, to_sql)
            _prepare(ask, needs)
            ask += ["-v", "ON_ERROR_STOP=1", "-d", f"dbname={_DATABASE} client_encoding=UTF8"]
            fed = _feed_custom(ask, dump, to_sql) if dump.suffix == ".pgc" else _feed_plain(ask, dump)
            if fed.error:
                raise _judged(fed.error, needs, int(programs.parent.name))
            return _loaded(ask)


def _needs(dump: Path, to_sql: Sequence[str]) -> Needs:
    with dump.open("rb") as file:
        if dump.suffix != ".pgc":
            return needs_of(lines_of(file))
        with (
            process.open_stream([*to_sql, "--schema-only"], stdin=file) as stream,
            TimeLimit(LOAD_SECONDS, stream.kill),
        ):
            needs = needs_of(lines_of(stream.stdout))
            ended = stream.finish(READY_SECONDS)
    if "unsupported version" in ended.stderr:
        raise CannotLoadError(f"needs PostgreSQL {_version_of(dump)}: {ended.last_words}", "install it")
    return needs


def _version_of(dump: Path) -> str:
    """The major version of the pg_dump that wrote an archive, from its header."""
    with dump.open("rb") as file:
        found = re.findall(rb"\0[\x01-\xff]\0\0\0(\d+)(?:\.\d+)+", file.read(4096))
    return found[1].decode() if len(found) > 1 else "of a newer version"


def _prepare(ask: Sequence[str], needs: Needs) -> None:
    """Make what only the source has. Raises CannotLoadError for extensions that are not installed here."""
    ask = [*ask, "-d", "postgres"]
    here = set(succeed([*ask, "-c", _EXTENSIONS]).splitlines())
    if missing := [name for name in needs.extensions if name not in here and name.strip('"') not in here]:
        raise CannotLoadError(f"needs extensions: {', '.join(missing)}", "install their packages here")
    # What is a letter must be known, as constraints ask for that. Any encoding goes with the second locale,
    # which has no effect if the first one worked. Superusers may own all that a dump gives them.
    new = (
        f"CREATE DATABASE {_DATABASE} TEMPLATE template0 ENCODING '{needs.encoding}' LC_COLLATE 'C' LC_CTYPE"
    )
    made = f"{new} 'C.UTF-8';\n{new} 'C';\n"
    made += "".join(f"CREATE ROLE {role} SUPERUSER;\n" for role in needs.roles)
    made += "SET allow_in_place_tablespaces = on;\n"
    made += "".join(f"CREATE TABLESPACE {name} LOCATION '';\n" for name in needs.tablespaces)
    # One that is no role after all costs itself.
    process.run(ask, timeout=LOAD_SECONDS, stdin=made.encode(errors="replace"))


def _feed_custom(psql: Sequence[str], dump: Path, to_sql: Sequence[str]) -> Fed:
    with dump.open("rb") as file:
        return feed(psql, to_sql, file)


def _feed_plain(psql: Sequence[str], dump: Path) -> Fed:
    r"""Load a plain dump with psql's own commands (``\!`` runs a program) forbidden, where psql can do that.

    Since the releases of August 2025 (psql(1), ``\restrict``) dumps begin and end so themselves: these lines
    are dropped, because the dump's author knows the word that ends it.
    """
    key = secrets.token_hex(16)
    lock = f"\\restrict {key}\n".encode()
    both = lock + f"\\unrestrict {key}\n".encode()
    if process.run(psql, timeout=READY_SECONDS, stdin=both).status:
        return feed(psql, ["cat", "--", str(dump)])
    own = own_lock(dump)
    drop = ["-e", f"{own[0] + 1}d", "-e", f"/^\\\\unrestrict {own[1]}$/d"] if own else ["-e", ""]
    return feed(psql, ["sed", *drop, "--", "-", str(dump)], lock)


def own_lock(dump: Path) -> tuple[int, str] | None:
    """The line, from 1, with which a plain dump forbids psql's commands, and the word that ends it."""
    with dump.open("rb") as file:
        for number, line in enumerate(islice(file, _HEAD_LINES), start=1):
            if found := _RESTRICT.match(line):
                return number, found[1].decode()
    return None


def require_postgresql() -> None:
    """Raise CannotLoadError when no server is installed."""
    newest_programs(_INSTALLED)


def newest_programs(installed: Path) -> Path:
    """The folder with the programs of the newest server. Raises CannotLoadError when there is none."""
    servers = installed.glob("*/bin/postgres")  # a client alone may be newer
    found = [path.parent for path in servers if path.parts[-3].isdigit()]
    if not found:
        raise CannotLoadError("no PostgreSQL server is installed", "apt-get install postgresql")
    return max(found, key=lambda path: int(path.parent.name))


def _judged(error: str, needs: Needs, version: int) -> LeitstandError:
    """The error of this machine, or of the dump."""
    if needs.version > version:
        return CannotLoadError(f"needs PostgreSQL {needs.version}: {error}", "install it")
    return CannotLoadError(error) if _LACKS.search(error) else DumpError(error)


def _loaded(ask: Sequence[str]) -> Loaded:
    listed = succeed([*ask, "-0", "-c", _TABLES]).strip("\0\n").split("\0")
    tables = [line[1:] for line in listed if line]
    # Quoted by format('%I'); ONLY, as the tables that inherit from it are counted for themselves.
    counts = "".join(f"SELECT count(*) FROM ONLY {table};\n" for table in tables)  # noqa: S608
    rows = succeed(ask, LOAD_SECONDS, counts.encode()).split()
    found: Mapping[str, int] = {
        postgresql_name(table): int(each) for table, each in zip(tables, rows, strict=True)
    }
    shared = frozenset(postgresql_name(line[1:]) for line in listed if line.startswith("e"))
    return Loaded(found, shared, postgresql_name)


def postgresql_name(name: str) -> str:
    """The name of a table with quotes where it needs them; programs and versions differ in their words."""
    parts = [quoted.replace('""', '"') or plain for quoted, plain in _PARTS.findall(name)]
    return ".".join(
        part if _PLAIN.fullmatch(part) else f'"{part.replace(chr(34), chr(34) * 2)}"' for part in parts
    )
