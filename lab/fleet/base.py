"""A Debian that hosts start from, and the packages they can install: made once, kept in a cache."""

import fcntl
import hashlib
import os
import shutil
import subprocess
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from lab.fleet.enclosure import UNSHARE
from lab.processes import LabError

CACHE = Path(os.environ.get("LEITSTAND_LAB_CACHE") or "/var/cache/leitstand-lab")
KEPT_DAYS = 14  # after their last use

# What every host has from the start.
INCLUDED = (
    *("systemd", "systemd-sysv", "dbus", "openssh-server", "python3", "python3-apt", "iproute2"),
    *("sudo", "curl", "ca-certificates", "gpgv", "procps", "less"),
)
# What a host can install, with all that it depends on.
PACKAGES = (
    *("prometheus", "prometheus-alertmanager", "prometheus-blackbox-exporter", "prometheus-node-exporter"),
    *("nginx-light", "nginx", "ssl-cert", "openssl", "acl", "rsync", "jq", "nftables", "git"),
    *("ansible-core", "age", "p7zip-full", "sqlite3", "zstd", "faketime"),
    *("python3-venv", "python3-pip", "python3-yaml", "python3-cryptography", "python3-bcrypt", "adduser"),
    *("mariadb-server", "mariadb-client", "postgresql", "postgresql-client", "php-fpm", "php-mysql"),
)
PACKAGES_OF = {"trixie": ("promtool",)}  # parts of other packages elsewhere
# In the new root, before it is first used. Overlays that shared host keys or a machine-id would be one host.
FINISH = r"""
set -e
cd "$1"
rm -f etc/ssh/ssh_host_* etc/machine-id var/lib/dbus/machine-id etc/hostname etc/resolv.conf
rm -rf var/lib/apt/lists/* var/cache/apt/*.bin etc/apt/sources.list.d/*
echo 'deb [trusted=yes] file:/srv/packages ./' >etc/apt/sources.list
mkdir -p srv/packages
chroot . useradd --create-home --shell /bin/bash admin
echo 'admin ALL=(ALL) NOPASSWD: ALL' >etc/sudoers.d/admin
chmod 440 etc/sudoers.d/admin
for unit in apt-daily.timer apt-daily-upgrade.timer console-getty.service getty.target; do
  ln -sf /dev/null etc/systemd/system/$unit
done
"""


@dataclass(frozen=True)
class Base:
    """A root folder that nothing writes to, and a flat repository of packages for it."""

    release: str
    folder: Path
    repository: Path

    @property
    def root(self) -> Path:
        """The root folder."""
        return self.folder / "root"

    @property
    def packages(self) -> Path:
        """The flat repository: packages, ``Packages``, ``Release``."""
        return self.repository / "archives"

    @contextmanager
    def used(self) -> Iterator[None]:
        """Keep both from being removed as unused for as long as the block lasts."""
        with locked(self.folder, fcntl.LOCK_SH), locked(self.repository, fcntl.LOCK_SH):
            yield


def debian_base(
    release: str | None = None,
    *,
    packages: Sequence[str] = (),
    sources: str | None = None,
    cache: Path = CACHE,
    say: Callable[[str], None] = print,
) -> Base:
    """The base of ``release`` (default: the machine's own), from the cache or made now: some minutes, once.

    Hosts can install PACKAGES and ``packages``. It is made from the machine's own apt sources or, for another
    distribution, from ``sources``, the text of a sources.list. A changed recipe makes another base; each is
    kept for some time. Raises LabError.
    """
    release = release or own_release()
    cache.mkdir(parents=True, exist_ok=True)
    recipe = [sources or "", *INCLUDED, FINISH]
    folder = _made(cache, f"base-{release}", recipe, _make_root(release, sources), say)
    packages = (*PACKAGES, *PACKAGES_OF.get(release, ()), *packages)
    recipe = [folder.name, *packages]
    make = _make_repository(release, sources, folder / "root", packages)
    return Base(release, folder, _made(cache, f"packages-{release}", recipe, make, say))


def own_release() -> str:
    """The machine's own, such as ``bookworm``."""
    lines = dict(
        line.split("=", 1) for line in Path("/etc/os-release").read_text().splitlines() if "=" in line
    )
    return lines.get("VERSION_CODENAME", "bookworm").strip('"')


