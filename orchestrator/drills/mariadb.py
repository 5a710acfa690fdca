"""Load a dump of MariaDB or MySQL into a MariaDB that is made for it and thrown away."""

from collections.abc import Mapping, Sequence
from pathlib import Path

from orchestrator.drills.server import confined, feed, running, server_folder, succeed
from orchestrator.drills.sqlite import LOAD_SECONDS

_DATABASE = "drill"
# Enough for what mysqldump writes, definers of others included; no files of the server, plug-ins, settings.
_LOADER = "loader"
_PREPARE = (
    f"CREATE DATABASE {_DATABASE}; CREATE USER {_LOADER}@localhost;"
    f" GRANT ALL ON {_DATABASE}.* TO {_LOADER}@localhost;"
    f" GRANT SELECT, EXECUTE, REFERENCES, SET USER ON *.* TO {_LOADER}@localhost"
)
_TABLES = (
    "SELECT TABLE_NAME FROM information_schema.TABLES"
    " WHERE TABLE_SCHEMA = 'drill' AND TABLE_TYPE = 'BASE TABLE' ORDER BY 1"
)


def load_mariadb_tables(last: Path, folder: Path) -> Mapping[str, int]:
    """As ``load_mariadb``, of a dump in pieces; the last one stands for all."""
    return _load(sorted(last.parent.iterdir()), folder)


def load_mariadb(dump: Path, folder: Path) -> Mapping[str, int]:
    """The rows of each table once the dump was loaded. Needs Debian's mariadb-server."""
    return _load([dump], folder)


def _load(pieces: Sequence[Path], folder: Path) -> Mapping[str, int]:
    with server_folder(folder, "mariadb") as place:
        user = confined(place)
        data, socket = place / "data", place / "socket"
        install = ["mariadb-install-db", "--no-defaults", f"--datadir={data}", "--skip-test-db"]
        succeed([*user, *install, "--auth-root-authentication-method=normal"])
        server = [*user, "/usr/sbin/mariadbd", "--no-defaults", f"--datadir={data}", f"--socket={socket}"]
        server += ["--skip-networking", f"--pid-file={place / 'pid'}", "--innodb-flush-log-at-trx-commit=0"]
        # Sandbox: no command of the client's own (\! runs a program). Older clients do not know it.
        client = [*user, "mariadb", "--no-defaults", "--loose-sandbox", f"--socket={socket}"]
        ask = [*client, "--user=root", "--batch", "--skip-column-names", "--raw"]
        with running([*server, f"--secure-file-priv={data}"], [*ask, "--execute=SELECT 1"]):
            succeed([*ask, f"--execute={_PREPARE}"])
            load = [*client, f"--user={_LOADER}", "--local-infile=0", _DATABASE]
            feed(load, ["cat", "--", *map(str, pieces)])
            return {
                table: _rows(ask, table) for table in succeed([*ask, f"--execute={_TABLES}"]).splitlines()
            }


def _rows(ask: list[str], table: str) -> int:
    quoted = table.replace("`", "``")
    query = f"SELECT COUNT(*) FROM {_DATABASE}.`{quoted}`"  # noqa: S608
    return int(succeed([*ask, f"--execute={query}"], LOAD_SECONDS))
