"""Read files below one root, bounded, and never outside it.

The root is ``/`` on a host, and a folder for a mounted system or a test's tree. Links are resolved as under
chroot: an absolute target starts at the root again and ``..`` stops there. So a link that points out of the
root leads to a place inside it, or nowhere.
"""

import fnmatch
import itertools
import os
import stat
from collections.abc import Iterator
from pathlib import Path

MAXIMUM_LINKS = 40  # as the kernel, path_resolution(7)
MAXIMUM_ENTRIES = 100_000
DEFAULT_LIMIT = 4 * 1024 * 1024


class TooLarge(OSError):  # noqa: N818 - reads as a sentence where it is raised
    """A file or folder is larger than its reader accepts."""


class Tree:
    """Files below ``root``. Every path, absolute or relative, starts at the root.

    ``cut`` counts the folders that were not listed because they have more than 100,000 entries.
    ``closed`` are those we may not list.
    """

    def __init__(self, root: Path) -> None:
        self.root = root
        self.cut = 0
        self.closed: set[str] = set()
        self._is_host = str(root) == "/"

    def real(self, path: str) -> str:
        """The path on the host, links followed inside the root. Raises OSError if links form a loop."""
        if "\0" in path:
            # From a file damaged by a crash. System calls would raise ValueError.
            raise FileNotFoundError(f"{path!r}: no such file")
        if self._is_host:
            return path if path.startswith("/") else f"/{path}"
        return str(self.root) + self.resolve(path)

    def resolve(self, path: str) -> str:
        """The path within the root, free of links. Parts that do not exist are kept as written."""
        pending = [part for part in reversed(path.split("/")) if part not in ("", ".")]
        place: list[str] = []
        links = 0
        while pending:
            part = pending.pop()
            if part == "..":
                place = place[:-1]
                continue
            target = self._link_target([*place, part])
            if target is None:
                place.append(part)
                continue
            links += 1
            if links > MAXIMUM_LINKS:
                raise OSError(f"{path}: too many links")
            place = [] if target.startswith("/") else place
            pending += [step for step in reversed(target.split("/")) if step not in ("", ".")]
        return "/" + "/".join(place)

    def _link_target(self, place: list[str]) -> str | None:
        base = "" if self._is_host else str(self.root)
        try:
            return os.readlink(f"{base}/{'/'.join(place)}")  # noqa: PTH115 - called for every step of every path
        except (OSError, ValueError):
            return None

    def read(self, path: str, limit: int = DEFAULT_LIMIT) -> bytes:
        """The content of one regular file of at most ``limit`` bytes. Raises OSError, TooLarge among them."""
        # O_NONBLOCK: opening a FIFO would wait for a writer, perhaps indefinitely.
        descriptor = os.open(self.real(path), os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        with os.fdopen(descriptor, "rb") as file:
            if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
                raise OSError(f"{path}: not a regular file")
            content = file.read(limit + 1)
        if len(content) > limit:
            raise TooLarge(f"{path}: more than {limit} bytes")
        return content

    def text(self, path: str, limit: int = DEFAULT_LIMIT) -> str:
        """As ``read``, decoded as UTF-8; invalid bytes become U+FFFD."""
        return self.read(path, limit).decode("utf-8", "replace")

    def text_or_empty(self, path: str, limit: int = DEFAULT_LIMIT) -> str:
        """As ``text``; an empty string if the file is missing or unreadable."""
        try:
            return self.text(path, limit)
        except OSError:
            return ""

    def text_if_there(self, path: str, limit: int = DEFAULT_LIMIT) -> str:
        """As ``text``; an empty string only if the file is missing."""
        try:
            return self.text(path, limit)
        except (FileNotFoundError, NotADirectoryError):
            return ""

    def names(self, folder: str) -> list[str]:
        """The names in a folder, sorted; none when there is no such folder or it has too many entries."""
        try:
            with os.scandir(self.real(folder)) as entries:
                names = [entry.name for entry in itertools.islice(entries, MAXIMUM_ENTRIES + 1)]
        except PermissionError:
            self.closed.add(folder)
            return []
        except OSError:
            return []
        if len(names) > MAXIMUM_ENTRIES:
            # One overfull folder must not cost all other findings.
            self.cut += 1
            return []
        return sorted(names)

    def stat(self, path: str) -> os.stat_result | None:
        """stat(2) of a path, links followed; None if it does not exist."""
        try:
            return os.stat(self.real(path))  # noqa: PTH116 - called for every package
        except OSError:
            return None

    def is_file(self, path: str) -> bool:
        """True for a regular file or a link to one."""
        status = self.stat(path)
        return status is not None and stat.S_ISREG(status.st_mode)

    def is_folder(self, path: str) -> bool:
        """True for a folder or a link to one."""
        status = self.stat(path)
        return status is not None and stat.S_ISDIR(status.st_mode)

    def glob(self, pattern: str) -> Iterator[str]:
        """Existing paths that match, in order; ``*``, ``?`` and ``[…]`` within one name, no ``**``."""
        yield from self._glob("", [part for part in pattern.split("/") if part])

    def _glob(self, place: str, parts: list[str]) -> Iterator[str]:
        if not parts:
            if self.stat(place) is not None:
                yield place
            return
        part, rest = parts[0], parts[1:]
        if not any(character in part for character in "*?["):
            yield from self._glob(f"{place}/{part}", rest)
            return
        for name in self.names(place or "/"):
            # Only a dot matches a leading dot, as in the shell.
            if fnmatch.fnmatchcase(name, part) and (part.startswith(".") or not name.startswith(".")):
                yield from self._glob(f"{place}/{name}", rest)