def sources_of(release: str) -> str:
    """The apt sources of the machine's own distribution, as a sources.list for ``release``."""
    fields = "$(REPO_URI)|$(RELEASE)|$(COMPONENT)"
    argv = ["apt-get", "indextargets", "--format", fields, "Created-By: Packages"]
    lines = subprocess.run(argv, capture_output=True, text=True, check=True).stdout.splitlines()
    own, found = own_release(), []
    for uri, suite, component in (line.split("|") for line in lines):
        if suite.removesuffix("-updates").removesuffix("-security") == own and component in (
            "main",
            "universe",
        ):
            found.append(f"deb {uri} {suite.replace(own, release)} {component}\n")
    if not found:
        raise LabError(f"no apt source of this machine serves {own} main; give sources of your own")
    return "".join(dict.fromkeys(found))


def _made(
    cache: Path, kind: str, recipe: Sequence[str], make: Callable[[Path], None], say: Callable[[str], None]
) -> Path:
    """The folder made by ``recipe``. One process makes it, others wait; only a complete one has its name."""
    final = cache / f"{kind}-{hashlib.sha256(chr(0).join(recipe).encode()).hexdigest()[:12]}"
    with locked(cache / kind, fcntl.LOCK_EX):
        if not final.exists():
            say(f"making {final}: takes some minutes, once")
            unfinished = cache / f"{kind}.unfinished"
            shutil.rmtree(unfinished, ignore_errors=True)
            unfinished.mkdir()
            make(unfinished)
            unfinished.rename(final)
        os.utime(final)
        _remove_unused(cache, kind, final)
    return final


def _make_root(release: str, sources: str | None) -> Callable[[Path], None]:
    def make(folder: Path) -> None:
        listed = folder / "sources.list"
        listed.write_text(sources or sources_of(release))
        argv = ["mmdebstrap", "--mode=root", "--variant=minbase", f"--include={','.join(INCLUDED)}"]
        argv += ["--dpkgopt=force-unsafe-io", release, str(folder / "root"), str(listed)]
        _run(argv, folder.with_suffix(".log"))
        _run(["sh", "-c", FINISH, "finish", str(folder / "root")], folder.with_suffix(".log"))

    return make


def _make_repository(
    release: str, sources: str | None, base: Path, packages: Sequence[str]
) -> Callable[[Path], None]:
    """Download what a host of this base would, and index it."""

    def make(folder: Path) -> None:
        lists = folder / "lists"
        (folder / "archives" / "partial").mkdir(parents=True)
        (lists / "partial").mkdir(parents=True)
        (folder / "sources.list").write_text(sources or sources_of(release))
        options = {
            "Dir::Etc::SourceList": folder / "sources.list",
            "Dir::Etc::SourceParts": "-",
            "Dir::Etc::Trusted": base / "etc/apt/trusted.gpg",
            "Dir::Etc::TrustedParts": base / "etc/apt/trusted.gpg.d",
            "Dir::State::Lists": lists,
            "Dir::State::Status": base / "var/lib/dpkg/status",
            "Dir::Cache": folder,
            "APT::Sandbox::User": "root",
            "Acquire::Languages": "none",
        }
        apt = ["apt-get", "-q", "-y", *(f"-o{name}={value}" for name, value in options.items())]
        log = folder.with_suffix(".log")
        _run([*apt, "update"], log)
        _run([*apt, "--no-install-recommends", "--download-only", "install", *packages], log)
        archives = folder / "archives"
        _run(["sh", "-c", 'cd "$1"; apt-ftparchive packages . >Packages', "index", str(archives)], log)
        _run(["sh", "-c", 'cd "$1"; apt-ftparchive release . >Release', "index", str(archives)], log)
        shutil.rmtree(lists)

    return make


def _run(argv: Sequence[str], log: Path) -> None:
    """Run in namespaces of its own: if we are killed, it ends, and its mounts with it."""
    with log.open("ab") as output:
        status = subprocess.call(
            ["setpriv", "--pdeathsig", "KILL", "--", *UNSHARE, *argv],
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            env={**os.environ, "LC_ALL": "C.UTF-8", "DEBIAN_FRONTEND": "noninteractive"},
            start_new_session=True,
        )
    if status:
        end = "\n".join(log.read_text(errors="replace").splitlines()[-15:])
        raise LabError(f"{argv[0]} exited {status}; the end of {log}:\n{end}")


def _remove_unused(cache: Path, kind: str, but: Path) -> None:
    for folder in cache.glob(f"{kind}-*"):
        if folder == but or not folder.is_dir() or time.time() - folder.stat().st_mtime < KEPT_DAYS * 86_400:
            continue
        with suppress(BlockingIOError), locked(folder, fcntl.LOCK_EX | fcntl.LOCK_NB):
            shutil.rmtree(folder)


@contextmanager
def locked(path: Path, how: int) -> Iterator[None]:
    """Hold the lock ``PATH.lock``; the kernel releases it when this process dies, however it dies."""
    descriptor = os.open(f"{path}.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(descriptor, how)
        yield
    finally:
        os.close(descriptor)
