"""Database servers on this host."""

import re
from collections.abc import Collection
from dataclasses import dataclass

from exporter.inventory.processes import process_folders, procfs, program
from exporter.inventory.programs import ask
from exporter.inventory.source import Context, Findings
from exporter.inventory.text import VERSION, search
from exporter.tree import Tree

DATA_FOLDER = "/var/lib/mysql"
# In the order in which they are read; the last one counts.
OPTION_FILES = (
    *("/etc/my.cnf", "/etc/my.cnf.d/*.cnf", "/etc/mysql/my.cnf", "/etc/mysql/conf.d/*.cnf"),
    *("/etc/mysql/mysql.conf.d/*.cnf", "/etc/mysql/mariadb.conf.d/*.cnf"),
)
BINARY_LIMIT = 128 * 1024 * 1024


@dataclass(frozen=True)
class Server:
    """A kind of server: where its program stands and what ``--version`` prints."""

    name: str
    paths: tuple[str, ...]
    pattern: str


SERVERS = (
    Server(
        "MariaDB", ("/usr/sbin/mariadbd", "/usr/libexec/mariadbd", "/usr/bin/mariadbd"), rf"Ver ({VERSION})"
    ),
    Server("MySQL", ("/usr/sbin/mysqld", "/usr/libexec/mysqld"), rf"Ver ({VERSION})"),
    Server(
        "PostgreSQL",
        ("/usr/lib/postgresql/*/bin/postgres", "/usr/pgsql-*/bin/postgres", "/usr/bin/postgres"),
        rf"\(PostgreSQL\) ({VERSION})",
    ),
    Server("Redis", ("/usr/bin/redis-server", "/usr/local/bin/redis-server"), rf"Redis server v=({VERSION})"),
    Server("Valkey", ("/usr/bin/valkey-server",), rf"(?:Valkey|Server) server v=({VERSION})"),
)


def read(context: Context) -> Findings:
    """One item per installed server program."""
    findings = Findings()
    with procfs(context.roots.proc):
        running = {program(int(folder.name)) for folder in process_folders(context.roots.proc)}
        # Where /proc hides the processes of others (hidepid), it hides the first of all.
        sees_all = bool(program(1))
    seen: set[str] = set()
    for server in SERVERS:
        for path in [path for pattern in server.paths for path in context.tree.glob(pattern)]:
            real = context.tree.resolve(path)
            # mysqld is a link to mariadbd where MariaDB takes its place.
            if real in seen or not context.tree.is_file(path):
                continue
            seen.add(real)
            add(context, findings, server, path, running if sees_all else None)
    return findings


def add(
    context: Context, findings: Findings, server: Server, path: str, running: Collection[str] | None
) -> None:
    """Add one server; ``running`` are the names of processes, None if others' are hidden from us."""
    answer = ask(context, path, ["--version"])
    version = search(server.pattern, answer) if answer else ""
    name = "MariaDB" if "MariaDB" in version else server.name
    command = re.sub(r".*/", "", context.tree.resolve(path))
    # The kernel keeps 15 characters of a name, and a command line may be closed to us.
    is_running = None if running is None else command[:15] in running or command in running
    names = schemas(context.tree) if server.name in ("MariaDB", "MySQL") else None
    findings.add("database", name=name, version=version, path=path, running=is_running, databases=names)


def schemas(tree: Tree) -> list[str] | None:
    """The databases of MariaDB or MySQL: the folders in its data folder. None if that cannot be listed."""
    settings = "\n".join(tree.text_or_empty(path) for pattern in OPTION_FILES for path in tree.glob(pattern))
    folder = (re.findall(r"(?m)^[ \t]*datadir[ \t]*=[ \t]*[\"']?([^\s\"']+)", settings) or [DATA_FOLDER])[
        -1
    ].rstrip("/")
    names = [name for name in tree.names(folder) if not name.startswith((".", "#"))]
    if not names:
        return None
    return [schema(name) for name in names if name != "lost+found" and tree.is_folder(f"{folder}/{name}")]


def schema(folder: str) -> str:
    """The name that a folder stands for: other letters than A-Z, 0-9, _ are written as @ and four digits."""
    return re.sub(r"@([0-9a-f]{4})", lambda found: chr(int(found[1], 16)), folder)
