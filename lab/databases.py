"""Real database servers for tests, each in its own folder and only reachable by a socket there."""

import os
import pwd
import subprocess
from dataclasses import dataclass, field
from pathlib import Path
from typing import Self

from lab.patience import patient
from lab.processes import LabError, Server, wait_until

POSTGRESQL = Path("/usr/lib/postgresql")
SECONDS = 120


def owned_by(user: str, folder: Path) -> list[str]:
    """Give ``folder`` to ``user``; the arguments that run a program as that user (empty if not root)."""
    if os.geteuid():
        return []
    entry = pwd.getpwnam(user)
    folder.mkdir(parents=True, exist_ok=True)
    for path in (folder, *folder.rglob("*")):
        os.chown(path, entry.pw_uid, entry.pw_gid)
    passable(folder)
    words = ["setpriv", f"--reuid={user}", f"--regid={entry.pw_gid}", "--clear-groups"]
    # A change of user resets the parent-death signal of the child, so it is set again.
    return [*words, "--pdeathsig", "TERM", "--"]


def passable(folder: Path) -> None:
    """Let every user traverse to ``folder``: servers do not run as root."""
    for parent in folder.parents:
        if parent.stat().st_uid == os.geteuid() and parent != Path("/"):
            parent.chmod(parent.stat().st_mode | 0o011)


def run(argv: list[str], text: str = "") -> str:
    """A program's output. Raises LabError with its messages if it fails."""
    done = subprocess.run(argv, input=text, capture_output=True, text=True, timeout=patient(SECONDS), cwd="/")
    if done.returncode:
        raise LabError(f"{argv[0]} failed: {done.stderr.strip()[-500:]}")
    return done.stdout


@dataclass
class DatabaseServer:
    """Base of the servers: a folder of their own, a start that waits for the first answer, an end."""

    folder: Path
    server: Server = field(init=False, kw_only=True)

    def __enter__(self) -> Self:
        self.folder.mkdir(parents=True, exist_ok=True)
        self.server = Server(type(self).__name__, self.install(), self.folder / "log", 0).start()
        wait_until(self._answers, f"{self.server.name} (log: {self.server.log})")
        return self

    def __exit__(self, *_: object) -> None:
        self.server.stop()

    def install(self) -> list[str]:
        """Make the data folder; the arguments that start the server."""
        raise NotImplementedError

    def execute(self, statements: str, database: str = "") -> str:
        """The rows that the statements return, without a frame."""
        raise NotImplementedError

    def _answers(self) -> bool:
        try:
            return self.execute("SELECT 1").strip() == "1"
        except LabError:
            if not self.server.running:
                raise LabError(self.server.log_end()) from None
            return False


class MariaDB(DatabaseServer):
    """MariaDB in ``folder``; root connects by the socket, without a password."""

    @property
    def defaults_file(self) -> Path:
        """A client's option file."""
        return self.folder / "client.cnf"

    def install(self) -> list[str]:
        data, socket = self.folder / "data", self.folder / "socket"
        user = owned_by("mysql", self.folder)
        install = ["mariadb-install-db", "--no-defaults", f"--datadir={data}", "--skip-test-db"]
        run([*user, *install, "--auth-root-authentication-method=normal"])
        self.defaults_file.touch(mode=0o600)
        self.defaults_file.write_text(f"[client]\nuser = root\nsocket = {socket}\n")
        server = [*user, "/usr/sbin/mariadbd", "--no-defaults", f"--datadir={data}", f"--socket={socket}"]
        return [*server, "--skip-networking", f"--pid-file={self.folder}/pid"]

    def execute(self, statements: str, database: str = "") -> str:
        options = [f"--defaults-file={self.defaults_file}", "--batch", "--skip-column-names"]
        return run(["mariadb", *options, *([database] if database else [])], statements)

    @staticmethod
    def quoted(text: str) -> str:
        """A text as written in a statement."""
        escaped = text.replace("\\", "\\\\").replace("'", "\\'")
        return f"'{escaped}'"


class MySQL(MariaDB):
    """MySQL in ``folder``, with the programs that are first in PATH."""

    def install(self) -> list[str]:
        data, socket = self.folder / "data", self.folder / "socket"
        user = owned_by("mysql", self.folder)
        run([*user, "mysqld", "--no-defaults", "--initialize-insecure", f"--datadir={data}"])
        self.defaults_file.touch(mode=0o600)
        self.defaults_file.write_text(f"[client]\nuser = root\nsocket = {socket}\n")
        server = [*user, "mysqld", "--no-defaults", f"--datadir={data}", f"--socket={socket}", "--mysqlx=OFF"]
        # With transaction ids, which its dumps then mention.
        server += ["--secure-file-priv=", "--gtid-mode=ON", "--enforce-gtid-consistency=ON", "--server-id=1"]
        return [*server, "--skip-networking", f"--pid-file={self.folder}/pid"]


@dataclass
class PostgreSQL(DatabaseServer):
    """PostgreSQL in ``folder``, reachable by its socket without a password; default: the newest version."""

    programs: Path | None = None

    def install(self) -> list[str]:
        installed = sorted(POSTGRESQL.glob("*/bin"), key=lambda path: int(path.parent.name))
        programs = self.programs or installed[-1]
        user = owned_by("postgres", self.folder)
        data = self.folder / "data"
        options = ["-U", "postgres", "-A", "trust", "-E", "UTF8", "--locale=C.UTF-8", "-N", "-D", str(data)]
        run([*user, str(programs / "initdb"), *options])
        server = [*user, str(programs / "postgres"), "-D", str(data), "-k", str(self.folder)]
        return [*server, "-c", "listen_addresses=", "-c", "fsync=off"]

    @property
    def settings(self) -> dict[str, str]:
        """How a client reaches it: the keys of leitstand.yml's postgresql source."""
        return {"host": str(self.folder), "user": "postgres"}

    def execute(self, statements: str, database: str = "") -> str:
        return run([*self._client(database), "-c", statements])

    def script(self, statements: str, database: str = "") -> str:
        """Like ``execute``, with each statement in its own transaction."""
        return run(self._client(database), statements)

    def _client(self, database: str) -> list[str]:
        options = ["-h", str(self.folder), "-U", "postgres", "--no-psqlrc", "-Atq", "-v", "ON_ERROR_STOP=1"]
        return ["psql", *options, "-d", database or "postgres"]
