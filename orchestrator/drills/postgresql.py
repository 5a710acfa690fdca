"""Load a dump of PostgreSQL into a cluster that is made for it and thrown away."""

import re
import secrets
from collections.abc import Mapping, Sequence
from itertools import islice
from pathlib import Path

from leitstand import process
from orchestrator.drills.server import READY_SECONDS, confined, feed, running, server_folder, succeed
from orchestrator.drills.sqlite import LOAD_SECONDS, DumpError

_USER = "postgres"
_DATABASE = "drill"
_INSTALLED = Path("/usr/lib/postgresql")  # where Debian keeps the servers, by major version
_ROLE = re.compile(rb'(?:OWNER TO|TO|FROM) ("(?:[^"\0]|"")+"|[A-Za-z_][A-Za-z0-9_$]*);$')
_HEAD_LINES = 30  # pg_dump's own line is the fifth
_RESTRICT = re.compile(rb"\\restrict ([A-Za-z0-9]+)$")
_TABLES = (
    "SELECT format('%I.%I', schemaname, tablename) FROM pg_tables"
    " WHERE schemaname NOT IN ('pg_catalog', 'information_schema') ORDER BY 1"
)


def load_postgresql(dump: Path, folder: Path) -> Mapping[str, int]:
    """The rows of each table once the dump (plain or custom) was loaded. Needs Debian's postgresql."""
    programs = newest_programs(_INSTALLED)
    with server_folder(folder, "postgresql") as place:
        user = confined(place)
        data = place / "data"
        options = ["-U", _USER, "-A", "trust", "-E", "UTF8", "-N", "-D", str(data)]
        succeed([*user, str(programs / "initdb"), *options])
        server = [*user, str(programs / "postgres"), "-D", str(data), "-k", str(place)]
        server += ["-c", "listen_addresses=", "-c", "fsync=off"]
        where = ["-h", str(place), "-U", _USER]
        ask = [str(programs / "psql"), *where, "--no-psqlrc", "-Atq", "-v", "ON_ERROR_STOP=1"]
        with running(server, [*user, *ask, "-d", "postgres", "-c", "SELECT 1"]):
            succeed([*user, *ask, "-d", "postgres", "-c", f"CREATE DATABASE {_DATABASE}"])
            ask = [*user, *ask, "-d", _DATABASE]
            for role in roles_in(dump) if dump.suffix == ".sql" else ():
                process.run([*ask, "-c", f"CREATE ROLE {role}"], timeout=READY_SECONDS)
            restore = [*user, str(programs / "pg_restore"), *where, "-d", _DATABASE]
            restore += ["--no-owner", "--no-privileges"]
            if dump.suffix == ".pgc":
                feed(restore, ["cat", "--", str(dump)])
            else:
                _feed_restricted(ask, dump)
            return {table: _rows(ask, table) for table in succeed([*ask, "-c", _TABLES]).splitlines()}


def _feed_restricted(psql: Sequence[str], dump: Path) -> None:
    r"""Load a plain dump with psql's own commands (``\!`` runs a program) forbidden, where psql can do that.

    Since the releases of August 2025 (psql(1), ``\restrict``) dumps begin and end so themselves: these lines
    are dropped, as whoever wrote the dump knows the word that ends it.
    """
    key = secrets.token_hex(16)
    lock = f"\\restrict {key}\n".encode()
    both = lock + f"\\unrestrict {key}\n".encode()
    if process.run(psql, timeout=READY_SECONDS, stdin=both).status:
        feed(psql, ["cat", "--", str(dump)])
        return
    own = own_lock(dump)
    drop = ["-e", f"{own[0] + 1}d", "-e", f"/^\\\\unrestrict {own[1]}$/d"] if own else ["-e", ""]
    feed(psql, ["sed", *drop, "--", "-", str(dump)], lock)


def own_lock(dump: Path) -> tuple[int, str] | None:
    """The line, from 1, with which a plain dump forbids psql's commands, and the word that ends it."""
    with dump.open("rb") as file:
        for number, line in enumerate(islice(file, _HEAD_LINES), start=1):
            if found := _RESTRICT.match(line):
                return number, found[1].decode()
    return None


def roles_in(dump: Path) -> list[str]:
    """The roles that a plain dump gives tables and rights to, quoted as they stand there.

    Only the source has them, and without them the dump stops. What looks like a role in somebody's rows does
    no harm: a role more, or a statement that fails.
    """
    found: dict[str, None] = {}
    with dump.open("rb") as file:
        for line in file:
            if line.startswith((b"ALTER ", b"GRANT ", b"REVOKE ")) and (role := _ROLE.search(line)):
                found[role[1].decode(errors="replace")] = None
    return [role for role in found if role not in (_USER, "PUBLIC")]


def newest_programs(installed: Path) -> Path:
    """The folder with the programs of the newest server. Raises DumpError when there is none."""
    servers = installed.glob("*/bin/postgres")  # a client alone may be newer
    found = [path.parent for path in servers if path.parts[-3].isdigit()]
    if not found:
        raise DumpError("no PostgreSQL server is installed", "apt-get install postgresql")
    return max(found, key=lambda path: int(path.parent.name))


def _rows(ask: list[str], table: str) -> int:
    query = f"SELECT count(*) FROM {table}"  # noqa: S608 - quoted by format('%I')
    return int(succeed([*ask, "-c", query], LOAD_SECONDS))
