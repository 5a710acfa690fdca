"""Load a dump of MariaDB or MySQL into a server that is made for it and thrown away."""

import re
from collections.abc import Iterable, Sequence
from pathlib import Path
from urllib.parse import unquote

from leitstand.errors import LeitstandError
from orchestrator.verify.databases.loaded import LOAD_SECONDS, CannotLoadError, DumpError, Loaded
from orchestrator.verify.databases.mysql_server import (
    Running,
    ServerKind,
    best_for,
    definers_in,
    installed,
    kind_of,
    scratch_server,
)
from orchestrator.verify.databases.server import feed, succeed

_ERRORS = re.compile(r"^ERROR (?:(\d+) \(\w+\) )?at line \d+: .*", re.MULTILINE)
# No such table, database, routine: of a view that reads another database.
_ELSEWHERE = {"1146", "1049", "1305"}
# And of one that reads such a view.
_AFTERWARDS = {"1146", "1356"}
# Errors that tell of this machine: what no server knows but the dump's own, or what a drill does not allow.
_LACKS = {
    *("1115", "1273", "1286", "1524", "1193", "1227", "1231", "4161", "4079", "1126", "1127", "1128"),
    *("1021", "1114", "2006", "2013", "1419"),
}
_OWN = {"mysql", "sys", "information_schema", "performance_schema"}
# No rows of their own in the dump: they show those of others, or of another server, or keep none.
_BORROWED = {"MRG_MYISAM", "FEDERATED", "CONNECT", "SPIDER", "BLACKHOLE"}
_TABLES = (
    "SELECT HEX(TABLE_NAME), TABLE_TYPE, UPPER(COALESCE(ENGINE, '')) FROM information_schema.TABLES"
    " WHERE TABLE_SCHEMA = '{}' AND TABLE_TYPE NOT IN ('VIEW', 'SEQUENCE') ORDER BY 1"
)
# What MySQL's dumps say of replication needs rights that no drill gives, and restores nothing.
_WITHOUT_REPLICATION = """\
/^INSERT INTO /b
/^(/b
/^SET @MYSQLDUMP_TEMP_LOG_BIN/d
/^SET @@SESSION.SQL_LOG_BIN/d
/^SET @@GLOBAL.GTID_PURGED/{
:more
/;$/d
N
b more
}
"""
# MariaDB does not know the collations of MySQL 8. None tells apart less than bytes do.
_AS_MARIADB = r"s/utf8mb4_\([a-z_]*_\)\{0,1\}0900_[a-z_]*/utf8mb4_nopad_bin/g"


def load_mariadb_tables(last: Path, folder: Path) -> Loaded:
    """As ``load_mariadb``, for a dump in pieces; the last one represents all."""
    return _load(sorted(last.parent.iterdir()), folder, last.parent.parent.name)


def load_mariadb(dump: Path, folder: Path) -> Loaded:
    """The rows of each table once the dump was loaded. Needs the distribution's MariaDB or MySQL server."""
    return _load([dump], folder, dump.parent.name)


def _load(pieces: Sequence[Path], folder: Path, quoted: str) -> Loaded:
    kind = kind_of(pieces[0])
    here, program = best_for(kind, installed())
    # By its own name: views and defaults name their database.
    name = unquote(quoted)
    database = "drill" if name.lower() in _OWN else name
    quoted = f"`{database.replace('`', '``')}`"
    with scratch_server(folder, here, program, quoted, definers_in(pieces)) as server:
        load = [*server.load, "--force", f"--database={database}"]
        script = _WITHOUT_REPLICATION + (_AS_MARIADB if here.name == "MariaDB" else "")
        fed = feed(load, ["sed", "-e", script, "--", *map(str, pieces)])
        notes = _notes(
            _errors(fed.client.stderr) or ([("", fed.error)] if fed.error else []), kind, here, database
        )
        return _loaded(server, database, notes)


def _errors(text: str) -> list[tuple[str, str]]:
    return [(found[1] or "", found[0]) for found in _ERRORS.finditer(text)]


def _notes(
    errors: list[tuple[str, str]], kind: ServerKind | None, here: ServerKind, database: str
) -> tuple[str, ...]:
    """The views that are not there as they read other databases. Raises for any other error."""
    outside = [error for number, error in errors if number in _ELSEWHERE and not _is_of(error, database)]
    passed = _AFTERWARDS if outside else set()
    for number, error in errors:
        if error not in outside and number not in passed:
            raise _judged(number, error, kind, here)
    return tuple(f"not tried, as it needs another database: {error}" for error in outside)


def _is_of(error: str, database: str) -> bool:
    return f"'{database}." in error or f" {database}." in error


def _judged(number: str, error: str, kind: ServerKind | None, here: ServerKind) -> LeitstandError:
    """The error of this machine, or of the dump."""
    if kind is not None and (kind.name != here.name or kind.version > here.version):
        return CannotLoadError(f"needs {kind}, here is {here}: {error}", f"install {kind.name}'s server")
    return CannotLoadError(error) if number in _LACKS or "Errcode: 28" in error else DumpError(error)


def _loaded(server: Running, database: str, notes: tuple[str, ...]) -> Loaded:
    query = _TABLES.format(database.replace("\\", "\\\\").replace("'", "''"))
    lines = [line.split("\t") for line in succeed([*server.ask, f"--execute={query}"]).splitlines()]
    tables = [(bytes.fromhex(name).decode(errors="replace"), kind, engine) for name, kind, engine in lines]
    borrowed = frozenset(name for name, _, engine in tables if engine in _BORROWED)
    real = [(name, kind) for name, kind, _ in tables if name not in borrowed]
    rows = succeed(server.ask, LOAD_SECONDS, _counts(database, real).encode()).split()
    found = {name: int(each) for (name, _), each in zip(real, rows, strict=True)}
    return Loaded({**dict.fromkeys(borrowed, 0), **found}, borrowed, notes=notes)


def _counts(database: str, tables: Iterable[tuple[str, str]]) -> str:
    """A count for each table; of one that keeps its history, with that."""
    text = ""
    for name, kind in tables:
        quoted = ".".join(f"`{part.replace('`', '``')}`" for part in (database, name))
        history = " FOR SYSTEM_TIME ALL" if kind == "SYSTEM VERSIONED" else ""
        text += f"SELECT COUNT(*) FROM {quoted}{history};\n"  # noqa: S608
    return text
