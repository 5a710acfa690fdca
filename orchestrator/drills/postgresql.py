"""Load a dump of PostgreSQL into a cluster that is made for it and thrown away."""

import re
from collections.abc import Mapping
from pathlib import Path

from leitstand import process
from orchestrator.drills.server import READY_SECONDS, feed, running, server_folder, succeed, unprivileged
from orchestrator.drills.sqlite import DumpError

_USER = "postgres"
_DATABASE = "drill"
_INSTALLED = Path("/usr/lib/postgresql")  # where Debian keeps the servers, by major version
_ROLE = re.compile(rb'(?:OWNER TO|TO|FROM) ("(?:[^"]|"")+"|[A-Za-z_][A-Za-z0-9_$]*);$')
_TABLES = (
    "SELECT format('%I.%I', schemaname, tablename) FROM pg_tables"
    " WHERE schemaname NOT IN ('pg_catalog', 'information_schema') ORDER BY 1"
)


def load_postgresql(dump: Path, folder: Path) -> Mapping[str, int]:
    """The rows of each table once the dump (plain or custom) was loaded. Needs Debian's postgresql."""
    user, programs = unprivileged(_USER), newest_programs(_INSTALLED)
    with server_folder(folder, "postgresql", _USER) as place:
        data = place / "data"
        options = ["-U", _USER, "-A", "trust", "-E", "UTF8", "-N", "-D", str(data)]
        succeed([*user, str(programs / "initdb"), *options])
        server = [*user, str(programs / "postgres"), "-D", str(data), "-k", str(place)]
        server += ["-c", "listen_addresses=", "-c", "fsync=off"]
        where = ["-h", str(place), "-U", _USER]
        ask = ["psql", *where, "--no-psqlrc", "-Atq", "-v", "ON_ERROR_STOP=1"]
        with running(server, [*user, *ask, "-d", "postgres", "-c", "SELECT 1"]):
            succeed([*user, *ask, "-d", "postgres", "-c", f"CREATE DATABASE {_DATABASE}"])
            ask = [*user, *ask, "-d", _DATABASE]
            for role in roles_in(dump) if dump.suffix == ".sql" else ():
                process.run([*ask, "-c", f"CREATE ROLE {role}"], timeout=READY_SECONDS)
            restore = [*user, "pg_restore", *where, "-d", _DATABASE, "--no-owner", "--no-privileges"]
            feed(restore if dump.suffix == ".pgc" else ask, dump)
            return {table: _rows(ask, table) for table in succeed([*ask, "-c", _TABLES]).splitlines()}


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
    found = [path for path in installed.glob("*/bin") if path.parent.name.isdigit()]
    if not found:
        raise DumpError("no PostgreSQL server is installed", "apt-get install postgresql")
    return max(found, key=lambda path: int(path.parent.name))


def _rows(ask: list[str], table: str) -> int:
    return int(succeed([*ask, "-c", f"SELECT count(*) FROM {table}"]))  # noqa: S608 - quoted by format('%I')
