"""Which files ``exclude``, ``include`` and restores select; patterns: see `leitstand.patterns`."""

import glob
import os
import re
from collections.abc import Callable, Iterable, Iterator
from functools import lru_cache

from leitstand.patterns import Patterns
from orchestrator.archive import Entry, Kind


class Inclusion:
    """The selected entries of a walk, each folder right before its contents. No pattern selects all."""

    def __init__(self, patterns: Iterable[str], root: str) -> None:
        self._patterns = Patterns(patterns, root)
        self.all = self._patterns.empty
        self._inside = ""  # the selected folder that we are in
        self._waiting: list[tuple[str, Entry]] = []  # folders that lead to where we are

    def means(self, relative: str, is_folder: bool) -> bool:
        """Whether this path is selected, by itself or with the folder it is in."""
        if self.all or not relative or (self._inside and relative.startswith(self._inside)):
            return True
        meant = self._patterns.match(relative, is_folder)
        if meant and is_folder:
            self._inside = f"{relative}/"
        return meant

    def let_through(self, relative: str, entry: Entry) -> Iterator[Entry]:
        """The selected entries, after the folders that lead to them; such folders wait until needed."""
        if self.all:
            yield entry
            return
        self._waiting = [(path, folder) for path, folder in self._waiting if relative.startswith(path)]
        is_folder = entry.metadata.kind is Kind.DIRECTORY
        if self.means(relative, is_folder):
            yield from (folder for _, folder in self._waiting)
            self._waiting = []
            yield entry
        elif is_folder:
            self._waiting.append((f"{relative}/", entry))


class Selection:
    """Which paths of a snapshot are selected. No pattern selects all; a folder includes all that is in it.

    Paths that ``exclude`` selects are left out.

    Patterns are compared with the path in the snapshot (``files/var/www/index.html``) and with the path at
    its source (``/var/www/index.html``).
    """

    def __init__(self, patterns: Iterable[str], exclude: Iterable[str] = ()) -> None:
        patterns, exclude = tuple(patterns), tuple(exclude)
        self.all = not patterns and not exclude
        self._every = not patterns
        self._exclude = Selection(exclude) if exclude else None
        self._patterns = Patterns(patterns, "")
        self._literals = re.compile(b"|".join(map(_literal, patterns)))
        # Many files are in one folder: it is matched only once.
        self._holds = lru_cache(maxsize=1024)(self._holds_folder)

    def __contains__(self, path: bytes) -> bool:
        if self.all:
            return True
        if self._exclude is not None and path in self._exclude:
            return False
        if self._every:
            return True
        if not self._literals.search(path):
            return False
        text = os.fsdecode(path)
        return self._matches(text) or self._matches(text.partition("/")[2])

    def _matches(self, text: str) -> bool:
        folder, slash, _ = text.rpartition("/")
        return self._patterns.match(text, False) or (bool(slash) and self._holds(folder))

    def _holds_folder(self, folder: str) -> bool:
        ends = (index for index, letter in enumerate(folder + "/") if letter == "/")
        return any(self._patterns.match(folder[:end], True) for end in ends)


def literal_first(patterns: Iterable[str], holds: Callable[[Selection], bool]) -> tuple[str, ...]:
    """The patterns; one that is literally the name of an item, wildcards included, matches only that item.

    ``holds`` says whether a selection matches anything.
    """
    literally = ((pattern, glob.escape(pattern)) for pattern in patterns)
    return tuple(
        escaped if escaped != pattern and holds(Selection([escaped])) else pattern
        for pattern, escaped in literally
    )


def _literal(pattern: str) -> bytes:
    """The longest text that occurs in every path that the pattern matches: it rules out most others."""
    texts = re.split(r"[*?]", pattern.strip("/").partition("[")[0])
    return re.escape(os.fsencode(max((text.strip("/") for text in texts), key=len)))
