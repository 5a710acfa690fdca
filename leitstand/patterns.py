"""Patterns of paths, as in ``exclude``, ``include`` and in restores.

* ``*`` is any text (also ``/``), ``?`` one character, ``[abc]`` one of these.
* Without ``/``: the name of a file or folder at any depth. ``*.log``, ``node_modules``
* With ``/`` at its start: the whole path. ``/var/www/old/*``
* With ``/`` elsewhere: the path below the source's folder. ``cache/*``, ``*/cache/*`` (at any depth)
* With ``/`` at its end: folders only. ``tmp/``

A match includes everything in it. Patterns are case-sensitive.
"""

import fnmatch
import re
from collections.abc import Iterable


class Patterns:
    """Patterns compared with paths below ``root`` (absolute, without a slash at its end)."""

    def __init__(self, patterns: Iterable[str], root: str) -> None:
        self.root = root
        self.empty = True
        self.names, self.below, self.absolute = _Group(), _Group(), _Group()
        for pattern in patterns:
            self._add(pattern)

    def _add(self, pattern: str) -> None:
        body, folders_only = pattern.rstrip("/"), pattern.endswith("/")
        if not body:
            return
        self.empty = False
        if "/" not in body:
            self.names.add(body, folders_only)
        elif body.startswith("/"):
            self.absolute.add(body, folders_only)
        else:
            self.below.add(body if body.startswith("*") else f"/{body}", folders_only)

    def match(self, relative: str, is_folder: bool) -> bool:
        if self.empty:
            return False
        name = relative.rpartition("/")[2]
        return (
            self.names.matches(name, is_folder)
            or self.below.matches(f"/{relative}", is_folder)
            or self.absolute.matches(f"{self.root}/{relative}", is_folder)
        )


class _Group:
    """Patterns compared with the same text: one regular expression for files and one for folders."""

    def __init__(self) -> None:
        self.for_all: list[str] = []
        self.for_folders: list[str] = []
        self.files: re.Pattern[str] | None = None
        self.folders: re.Pattern[str] | None = None

    def add(self, pattern: str, folders_only: bool) -> None:
        (self.for_folders if folders_only else self.for_all).append(fnmatch.translate(pattern))
        self.files = re.compile("|".join(self.for_all)) if self.for_all else None
        self.folders = re.compile("|".join(self.for_all + self.for_folders))

    def matches(self, text: str, is_folder: bool) -> bool:
        expression = self.folders if is_folder else self.files
        return expression is not None and expression.match(text) is not None
