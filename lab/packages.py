"""Debian packages of this checkout for tests: built once for each state of it, and other releases of them."""

import fcntl
import hashlib
import re
import shutil
import subprocess
import sys
from pathlib import Path

from lab.fleet.base import CACHE
from lab.processes import LabError

ROOT = Path(__file__).resolve().parents[1]
WHEELS = CACHE / "wheels"
# systemd takes the service for started, and the socket accepts for it.
SERVES_NOTHING = "#!/bin/sh\nsystemd-notify --ready\nexec sleep 9999\n"
_KEPT = 4  # states of the checkout whose packages stay
_TARGETS = {(3, 11): "debian12", (3, 12): "ubuntu24.04", (3, 13): "debian13"}


def target_of_this_python() -> str:
    """The system whose Python has the same minor version as ours."""
    return _TARGETS[sys.version_info[:2]]


def built_packages(target: str = "debian12") -> Path:
    """A folder with the packages for one system, as ``deploy/debian/build`` made it. Takes a minute, once.

    Raises LabError if they cannot be built, as where a wheel is missing and no package index answers.
    """
    CACHE.mkdir(parents=True, exist_ok=True)
    with (CACHE / "releases.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        folder = CACHE / f"releases-{target}-{_state()}"
        if not folder.exists():
            _build(target, folder)
        folder.touch()
        others = sorted(CACHE.glob("releases-*-*"), key=lambda path: path.stat().st_mtime)
        for old in others[: -_KEPT * len(_TARGETS)]:
            shutil.rmtree(old)
        return folder


def _state() -> str:
    """A short hash of the commit and of each file that differs from it and may be in a package."""
    state = hashlib.sha256(_git("rev-parse", "HEAD").encode())
    for path in changed_files():
        if path.startswith(("tests/", "lab/", "bench/")):
            continue
        state.update(f"\0{path}\0".encode())
        state.update((ROOT / path).read_bytes() if (ROOT / path).is_file() else b"")
    return state.hexdigest()[:16]


def changed_files() -> list[str]:
    """What differs from the commit, untracked files included; below the checkout's root."""
    listed = _git("status", "--porcelain", "--no-renames", "--untracked-files=all", "-z").split("\0")
    return sorted(line[3:] for line in listed if line)


def _git(*words: str) -> str:
    argv = ["git", "-c", "safe.directory=*", *words]
    return subprocess.run(argv, cwd=ROOT, capture_output=True, text=True, check=True).stdout


def _build(target: str, folder: Path) -> None:
    being_made = folder.with_name(f".{folder.name}")
    shutil.rmtree(being_made, ignore_errors=True)
    argv = [sys.executable, "-P", "-m", "deploy.debian", "--for", target, "--out", str(being_made)]
    argv += ["--wheels", str(WHEELS)]
    done = subprocess.run(argv, cwd=ROOT, capture_output=True, text=True, check=False)
    if done.returncode:
        raise LabError(f"packages for {target} were not built: {done.stderr.strip()}")
    being_made.rename(folder)


def package(name: str, folder: Path) -> Path:
    """The package of that name in a folder."""
    (found,) = folder.glob(f"{name}_*.deb")
    return found


def as_release(package: Path, version: str, into: Path) -> Path:
    """The same package as if it were the release ``version`` (as Python writes it), not compressed: quick."""
    name, built_as, architecture = package.stem.split("_")
    debian = f"{version.replace('.dev', '~dev')}+{built_as.rpartition('+')[2]}"
    root = into / f"{name}.unpacked"
    subprocess.run(["dpkg-deb", "-R", package, root], check=True)
    control = root / "DEBIAN/control"
    control.write_text(re.sub(rf"(?<=[ =]){re.escape(built_as)}\b", debian, control.read_text()))
    (note,) = root.glob("opt/leitstand/lib/*/site-packages/leitstand/share/version")
    sums = root / "DEBIAN/md5sums"
    old = hashlib.md5(note.read_bytes(), usedforsecurity=False).hexdigest()
    note.write_text(f"{version}\n")
    new = hashlib.md5(note.read_bytes(), usedforsecurity=False).hexdigest()
    own = f"  {note.relative_to(root)}"
    sums.write_text(sums.read_text().replace(old + own, new + own))
    made = into / f"{name}_{debian}_{architecture}.deb"
    _pack(root, made)
    return made


def bad_release(folder: Path, version: str, into: Path) -> tuple[Path, Path]:
    """A release whose package for the leitstand host is good, while that for others serves nothing."""
    made = as_release(package("leitstand-exporter", folder), version, into)
    root = into / "broken"
    subprocess.run(["dpkg-deb", "-R", made, root], check=True)
    (root / "opt/leitstand/bin/leitstand").write_text(SERVES_NOTHING)
    _pack(root, made)
    return as_release(package("leitstand", folder), version, into), made


def _pack(root: Path, package: Path) -> None:
    """Make a package, not compressed, of a folder, which is removed."""
    argv: list[str | Path] = ["dpkg-deb", "--root-owner-group", "-Znone", "-b", root, package]
    subprocess.run(argv, check=True, stdout=subprocess.DEVNULL)
    shutil.rmtree(root)
