"""The scratch server for a dump of MariaDB or MySQL: the one of its own kind, where that is installed."""

import re
import shutil
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

from leitstand import process
from orchestrator.verify.databases.loaded import LOAD_SECONDS, CannotLoadError, lines_of
from orchestrator.verify.databases.server import READY_SECONDS, confined, running, server_folder, succeed

Version = tuple[int, int]
_HEAD_LINES = 20
_SERVERS = ("mariadbd", "mysqld")
_FOLDERS = "/usr/sbin:/usr/libexec"  # where distributions keep servers; these are not in every user's PATH
_NUMBER = r"(\d+)\.(\d+)([^\n]*)"
# The server's is the one that counts, and the program's own is better than none.
_VERSIONS = [re.compile(word + _NUMBER) for word in (r"-- Server version\s", "Distrib ", "Ver ")]
_DEFINER = re.compile(rb"\bDEFINER=(`(?:[^`]|``)+`@`(?:[^`]|``)*`)")
_MOST_DEFINERS = 10_000
_LOADER = "loader"
# Enough for what mysqldump writes, definers of others included; no files of the server, plug-ins, settings.
_RIGHTS = {
    "MariaDB": "SET USER",
    "MySQL": "SYSTEM_USER, SET_ANY_DEFINER, ALLOW_NONEXISTENT_DEFINER",
    "MySQL 8.0": "SYSTEM_USER, SET_USER_ID",
}


@dataclass(frozen=True)
class ServerKind:
    """The program that makes or loads a dump: ``MariaDB`` or ``MySQL``, and its version."""

    name: str
    version: Version

    def __str__(self) -> str:
        return f"{self.name} {self.version[0]}.{self.version[1]}"


def kind_in(text: str) -> ServerKind | None:
    """The server and version in a line, in a dump's head or of a server's ``--version``."""
    found = next((match for version in _VERSIONS if (match := version.search(text))), None)
    if found is None:
        return None
    return ServerKind("MariaDB" if "maria" in found[3].lower() else "MySQL", (int(found[1]), int(found[2])))


def kind_of(dump: Path) -> ServerKind | None:
    """The server that a dump was made from; None if it names none."""
    with dump.open("rb") as file:
        return kind_in(b"".join(islice(file, _HEAD_LINES)).decode(errors="replace"))


def definers_in(pieces: Iterable[Path]) -> list[str]:
    """The users that views and routines run as, quoted: without its own a view that calls one is refused."""
    found: dict[str, None] = {}
    for piece in pieces:
        with piece.open("rb") as file:
            for line in lines_of(file):
                if b"DEFINER=" in line and not line.startswith((b"INSERT ", b"(")):
                    names = (name.decode(errors="replace") for name in _DEFINER.findall(line))
                    found.update(dict.fromkeys(islice(names, _MOST_DEFINERS - len(found))))
    return list(found)


@dataclass(frozen=True)
class Running:
    """A scratch server: how to ask it as its root, and the client that loads with few rights."""

    kind: ServerKind
    ask: list[str]
    load: list[str]


def installed() -> Iterator[tuple[ServerKind, str]]:
    path = process.environment().get("PATH", "")
    for name in _SERVERS:
        program = shutil.which(name, path=f"{path}:{_FOLDERS}")
        if program is None:
            continue
        kind = kind_in(
            process.run([program, "--no-defaults", "--version"], timeout=READY_SECONDS).stdout.decode()
        )
        if kind is not None:
            yield kind, program


def best_for(kind: ServerKind | None, servers: Iterable[tuple[ServerKind, str]]) -> tuple[ServerKind, str]:
    """The server of the dump's own kind, else MariaDB. Raises CannotLoadError when there is none."""
    wanted = kind.name if kind else "MariaDB"
    found = sorted(servers, key=lambda each: (each[0].name != wanted, each[0].name))
    if not found:
        raise CannotLoadError("neither MariaDB nor MySQL is installed", "apt-get install mariadb-server")
    return found[0]


def require_mysql() -> None:
    """Raise CannotLoadError when no server is installed that loads a dump."""
    best_for(None, installed())


@contextmanager
def scratch_server(
    folder: Path, kind: ServerKind, program: str, database: str, definers: Iterable[str]
) -> Iterator[Running]:
    """The server with this empty database, these users and one who may fill it. Raises CannotLoadError."""
    with server_folder(folder, "mysql") as place:
        user = confined(place)
        data, socket = place / "data", place / "socket"
        if kind.name == "MariaDB":
            install = ["mariadb-install-db", "--no-defaults", f"--datadir={data}", "--skip-test-db"]
            succeed([*user, *install, "--auth-root-authentication-method=normal"])
            # Sandbox: no command of the client's own. Older clients do not know it.
            client = [*user, "mariadb", "--no-defaults", "--loose-sandbox"]
            more: list[str] = []
        else:
            succeed([*user, program, "--no-defaults", "--initialize-insecure", f"--datadir={data}"])
            # Binary mode leaves the client no command of its own (\! runs a program).
            client = [*user, "mysql", "--no-defaults", "--loose-system-command=OFF", "--binary-mode"]
            more = ["--mysqlx=OFF", "--skip-log-bin"]
        client += ["--default-character-set=utf8mb4", f"--socket={socket}"]
        server = [*user, program, "--no-defaults", f"--datadir={data}", f"--socket={socket}", *more]
        # No events of the dump: they would change what is counted.
        server += ["--skip-networking", "--event-scheduler=OFF", f"--pid-file={place / 'pid'}"]
        server += ["--innodb-flush-log-at-trx-commit=0", f"--secure-file-priv={data}"]
        ask = [*client, "--user=root", "--batch", "--skip-column-names"]
        with running(server, [*ask, "--execute=SELECT 1"]):
            _prepare(ask, kind, database, definers)
            yield Running(kind, ask, [*client, f"--user={_LOADER}", "--local-infile=0"])


def _prepare(ask: list[str], kind: ServerKind, database: str, definers: Iterable[str]) -> None:
    rights = _RIGHTS.get(str(kind), _RIGHTS[kind.name])
    statements = (
        f"CREATE DATABASE {database}; CREATE USER {_LOADER}@localhost;"
        f" GRANT ALL ON {database}.* TO {_LOADER}@localhost;"
        f" GRANT SELECT, EXECUTE, REFERENCES, {rights} ON *.* TO {_LOADER}@localhost"
    )
    succeed([*ask, f"--execute={statements}"])
    made = "".join(f"CREATE USER {user};\nGRANT ALL ON {database}.* TO {user};\n" for user in definers)
    # One that is there already, as root is, or that cannot be made, costs itself.
    process.run([*ask, "--force"], timeout=LOAD_SECONDS, stdin=made.encode(errors="replace"))
