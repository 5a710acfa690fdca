"""The newest MySQL and PostgreSQL of Debian's unstable suite, in their own tree: nothing is installed.

They need their own C library, so each program is a script there that starts it with its own loader.
"""

import fcntl
import re
import subprocess
import tempfile
from pathlib import Path

from lab.databases import passable
from lab.patience import patient
from lab.processes import LabError

PACKAGES = ("mysql-server-core", "mysql-client-core", "postgresql-18")
SECONDS = 600
_APT = Path("/etc/apt")
_KEYRING = "/usr/share/keyrings/debian-archive-keyring.gpg"
_URI = re.compile(r"^(?:URIs:|deb(?: \[[^]]*\])?) +(\S+/debian)/?(?:\s|$)", re.MULTILINE)
_PROGRAMS = ("usr/sbin/mysqld", "usr/bin/mysql", "usr/bin/mysqldump")


def newest_servers(tree: Path) -> Path:
    """Unpack them into ``tree``, once; the folder to put first into PATH. Raises LabError offline."""
    if (tree / "bin").exists():
        return tree / "bin"
    tree.parent.mkdir(parents=True, exist_ok=True)
    with (tree.parent / f"{tree.name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not (tree / "bin").exists():
            with tempfile.TemporaryDirectory(dir=tree.parent) as work:
                _unpack(Path(work), tree)
            _wrap(tree)
    passable(tree)
    return tree / "bin"


def postgresql_programs(tree: Path) -> Path:
    """The folder with the programs of the newest PostgreSQL."""
    return max((tree / "usr/lib/postgresql").glob("*/bin"), key=lambda path: int(path.parent.name))


def _unpack(work: Path, tree: Path) -> None:
    for name in ("lists/partial", "cache/archives/partial", "sources"):
        (work / name).mkdir(parents=True)
    (work / "status").touch()
    (work / "sources" / "unstable.sources").write_text(
        f"Types: deb\nURIs: {_mirror()}\nSuites: sid\nComponents: main\nSigned-By: {_KEYRING}\n"
    )
    options = {
        "Dir::Etc::sourcelist": "/dev/null",
        "Dir::Etc::sourceparts": f"{work}/sources",
        "Dir::State::lists": f"{work}/lists",
        "Dir::State::status": f"{work}/status",
        "Dir::Cache": f"{work}/cache",
        "APT::Sandbox::User": "",
        "APT::Install-Recommends": "false",
        "Acquire::Retries": "1",
        "Debug::NoLocking": "true",
    }
    apt = ["apt-get", "-q", *(word for name, value in options.items() for word in ("-o", f"{name}={value}"))]
    _run([*apt, "update"])
    _run([*apt, "--yes", "--download-only", "install", *PACKAGES])
    for package in (work / "cache" / "archives").glob("*.deb"):
        _run(["dpkg-deb", "--extract", str(package), str(tree)])


def _mirror() -> str:
    """The Debian mirror that this machine uses."""
    for path in (*sorted(_APT.glob("sources.list.d/*.[ls]*")), _APT / "sources.list"):
        if path.is_file() and (found := _URI.search(path.read_text())):
            return found[1]
    raise LabError("this machine has no apt source for Debian")


def _run(argv: list[str]) -> None:
    done = subprocess.run(argv, capture_output=True, text=True, timeout=patient(SECONDS))
    if done.returncode:
        raise LabError(f"{argv[0]} failed: {done.stderr.strip()[-500:]}")


def _wrap(tree: Path) -> None:
    """Replace each program by a script; ``bin`` comes last, as its existence marks the tree as complete."""
    folder = tree / "bin.new"
    folder.mkdir()
    programs = [tree / name for name in _PROGRAMS]
    programs += [path for path in sorted(postgresql_programs(tree).iterdir()) if path.is_file()]
    loader = next((tree / "usr/lib").glob("*-linux-gnu/ld-linux*"))
    for program in programs:
        # Next to it, as servers look for their files relative to their own place.
        real = program.rename(program.with_name(f"{program.name}.real"))
        words = f'{loader} --library-path {loader.parent} --argv0 {program} {real} "$@"'
        program.write_text(f"#!/bin/sh\nexec {words}\n")
        program.chmod(0o755)
        (folder / program.name).symlink_to(program)
    folder.rename(tree / "bin")
