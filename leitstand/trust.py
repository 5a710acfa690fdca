"""Which files a program trusts: root trusts none that others may change."""

import os
import pwd
import shlex
import stat
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

_LINKS = 40  # the kernel's limit


@dataclass(frozen=True)
class Distrust:
    """The file, folder or link that others may change, how, and the command that fixes it."""

    place: Path
    what: str
    cure: str


def distrust(path: Path) -> Distrust | None:
    """Why a file, or a folder of files, is not ours alone; None if it is.

    Checks ``path``, the folders above it, and each link in between. Trusted are root, the user who
    runs this, and those who may change this very program. A world-writable folder needs the sticky bit.
    """
    for place in _way(path):
        found = _of_owner(place, place.lstat()) or _of_mode(place, place.lstat())
        if found:
            return found
    return None


def exposed(path: Path, others: int = stat.S_IRWXG | stat.S_IRWXO) -> Distrust | None:
    """Why a secret is not ours alone, as sshd checks its keys; ``others``: mode bits it must not have."""
    found = distrust(path)
    with suppress(OSError):  # what cannot be checked is reported when it is read
        if found is None and path.stat().st_mode & others:
            return Distrust(path, "may be read by others", f"chmod 600 {shlex.quote(str(path))}")
    return found


def foreign(path: Path) -> Distrust | None:
    """Why a file, what it links to, or its folder belongs to another user; None if none does."""
    places = [path.absolute().parent, path.absolute(), path.resolve().parent, path.resolve()]
    return next((found for place in places if (found := _of_owner(place, place.lstat()))), None)


def _of_owner(place: Path, status: os.stat_result) -> Distrust | None:
    # The owner of / has full control anyway; with mapped users (rootless containers) it may not be 0.
    if status.st_uid in (0, os.geteuid(), Path("/").stat().st_uid, Path(__file__).stat().st_uid):
        return None
    return Distrust(place, f"belongs to {_user(status.st_uid)}", _chown(place))


def _of_mode(place: Path, status: os.stat_result) -> Distrust | None:
    mode, program = status.st_mode, Path(__file__).stat()
    harmless = stat.S_ISLNK(mode) or stat.S_ISCHR(mode) or (stat.S_ISDIR(mode) and mode & stat.S_ISVTX)
    open_to = 0 if harmless else mode & (stat.S_IWGRP | stat.S_IWOTH)
    if program.st_gid == status.st_gid:
        open_to &= ~program.st_mode
    if not open_to:
        return None
    who = "everyone" if open_to & stat.S_IWOTH else f"its group (number {status.st_gid})"
    return Distrust(place, f"may be changed by {who}", f"chmod go-w {shlex.quote(str(place))}")


def _way(path: Path) -> Iterator[Path]:
    """``path`` and what leads to it, from the root: folders, links, and the folders of their targets.

    Ends early where something is missing or not accessible: reading the file then fails with that error.
    """
    place, rest, links = Path("/"), [*reversed(path.absolute().parts[1:])], 0
    yield place
    while rest:
        name = rest.pop()
        if name == "..":
            place = place.parent
            continue
        try:
            is_link = stat.S_ISLNK((place / name).lstat().st_mode)
            target = (place / name).readlink() if is_link else None
        except OSError:
            return
        yield place / name
        if target is None:
            place /= name
        elif (links := links + 1) > _LINKS:
            return
        else:
            place = Path("/") if target.is_absolute() else place
            rest += [part for part in reversed(target.parts) if part != "/"]


def _user(number: int) -> str:
    try:
        return pwd.getpwuid(number).pw_name
    except KeyError:
        return f"user {number}"


def _chown(place: Path) -> str:
    link = "-h " if place.is_symlink() else ""
    return f"chown {link}{_user(os.geteuid())} {shlex.quote(str(place))}"
