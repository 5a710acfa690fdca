"""Every kind of dump that a drill can load, by its path in a snapshot."""

import fnmatch
from collections.abc import Callable
from pathlib import Path

from orchestrator.verify.databases.loaded import CannotLoadError, Loaded
from orchestrator.verify.databases.mariadb import load_mariadb, load_mariadb_tables
from orchestrator.verify.databases.mysql_server import require_mysql
from orchestrator.verify.databases.postgresql import load_postgresql, require_postgresql
from orchestrator.verify.databases.sqlite import load_sqlite, load_sqlite_text

__all__ = ["CannotLoadError", "Loaded", "Loader", "loader_for", "require_server"]

# Takes a dump and a folder for what it needs. Raises CannotLoadError and ProcessError where this machine
# lacks something, DumpError when the dump is at fault.
Loader = Callable[[Path, Path], Loaded]

_LOADERS: tuple[tuple[str, Loader], ...] = (
    ("sqlite/*.sql", load_sqlite_text),
    ("sqlite/*", load_sqlite),
    ("mysql/*/dump.sql", load_mariadb),
    ("mysql/*/tables/[0-9][0-9][0-9][0-9][0-9].end.sql", load_mariadb_tables),
    ("postgresql/*/dump.*", load_postgresql),
)


def require_server(label: str) -> None:
    """Raise CannotLoadError when a source's dumps need a server that is not installed here."""
    kind = label.partition("/")[0]
    if kind == "mysql":
        require_mysql()
    elif kind == "postgresql":
        require_postgresql()


def loader_for(path: str) -> Loader | None:
    """The loader of the dump at this path; None for other files."""
    return next((loader for pattern, loader in _LOADERS if fnmatch.fnmatchcase(path, pattern)), None)
